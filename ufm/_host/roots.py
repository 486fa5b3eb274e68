"""Roots of functions of one number on the host: the one bisection of the library."""

from __future__ import annotations

from collections.abc import Callable


def turn(beyond: Callable[[float], bool], low: float, high: float) -> tuple[float, float]:
    """Neighbouring floats between which `beyond` turns from false, as at `low`, to true.

    By halving, with neither end asked: an interval without a middle is returned as it is.
    """
    while low < (middle := 0.5 * (low + high)) < high:
        low, high = (low, middle) if beyond(middle) else (middle, high)
    return low, high


def root_between(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function leaves the sign that it has at `low`, to rounding."""
    sign = _sign(function(low))
    low, high = turn(lambda x: _sign(function(x)) != sign, low, high)
    return 0.5 * (low + high)


def past_root(function: Callable[[float], float], start: float) -> float:
    """A point past `start` where the function is positive, by doubling the distance."""
    step = 1.0
    while function(start + step) <= 0:
        step *= 2
    return start + step


def _sign(value: float) -> int:
    return int(value > 0) - int(value < 0)
