"""The message of a failed check, and what it shows of a value."""

from __future__ import annotations

import jax
import jax.core
import numpy as np

# What a message shows of a value: numbers of an array, characters of anything.
MOST_SHOWN, _CHARACTERS = 8, 80
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
        if isinstance(value, np.ndarray | jax.Array) and value.size > MOST_SHOWN:
            return f"an array of shape {value.shape} and dtype {value.dtype}"
        if not isinstance(value, _PLAIN):
            return type(value).__name__
        text = repr(value) if isinstance(value, str | bytes) else str(value)
        return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}…"
