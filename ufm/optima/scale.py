r"""The scalar problem of one block of classes under balanced cross-entropy: its best scale.

With own logit β the other K − 1 logits lie $g_j\beta$ below, and the block's share of the objective
is

$$\varphi(\beta) = s\,\log\Big(1+\sum_j e^{-g_j\beta}\Big) + C\beta^q,\qquad q = \tfrac{2}{M+1},$$

stationary where $\beta^{1-q}D(\beta) = qC/s$, with D the mean gap $\sum_j g_j p_j$ under the
softmax.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ufm._host.roots import root_between
from ufm._validate import require

# Points of the logarithmic grid on which sign changes are looked for; the largest value of the left
# side is added to them.
_GRID = 400
# Gaps no further apart differ by rounding.
_SAME = 1e-14
_GOLDEN = (np.sqrt(5) - 1) / 2


class ScaleProblem:
    r"""One block.

    `gaps` (K−1,): of the other logits to the own one at β = 1, all > 0. `share`: s, its part of the
    classes. `singular_values`: of its logits at β = 1. `depth`: M. `strength`: $\Lambda
    n^{1/(M+1)}$.
    """

    def __init__(self, gaps, *, share: float, singular_values, depth: int, strength: float):
        ascending = np.sort(np.asarray(gaps, dtype=np.float64), axis=None)
        require(np.all(ascending > 0), "`gaps` must be > 0", gaps)
        # (those that differ by rounding count as the first of them, which keeps its digits)
        first = np.flatnonzero(np.diff(ascending, prepend=-np.inf) > _SAME)
        self.gaps = ascending[first]
        self.multiplicities = np.diff(first, append=ascending.size)
        self.share, self.depth = share, depth
        self.power = 2 / (depth + 1)
        # C = strength * unit, because (sqrt(n) σ)^q = n^{1/(M+1)} σ^q
        self.unit = (depth + 1) / 2 * float(np.sum(np.asarray(singular_values) ** self.power))
        self.strength = strength

    def loss(self, scale) -> np.ndarray | np.floating:
        """Cross-entropy of one class of the block."""
        return np.log1p(np.exp(-np.multiply.outer(scale, self.gaps)) @ self.multiplicities)

    def mean_gap(self, scale) -> np.ndarray | np.floating:
        """D, minus the derivative of the loss."""
        weights = self.multiplicities * np.exp(-np.multiply.outer(scale, self.gaps))
        return weights @ self.gaps / (1 + weights.sum(axis=-1))

    def value(self, scale: float) -> float:
        """φ, NaN at NaN."""
        return float(self.share * self.loss(scale) + self.strength * self.unit * scale**self.power)

    @cached_property
    def roots(self) -> tuple[float, ...]:
        """All positive stationary scales, ascending, to rounding."""
        if self.strength >= self.existence:
            return ()
        target = np.log(self.power * self.strength * self.unit / self.share)

        def excess(u):
            return self._log_slope(u) - target

        low, high = self._range(target)
        # without the top, two close roots could hide between two grid points
        grid = np.sort(np.append(np.linspace(low, high, _GRID), self._top))
        signs = np.sign(excess(grid))
        crossings = np.flatnonzero(signs[1:] * signs[:-1] < 0)
        found = [
            *grid[signs == 0],
            *(root_between(excess, grid[i], grid[i + 1]) for i in crossings),
        ]
        return tuple(float(x) for x in np.exp(np.sort(found)))

    @cached_property
    def threshold(self) -> float:
        """The strength at which the best scale and zero are equally good."""
        if self.depth == 1:
            return self.existence
        zero = self.loss(0.0)

        def gain(u):
            return self.share * (zero - self.loss(np.exp(u))) / (self.unit * np.exp(self.power * u))

        return float(gain(_maximise(gain, *self._wide_range)))

    @cached_property
    def existence(self) -> float:
        """The strength from which on no scale but 0 is stationary."""
        if self.depth == 1:
            # D decreases, so the largest strength is that of β = 0
            return float(self.share * self.mean_gap(0.0) / self.unit)
        return float(self.share * np.exp(self._log_slope(self._top)) / (self.power * self.unit))

    def _log_slope(self, u):
        """log of β^{1−q} D(β) at β = e^u."""
        return np.log(np.maximum(self.mean_gap(np.exp(u)), np.finfo(float).tiny)) + (
            1 - self.power
        ) * np.asarray(u)

    @cached_property
    def _top(self) -> float:
        """log β of the largest β^{1−q} D(β)."""
        return float(_maximise(self._log_slope, *self._wide_range))

    @property
    def _wide_range(self) -> tuple[float, float]:
        """log β from where D is that of 0 to where the softmax is saturated."""
        return float(np.log(1e-6 / self.gaps.max())), float(np.log(100 / self.gaps.min()))

    def _range(self, target: float) -> tuple[float, float]:
        """An interval of log β with every root.

        D <= D(0) bounds them below, its exponential decay above.
        """
        decades = (
            -40.0 if self.depth == 1 else (target - np.log(self.mean_gap(0.0))) / (1 - self.power)
        )
        low, high = float(min(decades, self._wide_range[0])) - 1, float(np.log(2 / self.gaps.min()))
        while self._log_slope(high) >= target:
            high += 0.5
        return low, high


def _maximise(function, low: float, high: float) -> float:
    """The largest value on a grid, then golden sections around it."""
    grid = np.linspace(low, high, _GRID)
    i = int(np.clip(np.argmax(function(grid)), 1, _GRID - 2))
    a, d = grid[i - 1], grid[i + 1]
    for _ in range(80):
        b, c = d - _GOLDEN * (d - a), a + _GOLDEN * (d - a)
        a, d = (a, c) if function(b) > function(c) else (b, d)
    return 0.5 * (a + d)
