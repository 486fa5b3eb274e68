"""Manifold mixup with a free classifier: features of classes are mixed, and not their inputs."""

from __future__ import annotations

import numpy as np

from ufm._host.roots import root_between
from ufm._validate import require_positive, require_whole
from ufm.labels.beta_law import beta_quadrature, require_alpha, require_nodes
from ufm.optima.inversion import Floats


def manifold_mixup_optimum(
    num_classes: int, alpha: float, *, lambda_W: float, lambda_H: float, nodes: int = 64
) -> tuple[float, float]:
    r"""Manifold mixup, balanced, cross-entropy.

    Free features $h_k$ for pure classes, $\lambda h_i + (1-\lambda) h_j$ for mixtures.

    Parameters
    ----------
    num_classes, alpha, nodes
        As for `mixup_optimum`.
    lambda_W, lambda_H
        λ > 0. The decay of the features is $\tfrac\mu2\cdot\tfrac1K\sum_k\|h_k\|^2$, μ =
        `lambda_H`.

    Returns
    -------
    tuple[float, float]
        ζ and the value φ(ζ); the optimal class logits are $\zeta P$, and the features of mixtures
        lie on the straight segments between those of the classes.

    Raises
    ------
    ValueError
        As `mixup_optimum` does.

    Notes
    -----
    ζ minimises the convex $\varphi(\zeta) = \mathbb E[\log\textstyle\sum_k e^{\zeta q_k} -
    \zeta\|q\|^2] + \sqrt{\lambda_W\mu/K}\,(K-1)\,\zeta$.

    Source: derived here. Needs d >= K − 1.
    """
    K = require_whole("num_classes", num_classes, least=2)
    nodes = require_nodes(nodes)
    require_positive("lambda_W", lambda_W, shape=())
    require_positive("lambda_H", lambda_H, shape=())
    require_alpha(alpha)
    lam, weights = (
        (np.array([1.0]), np.array([1.0])) if alpha == 0 else beta_quadrature(alpha, nodes=nodes)
    )
    # a class mixed with itself is λ = 1
    lam, weights = np.append(lam, 1.0), np.append(weights * (1 - 1 / K), 1 / K)
    price = float(np.sqrt(lambda_W) * np.sqrt(lambda_H / K) * (K - 1))
    shares = lam, 1 - lam
    others = np.log(K - 2) if K > 2 else -np.inf

    def odds(zeta: float) -> list[Floats]:
        """Log odds against the class of each share: nothing is a difference of large numbers."""
        apart = zeta * (shares[0] - shares[1])
        pairs = zip((-apart, apart), shares, strict=True)
        return [np.logaddexp(other, others - zeta * share) for other, share in pairs]

    def slope(zeta: float) -> float:
        terms = (
            share * (1 - share - np.exp(against - np.logaddexp(0, against)))
            for share, against in zip(shares, odds(zeta), strict=True)
        )
        return float(weights @ sum(terms)) + price

    def value(zeta: float) -> float:
        pairs = zip(shares, odds(zeta), strict=True)
        terms = (share * np.logaddexp(0, against) for share, against in pairs)
        return float(weights @ sum(terms)) + price * zeta

    if slope(0.0) >= 0:
        return 0.0, value(0.0)
    high = 1.0
    # E[q·p] tends to E[max(λ, 1 − λ)] > E‖q‖² unless λ is 0 or 1 always; then the price makes the
    # slope positive
    while slope(high) < 0:
        high *= 2
    zeta = root_between(slope, 0.0, high)
    return zeta, value(zeta)
