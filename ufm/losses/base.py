"""What a loss is: a function of the logits of samples, with its convex conjugate and best bias."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._validate import concrete, float_dtype, require


class AbstractLoss(eqx.Module):
    """A loss of the logits. A new loss gives its value, its conjugate and its best bias; everything else follows.

    `convex`: whether it is convex in the logits; one that is not has no conjugate that bounds anything, and no certificate.
    """

    convex: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]) -> Float[Array, ...]:
        """Loss of every sample: classes on the first axis, samples on any further ones."""

    @abstractmethod
    def conjugate(self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]) -> Float[Array, ...]:
        r"""$\ell^*(u; q) = \sup_z u^\top z - \ell(z; q)$, $+\infty$ outside its domain."""

    @abstractmethod
    def best_bias(
        self, logits: Float[Array, "K C"], targets: Float[Array, "K C"], column_weights: Float[Array, " C"]
    ) -> Float[Array, " K"]:
        r"""$\arg\min_b \sum_c \omega_c\,\ell(z_c + b; q_c)$; any one of them where a shift of all logits costs nothing."""

    def dual_scale(
        self,
        dual: Float[Array, "K C"],
        targets: Float[Array, "K C"],
        column_weights: Float[Array, " C"],
        *,
        limit: Float[Array, ""],
        quadratic: Float[Array, ""],
    ) -> Float[Array, ""]:
        r"""A good t in [0, `limit`] for $-\sum_c \omega_c \ell^*(t u_c; q_c) - \tfrac12 t^2\,$`quadratic`, with u = `dual` a gradient.

        $\min(1, t_{\max})$ serves every convex loss: t <= 1 stays inside the domain, and at a stationary point the slope of the bound
        at t = 1 is $\lambda_W\|W\|^2 \ge 0$, so that by concavity no smaller t is better there.
        """
        return jnp.minimum(1, limit)


def loss_and_dual(
    loss: AbstractLoss, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
) -> tuple[Float[Array, ...], Float[Array, "K ..."]]:
    """Loss of every sample, and its gradient in the logits. Runs inside `jit`."""
    losses, pull = jax.vjp(lambda logits: loss(logits, targets), logits)
    return losses, pull(jnp.ones_like(losses))[0]


def one_number(parameter: Array, *, beside: Array) -> Array:
    """A parameter () with as many axes as the array `beside`, in its dtype; (B,) for the last axis of that, one number for each lane."""
    return parameter.astype(beside.dtype).reshape((1,) * (beside.ndim - parameter.ndim) + parameter.shape)


def per_class(parameter: Array, *, beside: Array) -> Array:
    """A parameter (K,), or (K, B), likewise beside (K, …)."""
    missing = (1,) * (beside.ndim - parameter.ndim)
    return parameter.astype(beside.dtype).reshape(parameter.shape[:1] + missing + parameter.shape[1:])


def parameter(name: str, value, check, shape: tuple[int, ...] = ()) -> Array:
    """A (possibly traced) parameter of a loss as a float array."""
    require(np.shape(value) == shape, f"`{name}` must have shape {shape}", np.shape(value))
    check(name, value)
    return jnp.asarray(value, float_dtype())


def require_finite(name: str, value) -> None:
    """Every entry of a (possibly traced) value is finite."""
    array = concrete(value)
    require(array is None or np.all(np.isfinite(array)), f"`{name}` must be finite", value)
