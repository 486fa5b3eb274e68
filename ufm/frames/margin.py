r"""The one-vs-rest margin of a classifier.

What cross-entropy on the sphere maximises as $\beta\to\infty$.
"""

from __future__ import annotations

import numpy as np

from ufm._validate import require, require_finite

# Of the size of the points: how far from the nearest point another may be, and below what length
# it is the origin; and which weight is none.
_ROUNDING = 1e-13
_ZERO_WEIGHT = 1e-13


def one_vs_rest_margin(classifier) -> float:
    r"""The least distance of a row from the convex hull of the others.

    $$\rho(W) = \min_k\mathrm{dist}\big(w_k,\mathrm{conv}\{w_j\}_{j\ne k}\big)$$

    $-\frac1\beta\log\min_{\|h\|\le1}L(W,H)\to\rho(W)$ as $\beta\to\infty$; a *softmax code*
    maximises it over unit rows.

    Parameters
    ----------
    classifier
        (K, d), its rows w_k of any length; K >= 2.

    Returns
    -------
    float
        Exact to 1e-12 of the largest distance of two rows, and 0 where a row is in the hull of
        others. Of a hull that is flat to a share ε (rows that lie almost in a line or plane, or
        differ in length by orders of magnitude) too large by up to ε or 1e-8, whichever is less.

    Raises
    ------
    ValueError
        For fewer than two rows.

    Notes
    -----
    For unit rows with largest inner product μ, 1 − μ <= ρ <= √(2 − 2μ). The largest ρ is known for
    K <= d + 1 (K/(K − 1), the simplex), d = 2 (1 − cos(2π/K)) and d + 2 <= K <= 2d (1).

    References
    ----------
    Jiang et al. 2023 (softmax codes, recalled); Wolfe 1976 (the nearest point of a polytope).
    """
    require_finite("classifier", classifier, ndim=2)
    W = np.asarray(classifier, dtype=np.float64)
    require(len(W) >= 2, "`classifier` must have K >= 2 rows", W.shape)
    # in units in which no square over- or underflows
    scale = 2.0 ** np.frexp(np.max(np.abs(W)))[1]
    W = W / scale
    nearest = (nearest_to_origin(np.delete(W, k, 0) - W[k]) for k in range(len(W)))
    return min(float(np.linalg.norm(point)) for point in nearest) * float(scale)


def nearest_to_origin(points: np.ndarray) -> np.ndarray:
    """The point of the convex hull of rows (n, d) that is nearest to the origin, by Wolfe's
    algorithm."""
    size = np.sqrt(np.max(np.sum(points**2, axis=1)))
    corral = [int(np.argmin(np.sum(points**2, axis=1)))]
    weights, x = np.ones(1), points[corral[0]]
    while True:
        length, heights = np.linalg.norm(x), points @ x
        if length <= _ROUNDING * size:
            return 0 * x
        entering = int(np.argmin(heights))
        # no row is nearer along x: x is optimal (a row again is rounding)
        if heights[entering] >= length * (length - _ROUNDING * size) or entering in corral:
            return x
        corral, weights = _inside([*corral, entering], np.append(weights, 0.0), points)
        nearer = weights @ points[corral]
        # every step comes nearer; one that does not is rounding too, and would be taken for ever
        if not nearer @ nearer < x @ x:
            return x
        x = nearer


def _inside(
    corral: list[int], weights: np.ndarray, points: np.ndarray
) -> tuple[list[int], np.ndarray]:
    """Rows and positive weights of the nearest point of their affine hull, rows that block it left
    out."""
    while True:
        affine = _affine_weights(points[corral])
        if np.all(affine > _ZERO_WEIGHT):
            return corral, affine
        falling = affine <= _ZERO_WEIGHT
        step = np.min(
            weights[falling] / np.maximum(weights[falling] - affine[falling], _ZERO_WEIGHT)
        )
        weights = (1 - min(step, 1.0)) * weights + min(step, 1.0) * affine
        kept = weights > _ZERO_WEIGHT
        # (at least one that blocks goes, or the loop would not end)
        kept[np.flatnonzero(falling)[np.argmin(weights[falling])]] = False
        corral = [row for row, keep in zip(corral, kept, strict=True) if keep]
        weights = weights[kept] / weights[kept].sum()


def _affine_weights(rows: np.ndarray) -> np.ndarray:
    """Weights that sum to one of the point of the affine hull of rows that is nearest to the
    origin."""
    base, edges = rows[0], rows[1:] - rows[0]
    if not len(edges):
        return np.ones(1)
    others = np.linalg.lstsq(edges.T, -base, rcond=None)[0]
    return np.append(1 - others.sum(), others)
