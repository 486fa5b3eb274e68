r"""Mixup with a classifier that is a simplex ETF.

The optimal features in closed form, class by class and channel by channel.

With $WW^\top = aP$, $a = m^2K/(K-1)$ (rows of length m) and decay μ, everything depends on the
**strength** $s = \mu/a$. For a target q the feature minimises $\mathrm{CE}(Wh, q) +
\tfrac\mu2\|h\|^2$, so that the logits z (of zero sum) solve $\mathrm{softmax}(z) + s z = q$ and $h
= \tfrac1a\sum_k z_k w_k$. For a mixture of two classes all other logits are equal, $z_0 = -t$, and
with the gaps $u_k = z_k - z_0$

$$t\,(e^{u_i} - 1) + u_i = \lambda/s,\qquad t\,(e^{u_j} - 1) + u_j = (1-\lambda)/s,\qquad u_i + u_j
= K t.$$

The first two are $u = c - W_0(t e^c)$ with $c = t + \lambda/s$ and Lambert's $W_0$; in the form
above nothing overflows or cancels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ufm._validate import require_each, require_positive, require_whole
from ufm.optima.inversion import Floats


def strength(num_classes: int, *, multiplier, decay) -> Floats:
    r"""$s = \mu/a = \mu(K-1)/(K m^2)$ of a simplex ETF. Arrays broadcast.

    Parameters
    ----------
    num_classes
        K >= 2.
    multiplier
        m > 0, the length of the rows of the classifier.
    decay
        μ > 0. For a `Problem` it is `lambda_H` times the total mass of its labels (1 for
        `ufm.mixup`).

    Returns
    -------
    Floats
        s > 0, of the broadcast shape.

    Raises
    ------
    ValueError
        For K < 2 and arguments that are not positive.
    """
    K = require_whole("num_classes", num_classes, least=2)
    require_positive("multiplier", multiplier)
    require_positive("decay", decay)
    return (
        np.asarray(decay, dtype=np.float64)
        * (K - 1)
        / (K * np.asarray(multiplier, dtype=np.float64) ** 2)
    )


def same_class_gap(num_classes: int, strength) -> Floats:
    r"""The gap ξ between the own logit and every other one, for a pure class.

    The root of $\xi e^\xi + (K-1)\xi = K/s$.

    $\xi = W_{K-1}(K/s)$, the "r-Lambert" function; the logits are $\xi(e_i - \tfrac1K\mathbf 1)$,
    the feature $h_i = (\xi/a) w_i$ and the missing probability $1 - p_i = s(K-1)\xi/K$. `strength`:
    s > 0, any shape. Relative error of a few roundings for every s.

    Raises `ValueError` for K < 2 and s <= 0. Source: derived here, from the stationarity above.
    Holds for any one-hot target, mixed with itself or not.
    """
    K, s = require_whole("num_classes", num_classes, least=2), _strengths(strength)
    # both terms are positive: K ξ <= K/s and ξ e^ξ <= K/s, hence ξ <= log(1 + K/s); convex, so
    # Newton's method descends from there
    start = np.minimum(1 / s, np.log1p(K / s))
    return _descend(
        lambda x: x * np.exp(x) + (K - 1) * x - K / s,
        lambda x: (1 + x) * np.exp(x) + (K - 1),
        start,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Channel:
    r"""Optimal logits of mixtures $\lambda e_i + (1-\lambda) e_j$ under a simplex ETF.

    Every array has the broadcast shape of λ and s.

    `lam`: λ. `strength`: s. `t`: minus the logit of the K − 2 other classes. `first_gap`,
    `second_gap`: $u_i = z_i + t$, $u_j = z_j + t$.
    """

    num_classes: int
    lam: Floats
    strength: Floats
    t: Floats
    first_gap: Floats
    second_gap: Floats

    @classmethod
    def solved(cls, K: int, lam: Floats, s: Floats) -> Channel:
        """`channel` of checked numbers; there may be no λ.

        Parameters
        ----------
        K
            Number of classes.
        lam, s
            λ in [0, 1] and s > 0, of shapes that broadcast.

        Returns
        -------
        Channel
            To a few roundings.

        Notes
        -----
        u <= λ/s, so t <= 1/(K s), and the gaps at that t bound t from below; K t − u_i − u_j is
        increasing and concave in t (u is convex), so Newton's method ascends from there.
        """
        lam, s = (np.array(part) for part in np.broadcast_arrays(lam, s))
        loads = lam / s, (1 - lam) / s
        # u <= λ/s, so t <= 1/(K s), and the gaps at that t bound t from below; K t − u_i − u_j is
        # increasing and concave in t (u is convex), so Newton's method ascends from there
        longest = 1 / (K * s)
        t = np.asarray(sum(_gap(load, longest) for load in loads)) / K
        while True:
            gaps = [_gap(load, t) for load in loads]
            # du/dt = −(e^u − 1)/(t e^u + 1), divided by e^u
            slope = K - sum(np.expm1(-u) / (t + np.exp(-u)) for u in gaps)
            step = (gaps[0] + gaps[1] - K * t) / slope
            moves = step > 4e-16 * t
            if not np.any(moves):
                break
            t = np.where(moves, t + step, t)
        return cls(num_classes=K, lam=lam, strength=s, t=t, first_gap=gaps[0], second_gap=gaps[1])

    @property
    def width(self) -> Floats:
        r"""$u_i - u_j$: how far the point is from the decision boundary.

        Tends to $\log(\lambda/(1-\lambda))$ as s → 0.
        """
        return self.first_gap - self.second_gap

    @property
    def depth(self) -> Floats:
        r"""$u_i + u_j = Kt$: how far along the boundary.

        About twice the same-class gap as s → 0.
        """
        return self.first_gap + self.second_gap

    @property
    def logits(self) -> tuple[Floats, Floats, Floats]:
        """z_i, z_j and z_0, the logit of each other class (for K = 2 there is none, and z_0 only
        fixes the gauge)."""
        return self.first_gap - self.t, self.second_gap - self.t, -self.t

    @cached_property
    def probabilities(self) -> tuple[Floats, Floats, Floats]:
        """p_i, p_j and p_0, of each other class.

        Of each to a relative error of a few roundings (p_0 = 0 for K = 2: there is none).
        """
        with np.errstate(invalid="ignore"):
            # (at infinite strength all logits are 0, and s t tends to 1/K)
            limit = 1 / self.num_classes
            p0 = np.where(np.isinf(self.strength), limit, self.strength * self.t)
        return (
            p0 * np.exp(self.first_gap),
            p0 * np.exp(self.second_gap),
            p0 if self.num_classes > 2 else np.zeros_like(p0),
        )

    @property
    def squared_logits(self) -> Floats:
        r"""$\|z\|^2$; the residual of the mixture is $q - p = s z$ and its feature has $\|h\|^2 =
        \|z\|^2/a$."""
        own, other, rest = self.logits
        return own**2 + other**2 + (self.num_classes - 2) * rest**2

    @property
    def cross_entropy(self) -> Floats:
        r"""$-\lambda\log p_i - (1-\lambda)\log p_j$."""
        K = self.num_classes

        def log_loss(gap, width):
            return np.logaddexp(0, -width) + np.log1p((K - 2) * np.exp(-gap) / (1 + np.exp(-width)))

        return self.lam * log_loss(self.first_gap, self.width) + (1 - self.lam) * log_loss(
            self.second_gap, -self.width
        )

    def features(self, first, second) -> Floats:
        """$h = (u_i w_i + u_j w_j)/a$.

        Parameters
        ----------
        first, second
            Classifier rows $w_i, w_j$ (d,), two of a simplex ETF; their length m gives $a =
            m^2K/(K-1)$.

        Returns
        -------
        Floats
            The shape of λ, then d.
        """
        first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
        a = 0.5 * (first @ first + second @ second) * self.num_classes / (self.num_classes - 1)
        return (self.first_gap[..., None] * first + self.second_gap[..., None] * second) / a


def channel(num_classes: int, lam, *, strength) -> Channel:
    r"""The optimal logits of $\lambda e_i + (1-\lambda) e_j$, i ≠ j, under a simplex ETF.

    The three equations at the top of this module.

    Parameters
    ----------
    num_classes
        K >= 2. For K = 2 there is no other class: t only fixes the gauge $z_i + z_j = 0$.
    lam
        λ in [0, 1]. Within rounding of 1 it is better passed as 1 − λ, swapped.
    strength
        s > 0 (see `strength`), of a shape that broadcasts with λ.

    Returns
    -------
    Channel
        Relative error of gaps and t of a few roundings for all λ and s. At λ = 1 it is the pure
        class of `same_class_gap`, and at λ = 1/2 both gaps are equal.

    Raises
    ------
    ValueError
        For K < 2, λ outside [0, 1] and s <= 0.

    Notes
    -----
    Source: derived here; Fisher, Meng & Papyan 2024 derive the optimal features for a simplex ETF.
    Does not hold for a classifier that is not a simplex ETF (see `ufm.solvers.fit_features`), nor
    with a bias that is not constant over classes.
    """
    K, s = require_whole("num_classes", num_classes, least=2), _strengths(strength)
    require_each("lam", lam, lambda lam: (lam >= 0) & (lam <= 1), "be in [0, 1]")
    return Channel.solved(K, np.asarray(lam, dtype=np.float64), s)


def _gap(load: Floats, t: Floats) -> Floats:
    """u >= 0 with t (e^u − 1) + u = load.

    Increasing and convex in u, and u is at most either bound.
    """
    start = np.minimum(load, np.log1p(load / t))
    return _descend(lambda u: t * np.expm1(u) + u - load, lambda u: t * np.exp(u) + 1, start)


def _descend(
    function: Callable[[Floats], Floats],
    slope: Callable[[Floats], Floats],
    start: Floats | np.floating,
) -> Floats:
    """The root of an increasing convex function from a start at or above it.

    Newton's method goes down and ends where rounding turns it.
    """
    x: Floats = np.asarray(start, dtype=np.float64)
    while True:
        step = function(x) / slope(x)
        moves = step > 2e-16 * x
        if not np.any(moves):
            return x
        x = np.where(moves, x - step, x)


def _strengths(strength) -> Floats:
    require_positive("strength", strength)
    return np.asarray(strength, dtype=np.float64)
