r"""Mixup with a free classifier: the global optimum, which is a simplex ETF or zero.

For balanced classes the objective $\mathbb E[\mathrm{CE}(Wh, q) + \tfrac\mu2\|h\|^2] +
\tfrac{\lambda_W}2\|W\|^2$ is, over the logits, convex and invariant under permutations of the
classes, and strictly convex up to shifts. So the optimal logits are equivariant, $\mathbb
E[zz^\top] = \kappa P$, hence $WW^\top = aP$; stationarity in W fixes the strength $s = \mu/a$
through $\mathbb E\|q - p\|^2 = s^2\,\mathbb E\|z\|^2 = (K-1)\lambda_W\mu$.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ufm._host.roots import root_between
from ufm._validate import require, require_each, require_positive, require_whole
from ufm.labels.beta_law import (
    MOST_NODES,
    beta_quadrature,
    mixing_moment,
    require_alpha,
    require_nodes,
)
from ufm.optima.channels import Channel, same_class_gap
from ufm.optima.inversion import Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class MixupOptimum:
    r"""The global optimum of cross-entropy with mixup, both factors free.

    `lam`, `weights` (R,): the law of λ between distinct classes, of total weight 1 − `same_weight`;
    `same_weight`: of pure classes. `decay`: μ. `strength`: $s = \mu/a$, infinite where the optimum
    is W = 0. `second_moment`: $\mathbb E\|q\|^2$.
    """

    num_classes: int
    lam: Floats
    weights: Floats
    same_weight: float
    lambda_W: float
    decay: float
    strength: float

    @property
    def trivial(self) -> bool:
        """Whether W = 0 is optimal."""
        return self.strength == np.inf

    @property
    def scale(self) -> float:
        r"""a of $WW^\top = aP$."""
        return self.decay / self.strength

    @property
    def multiplier(self) -> float:
        r"""m, the length of a row of the classifier: $m^2 = a(K-1)/K$."""
        return float(np.sqrt(self.scale * (self.num_classes - 1) / self.num_classes))

    @cached_property
    def gap(self) -> float:
        """ξ of a pure class."""
        return 0.0 if self.trivial else float(same_class_gap(self.num_classes, self.strength))

    @cached_property
    def channel(self) -> Channel:
        """The mixtures, over `lam`."""
        if self.trivial:
            zero = np.zeros_like(self.lam)
            return Channel(
                num_classes=self.num_classes,
                lam=self.lam,
                strength=zero + np.inf,
                t=zero,
                first_gap=zero,
                second_gap=zero,
            )
        return Channel.solved(self.num_classes, self.lam, np.asarray(self.strength))

    @property
    def mean_squared_logits(self) -> float:
        r"""$\mathbb E\|z\|^2$."""
        K = self.num_classes
        return float(
            self.same_weight * self.gap**2 * (K - 1) / K
            + self.weights @ self.channel.squared_logits
        )

    @property
    def loss(self) -> float:
        """The mean cross-entropy."""
        pure = np.log1p((self.num_classes - 1) * np.exp(-self.gap))
        return float(self.same_weight * pure + self.weights @ self.channel.cross_entropy)

    @property
    def value(self) -> float:
        r"""The objective: the loss and $\tfrac12(\mu\,\mathbb E\|h\|^2 + \lambda_W\|W\|^2)$, two
        equal halves of $s\,\mathbb E\|z\|^2$."""
        return self.loss + (0.0 if self.trivial else self.strength * self.mean_squared_logits)


def mixup_optimum(
    num_classes: int, alpha: float, *, lambda_W: float, lambda_H: float, nodes: int = 64
) -> MixupOptimum:
    r"""The global optimum for balanced mixup with $\lambda\sim\mathrm{Beta}(\alpha,\alpha)$.

    Cross-entropy, one layer, no bias, d >= K − 1.

    Parameters
    ----------
    num_classes, alpha
        As for `ufm.mixup`.
    lambda_W, lambda_H
        λ > 0 of a `Problem` with its labels, whose masses sum to one.
    nodes
        Of the quadrature in λ.

    Returns
    -------
    MixupOptimum
        Zero beyond the threshold.

    Raises
    ------
    ValueError
        For K < 2, a negative alpha, and λ that are not positive.

    Notes
    -----
    Source: derived here; Fisher, Meng & Papyan 2024 assume a simplex ETF. See `solve_mixture` for
    other laws of λ. Does not hold for imbalanced classes.
    """
    num_classes = require_whole("num_classes", num_classes, least=2)
    nodes = require_nodes(nodes)
    require_positive("lambda_H", lambda_H, shape=())
    require_alpha(alpha)
    if alpha == 0:
        lam, weights, same = np.array([]), np.array([]), 1.0
    else:
        lam, weights = beta_quadrature(alpha, nodes=nodes)
        same = 1 / num_classes
    return solve_mixture(
        num_classes, lam, weights * (1 - same), same_weight=same, lambda_W=lambda_W, decay=lambda_H
    )


def solve_mixture(
    num_classes: int, lam, weights, *, same_weight: float, lambda_W: float, decay: float
) -> MixupOptimum:
    r"""The global optimum where every pair of classes shares one law of λ.

    Symmetric under λ ↔ 1 − λ, and all pure classes weigh the same.

    Parameters
    ----------
    num_classes
        K >= 2.
    lam, weights
        (R,), nodes and their weights summed over all pairs.
    same_weight
        Weight of all pure classes together; the weights and it sum to one.
    lambda_W
        > 0, of the classifier.
    decay
        μ > 0, `lambda_H` times the total mass.

    Returns
    -------
    MixupOptimum
        Its strength is infinite where only W = 0 is left.

    Raises
    ------
    ValueError
        For λ outside [0, 1], negative weights or a sum other than one, and decay that is not
        positive.

    Notes
    -----
    Solves $s^2\,\mathbb E\|z\|^2 = (K-1)\lambda_W\mu$ for s; the left side increases from 0 to
    $\mathbb E\|q\|^2 - 1/K$, so beyond `zero_decay` only W = 0 is left.
    """
    require_whole("num_classes", num_classes, least=2)
    require_positive("lambda_W", lambda_W, shape=())
    require_positive("decay", decay, shape=())
    if np.size(lam) > 0:
        require_each("lam", lam, lambda lam: (lam >= 0) & (lam <= 1), "be in [0, 1]")
    lam, weights = np.asarray(lam, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    total = same_weight + weights.sum()
    require(
        abs(total - 1) < 1e-6 and weights.min(initial=same_weight) >= 0,
        "`weights` and `same_weight` must be >= 0 and sum to 1",
        total,
    )
    settings = {
        "num_classes": num_classes,
        "lam": lam,
        "weights": weights,
        "same_weight": same_weight,
        "lambda_W": lambda_W,
        "decay": decay,
    }
    moment = float(same_weight + weights @ (lam**2 + (1 - lam) ** 2))
    product = lambda_W * decay
    # the relative slack is rounding of the sums, which would miss a threshold met exactly
    if product >= zero_decay(num_classes, moment) * (1 - 1e-14):
        return MixupOptimum(**settings, strength=np.inf)
    target = 0.5 * np.log((num_classes - 1) * product)

    def excess(log_s: float) -> float:
        s = float(np.exp(log_s))
        return (
            log_s + 0.5 * np.log(MixupOptimum(**settings, strength=s).mean_squared_logits) - target
        )

    low, high = -1.0, 1.0
    while excess(low) > 0:
        low -= 2
    while excess(high) < 0:
        high += 2
    return MixupOptimum(**settings, strength=float(np.exp(root_between(excess, low, high))))


def zero_decay(num_classes: int, second_moment: float) -> float:
    r"""The least $\lambda_W\mu$ at which W = 0 is the optimum of cross-entropy.

    $(\mathbb E\|q\|^2 - 1/K)/(K-1)$.

    `second_moment`: $\mathbb E\|q\|^2$, equal for all classes.
    """
    return (second_moment - 1 / num_classes) / (num_classes - 1)


def mixup_threshold(num_classes: int, alpha: float) -> float:
    r"""The least $\lambda_W\mu$ at which W = 0 is optimal for balanced mixup and cross-entropy.

    $\rho/K$, $\rho = (\alpha+1)/(2\alpha+1)$.

    `num_classes`: K, `alpha` >= 0 as for `ufm.mixup` (0 gives the threshold 1/K without mixup).
    Source: derived here, from $\mathbb E\|q\|^2 = (1 + (K-1)\rho)/K$.
    """
    K = require_whole("num_classes", num_classes, least=2)
    return zero_decay(K, (1 + (K - 1) * mixing_moment(alpha)) / K)


def mixup_quadrature_error(
    num_classes: int, alpha: float, *, nodes: int, lambda_W: float, lambda_H: float
) -> dict[str, float]:
    """What the quadrature in λ costs.

    Parameters
    ----------
    num_classes, alpha, lambda_W, lambda_H
        As for `mixup_optimum`.
    nodes
        Of the rule that is judged.

    Returns
    -------
    dict[str, float]
        Relative change of `value` and `multiplier` of the optimum from `nodes` to four times as
        many. NaN for the multiplier where the optimum is zero.

    Raises
    ------
    ValueError
        As `mixup_optimum` does, and for more nodes than can be had four times.

    Notes
    -----
    The optimal residual as a function of λ has layers of width about s at 0 and 1, which the rule
    must resolve; there the convergence is algebraic until the layers are resolved.
    """
    nodes = require_nodes(nodes, most=MOST_NODES // 4)
    coarse, fine = (
        mixup_optimum(num_classes, alpha, lambda_W=lambda_W, lambda_H=lambda_H, nodes=count)
        for count in (nodes, 4 * nodes)
    )
    multiplier = (
        np.nan if coarse.trivial or fine.trivial else abs(coarse.multiplier / fine.multiplier - 1)
    )
    return {"value": abs(coarse.value / fine.value - 1), "multiplier": multiplier}
