"""Checks of floating-point dtypes."""

from __future__ import annotations

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from ufm._validate.numbers import require_real
from ufm._validate.words import Shown, require


def float_dtype(dtype=None, *, name: str = "dtype") -> np.dtype:
    """The float dtype asked for, or JAX's default.

    `ValueError` for float64 while JAX has it switched off.
    """
    if dtype is None:
        return np.dtype(jax.dtypes.canonicalize_dtype(float))
    try:
        # (an array would pass, for its dtype)
        given = np.dtype(dtype) if isinstance(dtype, str | type | np.dtype) else None
        # by its name: in the byte order of this machine
        given = None if given is None else np.dtype(given.name)
    except TypeError:
        given = None
    working = given is not None and given.name in ("float32", "float64")
    require(working, f"`{name}` must be float32 or float64", Shown(dtype))
    assert given is not None
    require(
        jax.dtypes.canonicalize_dtype(given) == given,
        f"`{name}` must be available: call jax.config.update('jax_enable_x64', True) before the "
        f"first array",
        f"{given} while JAX's default is float32",
    )
    return given


def as_floats(name: str, value, *, ndim: int, empty: bool = False, working=None) -> jax.Array:
    """The value as a JAX array of float32 or float64; `ValueError` for another rank or dtype.

    Half precision, which would hide what a metric measures, is widened to `working`, the default
    float unless given.
    """
    array = require_real(name, value, ndim=ndim, empty=empty)
    given = getattr(value, "dtype", None)
    floats = given is None or jnp.issubdtype(given, jnp.floating)
    require(floats, f"`{name}` must be an array of floats", given)
    if given is None or given.itemsize < 4:
        return jnp.asarray(array, float_dtype(working))
    # JAX would quietly round a float64 array to float32, and an NC1 of 1e-28 with it
    dtype = float_dtype(given, name=name)
    # NumPy knows every byte order
    return jnp.asarray(array if isinstance(array, jax.Array) else np.asarray(array, dtype), dtype)


def at_one_width(*arrays: Any) -> list:
    """Floating-point arrays in the widest dtype among them; None stays None.

    Mixed-precision training saves features and weights in different ones.
    """
    dtype = np.result_type(*(array.dtype for array in arrays if array is not None))
    return [None if array is None else array.astype(dtype) for array in arrays]


def rounding_of(value) -> float:
    """Machine epsilon of the dtype that a value came in, half precision included."""
    return float(jnp.finfo(getattr(value, "dtype", float_dtype())).eps)


def require_dtype(name: str, value, dtype) -> None:
    """A floating-point array has the dtype of the problem.

    A float32 one would silently carry 1e-7 errors into a 1e-12 check.

    Python floats carry no dtype and pass.
    """
    given = getattr(value, "dtype", None)
    # (NumPy does not count bfloat16 among the floating-point types)
    if given is not None and given != dtype and jnp.issubdtype(given, jnp.floating):
        require(False, f"`{name}` must have the problem's dtype {dtype}", given)
