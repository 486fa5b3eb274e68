r"""The scalar problem that every squared-error optimum is made of.

A direction of the target with load $t > 0$ is reached up to the fraction $f \in [0, 1)$ that
minimises $\varphi(f) = (1-f)^2 + (M+1)\,a f^{2/(M+1)}$ with $a = (t/M)^{M/(M+1)}$. With $f =
x^M/(1+x^M)$ this is the same as minimising $1/(1+x^M) + t x$ over $x \ge 0$. Nonzero stationary
points solve $(1-f) f^{(M-1)/(M+1)} = a$, and there $\varphi = (1-f)(1+Mf)$.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm._validate import require, require_whole

# t / t_c − 1 below this is rounding: t is a product of M + 2 factors, one of them a squared
# singular value.
_ROUNDING = 1e-13


def collapse_load(depth: int) -> float:
    r"""$t_c = (M-1)^{(M-1)/M}/M$: at and above this load the direction is best given up.

    1 for M = 1.

    For M >= 2 the transition is discontinuous: at $t_c$ both $f = 0$ and $f = (M-1)/M$ are optimal.
    """
    depth = require_whole("depth", depth)
    return float(depth - 1) ** ((depth - 1) / depth) / depth


def existence_load(depth: int) -> float:
    r"""$t_e = \frac{(M+1)^2}{4M}\left(\frac{M-1}{M+1}\right)^{(M-1)/M}$.

    From this load on only $f = 0$ is stationary; 1 for M = 1.
    """
    depth = require_whole("depth", depth)
    return (depth + 1) ** 2 / (4 * depth) * ((depth - 1) / (depth + 1)) ** ((depth - 1) / depth)


@dataclass(frozen=True, kw_only=True, eq=False)
class ScalarSolution:
    r"""Stationary points of the scalar problem, one entry a direction.

    `fraction`: of the global minimiser. `shortfall`: $1 - f$ of it, with its own relative precision
    when $f \to 1$. `large`, `small`: the other stationary fractions, the local minimum and the
    local maximum; NaN where they do not exist (for M = 1 there is no small one). `metastable`: $t_c
    \le t < t_e$, the large one is a local minimum above the trivial value. `boundary`: $t = t_c$ up
    to rounding with M >= 2, where 0 and `large` are both optimal (`fraction` is then `large`).
    """

    fraction: np.ndarray
    shortfall: np.ndarray
    large: np.ndarray
    small: np.ndarray
    metastable: np.ndarray
    boundary: np.ndarray


def solve_scalar(loads, depth: int) -> ScalarSolution:
    r"""Minimise $\varphi$ for each load $t$ (J,) to rounding.

    Raises `ValueError` for loads that are not positive or a depth below 1. Source: Dang et al.
    2023, the scalar equation of the deep squared-error theorems; the comparison with $f = 0$ makes
    the threshold $t_c$ and not $t_e$.
    """
    t = np.atleast_1d(np.asarray(loads, dtype=np.float64))
    require(np.all(t > 0), "`loads` must be > 0", loads)
    t_c, t_e = collapse_load(depth), existence_load(depth)
    a = (t / depth) ** (depth / (depth + 1))
    exponent = (depth - 1) / (depth + 1)

    exists = t < t_e
    short = np.where(exists, _lower_root(a, exponent, exists), np.nan)
    small = np.full_like(t, np.nan)
    if depth > 1:
        small[exists] = _lower_root(a ** (1 / exponent), 1 / exponent, exists)[exists]
    at_threshold = np.abs(t / t_c - 1) <= _ROUNDING
    # one layer: the transition is continuous, and at the threshold the fraction is 0 up to rounding
    boundary = at_threshold & (depth > 1)
    active = ((t < t_c) & ~at_threshold) | boundary
    return ScalarSolution(
        fraction=np.where(active, 1 - short, 0.0),
        shortfall=np.where(active, short, 1.0),
        large=1 - short,
        small=small,
        metastable=(t >= t_c) & exists,
        boundary=boundary,
    )


def scalar_value(fraction, *, loads, depth: int) -> np.ndarray:
    r"""$\varphi(f)$ at any fraction, stationary or not; 1 at $f = 0$.

    Parameters
    ----------
    fraction
        f, of any shape.
    loads
        t, of a shape that broadcasts with it.
    depth
        M.

    Returns
    -------
    np.ndarray
        $(1-f)^2 + (M+1)(t/M)^{M/(M+1)}f^{2/(M+1)}$.
    """
    f = np.asarray(fraction, dtype=np.float64)
    a = (np.asarray(loads) / depth) ** (depth / (depth + 1))
    return (1 - f) ** 2 + (depth + 1) * a * f ** (2 / (depth + 1))


def _lower_root(target, exponent: float, exists) -> np.ndarray:
    """The smaller root y of y (1 − y)^exponent = target, to relative precision.

    The log of the left side is increasing and concave in log y up to y = 1 / (1 + exponent), so
    Newton from y = target climbs to the root without overshooting; the multiplicative form keeps
    full relative precision for tiny y.
    """
    top = 1 / (1 + exponent)
    y = np.where(exists & (target > 0), np.minimum(target, top), 0.5 * top)
    goal = np.where(exists & (target > 0), target, y * (1 - y) ** exponent)
    for _ in range(200):
        residual = np.log(y / goal) + exponent * np.log1p(-y)
        # at the fold (t = t_e) the slope is 0 and the root double: the floor keeps that step finite
        slope = np.maximum(1 - exponent * y / (1 - y), 1e-16)
        update = np.minimum(y * np.exp(-residual / slope), top)
        if np.all(np.abs(update - y) <= 2e-16 * y):
            break
        y = update
    return np.where(target > 0, y, 0.0)
