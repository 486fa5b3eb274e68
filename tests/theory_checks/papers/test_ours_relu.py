"""Exact networks are evaluated exactly, and the formulas in floats are those of the library."""

from __future__ import annotations

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from theory_checks.formulas.rectified import rectified_problem, threshold, value
from theory_checks.papers.ours_relu import points
from theory_checks.papers.ours_relu.formulas import (
    beside,
    complexity,
    distance_to_identity,
    fractions,
    identity,
    least_pairs,
    least_triple,
    output,
    pairs,
    product,
    squares,
    triple,
)
from theory_checks.papers.sukenik2024.checks import least


@pytest.mark.parametrize("network", [triple(4), triple(7), pairs(6), beside(triple(5), 2)])
def test_exact_output_is_that_of_floats(network):
    entering, *inner, last = (np.array(factor, dtype=np.float64) for factor in network)
    norms = np.sum(entering**2)
    for W in inner:
        entering, norms = np.maximum(W @ entering, 0), norms + np.sum(W**2)
    np.testing.assert_allclose(last @ entering, np.eye(len(last)), rtol=0, atol=1e-14)
    norms += np.sum(last**2)
    assert float(complexity(network)) == pytest.approx(norms / len(network), rel=1e-14)


def test_the_network_by_hand():
    # H, W_1, W_2, W_3 by hand: 1 + 16/25 twice, 2 (36/25) twice, 2 (9 + 32)/25
    norms = [squares(factor) for factor in triple(4)[:-1]]
    assert norms == [Fraction(82, 25), Fraction(72, 25), Fraction(72, 25), Fraction(82, 25)]
    assert complexity(triple(4)) == Fraction(2230381769, 746496000)
    assert round(float(complexity(triple(4)) / 3), 6) == 0.995934


def test_an_output_that_is_off_is_seen():
    network = triple(4)
    network[-1] = fractions([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert distance_to_identity(output(network)) > 0.01


@pytest.mark.parametrize("L", [3, 4, 9])
def test_formulas_are_those_of_the_library(L):
    assert least_triple(L) == pytest.approx(ufm.laws.triple_complexity(L), rel=1e-13)
    code = {"rank": 7, "largest": 0.0, "smallest": -1.0}
    assert least_pairs(14, L) == pytest.approx(ufm.laws.code_complexity(14, L, **code), rel=1e-13)
    edges = {"rank": 4, "largest": 1 / 6, "smallest": -2 / 3}
    assert least(5, L) == pytest.approx(ufm.laws.code_complexity(10, L, **edges), rel=1e-13)
    Lam = 0.4 * threshold(3.0, L)
    found = ufm.laws.rectified_scale(3.0, strength=Lam, depth=L)
    assert value(3.0, Lam, L) == pytest.approx(found.value, rel=1e-13)
    assert threshold(3.0, L) == pytest.approx(found.threshold, rel=1e-13)


def test_saved_points_are_read_back_as_they_were_written(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    factors = [
        rng.standard_normal((4, 3)),
        rng.standard_normal((4, 4)),
        rng.standard_normal((3, 4)),
    ]
    monkeypatch.setattr(points, "_FILE", tmp_path / "points.json")
    points.save([points.as_data(3, 2, "0.0123", factors, 0.5)])
    (point,) = points.load()
    assert (point.classes, point.depth, point.width, point.ratio) == (3, 2, 4, 0.5)
    assert point.strength == Fraction(123, 10_000)
    for exact, factor in zip(point.network, factors, strict=True):
        np.testing.assert_allclose(np.array(exact, dtype=np.float64), factor, rtol=0, atol=1e-10)
    # its value is that of the library
    H, *weights = (np.array(factor, dtype=np.float64) for factor in point.network)
    problem = rectified_problem(3, 2, 0.0123, width=4)
    at = ufm.Params(tuple(jnp.asarray(W) for W in reversed(weights)), jnp.asarray(H))
    assert float(point.value) == pytest.approx(float(ufm.model.objective(problem, at)), rel=1e-14)


@pytest.mark.parametrize(("K", "L", "share"), [(3, 4, "0.3"), (10, 3, "0.9"), (2, 6, "0.01")])
def test_collapse_is_bounded_from_below(K, L, share):
    strength = Fraction(share) * Fraction(threshold(K, L))
    bound = points.collapse_at_least(K, L, strength)
    least = value(K, float(strength), L)
    assert float(bound) == pytest.approx(least, rel=1e-13)
    # a fraction lower than the objective at any scale
    for x in np.linspace(0.3, 1, 15):
        t = Fraction(float(x))
        at = (t ** (L + 1) - 1) ** 2 / 2 + Fraction(L + 1, 2) * strength * K * t**2
        assert bound < at


def test_the_inverse_is_exact():
    matrix = fractions([[0, 2, 1], [3, 1, 0], [1, 0, 5]], over=7)
    assert product(matrix, points.inverse(matrix)) == identity(3)
