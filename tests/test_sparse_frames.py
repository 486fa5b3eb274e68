"""Simplex ETFs with most entries zero: exact on supports that allow it, and why on no others."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import ufm
from ufm.frames import difference_etf, haar_etf, sparse_etf

KEY = jax.random.key(0)


def off(V: np.ndarray) -> float:
    K = V.shape[1]
    return float(np.max(np.abs(V.T @ V - K / (K - 1) * (np.eye(K) - 1 / K))))


@pytest.mark.parametrize(
    ("dim", "density"), [(20, 0.7), (20, 0.5), (20, 0.4), (12, 0.6), (12, 0.5), (9, 1.0), (9, 0.8)]
)
def test_exact_where_there_are_unknowns_enough(dim, density):
    found = sparse_etf(10, dim, density, key=KEY)
    assert found.exact
    assert off(found.vectors) == found.error <= 1e-12
    assert np.count_nonzero(found.vectors) <= round(density * 10 * dim)
    assert found.unknowns >= found.equations
    wanted = ufm.simplex_etf(10).T
    assert np.allclose(found.vectors.T @ found.vectors, wanted @ wanted.T, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dim", "density"), [(12, 0.4), (20, 0.3), (9, 0.5)])
def test_too_few_unknowns_are_named(dim, density):
    found = sparse_etf(10, dim, density, key=KEY, draws=2)
    assert not found.exact
    assert found.error > 1e-3
    assert "too few" in found.why or "share no row" in found.why


def test_columns_apart_are_orthogonal():
    # on this support the least error is that of a cosine that stays zero
    found = sparse_etf(10, 20, 0.3, key=KEY)
    assert "share no row" in found.why
    assert found.error >= 1 / 9 - 1e-12
    assert "off by" in str(found)


def test_many_classes():
    found = sparse_etf(40, 100, 0.4, key=KEY, draws=1)
    assert found.exact
    assert "exact" in str(found)


@pytest.mark.parametrize("q", [1, 2, 3, 5])
def test_haar(q):
    K = 2**q
    V = haar_etf(K)
    assert V.shape == (K - 1, K)
    assert np.count_nonzero(V) == K * q
    assert off(V) < 1e-14


@pytest.mark.parametrize("K", [2, 3, 7])
def test_differences(K):
    V = difference_etf(K)
    assert np.all(np.count_nonzero(V, axis=1) == 2)
    assert off(V) < 1e-14


def test_refused():
    for given, words in (
        ({"num_classes": 4, "dim": 2, "density": 1.0}, "`dim` must be >= K - 1"),
        ({"num_classes": 4, "dim": 3, "density": 0.0}, "`density` must lie in"),
        ({"num_classes": 4, "dim": 3, "density": 0.01}, "at least one entry"),
    ):
        with pytest.raises(ValueError, match=words):
            sparse_etf(**given, key=KEY)
    with pytest.raises(ValueError, match="power of two"):
        haar_etf(6)
