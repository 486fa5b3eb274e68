"""What a map answers: how factors and features become logits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._classes.named import AbstractNamed

Weights = tuple[Float[Array, "_ _"], ...]


class AbstractMap(AbstractNamed):
    r"""From weights (W_M, …, W_1) and features H to logits Z, before the bias.

    To add one, subclass it with `logits`. Where the logits are linear in the product
    $X = W_M\cdots W_1 H$ set `linear` and give the three methods
    below `logits`: one layer of it is then certified as the product itself is. Where $Z = XA$ for
    a fixed A set `right` too, and it is proved as well.
    """

    name: ClassVar[str]
    # whether Z is a linear function of the product of the factors, so that the convex lift is that
    # of the product; and whether it is the product itself, of which theorems speak
    linear: ClassVar[bool] = False
    identity: ClassVar[bool] = False
    # whether Z = X A with a fixed A (C, C), the logits of the identity: a proof reads its floats
    right: ClassVar[bool] = False
    # how many factors it needs: one that acts between factors does nothing to a single one
    least_depth: ClassVar[int] = 1

    @property
    def gram(self) -> AbstractGram | None:
        """Itself where logits are the Gram of embeddings."""
        return None

    @property
    def leak(self) -> float | Array | None:
        """The slope below zero where the slope above it is 1, with a kink between them on which
        minima lie; None without such a kink."""
        return None

    @property
    def kinked(self) -> bool:
        """Whether logits have kinks where an entry passes zero, so that minima lie on them."""
        return self.leak is not None

    def fitted(self, num_columns: int, dtype) -> AbstractMap:
        """The map for a problem of so many columns.

        Parameters
        ----------
        num_columns
            C.
        dtype
            Of the problem.

        Returns
        -------
        AbstractMap
            With its parameters checked and in that dtype.

        Raises
        ------
        ValueError
            Where its parts do not fit.
        """
        return self

    @abstractmethod
    def logits(self, weights: Weights, features: Float[Array, "d C"]) -> Float[Array, "K C"]:
        """Z without the bias. Runs inside `jit`.

        Parameters
        ----------
        weights
            (W_M, …, W_1).
        features
            H (d, C).

        Returns
        -------
        Float[Array, "K C"]
            The logits.
        """

    def of_sizes(self, sizes: Float[Array, "K C"]) -> Float[Array, "K C"]:
        """Of a linear map, the logits from the product with the absolute values of the map's
        entries: how far errors of the product reach."""
        return sizes

    def pulled_back(self, slopes: Float[Array, "K C"]) -> Float[Array, "K C"]:
        """Of a linear map its adjoint: slopes in the logits as slopes in the product."""
        return slopes

    def pulled_sizes(self, sizes: Float[Array, "K C"]) -> Float[Array, "K C"]:
        """The adjoint with the absolute values of the map's entries."""
        return sizes

    def operator(self, num_columns: int, dtype) -> Float[Array, "C C"] | None:
        """A of a map that is `right`, None of others.

        Parameters
        ----------
        num_columns
            C.
        dtype
            Of the problem.

        Returns
        -------
        Float[Array, "C C"] | None
            As the floats that the map takes.
        """
        if not self.right:
            return None
        one = jnp.eye(num_columns, dtype=dtype)
        return self.logits((one,), one)

    def head(
        self, weights: Weights, features: Float[Array, "d C"]
    ) -> tuple[Float[Array, "K d"], Float[Array, "d C"]]:
        """The last linear layer and what enters it: what metrics call classifier and features.

        Parameters
        ----------
        weights
            (W_M, …, W_1).
        features
            H (d, C).

        Returns
        -------
        tuple[Float[Array, "K d"], Float[Array, "d C"]]
            Whose product is the logits.
        """
        return product_of(weights), features


class AbstractGram(AbstractMap):
    r"""From features to $Z = X^\top X/\tau$ with embeddings X (d, C): contrastive losses.

    The lift is then the Gram, and `certify` and `prove` bound it.
    """

    temperature: eqx.AbstractVar[Float[Array, ""]]

    @property
    def gram(self) -> AbstractGram:
        """Itself."""
        return self

    @property
    @abstractmethod
    def forgets_lengths(self) -> bool:
        """Whether embeddings are nonnegative and of length 1, whatever the features are.

        Otherwise they are the features.
        """

    @abstractmethod
    def embeddings(self, features: Float[Array, "d C"]) -> Float[Array, "d C"]:
        """X: what is compared. Runs inside `jit`."""

    @abstractmethod
    def enclose(self, features: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """Logits in balls, for `ufm.prove`.

        Parameters
        ----------
        features
            H in balls, column by column.

        Returns
        -------
        list[list[Any]]
            Column by column.
        """


def product_of(weights: Weights) -> Float[Array, "_ _"]:
    """W_M … W_1."""
    total, *rest = weights
    for W in rest:
        total = total @ W
    return total
