"""Values that may be traced: whether their contents can be read, and as arrays."""

from __future__ import annotations

import jax
import jax.core
import jax.numpy as jnp
import numpy as np


def concrete(value) -> np.ndarray | None:
    """The value as a NumPy array, or None while it is being traced (its contents cannot be checked
    then)."""
    return None if is_traced(value) else np.asarray(value)


def is_traced(tree) -> bool:
    """Whether some array in it is being traced, so that its contents cannot be read."""
    if isinstance(tree, np.ndarray | jax.Array):
        return isinstance(tree, jax.core.Tracer)
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def as_array(value, dtype) -> jax.Array:
    """The value, which may be traced, as an array: made by NumPy where it is none yet, which JAX
    would compile a program for."""
    made = isinstance(value, jax.Array) or is_traced(value)
    return jnp.asarray(value if made else np.asarray(value, dtype), dtype)
