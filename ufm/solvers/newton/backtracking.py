"""A line search on many convex problems at once, a row each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ufm.solvers.newton.rules import SUFFICIENT

Lengths = Float[Array, " B"]


def descends(value, trial, length: Lengths, slope, *, noise) -> Bool[Array, " B"]:
    """Armijo's condition, up to the noise of the values.

    Parameters
    ----------
    value, trial
        Values (B,) before and after a step.
    length
        (B,), of the step, in units of the direction.
    slope
        (B,), the derivative along the direction.
    noise
        (B,), the rounding error of the values.

    Returns
    -------
    Bool[Array, " B"]
        Where a step may be taken.
    """
    return trial <= value + SUFFICIENT * length * slope + noise


def backtrack(
    attempt: Callable[[Lengths], tuple[Any, Bool[Array, " B"]]], length: Lengths
) -> tuple[Lengths, Any, Bool[Array, " B"]]:
    """Halve the steps of the rows in which `attempt` finds no descent, down to rounding.

    `attempt`: from lengths to what is there and whether each is good. Returns lengths, what is
    there, and which are good in the end.
    """
    eps = float(jnp.finfo(length.dtype).eps)

    def unfinished(trial):
        length, (_, good) = trial
        return jnp.any(~good & (length > eps))

    def halve(trial):
        length, (_, good) = trial
        length = jnp.where(good, length, 0.5 * length)
        return length, attempt(length)

    length, (there, good) = jax.lax.while_loop(unfinished, halve, (length, attempt(length)))
    return length, there, good
