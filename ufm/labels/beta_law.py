r"""The law of mixup, $\lambda\sim\mathrm{Beta}(\alpha,\alpha)$: its quadrature and its moment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ufm._validate import require, require_each, require_whole

Floats = NDArray[np.float64]

# Beyond this the law is narrower than rounding of the recurrence can tell from its limit λ = 1/2.
LARGEST_ALPHA = 1e12
# The rule is an eigenproblem of as many rows.
MOST_NODES = 10_000


def beta_quadrature(alpha: float, *, nodes: int = 64) -> tuple[Floats, Floats]:
    r"""Gauss–Jacobi rule of $\mathrm{Beta}(\alpha,\alpha)$.

    Nodes λ (R,) ascending in (0, 1), to rounding, and weights (R,) that sum to one.

    Exact for polynomials in λ of degree 2R − 1; nodes and weights are symmetric about 1/2. `alpha`
    > 0 or `math.inf` (one node, 1/2); `nodes`: R >= 2. The nodes are eigenvalues of the three-term
    recurrence (Golub & Welsch 1969), polished by Newton's method; the weights are Christoffel
    numbers, sums of squares, so the smallest ones are positive and as accurate as the rest.

    Raises `ValueError` for `alpha` <= 0 and fewer than two nodes.
    """
    require_alpha(alpha)
    require(alpha > 0, "`alpha` must be > 0 for a quadrature rule", alpha)
    R = require_nodes(nodes)
    if alpha > LARGEST_ALPHA:
        return np.array([0.5]), np.array([1.0])
    # a smaller one moves no mean by more than rounding, and nodes beside 0 and 1 not at all
    alpha = max(alpha, float(np.finfo(float).eps))
    k = np.arange(2, R + 1)
    # β_k of the orthonormal polynomials of (1 − x²)^(α − 1) on [−1, 1]; β_1 apart, where the
    # general formula is 0/0 at α = 1/2
    beta = np.concatenate(
        [
            [1 / (2 * alpha + 1)],
            k * (k - 2 + 2 * alpha) / (4 * (k + alpha - 0.5) * (k + alpha - 1.5)),
        ]
    )
    off = np.sqrt(beta)
    x = np.linalg.eigvalsh(np.diag(off[:-1], 1) + np.diag(off[:-1], -1))
    for _ in range(2):
        values, slopes = _orthonormal(x, off)
        x = x - values[R] / slopes[R]
        x = 0.5 * (x - x[::-1])
    values, _ = _orthonormal(x, off)
    weights = 1 / np.sum(values[:R] ** 2, axis=0)
    weights = 0.5 * (weights + weights[::-1])
    return 0.5 + 0.5 * x, weights / weights.sum()


def mixing_moment(alpha: float) -> float:
    r"""$\rho = \mathbb E[\lambda^2 + (1-\lambda)^2] = (\alpha+1)/(2\alpha+1)$.

    1 without mixup, 2/3 for uniform λ, 1/2 for λ = 1/2.
    """
    require_alpha(alpha)
    return 0.5 if alpha == np.inf else (alpha + 1) / (2 * alpha + 1)


def _orthonormal(x: Floats, off: Floats) -> tuple[Floats, Floats]:
    """Orthonormal polynomials 0 … R of the recurrence at `x` (R + 1, len(x)), and their
    derivatives."""
    values, slopes = [np.ones_like(x), x / off[0]], [np.zeros_like(x), np.full_like(x, 1 / off[0])]
    for k in range(1, len(off)):
        values.append((x * values[k] - off[k - 1] * values[k - 1]) / off[k])
        slopes.append((values[k] + x * slopes[k] - off[k - 1] * slopes[k - 1]) / off[k])
    return np.stack(values), np.stack(slopes)


def require_nodes(nodes, *, most: int = MOST_NODES) -> int:
    """The number of nodes of a rule."""
    return require_whole("nodes", nodes, least=2, most=most)


def require_alpha(alpha) -> None:
    """The parameter of a symmetric Beta law, from 0 to infinity, is one number on the host."""
    words = "be a number >= 0 (0: no mixup, math.inf: λ = 1/2)"
    values = require_each("alpha", alpha, lambda alpha: alpha >= 0, words, shape=())
    require(values is not None, "`alpha` must be concrete: the rule is made on the host", alpha)
