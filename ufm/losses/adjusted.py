r"""Cross-entropy of logits that are scaled and shifted class by class."""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._validate import concrete, require, require_finite, require_positive, require_real
from ufm.labels import AbstractLabels
from ufm.losses import enclosures
from ufm.losses.base import AbstractLoss
from ufm.losses.parameters import parameter, per_class
from ufm.losses.rounding import unit_roundoff
from ufm.losses.softmax import CrossEntropy
from ufm.losses.stable import cross_entropy, softmax_less


class AdjustedCrossEntropy(AbstractLoss):
    r"""Cross-entropy of logits scaled and shifted class by class, $\mathrm{CE}(\Delta\circ z +
    \iota)$: the losses made for long tails.

    `multiplicative` $\Delta$ (K,) > 0 and `additive` $\iota$ (K,); ones and zeros unless given.
    $\iota_k = \tau\log n_k$ is logit adjustment (Menon et al. 2021), $\Delta_k =
    (n_k/n_{\max})^\gamma$ is a class-dependent temperature (Ye et al. 2020), and both together are
    the vector-scaling loss (Kini et al. 2021). Both may be traced. Convex in the logits.

    Raises `ValueError` when neither is given, for entries of `multiplicative` that are not
    positive, entries of `additive` that are not finite, and shapes other than (K,).
    """

    name: ClassVar[str] = "adjusted-cross-entropy"
    needs_every_class: ClassVar[bool] = True
    exponential: ClassVar[bool] = True
    multiplicative: Float[Array, " K"]
    additive: Float[Array, " K"]

    def __init__(self, *, multiplicative=None, additive=None):
        given = additive if multiplicative is None else multiplicative
        require(
            given is not None,
            "`multiplicative` or `additive` must be given, one number per class",
            given,
        )
        name = "additive" if multiplicative is None else "multiplicative"
        shape = require_real(name, given, ndim=1).shape
        if additive is not None:
            other = require_real("additive", additive, ndim=1).shape
            require(
                other == shape,
                f"`additive` must have the shape of `multiplicative`, {shape}",
                other,
            )
        self.multiplicative = parameter(
            "multiplicative",
            np.ones(shape) if multiplicative is None else multiplicative,
            require_positive,
            shape,
        )
        self.additive = parameter(
            "additive", np.zeros(shape) if additive is None else additive, require_finite, shape
        )

    @property
    def shift_invariant(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether Δ is known to be the same for all classes.

        Else it is the adjusted logits that may be shifted.
        """
        scale = concrete(self.multiplicative)
        return scale is not None and bool(np.all(scale == scale[:1]))

    def flat_direction(self, num_classes: int) -> Float[Array, " K"] | None:
        """1/Δ, which shifts all adjusted logits alike."""
        return 1 / self.multiplicative

    @property
    def shifts(self) -> Float[Array, "K 1"] | None:
        """The additive part where there is no other."""
        scale = concrete(self.multiplicative)
        alone = scale is not None and bool(np.all(scale == 1))
        return self.additive[:, None] if alone else None

    def canonical(self) -> AbstractLoss:
        """Cross-entropy where Δ is 1 and all shifts are equal."""
        given = concrete((self.multiplicative, self.additive))
        if given is None:
            return self
        scale, shift = given
        # lanes of parameters, on any axis, are not looked into
        plain = scale.ndim == 1 and np.all(scale == 1) and np.all(shift == shift[0])
        return CrossEntropy() if plain else self

    def centring(self, mean_dual: Float[Array, " K"], mean_target: Float[Array, " K"]) -> Any:
        """That of cross-entropy, whose dual columns are u/Δ.

        Returns
        -------
        Any
            Arrays, passed to `centred` for every column.
        """
        scale, _ = self._at(mean_dual)
        return CrossEntropy().centring(mean_dual / scale, mean_target)

    def centred(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."], centring: Any
    ) -> Float[Array, "K ..."]:
        """That of cross-entropy, at u/Δ.

        Returns
        -------
        Float[Array, "K ..."]
            Within the domain of the conjugate.
        """
        scale, _ = self._at(dual)
        return scale * CrossEntropy().centred(dual / scale, targets, centring)

    def centring_pattern(
        self, dual: Float[Array, "K C"], targets: Float[Array, "K C"]
    ) -> Float[Array, "K C"]:
        """That of cross-entropy, at u/Δ.

        Returns
        -------
        Float[Array, "K C"]
            Entries >= 0, up to a factor a row.
        """
        scale, _ = self._at(dual)
        return CrossEntropy().centring_pattern(dual / scale, targets)

    def _at(self, logits: Array) -> tuple[Array, Array]:
        """Δ and ι in the dtype of the logits (K, …), with as many axes."""
        K = len(logits)
        require(
            len(self.additive) == K,
            f"`multiplicative` and `additive` must have shape ({K},)",
            self.additive.shape,
        )
        return per_class(self.multiplicative, beside=logits), per_class(
            self.additive, beside=logits
        )

    def check_targets(self, labels: AbstractLabels) -> None:
        """Those of cross-entropy."""
        CrossEntropy().check_targets(labels)

    def __call__(
        self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """Loss of every sample."""
        scale, shift = self._at(logits)
        return cross_entropy(scale * logits + shift, targets)

    def value_error(
        self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """That of cross-entropy, and of the adjusted logits.

        Returns
        -------
        Float[Array, ...]
            Of every sample, >= 0.
        """
        scale, shift = self._at(logits)
        adjusted = scale * logits + shift
        moved = jnp.abs(scale * logits) + jnp.abs(shift)
        pulled = jnp.sum(jnp.abs(softmax_less(adjusted, targets)) * moved, axis=0)
        unit = unit_roundoff(logits.dtype)
        return CrossEntropy().value_error(adjusted, targets) + 4 * unit * pulled

    def conjugate(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        r"""That of cross-entropy at $u/\Delta$, less $\iota^\top u/\Delta$.

        Returns
        -------
        Float[Array, ...]
            Of every sample; $+\infty$ outside its domain.
        """
        scale, shift = self._at(dual)
        inner = CrossEntropy().conjugate(dual / scale, targets)
        return inner - jnp.sum(shift * dual / scale, axis=0)

    def conjugate_error(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """That of cross-entropy at u/Δ, and of the sum over the shifts.

        Returns
        -------
        Float[Array, ...]
            Of every sample, >= 0.
        """
        scale, shift = self._at(dual)
        terms = jnp.sum(jnp.abs(shift * dual / scale), axis=0)
        unit = unit_roundoff(dual.dtype)
        inner = CrossEntropy().conjugate_error(dual / scale, targets)
        return inner + (len(targets) + 4) * unit * terms

    def best_bias(
        self,
        logits: Float[Array, "K C"],
        targets: Float[Array, "K C"],
        column_weights: Float[Array, " C"],
    ) -> Float[Array, " K"]:
        """That of cross-entropy for the adjusted logits, over Δ.

        Returns
        -------
        Float[Array, " K"]
            Any minimiser where a shift of all logits costs nothing.
        """
        scale, shift = self._at(logits)
        adjusted = scale * logits + shift
        return CrossEntropy().best_bias(adjusted, targets, column_weights) / scale[:, 0]

    def enclose(self, logits: list, target: list) -> Any:
        """Loss of one column in balls.

        Returns
        -------
        Any
            A `flint.arb` that holds the value.
        """
        scale, shift = map(enclosures.exact, (self.multiplicative, self.additive))
        adjusted = [d * z + s for d, z, s in zip(scale, logits, shift, strict=True)]
        return enclosures.cross_entropy(adjusted, target)

    def enclose_conjugate(self, dual: list, target: list) -> Any:
        r"""Conjugate of one column as a ball.

        Returns
        -------
        Any
            A `flint.arb` that holds the value, $+\infty$ outside the domain.
        """
        scale, shift = map(enclosures.exact, (self.multiplicative, self.additive))
        shares = [u / d for u, d in zip(dual, scale, strict=True)]
        linear = sum(s * u for s, u in zip(shift, shares, strict=True))
        return enclosures.cross_entropy_conjugate(shares, target) - linear

    def share_scale(self, num_classes: int) -> Float[Array, " K"]:
        """The multiplicative part Δ."""
        return self.multiplicative
