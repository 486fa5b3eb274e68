"""What is put in the place of an argument.

Values that mean nothing there, and the valid value spoilt.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import jax
import numpy as np

from tests.slips import valid

ANYTHING: dict[str, Any] = {
    "None": None,
    "words": "no such word",
    "empty string": "",
    "bytes": b"abc",
    "zero": 0,
    "negative": -1,
    "fraction": 2.5,
    "huge": 10**20,
    "True": True,
    "NaN": float("nan"),
    "infinite": float("inf"),
    "complex": 1j,
    "Decimal": Decimal("0.5"),
    "object": object(),
    "class": int,
    "function": abs,
    "empty list": [],
    "empty dict": {},
    "list of words": ["a", "b"],
    "ragged list": [[1.0], [1.0, 2.0]],
    "endless range": range(10**20),
    "empty array": np.zeros((0, 3)),
    "NaN array": np.full(3, np.nan),
    "complex array": np.array([1j, 2j, 3j]),
    "object array": np.array([object(), None, "a"]),
    "cube": np.ones((2, 3, 5)),
    "key": valid.KEY,
    "problem": valid.PROBLEM,
    "params": valid.PARAMS,
    "labels": valid.LABELS,
    "solution": valid.SOLUTION,
    "optimum": valid.OPTIMUM,
}


def spoilt(value) -> Iterator[tuple[str, Any]]:
    """A valid key, or a valid array of numbers, with something wrong in it.

    Nothing for other values.
    """
    if isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        # as jax.random.PRNGKey still makes them
        yield "old key", jax.random.key_data(value)
        return
    array = _numbers(value)
    if array is None:
        return
    yield "shorter", array[:-1]
    yield "deeper", array[None]
    yield "as words", array.astype(str)
    yield (
        "with an object",
        np.array([None, *np.ravel(array)[1:]], dtype=object).reshape(array.shape),
    )
    yield "as complex", array + 1j
    yield "negated", -array - 1
    if array.dtype.kind == "f":
        broken = array.copy()
        broken[(0,) * array.ndim] = np.nan
        yield "with a NaN", broken


def _numbers(value) -> np.ndarray | None:
    """A copy of an array, or of numbers in a list, of at least one axis."""
    if not isinstance(value, jax.Array | np.ndarray | tuple | list):
        return None
    try:
        array = np.array(value)
    except (TypeError, ValueError):
        return None
    return array if array.ndim and array.dtype.kind in "iuf" else None
