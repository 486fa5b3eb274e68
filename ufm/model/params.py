"""A point of a problem."""

from __future__ import annotations

from jaxtyping import Array, Float

from ufm._classes.module import Module
from ufm.maps.base import product_of


class Params(Module):
    """Factors (W_M, …, W_1), outermost first; features H (d_1, C); bias (K,) or None."""

    weights: tuple[Float[Array, "_ _"], ...]
    features: Float[Array, "d C"]
    bias: Float[Array, " K"] | None = None

    @property
    def classifier(self) -> Float[Array, "K d"]:
        """The product W = W_M … W_1."""
        return product_of(self.weights)

    @property
    def logits(self) -> Float[Array, "K C"]:
        """Z = W_M … W_1 H + b 1ᵀ, of linear layers; `Problem.logits` knows of any other map.

        The product of the weights comes first: K <= C makes that the cheap order.
        """
        logits = self.classifier @ self.features
        return logits if self.bias is None else logits + self.bias[:, None]
