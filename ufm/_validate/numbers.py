"""Checks of numbers and arrays of them: shapes, and every entry where it can be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from ufm._validate.tracing import concrete
from ufm._validate.words import MOST_SHOWN, Shown, require

# A list of more entries is a slip, and making it takes all memory.
LONGEST_LIST = 10**7


def require_real(
    name: str,
    value,
    *,
    shape: tuple[int, ...] | None = None,
    ndim: int | None = None,
    empty: bool = False,
) -> np.ndarray | jax.Array:
    """The value as an array, of real numbers and of this shape, or of so many axes.

    Not read, so possibly traced.
    """
    array = value if isinstance(value, np.ndarray | jax.Array) else _read(name, value)
    masked = isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value)
    words = f"`{name}` must have no masked entries, as all are read"
    require(not masked, words, Shown(value))
    if not _is_real(array.dtype):
        wanted = "must be one real number" if shape == () else "must hold real numbers"
        require(False, f"`{name}` {wanted}", Shown(value))
    if shape is not None and array.shape != shape:
        wanted = "be one real number" if shape == () else f"have shape {shape}"
        require(False, f"`{name}` must {wanted}", array.shape)
    if ndim is not None:
        wanted = {1: "a sequence of numbers", 2: "a matrix"}[ndim]
        require(array.ndim == ndim, f"`{name}` must be {wanted}", f"shape {array.shape}")
    require(empty or array.size > 0, f"`{name}` must not be empty", array.shape)
    return array


def _is_real(dtype) -> bool:
    # (NumPy does not count bfloat16 among the floating-point types, and JAX takes longer to ask)
    return getattr(dtype, "kind", "") in ("i", "u", "f") or jnp.issubdtype(dtype, jnp.floating)


def require_array(name: str, value, *, kind: Any = jnp.floating) -> None:
    """The value is an array already, of floats or (`kind`) of integers."""
    made = isinstance(value, np.ndarray | jax.Array) and jnp.issubdtype(value.dtype, kind)
    words = "floats" if kind is jnp.floating else "integers"
    require(made, f"`{name}` must be an array of {words}", Shown(value))


def _read(name: str, value) -> np.ndarray | jax.Array:
    """Numbers, or lists of them, as an array."""
    huge = isinstance(value, int) and abs(value) >= 2**63
    require(
        not huge, f"`{name}` must be a float, or a whole number of at most 63 bits", Shown(value)
    )
    # a range costs nothing until it is read
    long = isinstance(value, range) and bool(value[LONGEST_LIST:])
    require(not long, f"`{name}` must hold at most {LONGEST_LIST} numbers", value)
    try:
        array = concrete(value)
        return jnp.asarray(value) if array is None else array
    # whatever it is that an object does when it is asked for its numbers
    except Exception as error:
        raise ValueError(
            f"`{name}` must hold real numbers, in rows of equal length; got {Shown(value)}"
        ) from error


def require_each(
    name: str,
    value,
    good: Callable[[np.ndarray], np.ndarray | np.bool_],
    words: str,
    *,
    shape: tuple[int, ...] | None = None,
    ndim: int | None = None,
) -> np.ndarray | None:
    """Every entry of a (possibly traced) value is `good`.

    Of a large one the message shows the first that are not.
    """
    values = concrete(require_real(name, value, shape=shape, ndim=ndim))
    if values is not None:
        holds = good(values)
        wrong = value if values.size <= MOST_SHOWN else values[~holds][:3]
        require(holds.all(), f"`{name}` must {words}", wrong)
    return values


def require_positive(name: str, value, reason: str = "", **form) -> None:
    """Every entry of a (possibly traced) value is finite and > 0.

    `form` is the `shape` or `ndim` of `require_real`.
    """
    require_each(name, value, finite_and_positive, f"be finite and > 0{reason}", **form)


def require_nonnegative(name: str, value, **form) -> None:
    """Every entry of a (possibly traced) value is finite and >= 0.

    `form` as for `require_positive`.
    """
    require_each(
        name, value, lambda array: np.isfinite(array) & (array >= 0), "be finite and >= 0", **form
    )


def require_finite(name: str, value, **form) -> None:
    """Every entry of a (possibly traced) value is finite; `form` as for `require_positive`."""
    require_each(name, value, np.isfinite, "be finite", **form)


def require_static(name: str, value, good: Callable[[Any], bool], words: str) -> None:
    """The value is a number of Python, as static fields must be for compiled code to be found
    again, and a `good` one."""
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    require(number, f"`{name}` must be a number, and not an array", Shown(value))
    require_each(name, value, lambda array: np.isfinite(array) & good(array), words, shape=())


def inside(least: float, most: float) -> Callable[[Any], bool]:
    """Whether a number lies between the two, ends excluded."""
    return lambda value: least < value < most


def finite_and_positive(array: np.ndarray) -> np.ndarray | np.bool_:
    """Entry by entry."""
    return np.isfinite(array) & (array > 0)
