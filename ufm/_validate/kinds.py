"""Checks of what kind of thing a value is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from ufm._validate.words import Shown, require

# The counters of JAX without x64 hold no larger whole number, and no budget or shape needs one.
LARGEST_WHOLE = 2**31 - 1
# Starts are held and run side by side.
MOST_STARTS = 10**6
# No machine has more cores, and a pool of more threads does not start.
MOST_THREADS = 4096


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
