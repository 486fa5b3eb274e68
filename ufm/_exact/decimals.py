"""Numbers in print that claim no more than is known: decimals rounded up or down."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal


def printed(value: float, digits: int, *, up: bool, form: str = "g") -> str:
    """A float in so many digits that what is read back is no less than it, or no more.

    Parameters
    ----------
    value
        Any float; one that is not finite is written as it is.
    digits
        At most 17.
    up
        Whether what is written may not be less.
    form
        "g", or "e" for one digit before the point and an exponent.

    Returns
    -------
    str
        As `format` writes what is nearest.
    """
    spec = f".{digits - (form == 'e')}{form}"
    if not math.isfinite(value):
        return f"{value:{spec}}"
    rounded = Context(prec=digits, rounding=ROUND_CEILING if up else ROUND_FLOOR)
    return f"{float(rounded.plus(Decimal(repr(value)))):{spec}}"


def printed_inside(low: float, high: float, digits: int) -> tuple[str, str]:
    """The ends of an interval, neither outside of it, in so many digits or what it is wide enough
    for."""
    for number in range(digits, 18):
        ends = printed(low, number, up=True), printed(high, number, up=False)
        if float(ends[0]) <= float(ends[1]):
            return ends
    return repr(low), repr(high)


def exactly(value: float, digits: int = 6) -> str:
    """A float in so many digits where those are all, else in as many as tell it from others."""
    short = f"{value:.{digits}g}"
    return short if float(short) == value else repr(value)
