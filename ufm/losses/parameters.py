"""Parameters of losses: one number or one a class, and what they look like beside logits."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from ufm._validate import float_dtype


def parameter(name: str, value, check, shape: tuple[int, ...] = ()) -> Array:
    """A (possibly traced) parameter of a loss as a float array.

    Parameters
    ----------
    name
        For the message.
    value
        What the user gave.
    check
        From `ufm._validate`; called with name, value and shape.
    shape
        Which it must have.

    Returns
    -------
    Array
        Of the default float dtype.

    Raises
    ------
    ValueError
        As `check` does.
    """
    check(name, value, shape=shape)
    return jnp.asarray(value, float_dtype())


def one_number(parameter: Array, *, beside: Array) -> Array:
    """A parameter () with as many axes as the array `beside`, in its dtype.

    (B,) for the last axis of that, one number for each lane.
    """
    return parameter.astype(beside.dtype).reshape(
        (1,) * (beside.ndim - parameter.ndim) + parameter.shape
    )


def per_class(parameter: Array, *, beside: Array) -> Array:
    """A parameter of a loss, one number a class, as it stands beside logits or duals.

    Parameters
    ----------
    parameter
        (K,), or (K, B) for the last axis of `beside`.
    beside
        (K, …): one column, or any number.

    Returns
    -------
    Array
        (K, 1, …), in the dtype of `beside`.
    """
    missing = (1,) * (beside.ndim - parameter.ndim)
    return parameter.astype(beside.dtype).reshape(
        parameter.shape[:1] + missing + parameter.shape[1:]
    )
