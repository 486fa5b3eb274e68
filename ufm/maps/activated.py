"""Layers with an activation between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._validate import require_choice, require_each
from ufm.maps.base import AbstractMap, Weights


def _rounded(x: Array, width: Array) -> Array:
    """A branch of a hyperbola with the asymptotes of relu; relu itself for width 0."""
    squared = x**2 + 4 * width**2
    # at the kink of relu itself the root has no slope
    root = jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1)), 0)
    return (x + root) / 2


def _rounded_leaky(x: Array, numbers: Array) -> Array:
    """The same between the asymptotes of leaky relu, of a slope and a width."""
    slope, width = numbers
    return slope * x + (1 - slope) * _rounded(x, width)


# of a number and the one parameter that some have
_ACTIVATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "relu": lambda x, _: jax.nn.relu(x),
    "leaky_relu": lambda x, slope: jnp.where(x >= 0, x, slope * x),
    "smooth_relu": _rounded,
    "softplus": lambda x, _: jax.nn.softplus(x),
    "gelu": lambda x, _: jax.nn.gelu(x, approximate=False),
    "tanh": lambda x, _: jnp.tanh(x),
}
# the parameter and what it is unless given
_PARAMETER = {"leaky_relu": 0.01, "smooth_relu": 0.1}
ACTIVATIONS = tuple(_ACTIVATIONS)
# what `rounded` makes of leaky relu, and nobody asks for
_ROUNDED_LEAKY = "smooth_leaky_relu"
_ACTIVATIONS[_ROUNDED_LEAKY] = _rounded_leaky


class Activated(AbstractMap):
    r"""$Z = W_M\,\sigma(W_{M-1}\cdots\sigma(W_1 H))$: an activation between factors, the last one
    linear.

    Parameters
    ----------
    activation
        "relu", "leaky_relu", "smooth_relu" ($\tfrac12(x+\sqrt{x^2+4\epsilon^2})$), "softplus",
        "gelu" or "tanh".
    parameter
        The slope of "leaky_relu" below zero (0.01 unless given), the ε of "smooth_relu" (0.1); may
        be traced. None for the others.

    Raises
    ------
    ValueError
        For another name, a parameter of an activation that has none, and one that is not finite and
        >= 0.

    Notes
    -----
    With M = 1 there is nothing between factors, and a problem refuses it: nonnegative features of
    one layer are a domain, `features=ufm.domains.Nonnegative()`. The model is not convex in any
    lift that is known: no certificate, and no closed form of the linear model holds. A flow
    under "relu" slides along kinks, where steps of the default tolerance shrink until the budget is
    spent (it says so): give it a `step`, or an `rtol` of 1e-6.
    """

    name: ClassVar[str] = "activated"
    least_depth: ClassVar[int] = 2

    activation: str = eqx.field(static=True)
    parameter: Array | None

    def __init__(self, activation: str, parameter=None):
        require_choice("activation", activation, ACTIVATIONS)
        self.activation = activation
        has = activation in _PARAMETER
        value = _PARAMETER.get(activation) if parameter is None else parameter
        if value is not None:
            words = "be finite and >= 0" if has else f"be None for {activation}"
            require_each(
                "parameter",
                value,
                lambda number: np.isfinite(number) & (number >= 0) & has,
                words,
                shape=(),
            )
        self.parameter = None if value is None else jnp.asarray(value)

    def fitted(self, num_columns: int, dtype) -> Activated:
        """With its parameter in the dtype of the problem.

        Returns
        -------
        Activated
            With its parameters checked and in that dtype.
        """
        if self.parameter is None or self.parameter.dtype == dtype:
            return self
        return Activated(self.activation, jnp.asarray(self.parameter, dtype))

    @property
    def leak(self) -> float | Array | None:
        """0 of relu, the slope of leaky relu, None of the smooth ones."""
        return {"relu": 0.0, "leaky_relu": self.parameter}.get(self.activation)

    def rounded(self, width) -> Activated:
        """relu, leaky or not, smoothed to a width, which may be traced; itself at width 0.
        Unchecked."""
        other, name, parameter = object.__new__(Activated), "smooth_relu", width
        if self.activation == "leaky_relu":
            assert self.parameter is not None
            name, parameter = _ROUNDED_LEAKY, jnp.stack([self.parameter, width])
        object.__setattr__(other, "activation", name)
        object.__setattr__(other, "parameter", parameter)
        return other

    def act(self, preactivations: Float[Array, ...]) -> Float[Array, ...]:
        """σ of every entry."""
        return _ACTIVATIONS[self.activation](preactivations, self.parameter)

    def layers(
        self, weights: Weights, features: Float[Array, "d C"]
    ) -> tuple[Float[Array, "_ C"], ...]:
        """What enters every factor, W_1 first: H, σ(W_1 H) and so on.

        Parameters
        ----------
        weights
            (W_M, …, W_1).
        features
            H (d, C).

        Returns
        -------
        tuple[Float[Array, "_ C"], ...]
            M matrices.
        """
        entering = [features]
        for W in reversed(weights[1:]):
            entering.append(self.act(W @ entering[-1]))
        return tuple(entering)

    def preactivations(
        self, weights: Weights, features: Float[Array, "d C"]
    ) -> tuple[Float[Array, "_ C"], ...]:
        """What enters every activation, W_1 H first.

        Parameters
        ----------
        weights
            (W_M, …, W_1).
        features
            H (d, C).

        Returns
        -------
        tuple[Float[Array, "_ C"], ...]
            M − 1 matrices.
        """
        entering = self.layers(weights, features)
        return tuple(W @ H for W, H in zip(reversed(weights[1:]), entering, strict=False))

    def logits(self, weights: Weights, features: Float[Array, "d C"]) -> Float[Array, "K C"]:
        """The last factor times what enters it.

        Returns
        -------
        Float[Array, "K C"]
            The logits.
        """
        return weights[0] @ self.layers(weights, features)[-1]

    def head(self, weights: Weights, features: Float[Array, "d C"]):
        """The last factor, and what enters it.

        Returns
        -------
        tuple[Float[Array, "K d"], Float[Array, "d C"]]
            Whose product is the logits.
        """
        return weights[0], self.layers(weights, features)[-1]
