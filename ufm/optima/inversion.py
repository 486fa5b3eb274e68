"""Monotone laws given as time against state, turned round.

What the laws of `dynamics` need and NumPy does not have.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Gauss–Legendre on panels of this width: ahead the integrands are analytic within a distance of
# about 1, so 20 nodes leave rounding only. A start beside an unstable point has a pole just behind
# it, from which panels keep their own width: the first are as narrow as this, and each next one as
# wide as all before.
_PANEL, _FIRST = 0.25, 2.0**-40
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
# beyond this many e-foldings of the distance to the limit the state is the limit in float64
_FOLDS = 700.0
# A root is known to rounding where a step is shorter than this, relatively; after a step of
# Newton's shorter than `_NEAR` only rounding keeps the next from being half as long.
_STILL, _NEAR = 2e-16, 1e-10

Values = tuple[Floats, Floats]


def invert_increasing(
    at: Callable[[Floats], Values], values: Floats, low: Floats, high: Floats
) -> Floats:
    """x where a function has these values, entry by entry.

    Newton's method, halving the bracket wherever that is not faster.

    Parameters
    ----------
    at
        An increasing function of arrays and its derivative, which often share their work.
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
    before (far out on an exponential Newton's steps have constant length), and its slope is finite
    (else it would be 0, wherever it is); else the bracket is halved, or, after short steps of
    Newton's, the search for that entry is over.
    """
    low, high = (np.array(np.broadcast_to(edge, values.shape), dtype=float) for edge in (low, high))
    x, last, quick = 0.5 * (low + high), high - low, np.zeros(values.shape, bool)
    for _ in range(2000):
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            value, slope = at(x)
            residual = value - values
            high, low = np.where(residual >= 0, x, high), np.where(residual <= 0, x, low)
            step = -residual / slope
            inside = (x + step >= low) & (x + step <= high)
            newton = inside & (2 * np.abs(step) <= last) & np.isfinite(slope)
        there = quick & (last <= _NEAR * np.abs(x))
        step = np.where(newton, step, np.where(there, 0.0, 0.5 * (low + high) - x))
        x, last, quick = x + step, np.abs(step), newton | there
        if np.all(last <= _STILL * np.abs(x)):
            break
    return x


def follow(density: Callable[[Floats], Floats], ts: Floats) -> Floats:
    """w(t) from $dt/dw$ = `density(w)` > 0 with w(0) = 0, by Gauss–Legendre quadrature panel by
    panel; w is capped at 700."""
    w, last = np.zeros_like(ts), float(np.max(ts, initial=0.0))
    began, edge = 0.0, 0.0
    while began < last and edge < _FOLDS:
        panel = min(_PANEL, max(edge, _FIRST))
        spent = _integral(density, edge, np.array([panel]))[0]
        here = (ts > began) & (ts <= began + spent)
        if np.any(here):
            left, since = edge, ts[here] - began
            inner = invert_increasing(
                lambda x, left=left: (_integral(density, left, x), density(left + x)),
                since,
                np.zeros_like(since),
                np.full_like(since, panel),
            )
            w[here] = left + inner
        began, edge = began + spent, edge + panel
    return np.where(ts > began, _FOLDS, w)


def _integral(density: Callable[[Floats], Floats], left: float, lengths: Floats) -> Floats:
    """∫ density over [left, left + length], for each length."""
    nodes = left + 0.5 * lengths[:, None] * (1 + _NODES[None, :])
    return 0.5 * lengths * (density(nodes) @ _WEIGHTS)
