r"""A loss seen through the offsets of labels, $\ell(z_c + \iota_c; q_c)$, a column at a time.

`Problem.loss` is one where the labels have offsets: nothing else in the library knows of them. A
class that is dropped, $\iota = -\infty$, gets a logit so far below the others that its probability
is zero and not merely small; no infinity meets a zero target.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ufm._exact.fractions import flint, fractions
from ufm._validate import concrete
from ufm.labels import AbstractLabels
from ufm.losses import balance
from ufm.losses.base import AbstractLoss
from ufm.losses.derivative import loss_and_dual
from ufm.losses.rounding import unit_roundoff
from ufm.losses.stable import summing_to_zero

# exp(−this) is 0 in every dtype
_GONE = 1e4


class OffsetLoss(AbstractLoss):
    r"""$\ell(z_c + \iota_c; q_c)$, for logits of all columns (K, C) at once.

    `loss`: the loss without. `offsets` (K, C): finite, or −∞ where a column drops a class.
    """

    # (without a name of its own: no option makes one)
    by_column: ClassVar[bool] = True
    loss: AbstractLoss
    offsets: Float[Array, "*B K C"]

    def __str__(self) -> str:
        return f"{self.loss} with offsets"

    @property
    def convex(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the loss, as all that follows."""
        return self.loss.convex

    @property
    def shift_invariant(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether a number added to all logits costs nothing."""
        return self.loss.shift_invariant

    @property
    def searches_conjugate(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the conjugate is what a search finds."""
        return self.loss.searches_conjugate

    @property
    def needs_every_class(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether a class without target has no best bias."""
        return self.loss.needs_every_class

    @property
    def exponential(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether it falls like the exponential of logits."""
        return self.loss.exponential

    @property
    def shifts(self) -> Float[Array, "_ _"] | None:
        """Those of the loss and the offsets."""
        within = self.loss.shifts
        return None if within is None else within + self.offsets

    def canonical(self) -> AbstractLoss:
        """With the simplest loss; without offsets that add nothing."""
        simplest = self.loss.canonical()
        values = concrete(self.offsets)
        if values is not None and not values.any():
            return simplest
        return self if simplest is self.loss else OffsetLoss(simplest, self.offsets)

    def of_columns(self, columns) -> AbstractLoss:
        """With the offsets of these columns."""
        return OffsetLoss(self.loss, self.offsets[:, columns])

    def flat_direction(self, num_classes: int) -> Float[Array, " K"] | None:
        """That of the loss."""
        return self.loss.flat_direction(num_classes)

    @property
    def _kept(self) -> Bool[Array, "K C ..."]:
        return self.offsets > -jnp.inf

    @property
    def _finite(self) -> Float[Array, "K C ..."]:
        return jnp.where(self._kept, self.offsets, 0)

    def seen(self, logits: Float[Array, "K C ..."]) -> Float[Array, "K C ..."]:
        """The logits that the loss is taken of."""
        kept, shifted = self._kept, logits + self._finite
        top = jnp.max(jnp.where(kept, shifted, -jnp.inf), axis=0, keepdims=True)
        return jnp.where(kept, shifted, jax.lax.stop_gradient(top) - _GONE)

    def __call__(
        self, logits: Float[Array, "K C ..."], targets: Float[Array, "K C ..."]
    ) -> Float[Array, "C ..."]:
        """Loss of every column."""
        return self.loss(self.seen(logits), targets)

    def lacking(self, method: str) -> AbstractLoss | None:
        """That of the loss.

        Returns
        -------
        AbstractLoss | None
            The first such loss.
        """
        return self.loss.lacking(method)

    def conjugate(
        self, dual: Float[Array, "K C"], targets: Float[Array, "K C"]
    ) -> Float[Array, " C"]:
        r"""$\ell^*(u) - \iota^\top u$, and +∞ unless $u_k = 0$ for classes that are dropped.

        Returns
        -------
        Float[Array, " C"]
            Of every sample; $+\infty$ outside its domain.
        """
        return self.conjugate_and_error(dual, targets)[0]

    def best_bias(
        self,
        logits: Float[Array, "K C"],
        targets: Float[Array, "K C"],
        column_weights: Float[Array, " C"],
    ) -> Float[Array, " K"]:
        """That of the loss at the logits that it sees.

        Returns
        -------
        Float[Array, " K"]
            Any minimiser where a shift of all logits costs nothing.
        """
        return self.loss.best_bias(self.seen(logits), targets, column_weights)

    def centring(self, mean_dual: Float[Array, " K"], mean_target: Float[Array, " K"]) -> Any:
        """That of the loss.

        Returns
        -------
        Any
            Arrays, passed to `centred` for every column.
        """
        return self.loss.centring(mean_dual, mean_target)

    def centred(
        self, dual: Float[Array, "K C"], targets: Float[Array, "K C"], centring: Any
    ) -> Float[Array, "K C"]:
        """That of the loss, whose conjugate is finite where this one is.

        Returns
        -------
        Float[Array, "K C"]
            Within the domain of the conjugate.
        """
        return self.loss.centred(dual, targets, centring)

    def centring_pattern(
        self, dual: Float[Array, "K C"], targets: Float[Array, "K C"]
    ) -> Float[Array, "K C"]:
        """That of the loss.

        Returns
        -------
        Float[Array, "K C"]
            Entries >= 0, up to a factor a row.
        """
        return self.loss.centring_pattern(dual, targets)

    def _shares(
        self, dual: Float[Array, "K C"], targets: Float[Array, "K C"]
    ) -> tuple[Float[Array, "K C"], Float[Array, "K 1"]] | None:
        """The shares q + u/Δ and Δ of a softmax loss, else None."""
        scale = self.share_scale(len(dual))
        if scale is None:
            return None
        delta = scale.astype(dual.dtype)[:, None]
        return jnp.where(self._kept, jnp.maximum(targets + dual / delta, 0), 0), delta

    def centred_together(
        self,
        dual: Float[Array, "K C"],
        targets: Float[Array, "K C"],
        column_weights: Float[Array, " C"],
    ) -> Float[Array, "K C"]:
        """Of a softmax loss, moved within the classes that each column keeps.

        Returns
        -------
        Float[Array, "K C"]
            With a weighted sum of zero, to rounding.
        """
        simple = self.loss.centred_together(dual, targets, column_weights)
        found = self._shares(dual, targets)
        if found is None:
            return simple
        shares, delta = found
        inverse = balance.potentials(shares, self._kept, column_weights)
        off = (dual / delta) @ column_weights
        moved = dual / delta + balance.moved_by(shares, -(inverse @ off))
        sizes = shares / jnp.max(shares, axis=0, keepdims=True)
        moved = delta * summing_to_zero(moved, sizes, jnp.sum(sizes, axis=0))
        return jnp.where(jnp.all(self._kept), simple, moved)

    def centring_moves(
        self,
        dual: Float[Array, "K C"],
        targets: Float[Array, "K C"],
        column_weights: Float[Array, " C"],
        residual: Float[Array, " K"],
    ) -> Float[Array, "K C"]:
        """Of a softmax loss, moved within the classes that each column keeps.

        Returns
        -------
        Float[Array, "K C"]
            Entries >= 0; +∞ where shares are too small to be moved so far.
        """
        simple = self.loss.centring_moves(dual, targets, column_weights, residual)
        found = self._shares(dual, targets)
        if found is None:
            return simple
        shares, delta = found
        inverse = balance.potentials(shares, self._kept, column_weights)
        moved = delta * balance.moves(shares, inverse, residual / delta[:, 0])
        # a class may give to every other where all are kept
        return jnp.where(jnp.all(self._kept), simple, moved)

    def check_targets(self, labels: AbstractLabels) -> None:
        """As the loss does."""
        self.loss.check_targets(labels)

    def convex_at(self, labels: AbstractLabels) -> bool:
        """As the loss is."""
        return self.loss.convex_at(labels)

    def value_error(
        self, logits: Float[Array, "K C"], targets: Float[Array, "K C"]
    ) -> Float[Array, " C"]:
        """That of the loss, and of the sum with the offsets.

        Returns
        -------
        Float[Array, " C"]
            Of every sample, >= 0.
        """
        seen = self.seen(logits)
        _, dual = loss_and_dual(self.loss, seen, targets)
        moved = jnp.where(self._kept, jnp.abs(logits) + jnp.abs(self._finite), 0)
        pulled = jnp.sum(jnp.abs(dual) * moved, axis=0)
        return self.loss.value_error(seen, targets) + 4 * unit_roundoff(logits.dtype) * pulled

    def conjugate_error(
        self, dual: Float[Array, "K C"], targets: Float[Array, "K C"]
    ) -> Float[Array, " C"]:
        """That of the loss, and of the sum over the offsets.

        Returns
        -------
        Float[Array, " C"]
            Of every sample, >= 0.
        """
        return self.conjugate_and_error(dual, targets)[1]

    def least(self, targets: Float[Array, "K C"]) -> Float[Array, " C"]:
        """That of the loss, of whose logits these are some.

        Returns
        -------
        Float[Array, " C"]
            Of every sample.
        """
        return self.loss.least(targets)

    def conjugate_and_error(
        self, dual: Float[Array, "K C"], targets: Float[Array, "K C"]
    ) -> tuple[Float[Array, " C"], Float[Array, " C"]]:
        """Both, of what the loss says of both.

        Returns
        -------
        tuple[Float[Array, " C"], Float[Array, " C"]]
            Of every sample.
        """
        inner, error = self.loss.conjugate_and_error(dual, targets)
        terms = self._finite * dual
        gone = jnp.any(~self._kept & (dual != 0), axis=0)
        rounding = (len(targets) + 4) * unit_roundoff(dual.dtype) * jnp.sum(jnp.abs(terms), axis=0)
        error = error + rounding + self.loss.off_domain(dual, targets, self._finite)
        return jnp.where(gone, jnp.inf, inner - jnp.sum(terms, axis=0)), error

    def dual_scale(
        self,
        dual: Float[Array, "K C"],
        targets: Float[Array, "K C"],
        column_weights: Float[Array, " C"],
        *,
        limit: Float[Array, ""],
        quadratic: Float[Array, ""],
    ) -> Float[Array, ""]:
        """What serves every convex loss: a better one of the loss alone need not be better here.

        Returns
        -------
        Float[Array, ""]
            In [0, `limit`].
        """
        return jnp.minimum(1, limit)

    def _shift(self) -> list[Any]:
        """The offsets of the one column that is enclosed, None where a class is dropped."""
        offsets = np.asarray(self.offsets)
        exact = fractions(np.where(np.isneginf(offsets), 0, offsets)[:, 0])
        return [x if kept else None for x, kept in zip(exact, offsets[:, 0] > -np.inf, strict=True)]

    def enclose(self, logits: list, target: list) -> Any:
        """Loss of one column in balls.

        Returns
        -------
        Any
            A `flint.arb` that holds the value.
        """
        seen = [
            flint().arb("-inf") if shift is None else z + shift
            for z, shift in zip(logits, self._shift(), strict=True)
        ]
        return self.loss.enclose(seen, target)

    def enclose_conjugate(self, dual: list, target: list) -> Any:
        r"""Conjugate of one column as a ball.

        Returns
        -------
        Any
            A `flint.arb` that holds the value, $+\infty$ outside the domain.
        """
        pairs = list(zip(self._shift(), dual, strict=True))
        if any(shift is None and u != 0 for shift, u in pairs):
            return flint().arb("inf")
        linear = sum(shift * u for shift, u in pairs if shift is not None)
        return self.loss.enclose_conjugate(dual, target) - linear

    def share_scale(self, num_classes: int) -> Float[Array, " K"] | None:
        """That of the loss."""
        return self.loss.share_scale(num_classes)

    def exact_share_scale(self, num_classes: int) -> list | None:
        """That of the loss.

        Returns
        -------
        list | None
            K fractions.
        """
        return self.loss.exact_share_scale(num_classes)
