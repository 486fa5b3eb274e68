"""Points of deep cross-entropy as data: the same in every order of the classes."""

from __future__ import annotations

import numpy as np
import pytest

from theory_checks.papers.garrod2024.points import (
    antiprism,
    canonical,
    entries,
    load,
    pairs_beside_one,
)


@pytest.mark.parametrize("point", [p for p in load() if p.lam == 0.01], ids=lambda p: p.structure)
def test_order_is_forgotten_and_nothing_else(point):
    order = np.random.default_rng(point.K).permutation(point.K)
    Z = point.logits
    np.testing.assert_allclose(
        canonical(Z[np.ix_(order, order)]), Z, rtol=0, atol=1e-9 * np.abs(Z).max()
    )
    moved = Z + 1e-3 * np.abs(Z).max() * np.eye(point.K)[0]
    assert not np.allclose(canonical(moved), Z, atol=1e-4 * np.abs(Z).max())


def test_entries_by_hand():
    assert entries(np.array([[2.0, -1.0], [-1.0, 2.0 - 1e-9]])) == [(2.0, 2), (-1.0, 2)]
    Z = pairs_beside_one(5, (5.0, -4.0, 0.5, -0.7, -1.0, 4.5))
    assert entries(Z) == [(5.0, 4), (4.5, 1), (0.5, 8), (-0.7, 4), (-1.0, 4), (-4.0, 4)]
    assert Z[0].tolist() == [5.0, -4.0, 0.5, 0.5, -1.0]
    assert Z[4].tolist() == [-0.7, -0.7, -0.7, -0.7, 4.5]


def test_an_antiprism_by_hand():
    Z = antiprism(2.0, 1.0)
    # corners of one square, of the other one, and across
    root = 2 * np.sqrt(2)
    expected = [(5.0, 8), (root - 1, 16), (1.0, 16), (-3.0, 8), (-root - 1, 16)]
    for (value, count), (entry, number) in zip(entries(Z), expected, strict=True):
        assert (value, count) == (pytest.approx(entry), number)
    assert np.linalg.matrix_rank(Z) == 3
