"""The product of the factors: the linear model."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Array, Float

from ufm.maps.base import AbstractMap, Weights, product_of


class Product(AbstractMap):
    r"""$Z = W_M\cdots W_1 H$: linear layers, what a problem has unless told otherwise."""

    name: ClassVar[str] = "linear"
    linear: ClassVar[bool] = True
    identity: ClassVar[bool] = True

    def logits(self, weights: Weights, features: Float[Array, "d C"]) -> Float[Array, "K C"]:
        """The product, that of the weights first: K <= C makes that the cheap order.

        Returns
        -------
        Float[Array, "K C"]
            The logits.
        """
        return product_of(weights) @ features
