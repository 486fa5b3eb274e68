"""Checks of single values that come from options or a SPEC.toml; nothing heavy is imported."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

# Whole numbers beyond this fit no counter of JAX; seeds beyond theirs would be cut to equal ones in
# single precision.
LARGEST, LARGEST_SEED = 2**31 - 1, 2**32 - 1
# A list of more values, or of more classes, is a slip: making it takes all memory.
LONGEST = 10**7


def require(condition, key: str, wanted: str, value) -> None:
    """`ValueError` naming key and value unless the condition holds.

    Parameters
    ----------
    condition
        What must hold.
    key, wanted, value
        For the message: which setting, what it must be, and what came.

    Raises
    ------
    ValueError
        "`key` must be wanted; got value".
    """
    if not condition:
        raise ValueError(f"`{key}` must be {wanted}; got {value!r}")


def is_number(value) -> bool:
    """A finite int or float, and no bool."""
    small = not isinstance(value, int) or abs(value) < 2**63
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and small
        and math.isfinite(value)
    )


def is_whole(value, least: int, most: int = LARGEST) -> bool:
    """Whether a value is an int within bounds, and no bool.

    Parameters
    ----------
    value
        Anything.
    least, most
        The bounds, both allowed.

    Returns
    -------
    bool
        True for such an int.
    """
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def whole(value, key: str, *, least: int, most: int = LARGEST) -> int:
    """An int within bounds.

    Parameters
    ----------
    value
        What the user gave.
    key
        Which setting.
    least, most
        The bounds, both allowed.

    Returns
    -------
    int
        The value.

    Raises
    ------
    ValueError
        Naming the key, for anything else.
    """
    huge = isinstance(value, int) and value > most
    require(
        is_whole(value, least, most),
        key,
        f"a whole number {f'<= {most}' if huge else f'>= {least}'}",
        value,
    )
    return value


def seed_of(value, key: str) -> int:
    """The seed of a random key; `ValueError` naming the key otherwise."""
    return whole(value, key, least=0, most=LARGEST_SEED)


def one_of(choices: tuple[str, ...]) -> Callable[[Any, str], Any]:
    """The check that a value is one of the choices."""

    def check(value, key):
        require(value in choices, key, f"one of {', '.join(map(repr, choices))}", value)
        return value

    return check


def number(value, key):
    """A float >= 0; `ValueError` otherwise."""
    require(is_number(value) and value >= 0, key, "a number >= 0", value)
    return float(value)


def positive(value, key):
    """A float > 0; `ValueError` otherwise."""
    require(is_number(value) and value > 0, key, "a number > 0", value)
    return float(value)
