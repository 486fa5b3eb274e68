"""Checks of what a user passes: each failure is a `ValueError` with argument, condition and value, before anything is compiled."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.core
import numpy as np


def require(condition, message: str, value) -> None:
    """Raise `ValueError(message; got value)` unless the condition holds."""
    if not condition:
        raise ValueError(f"{message}; got {value}")


def concrete(value) -> np.ndarray | None:
    """The value as a NumPy array, or None while it is being traced (its contents cannot be checked then)."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value)):
        return None
    return np.asarray(value)


def float_dtype(dtype=None) -> np.dtype:
    """The float dtype asked for, or JAX's default; `ValueError` when float64 is asked for while JAX has it switched off."""
    if dtype is None:
        return np.dtype(jax.dtypes.canonicalize_dtype(float))
    dtype = np.dtype(dtype)
    require(np.issubdtype(dtype, np.floating), "`dtype` must be a floating-point type", dtype)
    require(
        jax.dtypes.canonicalize_dtype(dtype) == dtype,
        "`dtype` must be available: call jax.config.update('jax_enable_x64', True) before the first array",
        f"{dtype} while JAX's default is float32",
    )
    return dtype


def require_positive(name: str, value, reason: str = "") -> None:
    """Every entry of a (possibly traced) value is finite and > 0."""
    array = concrete(value)
    if array is not None:
        require(np.all(np.isfinite(array)) and np.all(array > 0), f"`{name}` must be finite and > 0{reason}", value)


def require_nonnegative(name: str, value) -> None:
    """Every entry of a (possibly traced) value is finite and >= 0."""
    array = concrete(value)
    if array is not None:
        require(np.all(np.isfinite(array)) and np.all(array >= 0), f"`{name}` must be finite and >= 0", value)


def require_each(name: str, value, good: Callable[[np.ndarray], np.ndarray], words: str) -> None:
    """Every entry of a (possibly traced) array is `good`; the message shows the first that are not."""
    array = concrete(value)
    if array is not None:
        holds = good(array)
        require(holds.all(), f"`{name}` must {words}", array[~holds][:3])


def finite_and_positive(array: np.ndarray) -> np.ndarray:
    """Entry by entry."""
    return np.isfinite(array) & (array > 0)


def require_dtype(name: str, value, dtype) -> None:
    """A floating-point array has the dtype of the problem: a float32 one would silently carry 1e-7 errors into a 1e-12 check.

    Python floats carry no dtype and pass.
    """
    given = getattr(value, "dtype", None)
    if given is not None and np.issubdtype(given, np.floating):
        require(given == dtype, f"`{name}` must have the problem's dtype {dtype}", given)
