r"""Theorem A (ours): a lower bound on cross-entropy over unit vectors with W = H, for any K and d.

With $f(t) = e^{\beta(t-1)}$ let $h = \sum_l h_lC_l \le f$ on [−1, 1], $h_l\ge0$ for l >= 1,
$E = Kh_0 - h(1) > 0$, $y = E/(1+E)$ and $\kappa = 2(-y-\log(1-y))/y^2$. If

$$\kappa K(h(1)-h_0) \le 2(1+E),$$

then $\frac1K\sum_k\log\sum_j e^{\beta(w_j-w_k)\cdot w_k}\ge\log(1+E)$ for all unit vectors
$w_1,\dots,w_K$ in $\mathbb R^d$. The bound of linear programming, which is one on the mean of
$\sum_{j\ne k}f(w_j\cdot w_k)$ over k, proves nothing about the mean of its logarithm, because that
is concave; the condition is what keeps the sums from being unequal enough to gain by it.

Proof. $r_k = \sum_j h(w_j\cdot w_k) - Kh_0 = (M1)_k$ with $M\succeq0$ of trace $K(h(1)-h_0)$, so
that $S = \sum_k r_k\ge0$ and $\sum_k r_k^2\le K(h(1)-h_0)S$. The loss of k is at least $\log(1+E) +
\log(1+x_k)$ with $x_k = \max(r_k,-E)/(1+E)\ge-y$, where $\log(1+x)\ge x-\kappa x^2/2$; clipping
raises the sum and lowers the sum of squares.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from ufm._exact.fractions import flint
from ufm._host.roots import turn
from ufm.certificates.balls import Ball
from ufm.certificates.boxes import enclosed
from ufm.certificates.interpolant import Interpolant, combined, divided_differences

# Below it κ is replaced by `curvature_bound`: its formula cancels.
_SMALL_ENERGY = 2.0**-60


@dataclasses.dataclass(frozen=True, eq=False)
class SelfDual:
    """Theorem A with the interpolant h, or with a part `scale` h of it, 0 < `scale` <= 1.

    Where h is no larger than f, so is a part of it, and a small enough one meets the condition.
    """

    interpolant: Interpolant
    num_vectors: int
    scale: Any = 1

    name = "A"
    scope = "among W = H"

    def parts(self, beta) -> tuple[Any, Any]:
        """E and K (h(1) − h_0), as power series where `beta` is one."""
        h, K = self.interpolant, self.num_vectors
        differences = divided_differences(h.nodes, beta)
        energy = combined(h.energy_weights(K), differences)
        # (of constant h there is no spread)
        spread = K * combined(h.spread_weights, differences) + 0 * beta
        return self.scale * energy, self.scale * spread

    def conditions(self, low: float, high: float) -> Iterator[tuple[str, Ball]]:
        """What must be positive for all β of an interval.

        Parameters
        ----------
        low, high
            The interval of β.

        Returns
        -------
        Iterator[tuple[str, Ball]]
            Name and ball of each condition.
        """
        found: dict[Any, tuple[Any, Any]] = {}

        def parts(beta) -> tuple[Any, Any]:
            # both conditions are asked at the same two series: exactly these, and of this length
            at = beta.prec, *(end.man_exp() for end in (beta[0].mid(), beta[0].rad()))
            if at not in found:
                found[at] = self.parts(beta)
            return found[at]

        energy, _ = enclosed(parts, low, high, count=2)
        yield "E > 0", energy
        # one formula for all of the interval: a Taylor polynomial is of one function
        formula = curvature_bound if energy < _SMALL_ENERGY else curvature
        (slack,) = enclosed(lambda beta: (_slack(*parts(beta), formula),), low, high, count=1)
        yield "kappa K (h(1) - h_0) <= 2 (1 + E)", slack

    def bound(self, beta) -> Any:
        """log(1 + E) in balls."""
        return (1 + self.parts(beta)[0]).log()

    def largest_part(self, beta: float) -> SelfDual:
        """With the largest part of h for which the condition holds at `beta`, found in floats."""
        point = flint().arb(beta)
        energy, spread = (float(each.mid()) for each in self.parts(point))
        if not (energy > 0 and _slack_in_floats(energy, spread) < 0):
            return self
        holding, _ = turn(
            lambda part: not _slack_in_floats(part * energy, part * spread) > 0, 0.0, 1.0
        )
        return dataclasses.replace(self, scale=flint().arb(holding))

    def holds_until(self, beta: float) -> float:
        r"""How far beyond `beta` the conditions are proved to hold: `beta` itself at least.

        $f[t_0,\dots,t_i]\le\frac{\beta^i}{i!}e^{\beta(t_i-1)}$ falls for $\beta\ge i/(1-t_i)$,
        $\kappa\le1+\frac23E$, and $E = \sum_t(A_t+\beta B_t)f(t)$ with A > 0.
        """
        nodes, arb = self.interpolant.nodes, flint().arb
        steep = any((1 - node) * arb(beta) < i for i, node in enumerate(nodes))
        powers = [arb(beta) ** i / arb(i).fac() for i in range(len(nodes))]
        terms = [
            power * ((t - 1) * arb(beta)).exp() for power, t in zip(powers, nodes, strict=True)
        ]
        spread = combined([max(g, 0) for g in self.interpolant.spread_weights], terms)
        energy = (self.num_vectors - 1) * combined(self.interpolant.at_one, terms)
        if steep or not (1 + 2 * energy / 3) * self.num_vectors * spread <= 2:
            return beta
        shares = self.interpolant.quadrature(self.num_vectors).values()
        reach = min((float(A / -B) for A, B in shares if B < 0), default=math.inf)
        return max(beta, reach / 2)


def _slack(energy, spread, curvature) -> Any:
    r"""$2(1+E) - \kappa K(h(1)-h_0)$, which the theorem asks to be >= 0; `curvature`: κ of E."""
    return 2 * (1 + energy) - curvature(energy) * spread


def _slack_in_floats(energy: float, spread: float) -> float:
    formula = curvature_bound if energy < _SMALL_ENERGY else curvature
    return _slack(energy, spread, lambda E: float(formula(flint().arb(E)).mid()))


def curvature(energy) -> Any:
    r"""$\kappa = 2(\log(1+E)-y)/y^2$ with $y = E/(1+E)$: log(1 + x) >= x − κx²/2 for x >= −y."""
    y = energy / (1 + energy)
    return 2 * ((1 + energy).log() - y) / (y * y)


def curvature_bound(energy) -> Any:
    r"""$1+\frac23E\ge\kappa$, since $\kappa = 1+\sum_{n\ge3}\frac2ny^{n-2}$ and $E = y/(1-y)$."""
    return 1 + 2 * energy / 3
