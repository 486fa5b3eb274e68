r"""Simplex ETFs with most entries zero.

K unit columns with $V^\top V = aP$, $a = K/(K-1)$, $P = I - \tfrac1K\mathbf 1\mathbf 1^\top$. Then
$\|V\mathbf 1\|^2 = 0$: every row sums to zero, so that a row with one entry is dead, and what is
left are $K(K-1)/2$ equations in $\sum_i(m_i-1)_+$ unknowns, $m_i$ entries of row i. A support drawn
at random needs as many unknowns as equations. A support made on purpose may do with fewer: Haar's
wavelets have $K\log_2K$ entries. Every two columns must share a row, for the cosine is not zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import PRNGKeyArray
from numpy.typing import NDArray

from ufm._classes.module import Displayed
from ufm._validate import require, require_each, require_key, require_whole

Floats = NDArray[np.float64]

# Gauss–Newton steps from one draw, and conjugate gradients in each
_STEPS, _INNER = 60, 400
# an error of this many roundings is none
_EXACT = 64


@dataclass(frozen=True, eq=False)
class SparseETF(Displayed):
    r"""What was found for one number of classes, dimension and density.

    `vectors` (d, K): the columns. `error`: the largest entry of $V^\top V - aP$, $a = K/(K-1)$.
    `exact`: whether that is rounding. `unknowns`, `equations`: of the support that was drawn.
    `why`: in a few words, why it is exact, or what keeps it from that.
    """

    vectors: Floats
    error: float
    exact: bool
    unknowns: int
    equations: int
    why: str

    def __str__(self) -> str:
        kind = "exact" if self.exact else f"off by {self.error:.2g}"
        d, K = self.vectors.shape
        return f"sparse simplex ETF of {K} columns in R^{d}, {kind}: {self.why}"


def sparse_etf(
    num_classes: int, dim: int, density: float, *, key: PRNGKeyArray, draws: int = 8
) -> SparseETF:
    r"""K unit columns with a share `density` of entries that are not zero, as near to a simplex ETF
    as supports drawn at random let them be.

    Parameters
    ----------
    num_classes
        K >= 2.
    dim
        d >= K − 1, rows.
    density
        The share of the d K entries that may differ from zero, in (0, 1]; they are drawn at random.
    key
        A `jax.random.key`.
    draws
        Supports that are tried, until one is exact.

    Returns
    -------
    SparseETF
        The best of the draws: `vectors` (d, K), and whether and why they are exact.

    Raises
    ------
    ValueError
        For K < 2, d < K − 1, a density outside (0, 1], and a density that leaves no entry.

    Notes
    -----
    Gauss–Newton on $V^\top V = aP$ within the support and rows of zero sum, with steps of least
    norm. Where a support has fewer unknowns than `equations`, no draw is expected to be exact; that
    it has more does not suffice. See `haar_etf` and `difference_etf` for supports made on purpose.

    References
    ----------
    Xiao et al. 2024 draw a mask and train the rest; that the cost of sparsity is a question of
    existence, and the count, are derived here.
    """
    K = require_whole("num_classes", num_classes, least=2)
    d = require_whole("dim", dim)
    require(d >= K - 1, f"`dim` must be >= K - 1 = {K - 1}, to hold a simplex ETF", d)
    require_each("density", density, lambda x: (x > 0) & (x <= 1), "lie in (0, 1]", shape=())
    number = round(float(density) * d * K)
    require(number >= 1, "`density` must leave at least one entry", density)
    require_key("key", key)
    draws = require_whole("draws", draws)
    best: SparseETF | None = None
    for each in jax.random.split(key, draws):
        rng = np.random.default_rng(np.asarray(jax.random.key_data(each)).tolist())
        mask = np.zeros(d * K, bool)
        mask[rng.choice(d * K, number, replace=False)] = True
        found = _solved(mask.reshape(d, K), rng)
        if best is None or found.error < best.error:
            best = found
        if best.exact:
            break
    assert best is not None
    return best


def haar_etf(num_classes: int) -> Floats:
    r"""Haar's wavelets as a simplex ETF of $K = 2^q$ unit columns in $\mathbb R^{K-1}$, with
    $K\log_2K$ entries that are not zero.

    Returns (K − 1, K). Raises `ValueError` unless K is a power of two, at least 2.
    """
    K = require_whole("num_classes", num_classes, least=2)
    require(K & (K - 1) == 0, "`num_classes` must be a power of two", K)
    rows, size = [], K
    while size > 1:
        for start in range(0, K, size):
            row = np.zeros(K)
            row[start : start + size // 2], row[start + size // 2 : start + size] = 1, -1
            rows.append(row / np.sqrt(size))
        size //= 2
    return np.sqrt(K / (K - 1)) * np.array(rows)


def difference_etf(num_classes: int) -> Floats:
    r"""All differences $e_i - e_j$ as rows: a simplex ETF of K unit columns in $\mathbb
    R^{K(K-1)/2}$ with two entries a row, density 2/K.

    Returns (K(K − 1)/2, K). Raises `ValueError` for K < 2.
    """
    K = require_whole("num_classes", num_classes, least=2, most=1000)
    first, second = np.triu_indices(K, 1)
    rows = np.zeros((len(first), K))
    rows[np.arange(len(first)), first], rows[np.arange(len(first)), second] = 1, -1
    return rows / np.sqrt(K - 1)


def _solved(mask: NDArray[np.bool_], rng: np.random.Generator) -> SparseETF:
    """The best columns on one support."""
    d, K = mask.shape
    wanted = K / (K - 1) * (np.eye(K) - 1 / K)
    entries = mask.sum(axis=1)
    unknowns, equations = int(np.maximum(entries - 1, 0).sum()), K * (K - 1) // 2
    inside = mask & (entries >= 2)[:, None]
    share = 1 / np.maximum(entries, 1)[:, None]

    def projected(X: Floats) -> Floats:
        """Within the support, rows of zero sum."""
        X = np.where(inside, X, 0)
        return np.where(inside, X - X.sum(axis=1, keepdims=True) * share, 0)

    V = projected(rng.standard_normal((d, K)))
    size = np.linalg.norm(V)
    V = V * np.sqrt(K) / (size if size > 0 else 1)
    damping = 1.0
    error = V.T @ V - wanted
    for _ in range(_STEPS):
        old = float(np.linalg.norm(error))
        if np.max(np.abs(error)) <= _EXACT * K * np.finfo(float).eps / 8:
            break
        trial = V - projected(V @ _multipliers(V, projected, error, damping * old**2))
        off = trial.T @ trial - wanted
        if np.linalg.norm(off) < old:
            V, error, damping = trial, off, damping / 10
        elif damping < 1e12:
            damping = max(10 * damping, 1e-6)
        else:
            break
    largest = float(np.max(np.abs(error)))
    exact = largest <= _EXACT * K * float(np.finfo(float).eps)
    why = _reason(inside, unknowns, equations, exact=exact)
    return SparseETF(V, largest, exact, unknowns, equations, why)


def _multipliers(V: Floats, projected, error: Floats, damping: float) -> Floats:
    """Y symmetric with VᵀT(VY) + T(VY)ᵀV + damping Y = error, by conjugate gradients."""

    def curved(Y):
        X = V.T @ projected(V @ Y)
        return X + X.T + damping * Y

    Y, residual = np.zeros_like(error), error.copy()
    direction, energy = residual.copy(), float(np.sum(residual**2))
    goal = 1e-24 * energy
    for _ in range(_INNER):
        if energy <= goal:
            break
        along = curved(direction)
        curvature = float(np.sum(direction * along))
        if curvature <= 0:
            break
        Y = Y + energy / curvature * direction
        residual = residual - energy / curvature * along
        fresh = float(np.sum(residual**2))
        direction, energy = residual + fresh / energy * direction, fresh
    return Y


def _reason(inside, unknowns: int, equations: int, *, exact: bool) -> str:
    """Why a support is exact, or is not."""
    count = f"{unknowns} unknowns for {equations} equations"
    if exact:
        return count
    if not inside.any(axis=0).all():
        return "a column is left without entries"
    shared = inside.T.astype(int) @ inside.astype(int)
    if not shared.all():
        return "two columns share no row, so that they are orthogonal"
    if unknowns < equations:
        return f"{count}, too few"
    return f"{count}, which do not suffice on this support"
