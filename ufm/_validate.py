"""Checks of what a user passes: each failure is a `ValueError` with argument, condition and value.

They come before anything is compiled. What is traced is checked by kind, shape and dtype alone, and
only a check of values reads an array that lies on a device.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

# The counters of JAX without x64 hold no larger whole number, and no budget or shape needs one.
LARGEST_WHOLE = 2**31 - 1
# A list of more entries is a slip, and making it takes all memory.
LONGEST_LIST = 10**7
# Starts are held and run side by side.
MOST_STARTS = 10**6
# No machine has more cores, and a pool of more threads does not start.
MOST_THREADS = 4096
# What a message shows of a value: numbers of an array, characters of anything.
_NUMBERS, _CHARACTERS = 8, 80
_PLAIN = (
    bool
    | int
    | float
    | complex
    | str
    | bytes
    | tuple
    | list
    | dict
    | np.generic
    | np.ndarray
    | jax.Array
    | None
)


def require(condition, message: str, value) -> None:
    """Raise `ValueError(message; got value)` unless the condition holds."""
    if not condition:
        raise ValueError(f"{message}; got {value}")


class Shown:
    """A value in a message.

    Itself where it is short, a large array by its shape, an object by its kind.

    Only a failure asks for the words: to print arrays takes longer than all checks.
    """

    def __init__(self, value):
        self.value = value

    def __str__(self) -> str:
        value = self.value
        if isinstance(value, type):
            return f"the class {value.__name__}"
        if isinstance(value, np.ndarray | jax.Array) and value.size > _NUMBERS:
            return f"an array of shape {value.shape} and dtype {value.dtype}"
        if not isinstance(value, _PLAIN):
            return type(value).__name__
        text = repr(value) if isinstance(value, str | bytes) else str(value)
        return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}…"


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


# kinds --------------------------------------------------------------------------------------------


def require_instance(name: str, value, kinds: type | tuple[type, ...], words: str = "") -> None:
    """The value is of one of these kinds.

    `words` say what is wanted where the names of the kinds do not.
    """
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    wanted = words or " or ".join(f"ufm.{kind.__name__}" for kind in kinds)
    given = Shown(value) if isinstance(value, type) else type(value).__name__
    require(isinstance(value, kinds), f"`{name}` must be {wanted}", given)


Options = TypeVar("Options")


def options_of(kind: type[Options], given: Any, *, name: str) -> Options:
    """The options that a user gave, or for None the default ones of their kind."""
    if given is None:
        return kind()
    room = kind.__module__.rpartition(".")[0]
    require_instance(name, given, kind, f"a {room}.{kind.__name__}")
    return given


def require_choice(name: str, value, choices: Sequence[Any]) -> None:
    """The value is one of some words (or None among them)."""
    word = value is None or isinstance(value, str)
    words = ", ".join(
        f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in choices
    )
    require(word and value in choices, f"`{name}` must be one of {words}", Shown(value))


def require_flag(name: str, value, *, optional: bool = False) -> None:
    """The value is True or False, or None where it is `optional`."""
    good = isinstance(value, bool | np.bool_) or (optional and value is None)
    require(
        good, f"`{name}` must be True{', False or None' if optional else ' or False'}", Shown(value)
    )


def require_one_of(**given) -> None:
    """Exactly one of these arguments is given, that is not None."""
    there = [name for name, value in given.items() if value is not None]
    *names, last = (f"`{name}`" for name in given)
    words = f"exactly one of {', '.join(names)} and {last} must be given"
    require(len(there) == 1, words, ", ".join(there) or "none")


def require_whole(name: str, value, *, least: int = 1, most: int = LARGEST_WHOLE) -> int:
    """The value is a whole number from `least` to `most`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    require(whole and value >= least, f"`{name}` must be a whole number >= {least}", Shown(value))
    require(value <= most, f"`{name}` must be a whole number <= {most}", Shown(value))
    return int(value)


def require_key(name: str, value, *, shape: tuple[int, ...] = ()) -> None:
    """The value is a key of `jax.random.key`; `shape` is that of an array of them."""
    made = isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    wanted = "a key made by jax.random.key(seed)"
    require(made, f"`{name}` must be {wanted}", Shown(value))
    require(
        value.shape == shape,
        f"`{name}` must be {'one key' if shape == () else f'keys of shape {shape}'}",
        value.shape,
    )


def require_path(name: str, value) -> str:
    """The value is the name of a file or folder, and not an empty one."""
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    require(
        isinstance(path, str), f"`{name}` must be a path (a string or os.PathLike)", Shown(value)
    )
    require(path, f"`{name}` must be the name of a file or folder", "an empty one")
    return path


# numbers ------------------------------------------------------------------------------------------


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
    real = jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)
    wanted = "must be one real number" if shape == () else "must hold real numbers"
    require(real, f"`{name}` {wanted}", Shown(value))
    if shape is not None:
        one = (
            f"`{name}` must be one real number"
            if shape == ()
            else f"`{name}` must have shape {shape}"
        )
        require(array.shape == shape, one, array.shape)
    if ndim is not None:
        wanted = {1: "a sequence of numbers", 2: "a matrix"}[ndim]
        require(array.ndim == ndim, f"`{name}` must be {wanted}", f"shape {array.shape}")
    require(empty or array.size > 0, f"`{name}` must not be empty", array.shape)
    return array


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
        wrong = value if values.size <= _NUMBERS else values[~holds][:3]
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

    a float32 one would silently carry 1e-7 errors into a 1e-12 check.

    Python floats carry no dtype and pass.
    """
    given = getattr(value, "dtype", None)
    # (NumPy does not count bfloat16 among the floating-point types)
    if given is not None and given != dtype and jnp.issubdtype(given, jnp.floating):
        require(False, f"`{name}` must have the problem's dtype {dtype}", given)
