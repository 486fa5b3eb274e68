"""Squared error, plain and with rescaled targets."""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._validate import concrete, require, require_positive
from ufm.labels import AbstractLabels
from ufm.losses import enclosures
from ufm.losses.base import AbstractLoss
from ufm.losses.parameters import one_number, parameter
from ufm.losses.rounding import unit_roundoff
from ufm.losses.rows import AbstractRows, SquaredRows


class MeanSquaredError(AbstractLoss):
    r"""Squared error of one sample, $\tfrac12 \|z - q\|^2$ (no division by K)."""

    name: ClassVar[str] = "squared-error"
    least_squares: ClassVar[bool] = True

    def __call__(
        self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """Loss of every sample."""
        return 0.5 * jnp.sum((logits - targets) ** 2, axis=0)

    def conjugate(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        r"""$\tfrac12\|u\|^2 + q^\top u$.

        Returns
        -------
        Float[Array, ...]
            Of every sample; finite everywhere.
        """
        return jnp.sum(0.5 * dual**2 + targets * dual, axis=0)

    def value_error(
        self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """A few eps of the loss.

        It is a sum of squares, and a difference of numbers is known to eps of itself.

        Returns
        -------
        Float[Array, ...]
            Of every sample, >= 0.
        """
        return (len(targets) + 4) * unit_roundoff(logits.dtype) * self(logits, targets)

    def conjugate_error(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """A few eps of its terms.

        Returns
        -------
        Float[Array, ...]
            Of every sample, >= 0.
        """
        terms = jnp.sum(0.5 * dual**2 + jnp.abs(targets * dual), axis=0)
        return (len(targets) + 4) * unit_roundoff(dual.dtype) * terms

    def best_bias(
        self,
        logits: Float[Array, "K C"],
        targets: Float[Array, "K C"],
        column_weights: Float[Array, " C"],
    ) -> Float[Array, " K"]:
        """The weighted mean of the residuals.

        Returns
        -------
        Float[Array, " K"]
            The only minimiser.
        """
        return (targets - logits) @ column_weights

    def rows(
        self, root: Float[Array, "K K"], scale: Float[Array, ""], gamma: Float[Array, ""]
    ) -> AbstractRows:
        """The Hessian is the identity.

        Returns
        -------
        AbstractRows
            The loss, its residual and that Hessian.
        """
        identity = jnp.eye(len(root), dtype=root.dtype)
        return SquaredRows(jnp.linalg.inv(root @ root + gamma * identity))

    def dual_scale(
        self,
        dual: Float[Array, "K C"],
        targets: Float[Array, "K C"],
        column_weights: Float[Array, " C"],
        *,
        limit: Float[Array, ""],
        quadratic: Float[Array, ""],
    ) -> Float[Array, ""]:
        """The best t exactly: the bound is a parabola in t.

        Returns
        -------
        Float[Array, ""]
            In [0, `limit`].
        """
        slope = -jnp.sum((targets * dual) @ column_weights)
        curvature = jnp.sum(dual**2 @ column_weights) + quadratic
        return jnp.clip(slope / jnp.where(curvature > 0, curvature, 1), 0, limit)

    def enclose(self, logits: list, target: list) -> Any:
        """Loss of one column in balls.

        Returns
        -------
        Any
            A `flint.arb` that holds the value.
        """
        return enclosures.squared_error(logits, target, [1] * len(target))

    def enclose_conjugate(self, dual: list, target: list) -> Any:
        """Conjugate of one column as a ball.

        Returns
        -------
        Any
            A `flint.arb` that holds the value.
        """
        return enclosures.squared_error_conjugate(dual, target, [1] * len(target))


class RescaledSquaredError(AbstractLoss):
    r"""Squared error on rescaled targets, $\tfrac12\sum_j (1 + (k-1) q_j)(z_j - M q_j)^2$.

    Weight k on the true class, target length M.

    `length` M > 0 and `weight` k > 0; with both 1 it is `MeanSquaredError`. Both may be traced.
    Targets are probabilities (q_j >= 0).

    Raises `ValueError` for a length or weight that is not positive. Source: the rescaled loss in
    the experiments of Zhou et al. 2022.
    """

    name: ClassVar[str] = "rescaled-squared-error"
    length: Float[Array, ""]
    weight: Float[Array, ""]

    def __init__(self, *, length=1.0, weight=1.0):
        self.length = parameter("length", length, require_positive)
        self.weight = parameter("weight", weight, require_positive)

    def canonical(self) -> AbstractLoss:
        """Plain squared error where both are 1."""
        given = concrete((self.length, self.weight))
        return self if given is None or np.any(given != 1) else MeanSquaredError()

    def __call__(
        self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """Loss of every sample."""
        weights, wanted = self._rescaled(targets)
        return 0.5 * jnp.sum(weights * (logits - wanted) ** 2, axis=0)

    def _rescaled(self, targets: Array) -> tuple[Array, Array]:
        """Weights 1 + (k − 1) q and targets M q."""
        weight, length = (
            one_number(self.weight, beside=targets),
            one_number(self.length, beside=targets),
        )
        return 1 + (weight - 1) * targets, length * targets

    def conjugate(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        r"""$\tfrac12\sum_j u_j^2/(1 + (k-1)q_j) + M q^\top u$.

        Returns
        -------
        Float[Array, ...]
            Of every sample; $+\infty$ where a weight is not positive.
        """
        weights, wanted = self._rescaled(targets)
        convex = weights > 0
        terms = 0.5 * dual**2 / jnp.where(convex, weights, 1) + wanted * dual
        return jnp.where(jnp.all(convex, axis=0), jnp.sum(terms, axis=0), jnp.inf)

    def check_targets(self, labels: AbstractLabels) -> None:
        """`ValueError` where a weight 1 + (k − 1) q is not positive.

        The loss falls for ever along that logit.
        """
        weight, numbers = concrete(self.weight), labels.numbers()
        if weight is not None and numbers is not None:
            weights = 1 + (weight - 1) * numbers
            words = "`labels.targets` must leave every weight 1 + (k - 1) q of the loss positive"
            require(np.all(weights > 0), words, weights[weights <= 0][:3])

    def convex_at(self, labels: AbstractLabels) -> bool:
        """Whether all weights 1 + (k − 1) q are positive, as they are for probabilities."""
        weight, values = concrete(self.weight), labels.numbers()
        return weight is None or values is None or bool(np.all(1 + (weight - 1) * values > 0))

    def value_error(
        self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """A few eps of the loss, and of the targets M q where logits come close to them.

        Returns
        -------
        Float[Array, ...]
            Of every sample, >= 0.
        """
        weights, wanted = self._rescaled(targets)
        moved = jnp.sum(jnp.abs(weights * (logits - wanted) * wanted), axis=0)
        terms = 2 * jnp.abs(self(logits, targets)) + moved
        return (len(targets) + 8) * unit_roundoff(logits.dtype) * terms

    def conjugate_error(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """A few eps of its terms.

        Returns
        -------
        Float[Array, ...]
            Of every sample, >= 0.
        """
        weights, wanted = self._rescaled(targets)
        terms = jnp.sum(dual**2 / jnp.abs(weights) + jnp.abs(wanted * dual), axis=0)
        return (len(targets) + 8) * unit_roundoff(dual.dtype) * terms

    def best_bias(
        self,
        logits: Float[Array, "K C"],
        targets: Float[Array, "K C"],
        column_weights: Float[Array, " C"],
    ) -> Float[Array, " K"]:
        """The mean of the residuals, weighted row by row.

        Returns
        -------
        Float[Array, " K"]
            The only minimiser where the loss is convex.
        """
        weights, wanted = self._rescaled(targets)
        return (weights * (wanted - logits)) @ column_weights / (weights @ column_weights)

    def enclose(self, logits: list, target: list) -> Any:
        """Loss of one column in balls.

        Returns
        -------
        Any
            A `flint.arb` that holds the value.
        """
        return enclosures.squared_error(logits, *self._exactly(target))

    def enclose_conjugate(self, dual: list, target: list) -> Any:
        r"""Conjugate of one column as a ball.

        Returns
        -------
        Any
            A `flint.arb` that holds the value, $+\infty$ outside the domain.
        """
        return enclosures.squared_error_conjugate(dual, *self._exactly(target))

    def _exactly(self, target: list) -> tuple[list, list]:
        """Targets M q and weights 1 + (k − 1) q as exact fractions."""
        (weight,), (length,) = enclosures.exact(self.weight), enclosures.exact(self.length)
        return [length * q for q in target], [1 + (weight - 1) * q for q in target]
