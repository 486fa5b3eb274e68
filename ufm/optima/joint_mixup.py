r"""Mixup with a free classifier.

The global optimum, which is a simplex ETF or zero, and the squared-error and manifold variants of
it.

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

from ufm._roots import root_between
from ufm._validate import require, require_positive, require_whole
from ufm.labels.mixtures import (
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


def squared_error_mixup_spectrum(
    num_classes: int, alpha: float, *, lambda_W: float, lambda_H: float
) -> tuple[float, float]:
    r"""Eigenvalues of $WW^\top$ at the optimum of balanced mixup with squared error.

    No bias, d >= K: $\sqrt{\mu/\lambda_W}\,(\sqrt{e} - \sqrt{\lambda_W\mu})_+$ with $e = \rho/K$ (K
    − 1 times) and $e = 1/K$ (once), the eigenvalues of $\mathbb E[qq^\top]$.

    Parameters
    ----------
    num_classes, alpha
        As for `ufm.mixup`.
    lambda_W, lambda_H
        λ > 0; the masses sum to one, so that μ is `lambda_H`.

    Returns
    -------
    tuple[float, float]
        On the contrasts, and on **1**.

    Raises
    ------
    ValueError
        For λ that are not positive.

    Notes
    -----
    So the classifier is no simplex ETF, and mixup shrinks the contrasts only. Features are linear
    in the label: $h = \lambda h_i + (1-\lambda) h_j$ exactly, for any W. Source: derived here.
    """
    num_classes = require_whole("num_classes", num_classes, least=2)
    require_positive("lambda_W", lambda_W, shape=())
    require_positive("lambda_H", lambda_H, shape=())
    moments = np.array([mixing_moment(alpha), 1.0]) / num_classes
    contrast, mean = np.sqrt(lambda_H / lambda_W) * np.maximum(
        np.sqrt(moments) - np.sqrt(lambda_W * lambda_H), 0.0
    )
    return float(contrast), float(mean)


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
    moment = float(weights @ (lam**2 + (1 - lam) ** 2))
    price = float(np.sqrt(lambda_W * lambda_H / K) * (K - 1))

    def at(zeta: float) -> tuple[Floats, Floats]:
        """q·p and the log-sum-exp, over λ."""
        shift = zeta * np.maximum(lam, 1 - lam)
        one, two = np.exp(zeta * lam - shift), np.exp(zeta * (1 - lam) - shift)
        total = one + two + (K - 2) * np.exp(-shift)
        return (lam * one + (1 - lam) * two) / total, shift + np.log(total)

    def slope(zeta: float) -> float:
        return float(weights @ at(zeta)[0] - moment + price)

    def value(zeta: float) -> float:
        return float(weights @ at(zeta)[1] - zeta * moment + price * zeta)

    if slope(0.0) >= 0:
        return 0.0, value(0.0)
    high = 1.0
    # E[q·p] tends to E[max(λ, 1 − λ)] > E‖q‖² unless λ is 0 or 1 always; then the price makes the
    # slope positive
    while slope(high) < 0:
        high *= 2
    zeta = root_between(slope, 0.0, high)
    return zeta, value(zeta)
