"""What rounding can amount to in a loss and its conjugate, where nothing more is known."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def unit_roundoff(dtype) -> float:
    """Half an eps: the relative error of one rounding."""
    return float(jnp.finfo(dtype).eps) / 2


def generous(num_classes: int, dtype) -> float:
    """A bound of rounding, relative to what is added up, where nothing is known of that."""
    return 16 * (num_classes + 4) * unit_roundoff(dtype)


def rounding_of_conjugate(
    conjugate: Float[Array, ...], dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]
) -> Float[Array, ...]:
    """What rounding can amount to in a conjugate of which nothing more is known.

    Parameters
    ----------
    conjugate
        Of every sample.
    dual, targets
        Where it was asked.

    Returns
    -------
    Float[Array, ...]
        Of every sample, >= 0.
    """
    size = jnp.sum(dual**2 + jnp.abs(targets * dual), axis=0)
    return generous(len(targets), dual.dtype) * (1 + jnp.abs(conjugate) + size)
