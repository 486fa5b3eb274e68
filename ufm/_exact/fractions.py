"""Floats as the exact fractions that they are, of an interval library that is not installed
everywhere."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
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


class Exact:
    """A dataclass that holds exact fractions, which the interval library can neither copy nor
    pickle: as those of Python, and without what it has worked out from them."""

    def __reduce__(self):
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        values = {field.name: _plain(getattr(self, field.name)) for field in fields}
        return _remade, (type(self), values)


def _remade(cls: type, values: dict[str, Any]) -> Any:
    return cls(**{name: _exactly(value) for name, value in values.items()})


def _plain(value: Any) -> Any:
    """With a fraction of Python's in the place of each of the library's."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return Fraction(int(value.p), int(value.q)) if isinstance(value, flint().fmpq) else value


def _exactly(value: Any) -> Any:
    """The other way."""
    if isinstance(value, list):
        return [_exactly(each) for each in value]
    is_fraction = isinstance(value, Fraction)
    return flint().fmpq(value.numerator, value.denominator) if is_fraction else value
