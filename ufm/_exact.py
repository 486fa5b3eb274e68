"""Floats as the exact fractions that they are, of an interval library that is not installed
everywhere."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np


def flint() -> ModuleType:
    """The interval library; `ImportError` that names the extra where it is not installed."""
    try:
        import flint
    except ImportError as error:
        needed = "a proof needs the interval library python-flint, the extra `ufm[proofs]`"
        raise ImportError(needed) from error
    return flint


def fractions(array) -> Any:
    """The floats of an array as the exact fractions (`fmpq`) that they are, in nested lists."""
    fmpq = flint().fmpq

    def exactly(entry):
        if isinstance(entry, list):
            return [exactly(each) for each in entry]
        return fmpq(*entry.as_integer_ratio())

    return exactly(np.asarray(array, dtype=np.float64).tolist())
