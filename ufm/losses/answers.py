"""What a loss answers at points, by NumPy where they are few: a program for each question would
take longer to compile than to ask."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ufm._host.choice import small_on_host
from ufm.losses.base import AbstractLoss
from ufm.losses.derivative import loss_and_dual


@small_on_host
def value(loss: AbstractLoss, logits: Array, targets: Array) -> Array:
    """The loss itself.

    Parameters
    ----------
    loss
        What is asked.
    logits, targets
        (K, ...).

    Returns
    -------
    Array
        (...), unless the loss is wrong.
    """
    return loss(logits, targets)


@small_on_host
def value_and_dual(loss: AbstractLoss, logits: Array, targets: Array) -> tuple[Array, Array]:
    """The loss and its gradient.

    Parameters
    ----------
    loss
        What is asked.
    logits, targets
        (K, S).

    Returns
    -------
    tuple[Array, Array]
        (S,) and (K, S).
    """
    return loss_and_dual(loss, logits, targets)


@small_on_host
def conjugate(loss: AbstractLoss, dual: Array, targets: Array) -> Array:
    """The conjugate.

    Parameters
    ----------
    loss
        What is asked.
    dual, targets
        (K, S).

    Returns
    -------
    Array
        (S,), unless the loss is wrong.
    """
    return loss.conjugate(dual, targets)


@small_on_host
def best_bias(loss: AbstractLoss, logits: Array, targets: Array, weights: Array) -> Array:
    """The best bias.

    Parameters
    ----------
    loss
        What is asked.
    logits, targets
        (K, S).
    weights
        (S,).

    Returns
    -------
    Array
        (K,), unless the loss is wrong.
    """
    return loss.best_bias(logits, targets, weights)


@small_on_host
def centred(loss: AbstractLoss, dual: Array, targets: Array, weights: Array) -> Array:
    """Dual columns without their mean.

    Parameters
    ----------
    loss
        What is asked.
    dual, targets
        (K, S).
    weights
        (S,).

    Returns
    -------
    Array
        (K, S).
    """
    return loss.centred(dual, targets, loss.centring(dual @ weights, targets @ weights))


@small_on_host
def dual_scale(
    loss: AbstractLoss, dual: Array, targets: Array, weights: Array, limit: Array
) -> Array:
    """By which dual columns are best multiplied, without a quadratic term.

    Parameters
    ----------
    loss
        What is asked.
    dual, targets
        (K, S).
    weights
        (S,).
    limit
        The largest that is allowed.

    Returns
    -------
    Array
        A number.
    """
    return loss.dual_scale(dual, targets, weights, limit=limit, quadratic=jnp.zeros_like(limit))


@small_on_host
def of_rows(
    loss: AbstractLoss, logits: Array, targets: Array, directions: Array
) -> tuple[Array, Array, Array]:
    """Value, residual and Hessian times directions, as the loss writes them out for rows.

    Parameters
    ----------
    loss
        What is asked.
    logits, targets, directions
        (K, S).

    Returns
    -------
    tuple[Array, Array, Array]
        (S,), and twice (S, K).
    """
    one = jnp.ones((), logits.dtype)
    rows = loss.rows(jnp.eye(len(logits), dtype=logits.dtype), one, one)
    here = rows.at(logits.T, targets.T)
    return here.value, here.residual, rows.curve(here.memory, directions.T)


@small_on_host
def curved(loss: AbstractLoss, logits: Array, targets: Array, directions: Array) -> Array:
    """The Hessian times directions, by differentiation.

    Parameters
    ----------
    loss
        What is asked.
    logits, targets, directions
        (K, S).

    Returns
    -------
    Array
        (K, S).
    """
    return jax.jvp(
        lambda logits: loss_and_dual(loss, logits, targets)[1], (logits,), (directions,)
    )[1]
