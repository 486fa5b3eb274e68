r"""Nodes at which the best bound by linear programming touches, for any K and d.

Levenshtein's quadrature of $S^{d-1}$ has the weight 1/K at t = 1 and is exact up to a degree $\tau$
that grows with K; its other nodes are the inner products of a sharp code of K vectors where there
is one. The interpolant of $e^{\beta(t-1)}$ there is the polynomial of degree at most $\tau$ with
the largest $Kh_0-h(1)$ (Boyvalenkov, Dragnev, Hardin, Saff & Stoyanova 2016, recalled). Floats will
do: any nodes give a true bound.
"""

from __future__ import annotations

import math

import numpy as np

from ufm._host.roots import turn

# Degree of the largest polynomial: a larger one meets the theorem's condition at very large β
# alone.
MOST_DEGREE = 14


def nodes(num_vectors: float, dim: int) -> np.ndarray:
    """The nodes t < 1, ascending; those of the largest degree used where K asks for more."""
    degree = 1
    while degree < MOST_DEGREE and design_bound(degree + 1, dim) < num_vectors:
        degree += 1
    wanted = min(num_vectors, design_bound(degree + 1, dim))
    count, even = (degree + 1) // 2, degree % 2 == 0
    if even:
        low, high = _largest_root(count, dim, False), _largest_root(count, dim, True)
    else:
        low = _largest_root(count - 1, dim, True) if count > 1 else -1.0
        high = _largest_root(count, dim, False)
    # (below the least number whose quadrature counts as many vectors)
    largest, _ = turn(lambda t: not _quadrature(t, count, dim, even)[1] < wanted, low, high)
    return _quadrature(largest, count, dim, even)[0]


def design_bound(degree: int, dim: int) -> int:
    """The least number of vectors of a design of this strength (Delsarte, Goethals & Seidel
    1977)."""
    half = degree // 2
    if degree % 2:
        return 2 * math.comb(dim + half - 1, dim - 1)
    return math.comb(dim + half - 1, dim - 1) + math.comb(dim + half - 2, dim - 1)


def _recurrence(count: int, dim: int, even: bool) -> tuple[np.ndarray, np.ndarray]:
    """Diagonal and squared off-diagonal of the Jacobi matrix for (1−t)(1−t²)^{(d−3)/2}, times 1 +
    t."""
    a, b = (dim - 1) / 2, (dim - 3) / 2 + even
    n = np.arange(1, max(count, 2))
    s = 2 * n + a + b
    diagonal = np.append((b - a) / (a + b + 2), (b * b - a * a) / (s * (s + 2)))
    # (n = 1 by itself: for d = 2 both of n + a + b and s − 1 are 0 there)
    off = 4 * n * (n + a) * (n + b) * (n + a + b) / (s * s * (s + 1) * np.where(n > 1, s - 1, 1))
    off[0] = 4 * (1 + a) * (1 + b) / ((2 + a + b) ** 2 * (3 + a + b))
    return diagonal[:count], off[: count - 1]


def _largest_root(count: int, dim: int, even: bool) -> float:
    """Of the orthogonal polynomial of degree `count`."""
    return float(np.linalg.eigvalsh(_jacobi(*_recurrence(count, dim, even)))[-1])


def _jacobi(diagonal: np.ndarray, off: np.ndarray) -> np.ndarray:
    return np.diag(diagonal) + np.diag(np.sqrt(off), 1) + np.diag(np.sqrt(off), -1)


def _quadrature(largest: float, count: int, dim: int, even: bool) -> tuple[np.ndarray, float]:
    """Nodes with this largest one (Radau's rule), and one over the weight at t = 1."""
    diagonal, off = _recurrence(count, dim, even)
    below, value = 0.0, 1.0
    for n in range(count - 1):
        below, value = value, (largest - diagonal[n]) * value - (off[n - 1] if n else 0.0) * below
    if count > 1:
        diagonal[-1] = largest - off[-1] * below / value
    else:
        diagonal[-1] = largest
    t, vectors = np.linalg.eigh(_jacobi(diagonal, off))
    mass = 1 - 1 / dim if even else 1.0
    weights = mass * vectors[0] ** 2 / ((1 - t) * (1 + t) ** even)
    if not even:
        return t, 1 / (1 - weights.sum())
    # 1 and −1 share the rest, so that the mean of t is 0
    return np.append(-1.0, t), 2 / (1 - weights.sum() - weights @ t)
