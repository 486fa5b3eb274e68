r"""Cross-entropy under a simplex ETF, many labels at once: Newton's method on $\mathrm{softmax}(z) + s z = q$, a row per label.

With $WW^\top = aP$ the logits of a feature are the feature in other coordinates, and a Newton step costs one exponential an entry and no
matrix product: $\mathrm{diag}\,p - pp^\top + s$ is inverted by Sherman & Morrison.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Rows = Float[Array, "B K"]


class FramePoint(NamedTuple):
    """Logits (B, K) of zero sum, loss + s‖z‖²/2, p and q − p there, whether each row is done, and steps."""

    logits: Rows
    value: Float[Array, " B"]
    probabilities: Rows
    residual: Rows
    done: Bool[Array, " B"]
    steps: Int[Array, ""]


def entropy_start(targets: Rows, s) -> Rows:
    r"""Logits close to the solution, for every s.

    The gaps u to a logit of −t solve $t(e^{u_k} - 1) + u_k = q_k/s$ and have mean t. Here t is first that of a target spread evenly over
    $1/\sum_k q_k^2$ classes, a scalar equation a row, then one Newton step better; each gap is one Newton step below a bound. Two
    logarithms an entry: less than a Newton step, of which they save two or more.
    """
    K = targets.shape[1]
    number = 1 / jnp.sum(targets**2, axis=1)
    share, load = number / K, 1 / (number * s)
    # above the root of a convex function, so Newton's method descends
    u = jnp.minimum(load, jnp.maximum(1, jnp.log1p(load / share)))

    def newton(_, u):
        # t = (number/K) u moves with u
        t = share * u
        return u - (t * jnp.expm1(u) + u - load) / (share * jnp.expm1(u) + t * jnp.exp(u) + 1)

    t = (share * jax.lax.fori_loop(0, 6, newton, u))[:, None]
    loads = jnp.maximum(targets, 0) / s

    def gaps(t: Float[Array, "B 1"]) -> Rows:
        return jnp.log1p(loads / t) * ((t + loads) / (1 + t + loads))

    total, minus_slope = sums(gaps(t), loads / (t * (1 + t + loads)))
    t = jnp.maximum(t + (total - K * t) / (K + minus_slope), 0.1 * t)
    logits = gaps(t)
    return logits - jnp.mean(logits, axis=1, keepdims=True)


def frame_newton(targets: Rows, s, *, max_steps: int) -> FramePoint:
    """The logits z of zero sum with softmax(z) + s z = q, for targets q that sum to one in each row.

    A row is done when a full step is so short that what is left after it, its square, is of the order of rounding.
    """
    K, eps = targets.shape[1], jnp.finfo(targets.dtype).eps
    small = float(eps) ** 0.45

    def at(logits: Rows) -> tuple[Float[Array, " B"], Rows, Rows]:
        top = jnp.max(logits, axis=1, keepdims=True)
        exponentials = jnp.exp(logits - top)
        total = jnp.sum(exponentials, axis=1, keepdims=True)
        p = exponentials / total
        defect, gain, square = sums(targets - p, targets * (logits - top), logits**2)
        # q − p sums to zero; what it has lost to rounding at p near 1 is, at small s, more than the residual of that class
        residual = targets - p - p * defect
        return (jnp.log(total) - gain + 0.5 * s * square)[:, 0], p, residual

    def step(point: FramePoint) -> FramePoint:
        wanted = point.residual - s * point.logits
        diagonal = point.probabilities + s
        share = point.probabilities / diagonal
        shares, load = sums(share, share * wanted)
        direction = wanted / diagonal + share * (load / (s * shares))
        (slope,) = sums(-wanted * direction)
        slope = slope[:, 0]
        noise = (8 + K) * eps * (1 + jnp.abs(point.value))

        def attempt(length):
            there = point.logits + length[:, None] * direction
            value, *rest = at(there)
            good = value <= point.value + 1e-4 * length * slope + noise
            return there, value, *rest, good | point.done

        def shorten(state):
            length, *_, good = state
            length = jnp.where(good, length, 0.5 * length)
            return length, *attempt(length)

        # a row that is done takes one more step, of the order of rounding, with the others
        length = jnp.ones_like(slope)
        length, there, value, p, residual, _ = jax.lax.while_loop(
            lambda state: jnp.any(~state[-1] & (state[0] > eps)), shorten, (length, *attempt(length))
        )
        # logits are of size 1/s where s is large
        size = jnp.max(jnp.abs(direction), axis=1) * (1 + s)
        done = point.done | ((size <= small) & (length == 1))
        return FramePoint(there, value, p, residual, done, point.steps + 1)

    logits = entropy_start(targets, s)
    start = FramePoint(logits, *at(logits), jnp.zeros(len(targets), bool), jnp.asarray(0))
    return jax.lax.while_loop(lambda point: ~jnp.all(point.done) & (point.steps < max_steps), step, start)


def sums(*terms: Rows) -> tuple[Float[Array, "B 1"], ...]:
    """Row sums of several arrays in one pass: a sum by itself costs as much as a quarter of an exponential."""
    zeros = tuple(jnp.zeros((), term.dtype) for term in terms)
    totals = jax.lax.reduce(terms, zeros, lambda a, b: tuple(x + y for x, y in zip(a, b, strict=True)), (1,))
    return tuple(total[:, None] for total in totals)
