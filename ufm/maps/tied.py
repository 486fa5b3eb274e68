"""Features that are compared with each other: contrastive losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._exact.fractions import flint
from ufm._validate import require_flag, require_positive
from ufm.maps.base import AbstractGram, Weights


class Tied(AbstractGram):
    r"""$Z = G/\tau$ with the Gram $G = X^\top X$ of the embeddings.

    A classifier that is tied to the features.

    Parameters
    ----------
    temperature
        τ > 0, 1 unless given; may be traced.
    nonnegative
        False: the embeddings are the features, X = H. True: they are nonnegative and of unit
        length, $x = h\circ h/\|h\circ h\|$, for features on a sphere, whose length says nothing.

    Raises
    ------
    ValueError
        For a temperature that is not positive.

    Notes
    -----
    Weights are not used: freeze them, `lambda_W=0`, `fixed_weights=(zeros((C, d)),)`. Labels have
    as many classes as columns, such as those of `ufm.labels.contrastive`. The objective is convex
    in G, which is what `certify` and `prove` bound it by; no anchor then.
    """

    name: ClassVar[str] = "tied"

    temperature: Float[Array, ""]
    nonnegative: bool = eqx.field(static=True)

    def __init__(self, temperature: Any = 1.0, *, nonnegative: bool = False):
        require_positive("temperature", temperature, shape=())
        require_flag("nonnegative", nonnegative)
        self.temperature = jnp.asarray(temperature)
        self.nonnegative = bool(nonnegative)

    def fitted(self, num_columns: int, dtype) -> Tied:
        """With its temperature in the dtype of the problem.

        Returns
        -------
        Tied
            The same map.
        """
        if self.temperature.dtype == dtype:
            return self
        return Tied(jnp.asarray(self.temperature, dtype), nonnegative=self.nonnegative)

    def embeddings(self, features: Float[Array, "d C"]) -> Float[Array, "d C"]:
        """X: what is compared."""
        if not self.nonnegative:
            return features
        # the scale says nothing, and fourth powers of small numbers vanish
        largest = jax.lax.stop_gradient(jnp.max(jnp.abs(features), axis=0))
        squares = (features / jnp.where(largest > 0, largest, 1)[None, :]) ** 2
        quartic = jnp.sum(squares**2, axis=0)
        return squares / jnp.sqrt(jnp.where(quartic > 0, quartic, 1))[None, :]

    @property
    def forgets_lengths(self) -> bool:
        return self.nonnegative

    def enclose(self, features: Sequence[Sequence[Any]]) -> list[list[Any]]:
        columns = [list(column) for column in features]
        if self.nonnegative:
            squares: list[list[Any]] = [[x * x for x in column] for column in columns]
            totals: list[Any] = [sum(x * x for x in column) for column in squares]
            both = zip(squares, totals, strict=True)
            columns = [[x / total.sqrt() for x in column] for column, total in both]
        X, tau = flint().arb_mat(columns), float(self.temperature)
        return [[z / tau for z in row] for row in (X * X.transpose()).tolist()]

    def logits(self, weights: Weights, features: Float[Array, "d C"]) -> Float[Array, "C C"]:
        """The Gram over the temperature.

        Returns
        -------
        Float[Array, "C C"]
            Symmetric.
        """
        X = self.embeddings(features)
        return X.T @ X / self.temperature

    def head(
        self, weights: Weights, features: Float[Array, "d C"]
    ) -> tuple[Float[Array, "C d"], Float[Array, "d C"]]:
        """The embeddings, as rows over the temperature, and as columns.

        Returns
        -------
        tuple
            Classifier and features.
        """
        X = self.embeddings(features)
        return X.T / self.temperature, X
