r"""A weighted sum of losses of the same logits and target.

The conjugate of a sum is the least sum of conjugates over all ways to share the dual point,
$\ell^*(u) = \min\{\sum_i w_i\ell_i^*(v_i/w_i) : \sum_i v_i = u\}$, attained at $v_i =
w_i\nabla\ell_i(z)$ where $\nabla\ell(z) = u$. That z is found by Newton, column by column; any
shares give an upper bound of the conjugate, so that what certificates make of one that was not
found to rounding is still a bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._validate import Shown, concrete, require, require_instance, require_positive
from ufm.labels import AbstractLabels
from ufm.losses import enclosures, exact_shares
from ufm.losses.base import AbstractLoss
from ufm.losses.derivative import loss_and_dual
from ufm.losses.parameters import one_number, parameter, per_class
from ufm.losses.rounding import generous, rounding_of_conjugate
from ufm.losses.shares import logits_of, newton, pulls_at, rounding_of_shares, ways
from ufm.losses.softmax import CrossEntropy


class Sum(AbstractLoss):
    r"""$\sum_i w_i\,\ell_i(z, q)$, such as hard and soft labels at two temperatures.

    Parameters
    ----------
    losses
        A tuple of losses; the parts of one that is a sum itself.
    weights
        $w_i > 0$, one a loss; ones unless given. May be traced.

    Raises
    ------
    ValueError
        For no loss, what is no loss, and weights that are not positive or of another number.

    Notes
    -----
    All losses see one target. Two cross-entropies of different targets and temperatures are of this
    form too, as cross-entropy is linear in the target: $\alpha\,\mathrm{CE}(z, y) +
    (1-\alpha)T^2\,\mathrm{CE}(z/T, q)$ is the sum of both at the target $(\alpha y +
    (1-\alpha)Tq)/(\alpha + (1-\alpha)T)$. It is convex, and has a conjugate, if all losses have
    one. The command line writes it "cross-entropy+0.1*squared-error".
    """

    losses: tuple[AbstractLoss, ...]
    weights: Float[Array, " n"]

    # for the shares of parts
    searches_conjugate: ClassVar[bool] = True
    # whether all parts are so
    convex: ClassVar[Any] = property(lambda self: all(part.convex for part in self.losses))
    shift_invariant: ClassVar[Any] = property(
        lambda self: all(part.shift_invariant for part in self.losses)
    )
    exponential: ClassVar[Any] = property(
        lambda self: all(part.exponential for part in self.losses)
    )
    # (the conjugates of parts are asked at shares of a dual point that is 0 for a dropped class)
    drops_classes: ClassVar[Any] = property(
        lambda self: all(part.drops_classes for part in self.losses)
    )
    needs_every_class: ClassVar[Any] = property(
        lambda self: all(part.needs_every_class for part in self.losses)
    )

    def __init__(self, losses: Sequence[AbstractLoss], weights=None):
        some = isinstance(losses, tuple | list) and len(losses) > 0
        require(some, "`losses` must be a tuple of losses", Shown(losses))
        for part in losses:
            require_instance("losses", part, AbstractLoss, "losses such as ufm.CrossEntropy()")
        given = np.ones(len(losses)) if weights is None else weights
        weights = parameter("weights", given, require_positive, (len(losses),))
        # (shares are of parts, whose conjugates nobody searches for: a sum of sums is one of all)
        each = [
            (p.losses, w * p.weights) if isinstance(p, Sum) else ((p,), w[None])
            for w, p in zip(weights, losses, strict=True)
        ]
        self.losses = tuple(part for parts, _ in each for part in parts)
        self.weights = jnp.concatenate([factors for _, factors in each])

    def __str__(self) -> str:
        """The parts with their weights."""
        weights = concrete(self.weights)
        factors = ["?"] * len(self.losses) if weights is None else [f"{w:g}" for w in weights]
        parts = (f"{w} {part}" for w, part in zip(factors, self.losses, strict=True))
        return f"Sum({' + '.join(parts)})"

    def canonical(self) -> AbstractLoss:
        """The loss itself where it is one alone, of weight 1."""
        weights = concrete(self.weights)
        alone = len(self.losses) == 1 and weights is not None and bool(np.all(weights == 1))
        return self.losses[0].canonical() if alone else self

    def check_targets(self, labels: AbstractLabels) -> None:
        """Those that all parts take."""
        for part in self.losses:
            part.check_targets(labels)

    def convex_at(self, labels: AbstractLabels) -> bool:
        """Whether all parts are."""
        return all(part.convex_at(labels) for part in self.losses)

    def __call__(
        self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """Loss of every sample.

        Returns
        -------
        Float[Array, ...]
            The weighted sum over the parts.
        """
        return self._weighted([part(logits, targets) for part in self.losses])

    def value_error(
        self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """That of the parts, and of adding them up.

        Returns
        -------
        Float[Array, ...]
            Of every sample, >= 0.
        """
        errors = self._weighted([part.value_error(logits, targets) for part in self.losses])
        sizes = self._weighted([jnp.abs(part(logits, targets)) for part in self.losses])
        return errors + (len(self.losses) + 1) * float(jnp.finfo(logits.dtype).eps) * sizes

    def _weighted(self, terms: list[Array]) -> Array:
        return sum(
            (
                one_number(w, beside=term) * term
                for w, term in zip(self.weights, terms, strict=True)
            ),
            jnp.zeros_like(terms[0]),
        )

    def share_scale(self, num_classes: int) -> Float[Array, " K"] | None:
        """The weighted sum of those of the parts; None where a part has none."""
        total = jnp.zeros(num_classes, self.weights.dtype)
        for weight, part in zip(self.weights, self.losses, strict=True):
            scale = part.share_scale(num_classes)
            if scale is None:
                return None
            total = total + weight * scale
        return total

    # the dual point and its shares
    # ----------------------------------------------------------------------

    def lacking(self, method: str) -> AbstractLoss | None:
        """The first part without a conjugate; the best bias is a search.

        Returns
        -------
        AbstractLoss | None
            The first such loss.
        """
        parts = self.losses if method == "conjugate" else ()
        found = (part.lacking(method) for part in parts)
        return next((part for part in found if part is not None), None)

    def conjugate(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """The sum of conjugates at the shares of the dual point, the best of several.

        Returns
        -------
        Float[Array, ...]
            Of every sample, to rounding; never below the conjugate by more.
        """
        return self.conjugate_and_error(dual, targets)[0]

    def conjugate_error(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """As of any loss, in units of the weights, and what shares are off the dual point.

        Returns
        -------
        Float[Array, ...]
            Of every sample, >= 0.
        """
        return self.conjugate_and_error(dual, targets)[1]

    def conjugate_and_error(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> tuple[Float[Array, ...], Float[Array, ...]]:
        """Both, by one search for the logits that belong to the dual point.

        Returns
        -------
        tuple[Float[Array, ...], Float[Array, ...]]
            Of every sample.
        """
        require(self.convex, "`losses` must be convex in the logits for a conjugate", self)
        scale = self.share_scale(len(targets))
        unit = jnp.sum(self.weights) + (0 if scale is None else jnp.max(scale))
        shares, logits = self._shares(dual, targets)
        sums = jax.vmap(lambda points: self._shared(points, targets))(shares)
        # (one that is not finite is no bound, and NaN is not finite)
        sums = jnp.where(jnp.isfinite(sums), sums, jnp.inf)
        weights, scales = self._units(dual)
        off = jax.vmap(
            lambda points: rounding_of_shares(weights, points, scales, logits, dual, targets)
        )
        best = jnp.argmin(sums, axis=0)[None]
        conjugates, off = (jnp.take_along_axis(x, best, axis=0)[0] for x in (sums, off(shares)))
        known = rounding_of_conjugate(conjugates, dual, targets)
        return conjugates, known + generous(len(targets), dual.dtype) * unit + off

    def off_domain(
        self,
        dual: Float[Array, "K ..."],
        targets: Float[Array, "K ..."],
        logits: Float[Array, "K ..."],
    ) -> Float[Array, ...]:
        """That of one simplex where all parts have the same, else rounding of the shares of parts.

        Returns
        -------
        Float[Array, ...]
            Of every sample.
        """
        off, K = super().off_domain(dual, targets, logits), len(dual)
        scale = self.share_scale(K)
        if scale is None:
            return off
        sizes = jnp.max(per_class(scale, beside=dual) * jnp.abs(logits), axis=0)
        return jnp.where(self._alike(K), off, generous(K, dual.dtype) * sizes)

    def least(self, targets: Float[Array, "K ..."]) -> Float[Array, ...]:
        """The sum of those of the parts, which no search is needed for.

        Returns
        -------
        Float[Array, ...]
            Of every sample.
        """
        each = [part.least(targets) for part in self.losses]
        hidden = (len(each) + 4) * float(jnp.finfo(targets.dtype).eps)
        return self._weighted(each) - hidden * self._weighted([jnp.abs(part) for part in each])

    def _shares(self, dual: Array, targets: Array) -> tuple[list[Array], Array]:
        """Ways to write u as a weighted sum of one point for each part, of each part one way after
        another, and the logits that belong to u, or NaN where they are not to be found."""
        logits, n = logits_of(self, dual, targets), len(self.losses)
        pulls = pulls_at(self.losses, logits, targets)
        weights, given = self._units(dual)
        scales = [scale for scale in given if scale is not None]
        if len(scales) < n:
            # a part whose conjugate is finite everywhere takes what is left
            free = next(i for i in range(n) if given[i] is None)
            whole = sum(w * v for w, v in zip(weights, pulls, strict=True))
            left = pulls[free] + (dual - whole) / weights[free]
            return [(left if i == free else pulls[i])[None] for i in range(n)], logits
        return ways(weights, scales, pulls, dual, targets), logits

    def _units(self, dual: Array) -> tuple[list[Array], list[Array | None]]:
        """Weights of the parts, and Δ of those that have one, shaped to go with a dual point."""
        weights = [one_number(w, beside=dual) for w in self.weights]
        given = [part.share_scale(len(dual)) for part in self.losses]
        scales = [None if s is None else per_class(jnp.asarray(s), beside=dual) for s in given]
        return weights, scales

    def _shared(self, points: list[Array], targets: Array) -> Array:
        pairs = zip(self.losses, points, strict=True)
        return self._weighted([part.conjugate(v, targets) for part, v in pairs])

    # a bias
    # ----------------------------------------------------------------------

    def centring(self, mean_dual: Float[Array, " K"], mean_target: Float[Array, " K"]) -> Any:
        """That of cross-entropy where all parts have one simplex, else the mean.

        Returns
        -------
        Any
            What `centred` takes.
        """
        scale = self.share_scale(len(mean_dual))
        if scale is None:
            return mean_dual
        return CrossEntropy().centring(mean_dual / scale, mean_target), mean_dual

    def centred(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."], centring: Any
    ) -> Float[Array, "K ..."]:
        """That of cross-entropy where all parts have one simplex.

        Else the mean is subtracted: softmax parts that scale classes differently leave room around
        every gradient.

        Returns
        -------
        Float[Array, "K ..."]
            With a weighted sum of zero.
        """
        scale = self.share_scale(len(dual))
        if scale is None:
            return super().centred(dual, targets, centring)
        total, (of_shares, mean) = per_class(scale, beside=dual), centring
        moved = total * CrossEntropy().centred(dual / total, targets, of_shares)
        return jnp.where(self._alike(len(dual)), moved, super().centred(dual, targets, mean))

    def centred_together(
        self,
        dual: Float[Array, "K C"],
        targets: Float[Array, "K C"],
        column_weights: Float[Array, " C"],
    ) -> Float[Array, "K C"]:
        """Of softmax parts that scale classes differently, moved where there is most room.

        Returns
        -------
        Float[Array, "K C"]
            With a weighted sum of zero, to rounding.
        """
        moved = super().centred_together(dual, targets, column_weights)
        scale = self.share_scale(len(dual))
        if scale is None:
            return moved
        room = self._room(dual, targets, scale)
        whole = jnp.dot(room, column_weights)
        mean = (dual @ column_weights)[:, None]
        apart = dual - mean * room[None, :] / jnp.where(whole > 0, whole, 1)
        return jnp.where(self._alike(len(dual)), moved, apart)

    def centring_pattern(
        self, dual: Float[Array, "K C"], targets: Float[Array, "K C"]
    ) -> Float[Array, "K C"]:
        """That of cross-entropy where all parts have one simplex, else the room of columns.

        Returns
        -------
        Float[Array, "K C"]
            Entries >= 0, up to a factor a row.
        """
        scale = self.share_scale(len(dual))
        if scale is None:
            return super().centring_pattern(dual, targets)
        pattern = CrossEntropy().centring_pattern(dual / per_class(scale, beside=dual), targets)
        room = jnp.broadcast_to(self._room(dual, targets, scale)[None, :], dual.shape)
        return jnp.where(self._alike(len(dual)), pattern, room)

    def centring_moves(
        self,
        dual: Float[Array, "K C"],
        targets: Float[Array, "K C"],
        column_weights: Float[Array, " C"],
        residual: Float[Array, " K"],
    ) -> Float[Array, "K C"]:
        """As of any loss, as long as there is room for it.

        Returns
        -------
        Float[Array, "K C"]
            Entries >= 0; +∞ where softmax parts that scale classes differently leave too little.
        """
        moves = super().centring_moves(dual, targets, column_weights, residual)
        scale = self.share_scale(len(dual))
        if scale is None:
            return moves
        # one part gives to another what differs between their scales alone
        shares = moves / (scale * self._spread(len(dual)))[:, None]
        fits = jnp.all(jnp.sum(shares, axis=0) <= self._room(dual, targets, scale) / 4)
        return jnp.where(self._alike(len(dual)) | fits, moves, jnp.inf)

    def _room(self, dual: Array, targets: Array, scale: Array) -> Array:
        """The least share of each column (C,), on average over parts."""
        return jnp.maximum(jnp.min(targets + dual / per_class(scale, beside=dual), axis=0), 0)

    def _spread(self, num_classes: int) -> Array:
        """By how much the ratios of the scales of two parts differ from class to class, relatively;
        0 where all are proportional."""
        scales = jnp.stack([jnp.asarray(p.share_scale(num_classes)) for p in self.losses])
        ratios = scales[:, None, :] / scales[None, :, :]
        return jnp.max(1 - jnp.min(ratios, axis=-1) / jnp.max(ratios, axis=-1))

    def _alike(self, num_classes: int) -> Array:
        """Whether softmax parts have one simplex, as their scales are proportional to rounding."""
        return self._spread(num_classes) <= 8 * float(jnp.finfo(self.weights.dtype).eps)

    def best_bias(
        self,
        logits: Float[Array, "K C"],
        targets: Float[Array, "K C"],
        column_weights: Float[Array, " C"],
    ) -> Float[Array, " K"]:
        """Newton in the K-dimensional bias, from b = 0.

        Returns
        -------
        Float[Array, " K"]
            A minimiser to rounding.
        """

        def both(bias):
            losses, dual = loss_and_dual(self, logits + bias[:, None], targets)
            return jnp.dot(column_weights, losses), dual @ column_weights

        return newton(both, jnp.zeros(len(logits), logits.dtype))

    # balls
    # ----------------------------------------------------------------------

    def enclose(self, logits: list, target: list) -> Any:
        """Loss of one column in balls.

        Returns
        -------
        Any
            A `flint.arb` that holds the value.
        """
        weights = enclosures.exact(self.weights)
        pairs = zip(weights, self.losses, strict=True)
        return sum(w * part.enclose(logits, target) for w, part in pairs)

    def enclose_conjugate(self, dual: list, target: list) -> Any:
        """An upper bound of the conjugate of one column as a ball, from shares that add up
        exactly.

        Returns
        -------
        Any
            A `flint.arb`, infinite where no finite bound is found.
        """
        weights, scales = enclosures.exact(self.weights), self._exact_scales(len(target))
        u, q = (jnp.asarray([int(x.p) / int(x.q) for x in each]) for each in (dual, target))
        pulls = [enclosures.exact(pull) for pull in _compiled_pulls(self, u, q)]
        total: Any = None
        for points in exact_shares.ways(weights, scales, pulls, dual, target):
            terms = zip(weights, self.losses, points, strict=True)
            total = sum(w * part.enclose_conjugate(point, target) for w, part, point in terms)
            if total.is_finite():
                break
        return total

    def exact_share_scale(self, num_classes: int) -> list | None:
        """The weighted sum of those of the parts, where these are proportional to each other.

        Returns
        -------
        list | None
            None where parts have different simplices: their sums fill what is no simplex.
        """
        scales = self._exact_scales(num_classes)
        return exact_shares.common_scale(enclosures.exact(self.weights), scales)

    def _exact_scales(self, num_classes: int) -> list[list | None]:
        return [part.exact_share_scale(num_classes) for part in self.losses]


# a proof asks column by column
@eqx.filter_jit
def _compiled_pulls(loss: Sum, dual, targets) -> list[Array]:
    logits = logits_of(loss, dual, targets)
    # (where they are not found those of any logits will do, for shares add up whatever they are)
    return pulls_at(loss.losses, jnp.where(jnp.isfinite(logits), logits, 0), targets)
