"""Proofs for maps that are not the product: they close, hold, and no slip goes through."""

from __future__ import annotations

import copy
import functools

import jax
import pytest

import ufm
from tests.certificates.problems import ANCHOR, FROZEN, checker, make, moved, on_file
from tests.extension.parts import Neighbours, NotItsAdjoint
from ufm.certificates.dual_point import DualPoint
from ufm.certificates.exact_lift import Place
from ufm.domains import Ball, Nonnegative, Sphere

pytestmark = pytest.mark.usefixtures("quick_compilation")

verify = checker().verify
# K times the rounding of a float, several times over; for nonnegative features what a solve leaves
ROUNDING, FIRST_ORDER = 1e-13, 1e-12
DECAY = {"lambda_W": 1e-2, "lambda_H": 1e-2}
RINGS = {
    "decay": DECAY,
    "free-bias": DECAY | {"bias": "free"},
    "squared": DECAY | {"loss": ufm.MeanSquaredError()},
    "ball-sphere": {"features": Ball(0.5), "classifier": Sphere(1.0)},
    "nonnegative": DECAY | {"features": Nonnegative()},
    "frozen": {"fixed_weights": (FROZEN,), "lambda_H": 1e-2},
    "anchor": DECAY | ANCHOR,
    "longer": DECAY,
}


@functools.cache
def ring(name: str) -> tuple[ufm.Problem, ufm.Params]:
    # (an operator of norm one would forgive a dual point that is not pulled back)
    problem = make(map=Neighbours(1.5 if name == "longer" else 0.3), **RINGS[name])
    return problem, ufm.minimise(problem, key=jax.random.key(0), progress=False, throw=True).params


@pytest.mark.parametrize("name", RINGS)
def test_a_right_operator_is_proved(name):
    problem, params = ring(name)
    best = ufm.prove(problem, params)
    assert best.closes(FIRST_ORDER if name == "nonnegative" else ROUNDING)
    verify(on_file(best))
    if problem.unconstrained:
        other = ufm.prove(problem, problem.filled(moved(problem.free_part(params), 0.1)))
        assert other.lower <= best.upper <= other.upper
        verify(on_file(other))


def test_it_is_the_product_without_neighbours():
    problem, params = ring("decay")
    alone, plain = problem.replace(map=Neighbours(0.0)), problem.replace(map=ufm.maps.Product())
    # (of second order in the error of the gradient)
    width = 1e-9
    ours, theirs = ufm.prove(alone, params), ufm.prove(plain, params)
    assert ours.upper == pytest.approx(theirs.upper, rel=width)
    assert ours.lower == pytest.approx(theirs.lower, rel=width)


def test_what_a_map_says_of_its_adjoint_only_proposes():
    problem, params = ring("decay")
    wrong = problem.replace(map=NotItsAdjoint(0.3))
    best, other = ufm.prove(problem, params), ufm.prove(wrong, params)
    assert other.lower <= best.upper
    assert other.upper == best.upper
    verify(on_file(other))


def test_a_dual_point_that_is_not_pulled_back_is_found(monkeypatch):
    problem, params = ring("longer")
    monkeypatch.setattr(DualPoint, "pulled", property(lambda self: self.weighted_dual))
    with pytest.raises((SystemExit, ValueError), match=r"NOT proved|above the value"):
        verify(on_file(ufm.prove(problem, params)))


def test_logits_without_the_operator_are_found(monkeypatch):
    problem, params = ring("decay")
    logits = Place.logits
    monkeypatch.setattr(Place, "logits", lambda self, operator: logits(self, None))
    with pytest.raises((SystemExit, ValueError), match=r"NOT proved|`enclose` says"):
        verify(on_file(ufm.prove(problem, params)))


def an_entry(data):
    data["problem"]["map"]["operator"][0][0] *= 1 + 1e-9


def no_operator(data):
    data["problem"]["map"] = None


def its_transpose(data):
    operator = data["problem"]["map"]["operator"]
    data["problem"]["map"]["operator"] = [list(row) for row in zip(*operator, strict=True)]


@pytest.mark.parametrize("change", [an_entry, no_operator, its_transpose])
@pytest.mark.parametrize("name", ["decay", "anchor", "frozen"])
def test_what_has_been_touched_is_refused(name, change):
    data = on_file(ufm.prove(*ring(name)))
    verify(copy.deepcopy(data))
    change(data)
    with pytest.raises(SystemExit, match="NOT proved"):
        verify(data)


class Unread(Neighbours):
    """The same, without saying that it acts from the right."""

    right = False


def test_a_map_that_cannot_be_read_is_named():
    problem, params = ring("decay")
    with pytest.raises(ValueError, match=r"`problem.map` must be the product, or act .*got Unread"):
        ufm.prove(problem.replace(map=Unread(0.3)), params)
