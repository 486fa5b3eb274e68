"""Exact networks are evaluated exactly, and the formulas in floats are those of the library."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import ufm
from theory_checks.formulas.rectified import threshold, value
from theory_checks.papers.ours_relu.formulas import (
    beside,
    complexity,
    distance_to_identity,
    fractions,
    least_pairs,
    least_triple,
    output,
    pairs,
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
    np.testing.assert_allclose(last @ entering, np.eye(len(last)), atol=1e-14)
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
