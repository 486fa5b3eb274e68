"""A loss with its gradient, by reverse differentiation."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Loss = Callable[[Float[Array, "K ..."], Float[Array, "K ..."]], Float[Array, "..."]]


def loss_and_dual(
    loss: Loss, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
) -> tuple[Float[Array, ...], Float[Array, "K ..."]]:
    """Loss of every sample, and its gradient in the logits. Runs inside `jit`.

    Parameters
    ----------
    loss
        A loss, or another function of logits and targets that gives one number a sample.
    logits, targets
        One sample a column (K, ...).

    Returns
    -------
    tuple[Float[Array, ...], Float[Array, "K ..."]]
        Losses, and gradients of the shape of the logits.
    """
    losses, pull = jax.vjp(lambda logits: loss(logits, targets), logits)
    return losses, pull(jnp.ones_like(losses))[0]
