"""Roots on the host. The papers' formulas find theirs without the code of what they check."""

from __future__ import annotations

import numpy as np


def bisect(function, low, high, steps: int = 200) -> np.ndarray:
    """The zero of an increasing function between two numbers or arrays, to rounding from below."""
    if np.ndim(low) == np.ndim(high) == 0:
        return np.asarray(_between(function, np.float64(low), np.float64(high), steps))
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    for _ in range(steps):
        middle = (low + high) / 2
        if np.all((middle <= low) | (middle >= high)):
            break
        below = function(middle) < 0
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return low


def _between(function, low: np.float64, high: np.float64, steps: int) -> np.float64:
    """Of two numbers, for which NumPy's functions of arrays take longer than most functions."""
    for _ in range(steps):
        middle = (low + high) / 2
        if middle <= low or middle >= high:
            break
        if function(middle) < 0:
            low = middle
        else:
            high = middle
    return low
