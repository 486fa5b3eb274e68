r"""A number that no simplex ETF gets below, with every rounding accounted for.

Balanced classes, cross-entropy, M linear layers.

At the logits $a\,(I_K - J/K)$ the loss is $g(a) = \log(1 + (K-1)e^{-a})$. The least decay of any
factors with this product is, by the Schatten quasi-norm of $2/(M+1)$, $h(a) = \tfrac{M+1}2 (K-1)
s\, a^{2/(M+1)}$ with $s = (\lambda_M\cdots\lambda_1\lambda_H n)^{1/(M+1)}$. Negative a, or a bias,
make both no smaller. So no ETF has a value below

$$\min_{a\ge0}\ g(a) + h(a),\qquad g \text{ convex and falling},\quad h \text{ concave and
rising}.$$

On an interval g lies above its tangent in the middle and h above its chord: the sum of the two is
least at an end. That bound misses the minimum by the square of the length; intervals are halved,
the lowest first, until it is as good as asked. Beyond the largest interval h alone is above a value
of the sum.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from theory_checks.engine.counterexamples import Floor
from ufm._exact.fractions import flint, fractions
from ufm.certificates.balls import BITS, Ball, round_down, round_up

# relative: where the bisection may stop, a few roundings of the end that it returns
ENOUGH = 1e-15


def least_etf_value(
    K: int, lambda_W: Sequence[float], lambda_H: float, n: float, *, halvings: int = 10_000
) -> float:
    """A lower bound of the objective at every simplex ETF of K >= 2 classes of n samples.

    The more `halvings`, the nearer.

    `lambda_W` has an entry a layer. Raises `ImportError` without python-flint.
    """
    with flint().ctx.workprec(BITS):
        return _Value(K, lambda_W, lambda_H, n).lower_bound(halvings)


def etf_floor(K: int, lambda_W: Sequence[float], lambda_H: float, n: float) -> Floor:
    """`least_etf_value`, which the problem alone lets a reader verify."""
    return Floor(least_etf_value(K, lambda_W, lambda_H, n))


class _Value:
    """g and h in balls; arguments are exact fractions."""

    def __init__(self, K: int, lambda_W: Sequence[float], lambda_H: float, n: float):
        fmpq, arb = flint().fmpq, flint().arb
        product = fractions(lambda_H) * fractions(n)
        for decay in fractions(lambda_W):
            product *= decay
        assert K >= 2, f"K={K}"
        assert product > 0, f"no decay: {lambda_W}, {lambda_H}, {n}"
        M = len(lambda_W)
        self.others, self.power = K - 1, fmpq(2, M + 1)
        self.factor = arb(product).root(M + 1) * (K - 1) * (M + 1) / 2

    def loss(self, a) -> Ball:
        """g."""
        arb = flint().arb
        return (self.others * (-arb(a)).exp()).log1p()

    def slope(self, a) -> Ball:
        """g'."""
        return -self.others / (flint().arb(a).exp() + self.others)

    def decay(self, a) -> Ball:
        """h."""
        arb = flint().arb
        return self.factor * arb(a) ** arb(self.power) if a else arb(0)

    def on(self, low, high) -> float:
        """A bound on an interval: tangent and chord, at both ends."""
        middle = (low + high) / 2
        loss, slope = self.loss(middle), self.slope(middle)
        return min(
            round_down(loss + slope * (end - middle) + self.decay(end)) for end in (low, high)
        )

    def at(self, a) -> float:
        """A number that the value at a is not above."""
        return round_up(self.loss(a) + self.decay(a))

    def lower_bound(self, halvings: int) -> float:
        """The bound on the worst interval left."""
        fmpq = flint().fmpq
        end = fmpq(1)
        attained = min(self.at(fmpq(0)), self.at(end))
        while round_down(self.decay(end)) < attained:
            end *= 2
            attained = min(attained, self.at(end))
        left = [(self.on(fmpq(0), end), fmpq(0), end)]
        for _ in range(halvings):
            bound, low, high = left[0]
            if bound >= attained - ENOUGH * attained:
                break
            middle = (low + high) / 2
            attained = min(attained, self.at(middle))
            heapq.heapreplace(left, (self.on(low, middle), low, middle))
            heapq.heappush(left, (self.on(middle, high), middle, high))
        return min(left[0][0], attained)
