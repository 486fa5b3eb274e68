"""Gradient flows of squared error along one singular direction, with exact solutions.

`dynamics.py` has the normalisation of time and decay.
"""

from __future__ import annotations

import numpy as np

from ufm._validate import (
    require,
    require_finite,
    require_nonnegative,
    require_positive,
    require_whole,
)
from ufm.optima.dynamics import check_mode, checked_times
from ufm.optima.inversion import Floats
from ufm.optima.modes import SquaredErrorDrive, relaxed


def saxe_mode(ts, *, target, start, decay=0.0) -> Floats:
    r"""Singular value of the logits along a balanced direction, one layer.

    $\dot u = 2u(s - \lambda - u)$, $u(t) = a\,/\,(1 + (a/u_0 - 1)e^{-2at})$ with $a = s - \lambda$
    of any sign.

    Parameters
    ----------
    ts
        (T,), in sum time.
    target
        s >= 0.
    start
        u_0 >= 0.
    decay
        λ >= 0 on both factors, in the sum normalisation.

    Returns
    -------
    Floats
        (T,).

    Raises
    ------
    ValueError
        For a negative target, start or decay.

    Notes
    -----
    Source: Saxe, McClelland & Ganguli 2014 (λ = 0).
    """
    check_mode(target, start, decay)
    ts, a = checked_times(ts), target - decay
    if start == 0:
        # (beyond e^-745 the quotient would be 0/0)
        return np.zeros_like(ts)
    with np.errstate(over="ignore"):
        # e^{-2at} and (1 - e^{-2at})/a, both without cancellation and defined at a = 0
        fading = np.exp(-2 * a * ts)
        grown = 2 * ts if a == 0 else -np.expm1(-2 * a * ts) / a
        return start / (fading + start * grown)


def saxe_mode_unbalanced(ts, *, target, start, imbalance) -> Floats:
    r"""Singular value of the logits along a direction with factors $a \ne b$, one layer, no decay.

    $\dot u = (s-u)\sqrt{4u^2+k^2}$.

    Parameters
    ----------
    ts
        (T,), in sum time.
    target
        s >= 0.
    start
        u_0, which may be negative unless k = 0.
    imbalance
        $k = a^2 - b^2$, which is conserved.

    Returns
    -------
    Floats
        (T,), to full relative precision from starts >= 0, however small beside k, and relative to
        the terms of u where it crosses 0; k = 0 gives `saxe_mode`.

    Raises
    ------
    ValueError
        For a negative target, a negative start at k = 0 (or where k² underflows beside it), and
        numbers that are not finite.

    Notes
    -----
    $p = (a+b)^2$ obeys a Riccati equation with the fixed points $p_\pm = 2s \pm Q$, $Q =
    \sqrt{4s^2+k^2}$, hence $\frac{p-p_+}{p-p_-} \propto e^{-Qt}$, and $u = (p - k^2/p)/4$. What is
    carried beside p is $\delta = p - |k|$, of which $u = \delta(1 + |k|/p)/4$: both are means of
    their starts and their limits.

    Source: Saxe, McClelland & Ganguli 2014, in explicit form.
    """
    require_nonnegative("target", target, shape=())
    require_finite("start", start, shape=())
    require_finite("imbalance", imbalance, shape=())
    k = abs(float(imbalance))
    # p and δ at u >= 0, neither a difference; at −u they are k²/p and −kδ/p
    above_start, start_off = _plus_and_off(abs(start), k)
    p0, delta0 = above_start, start_off
    if start < 0:
        ratio = k / above_start
        p0, delta0 = k * ratio, -ratio * start_off
    require(p0 > 0 or start >= 0, "`start` must be >= 0 when `imbalance` is 0", start)
    if k == 0:
        return saxe_mode(ts, target=target, start=start)
    ts, Q = checked_times(ts), np.hypot(2 * target, k)
    upper, upper_off = _plus_and_off(target, k)
    lower = -k * (k / upper)
    come, left = (p0 - lower) * -np.expm1(-Q * ts), (upper - lower) * np.exp(-Q * ts)
    come, left = come / (come + left), left / (come + left)
    p, delta = upper * come + p0 * left, upper_off * come + delta0 * left
    return delta * (1 + k / p) / 4


def _plus_and_off(u: float, k: float) -> tuple[float, float]:
    r"""$p = \sqrt{4u^2+k^2} + 2u$ and p − k, of u and k >= 0, without a difference."""
    size = np.hypot(2 * u, k)
    return size + 2 * u, 2 * u + (2 * u * (2 * u / (size + k)) if u > 0 else 0.0)


def deep_mode(ts, *, target, start, depth, decay=0.0) -> Floats:
    r"""Singular value of the logits along a balanced direction, M layers.

    $\dot u = (M+1)\,[u^{2M/(M+1)}(s-u) - \lambda u]$.

    Parameters
    ----------
    ts
        (T,), in sum time.
    target
        s > 0.
    start
        u_0 >= 0.
    depth
        M, the number of weight factors (M + 1 with the features).
    decay
        λ >= 0 on all factors, in the sum normalisation.

    Returns
    -------
    Floats
        (T,), from quadrature of dt/du inverted to rounding; M = 1 is `saxe_mode`.

    Raises
    ------
    ValueError
        For a target that is not positive, a negative start or decay, a start that is nothing beside
        the target in float64, and a depth below 1.

    Notes
    -----
    Source: derived; without decay the balanced deep linear networks of Saxe, McClelland & Ganguli
    2014.
    """
    check_mode(target, start, decay)
    require_positive("target", target)
    depth, ts = require_whole("depth", depth), checked_times(ts)
    if start == 0:
        return np.zeros_like(ts)
    # in units of a large target, whose powers would overflow; of time, in two factors
    unit = max(target, 1.0)
    small = unit > 1 and start / unit < np.finfo(float).tiny
    require(not small, "`start` must be at least 1e-307 of `target`", start)
    speed = unit ** (depth / (depth + 1))
    with np.errstate(over="ignore"):
        scaled = ts * speed * speed
    drive = SquaredErrorDrive(target / unit, depth)
    return unit * relaxed(drive, scaled, np.log(start / unit), decay / speed / speed)
