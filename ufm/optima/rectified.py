r"""ReLU layers under squared error: what a structure costs, as one number.

$F = \tfrac1{2N}\|W_L\sigma(W_{L-1}\cdots\sigma(W_1H)) - Y\|^2$ plus decay, balanced one-hot labels,
no bias. ReLU is positively homogeneous, so F depends on the decays only through
$\Lambda = (n\lambda_H\prod_l\lambda_l)^{1/(L+1)}$, and on a structure whose output is
$xI_K$ only through its complexity κ, the least $(\sum_l\|W_l\|^2+\|H\|^2)/(L+1)$ at x = 1. All
derived here; L, the number of weight matrices, is `depth`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm._host.roots import root_between
from ufm._validate import require_positive, require_whole


@dataclass(frozen=True, kw_only=True)
class RectifiedScale:
    r"""The best scale of a structure at one strength of decay.

    `value`: V, the objective, ½ where zero is best. `scale`: x there, 0 where zero is best.
    `threshold`: the Λ from which on zero is best. `jump`: x just below it, (L − 1)/L.
    """

    value: float
    scale: float
    threshold: float
    jump: float


def rectified_scale(complexity: float, *, strength: float, depth: int) -> RectifiedScale:
    r"""The value of a structure of ReLU layers with output $xI_K$, at its best scale x.

    $V = \min_{x\ge0}\tfrac12(x-1)^2 + \tfrac{L+1}2\Lambda\kappa\,x^{2/(L+1)}$; a nonzero x is best
    iff $\Lambda^{L+1} < (L-1)^{L-1}/(\kappa^{L+1}L^{2L})$.

    Parameters
    ----------
    complexity
        κ > 0, as `rectified_structures` gives it; K for collapse.
    strength
        $\Lambda = (n\lambda_H\prod_l\lambda_l)^{1/(L+1)}$, > 0.
    depth
        L >= 1, weight matrices.

    Returns
    -------
    RectifiedScale
        Value, scale, threshold and jump.

    Raises
    ------
    ValueError
        For numbers that are not positive.

    Notes
    -----
    Derived here; the threshold of K = 2 is that of Súkeník et al. 2023. An upper bound on the
    global minimum and no more: outputs that are not a multiple of the identity may lie lower.
    """
    require_positive("complexity", complexity, shape=())
    require_positive("strength", strength, shape=())
    L = require_whole("depth", depth)
    kappa, Lam = float(complexity), float(strength)
    # L^{2L} alone overflows from L = 110
    log = (L - 1) * np.log(max(L - 1, 1)) - 2 * L * np.log(L)
    threshold = float(np.exp(log / (L + 1)) / kappa)
    jump = (L - 1) / L
    zero = RectifiedScale(value=0.5, scale=0.0, threshold=threshold, jump=jump)
    # (less the rounding that would miss a threshold met exactly)
    if Lam >= threshold * (1 - 1e-14):
        return zero

    def push(x):
        # −dV/dx times x^{(L−1)/(L+1)}: positive between the maximum and the minimum of V
        return (1 - x) * x ** ((L - 1) / (L + 1)) - Lam * kappa

    # below the threshold the minimum lies beyond the jump, and the maximum of V before it
    x = root_between(push, jump, 1.0) if push(jump) > 0 else jump
    value = 0.5 * (x - 1) ** 2 + 0.5 * (L + 1) * Lam * kappa * x ** (2 / (L + 1))
    return RectifiedScale(value=float(value), scale=float(x), threshold=threshold, jump=jump)


def least_complexity(num_classes: int, depth: int) -> float:
    r"""A number that the complexity of no ReLU network with output $I_K$ is below, $K^{2/(L+1)}$.

    ReLU shortens, $\|\sigma(M)\|_F\le\|M\|_F$, so no network is cheaper than
    $\|Z\|_*^{2/(L+1)}$.

    Parameters
    ----------
    num_classes
        K >= 2.
    depth
        L >= 1, weight matrices.

    Returns
    -------
    float
        The bound, at any width.

    Notes
    -----
    Derived here, and rigorous; attained for L = 1 alone. For more layers it is far below every
    structure known, and certifies none of them; from its threshold on it certifies zero.
    """
    K, L = require_whole("num_classes", num_classes, least=2), require_whole("depth", depth)
    return float(K ** (2 / (L + 1)))
