"""Numbers with a bound on their rounding: balls rounded outward."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from ufm._exact.fractions import flint

# Bits of the balls: twice those of a float, so that their own error is never seen in an end.
BITS = 106
# of flint, which is not installed everywhere
Ball = Any


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
    # (0, not −0)
    return -round_down(-ball) + 0.0


def sum_of_squares(array) -> Ball:
    """Of an array of floats."""
    row = flint().arb_mat([np.asarray(array, dtype=np.float64).ravel().tolist()])
    return (row * row.transpose())[0, 0]
