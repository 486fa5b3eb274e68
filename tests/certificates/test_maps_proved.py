"""Proofs for maps that are not the product: they close, hold, and no slip goes through."""

from __future__ import annotations

import copy
import dataclasses
import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import ufm
from tests.certificates.problems import ANCHOR, FROZEN, checker, make, moved, on_file
from tests.extension.parts import Neighbours, NotItsAdjoint
from ufm.certificates import enclosure
from ufm.certificates.definite import Form, Multipliers
from ufm.certificates.dual_point import DualPoint
from ufm.certificates.exact_lift import Place
from ufm.domains import Ball, Budget, Nonnegative, Real, Sphere

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


@pytest.mark.lean("free-bias", "ball-sphere")
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
    monkeypatch.setattr(Place, "logits", lambda self, the_map, _: logits(self, the_map, None))
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
    with pytest.raises(ValueError, match=r"`problem.map` must be the product, act .*got Unread"):
        ufm.prove(problem.replace(map=Unread(0.3)), params)


# --- logits that are a Gram ---

COUNTS = (4, 3, 2)
EMBEDDED = {
    "sphere": (Sphere(1.0), 0.0, False),
    "ball": (Ball(1.0), 0.0, False),
    "budget": (Budget(9.0), 0.0, False),
    "real": (Real(), 0.04, False),
    "nonnegative": (Nonnegative(), 0.04, False),
    "nonnegative-sphere": (Sphere(1.0), 0.0, True),
}


def tied(domain, decay, nonnegative, **parts) -> ufm.Problem:
    return ufm.Problem(
        ufm.labels.contrastive(COUNTS),
        loss=ufm.CrossEntropy(),
        widths=(5,),
        lambda_H=decay,
        features=domain,
        map=ufm.maps.Tied(0.5, nonnegative=nonnegative),
        **{"fixed_weights": (np.full((9, 5), 0.1),), "lambda_W": 0.1} | parts,
    )


@functools.cache
def contrasted(name: str) -> tuple[ufm.Problem, ufm.Params]:
    problem = tied(*EMBEDDED[name])
    solution = ufm.minimise(problem, key=jax.random.key(0), starts=8, progress=False, throw=True)
    return problem, solution.params


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_gram_is_certified_and_proved(name):
    problem, params = contrasted(name)
    certificate, best = ufm.certify(problem, params), ufm.prove(problem, params)
    assert certificate.valid
    assert float(certificate.gap) < 1e-12
    assert best.closes(FIRST_ORDER)
    assert best.upper == pytest.approx(float(certificate.value), rel=1e-13)
    assert float(certificate.lower_bound) <= best.upper
    verify(on_file(best))
    for seed in range(3):
        start = ufm.solvers.random_start(problem, key=jax.random.key(seed))
        bound, other = ufm.certify(problem, start), ufm.prove(problem, start)
        assert bound.valid
        assert float(bound.lower_bound) <= best.upper
        assert other.lower <= best.upper <= other.upper
        verify(on_file(other))


def test_nonnegative_features_reach_the_bound_of_the_theorem():
    """Σ n_k log(n_k − 1 + (N − n_k) e^{−1/τ})/N, in sixty digits."""
    proved = ufm.prove(*contrasted("nonnegative-sphere"))
    with mpmath.workdps(60):
        terms = [n * mpmath.log(n - 1 + (9 - n) * mpmath.exp(-2)) for n in COUNTS]
        weights = mpmath.mpf(np.float64(0.1)) ** 3 * 45 / 2
        value = sum(terms) / 9 + weights
    # targets of thirds are floats
    assert float(value) == pytest.approx(proved.upper, rel=1e-14)


def test_embeddings_below_the_smallest_normal_number_are_none():
    """They are 0 to XLA and point somewhere to balls: the loss was said to be wrong."""
    problem = tied(Ball(1.0), 0.0, True)
    features = np.full((problem.feature_dim, problem.labels.num_columns), 5e-324)
    point = ufm.Params(problem.fixed_weights, jnp.asarray(features))
    proved = ufm.prove(problem, point)
    assert proved.upper == np.inf
    with pytest.raises(SystemExit, match="NOT proved"):
        verify(on_file(proved))


@pytest.mark.parametrize("name", ["sphere", "real"])
def test_a_gram_that_is_not_shown_to_be_positive_is_found(name, monkeypatch):
    problem, params = contrasted(name)
    of = Multipliers.of

    def smaller(*args):
        found = of(*args)
        return dataclasses.replace(found, columns=[b - b / 2**30 for b in found.columns])

    monkeypatch.setattr(enclosure.Multipliers, "of", smaller)
    monkeypatch.setattr(Form, "excess", lambda self, witness: None)
    with pytest.raises((SystemExit, ValueError), match=r"NOT proved|above the value"):
        verify(on_file(ufm.prove(problem, params)))


def colder(data):
    data["problem"]["map"]["temperature"] *= 1 - 1e-9


def a_product(data):
    data["problem"]["map"] = None


def squared(data):
    data["problem"]["map"]["nonnegative"] ^= True


def smaller_multiplier(data):
    data["multipliers"]["columns"][0] = str(Fraction(data["multipliers"]["columns"][0]) / 2)


def another_witness(data):
    data["witness"] = [row[::-1] for row in data["witness"][::-1]]


def longer_features(data):
    data["problem"]["features"]["radius"] = 1.001


def signs(data):
    data["problem"]["features"] = {"name": "real"}


GRAM_TAMPERINGS = [
    *[
        (name, change)
        for name in ("sphere", "real", "nonnegative-sphere")
        for change in (colder, a_product, squared, smaller_multiplier, another_witness)
    ],
    ("sphere", longer_features),
    ("nonnegative", signs),
]


@pytest.mark.parametrize(
    ("name", "change"),
    [pytest.param(*case, id=f"{case[0]}-{case[1].__name__}") for case in GRAM_TAMPERINGS],
)
def test_a_gram_that_has_been_touched_is_refused(name, change):
    data = on_file(ufm.prove(*contrasted(name)))
    verify(copy.deepcopy(data))
    change(data)
    with pytest.raises(SystemExit, match="NOT proved"):
        verify(data)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        pytest.param(
            {"fixed_weights": None}, "`problem.fixed_weights` must be given", id="weights"
        ),
        pytest.param(
            {"anchor": np.ones((5, 9)), "beta": 0.1}, "must have no feature anchor", id="anchor"
        ),
    ],
)
def test_what_a_gram_leaves_without_a_bound_is_named(parts, message):
    problem = tied(Sphere(1.0), 0.0, False, **parts)
    start = ufm.solvers.random_start(problem, key=jax.random.key(0))
    for judge in (ufm.certify, ufm.prove):
        with pytest.raises(ValueError, match=message):
            judge(problem, start)


@pytest.mark.parametrize(
    ("domain", "decay", "message"),
    [
        pytest.param(Sphere(1.0), 0.1, "`problem.lambda_H` must be 0 where the map", id="decay"),
        pytest.param(Nonnegative(), 0.0, "`problem.features` must be a sphere", id="anywhere"),
    ],
)
def test_lengths_that_say_nothing_are_held_by_nothing(domain, decay, message):
    problem = tied(domain, decay, True)
    start = ufm.Params((jnp.full((9, 5), 0.1),), jnp.full((5, 9), 5**-0.5), None)
    with pytest.raises(ValueError, match=message):
        ufm.certify(problem, start)
