"""Monotone laws given as time against state, turned round.

What the laws of `dynamics` need and NumPy does not have.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Gauss–Legendre on panels of this width: the integrands are analytic within a distance of about 1,
# so 20 nodes leave rounding only
_PANEL = 0.25
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
# beyond this many e-foldings of the distance to the limit the state is the limit in float64
_FOLDS = 700.0


def invert_increasing(
    function: Callable[[Floats], Floats],
    slope: Callable[[Floats], Floats],
    values: Floats,
    low: Floats,
    high: Floats,
) -> Floats:
    """x with `function(x) = values`, entry by entry.

    Newton's method, halving the bracket wherever that is not faster.

    Parameters
    ----------
    function, slope
        An increasing function of arrays, and its derivative.
    values
        What it is to reach.
    low, high
        A bracket, broadcast to the shape of `values`.

    Returns
    -------
    Floats
        Of the shape of `values`, until no entry moves by more than rounding.

    Notes
    -----
    A step is Newton's when it stays inside the bracket and is at most half as long as the one
    before (far out on an exponential Newton's steps have constant length); else the bracket is
    halved.
    """
    low, high = (np.array(np.broadcast_to(edge, values.shape), dtype=float) for edge in (low, high))
    x, last = 0.5 * (low + high), high - low
    for _ in range(2000):
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            residual = function(x) - values
            high, low = np.where(residual >= 0, x, high), np.where(residual <= 0, x, low)
            step = -residual / slope(x)
            newton = (x + step >= low) & (x + step <= high) & (2 * np.abs(step) <= last)
        step = np.where(newton, step, 0.5 * (low + high) - x)
        x, last = x + step, np.abs(step)
        if np.all(last <= 2e-16 * np.abs(x)):
            break
    return x


def follow(density: Callable[[Floats], Floats], ts: Floats) -> Floats:
    """w(t) from $dt/dw$ = `density(w)` > 0 with w(0) = 0, by Gauss–Legendre quadrature panel by
    panel; w is capped at 700."""
    w, last = np.zeros_like(ts), float(np.max(ts, initial=0.0))
    began, edge = 0.0, 0.0
    while began < last and edge < _FOLDS:
        spent = _integral(density, edge, np.array([_PANEL]))[0]
        here = (ts > began) & (ts <= began + spent)
        if np.any(here):
            left, since = edge, ts[here] - began
            inner = invert_increasing(
                lambda x, left=left: _integral(density, left, x),
                lambda x, left=left: density(left + x),
                since,
                np.zeros_like(since),
                np.full_like(since, _PANEL),
            )
            w[here] = left + inner
        began, edge = began + spent, edge + _PANEL
    return np.where(ts > began, _FOLDS, w)


def _integral(density: Callable[[Floats], Floats], left: float, lengths: Floats) -> Floats:
    """∫ density over [left, left + length], for each length."""
    nodes = left + 0.5 * lengths[:, None] * (1 + _NODES[None, :])
    return 0.5 * lengths * (density(nodes) @ _WEIGHTS)
