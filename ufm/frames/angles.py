r"""How far unit vectors are from orthogonal: the coherence, its bounds, and a smooth stand-in.

Products are made in tiles, with running sums as a softmax is streamed: never the whole Gram matrix.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from ufm._validate import require, require_finite, require_whole

# Rows of a tile: its entries stay in a core's cache.
_TILE = 500
# Below e^-60 a term is nothing, and products with subnormal numbers take many times as long.
_NOTHING = -60.0


def coherence(vectors) -> float:
    r"""The largest $|w_i\cdot w_j|$ over $i\ne j$ of rows, whatever their lengths.

    Parameters
    ----------
    vectors
        (N, d), no row zero; N >= 2.

    Returns
    -------
    float
        Of the normalised rows, in float64, by tiles.

    Raises
    ------
    ValueError
        For fewer than two rows, and a row that is zero.
    """
    require_finite("vectors", vectors, ndim=2)
    rows = np.asarray(vectors, dtype=np.float64)
    require(len(rows) >= 2, "`vectors` must have N >= 2 rows", rows.shape)
    largest = np.max(np.abs(rows), axis=1, keepdims=True)
    require(np.all(largest > 0), "`vectors` must have no row that is zero", "one that is")
    rows = directions(rows / largest)
    pairs = _tiles(len(rows))
    return float(max(np.max(_sizes(rows[i], rows[j], i == j)[1]) for i, j in pairs))


def welch_bound(num_vectors: int, dim: int) -> float:
    r"""$\sqrt{(N-d)/(d(N-1))}$: no N unit vectors in $\mathbb R^d$ have a smaller coherence.

    Attained by equiangular tight frames alone, which need N <= d(d + 1)/2. 0 for N <= d.

    `num_vectors`: N >= 2. `dim`: d >= 1. Raises `ValueError` for smaller ones. Welch 1974
    (recalled).
    """
    N = require_whole("num_vectors", num_vectors, least=2)
    d = require_whole("dim", dim)
    return math.sqrt(max(N - d, 0) / (d * (N - 1)))


def levenshtein_bound(num_vectors: int, dim: int) -> float:
    r"""$\sqrt{(3N-d^2-2d)/((d+2)(N-d))}$, for N > d(d + 1)/2, where it exceeds Welch's.

    0, which says nothing, for smaller N.

    `num_vectors`: N >= 2. `dim`: d >= 1. Raises `ValueError` for smaller ones. Levenshtein 1982
    (recalled).
    """
    N = require_whole("num_vectors", num_vectors, least=2)
    d = require_whole("dim", dim)
    if d * (d + 1) >= 2 * N:
        return 0.0
    return math.sqrt((3 * N - d * d - 2 * d) / ((d + 2) * (N - d)))


def smooth_coherence(X: np.ndarray, sharpness: float) -> tuple[float, float, np.ndarray]:
    r"""$\frac1s\log\sum_{i<j}e^{s|w_i\cdot w_j|}$ at unit rows, the coherence, and the gradient
    along the sphere."""
    dtype = X.dtype.type
    height, total, gradient = 0.0, 0.0, np.zeros_like(X)
    for rows, columns in _tiles(len(X)):
        first, second, same = X[rows], X[columns], rows == columns
        gram, terms = _sizes(first, second, same)
        new = float(np.max(terms))
        if new > height:
            shrink = math.exp(sharpness * (height - new))
            height, total = new, total * shrink
            gradient *= dtype(shrink)
        terms -= dtype(height)
        terms *= dtype(sharpness)
        np.maximum(terms, dtype(_NOTHING), out=terms)
        np.exp(terms, out=terms)
        if same:
            np.fill_diagonal(terms, 0)
        # both halves of a tile on the diagonal are in it, so that the others count twice
        total += (1 if same else 2) * float(np.sum(terms, dtype=np.float64))
        np.copysign(terms, gram, out=terms)
        gradient[rows] += terms @ second
        if not same:
            gradient[columns] += terms.T @ first
    gradient *= dtype(2 / total)
    gradient -= X * np.sum(gradient * X, axis=1, keepdims=True)
    return height + math.log(total / 2) / sharpness, height, gradient


def _tiles(count: int) -> Iterator[tuple[slice, slice]]:
    """Pairs of blocks of rows, each pair once."""
    blocks = [slice(at, at + _TILE) for at in range(0, count, _TILE)]
    return itertools.combinations_with_replacement(blocks, 2)


def _sizes(first: np.ndarray, second: np.ndarray, same: bool) -> tuple[np.ndarray, np.ndarray]:
    """Products of rows, and their sizes, with none of a row and itself."""
    gram = first @ second.T
    sizes = np.abs(gram)
    if same:
        np.fill_diagonal(sizes, 0)
    return gram, sizes


def directions(rows: np.ndarray) -> np.ndarray:
    """Rows over their lengths."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
