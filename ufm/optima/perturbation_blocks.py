r"""Singular values of blocks of the response near collapse: of a class to itself, and to another.

Exact for every pull, and as Theorem 4.2 of Tirer, Huang & Niles-Weed 2023 has them to leading
order. The objective is that of `ufm/optima/perturbation.py`.
"""

from __future__ import annotations

import numpy as np

from ufm._validate import require_positive
from ufm.optima.perturbation_gains import PIECES, Gains, gains
from ufm.optima.perturbation_units import sizes, strengths


def diagonal_block_gains(
    *, num_classes, samples_per_class, feature_dim, lambda_W, lambda_H, beta
) -> Gains:
    r"""Singular values of the block $F_{kk}$ (dn, dn): how class k answers to its own perturbation.

    Exact for every β.

    Parameters
    ----------
    num_classes, samples_per_class, feature_dim
        K, n and d.
    lambda_W, lambda_H, beta
        In the paper's normalisation, β > 0.

    Returns
    -------
    Gains
        The staircase: 1 (d − K times), (1 + g)/2 (K − 1), g (once), β/(β + λ_H) ((d − K)(n − 1)),
        β/(β + r) (K(n − 1)), with $g = \beta/(\beta + 4\lambda_H(1-c))$.

    Raises
    ------
    ValueError
        As `gains` does.

    Notes
    -----
    Source: derived; leading order in Theorem 4.2 of Tirer, Huang & Niles-Weed 2023.
    """
    K, n, d = sizes(num_classes, samples_per_class, feature_dim)
    inside, outside, g, _, _ = gains(
        num_classes=K,
        samples_per_class=n,
        feature_dim=d,
        lambda_W=lambda_W,
        lambda_H=lambda_H,
        beta=beta,
    ).values
    return Gains(
        names=(
            PIECES[4],
            "mean, turned towards another class",
            "mean, stretched",
            PIECES[1],
            PIECES[0],
        ),
        values=np.array([1.0, (1 + g) / 2, g, outside, inside]),
        multiplicities=np.array([d - K, K - 1, 1, (d - K) * (n - 1), K * (n - 1)]),
    )


def cross_talk(*, lambda_W, lambda_H, beta) -> float:
    r"""The one nonzero singular value of a block $F_{kk'}$, k ≠ k'.

    $(1 - g)/2$ with $g = \beta/(\beta + 4\lambda_H(1-c))$, for every β.

    Parameters
    ----------
    lambda_W, lambda_H, beta
        In the paper's normalisation, β > 0.

    Returns
    -------
    float
        Increasing, then decreasing in λ_H, largest at c = 2/3.

    Raises
    ------
    ValueError
        As `gains` does.

    Notes
    -----
    Source: derived; leading order in Theorem 4.2 of Tirer, Huang & Niles-Weed 2023.
    """
    c, _ = strengths(lambda_W, lambda_H)
    require_positive("beta", beta, shape=())
    bend = 4 * lambda_H * (1 - c)
    return float(0.5 * bend / (beta + bend))


def leading_order(*, lambda_W, lambda_H, beta) -> dict[str, float]:
    r"""Theorem 4.2 as printed, for $\beta \gg \max(1, \lambda_H)$.

    Extreme singular values of $F_{kk}$ and the largest of $F_{kk'}$.

    Parameters
    ----------
    lambda_W, lambda_H, beta
        In the paper's normalisation, β > 0.

    Returns
    -------
    dict[str, float]
        1, $1 - r/\beta$ and $2\lambda_H(1-c)/\beta$, each up to $O(\beta^{-2})$.

    Raises
    ------
    ValueError
        As `gains` does.

    Notes
    -----
    Source: Tirer, Huang & Niles-Weed 2023, Theorem 4.2. The smallest one needs r >= λ_H (λ_W <=
    1/λ_H, true for c <= 1) and r >= 4λ_H(1 − c), which is 4c(1 − c) <= 1 and always true.
    """
    c, r = strengths(lambda_W, lambda_H)
    require_positive("beta", beta, shape=())
    return {
        "diagonal largest": 1.0,
        "diagonal smallest": 1 - r / beta,
        "off-diagonal": 2 * lambda_H * (1 - c) / beta,
    }
