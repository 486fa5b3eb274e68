"""Roots on the host. The papers' formulas find theirs without the code of what they check."""

from __future__ import annotations

import numpy as np


def bisect(function, low, high, steps: int = 200) -> np.ndarray:
    """The zero of an increasing function between two numbers or arrays, to rounding from below."""
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    for _ in range(steps):
        middle = (low + high) / 2
        if np.all((middle <= low) | (middle >= high)):
            break
        below = function(middle) < 0
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return low
