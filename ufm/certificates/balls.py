"""Numbers without rounding, or with a bound on it: exact fractions, and balls rounded outward."""

from __future__ import annotations

import math
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np

# Bits of the balls: twice those of a float, so that their own error is never seen in an end.
BITS = 106
# of flint, which is not installed everywhere
Ball = Any


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


def round_down(ball: Ball) -> float:
    """The largest float that no number of the ball is below; −inf where there is none."""
    if not ball.is_finite():
        return -math.inf
    mantissa, exponent = (int(number) for number in ball.lower().man_exp())
    exact = Fraction(mantissa) * Fraction(2) ** exponent
    try:
        nearest = float(exact)
    except OverflowError:
        nearest = math.inf if exact > 0 else -math.inf
    return nearest if nearest <= exact else math.nextafter(nearest, -math.inf)


def round_up(ball: Ball) -> float:
    """The smallest float that no number of the ball is above; +inf where there is none."""
    return -round_down(-ball)


def sum_of_squares(array) -> Ball:
    """Of an array of floats."""
    row = flint().arb_mat([np.asarray(array, dtype=np.float64).ravel().tolist()])
    return (row * row.transpose())[0, 0]
