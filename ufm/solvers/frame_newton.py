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


# Newton steps of the start, in single precision: after them four digits are right as a rule, and two steps of double precision are left.
_START_STEPS = 3


class FramePoint(NamedTuple):
    """Logits (B, K) of zero sum, losses, what is left of the equation, q − p − s z, whether each row is done, and steps."""

    logits: Rows
    losses: Float[Array, " B"]
    defect: Rows
    done: Bool[Array, " B"]
    steps: Int[Array, ""]


def entropy_start(targets: Rows, s) -> Rows:
    r"""Logits close to the solution, for every s: found in single precision, where arithmetic is four times as cheap.

    The gaps u to a logit of −t solve $t(e^{u_k} - 1) + u_k = q_k/s$ and have mean t. Here t is first that of a target spread evenly over
    $1/\sum_k q_k^2$ classes, a scalar equation a row, and u a bound from above; then Newton's method on all these equations at once, in u
    and log t.
    """
    K, single = targets.shape[1], jnp.float32
    # far beyond these s the logits are no longer in doubt, or a few more steps away, and single precision would overflow
    s = jnp.clip(s, 1e-15, 1e15).astype(single)
    q = jnp.maximum(targets.astype(single), 0)
    number = 1 / jnp.sum(q**2, axis=1)
    share, load = number / K, 1 / (number * s)
    # above the root of a convex function, so Newton's method descends
    u = jnp.minimum(load, jnp.maximum(1, jnp.log1p(load / share)))

    def newton(_, u):
        # t = (number/K) u moves with u
        t = share * u
        return u - (t * jnp.expm1(u) + u - load) / (share * jnp.expm1(u) + t * jnp.exp(u) + 1)

    t = (share * jax.lax.fori_loop(0, 3, newton, u))[:, None]
    loads = q / s

    def joint(_, pair):
        u, t = pair
        e = jnp.exp(u)
        inverse = 1 / (t * e + 1)
        alone = u - (t * (e - 1) + u - loads) * inverse
        slope = t * (e - 1) * inverse
        mean_off = jnp.sum(alone, axis=1, keepdims=True) - K * t
        turn = jnp.clip(mean_off / (K * t + jnp.sum(slope, axis=1, keepdims=True)), -2, 2)
        return jnp.maximum(alone - slope * turn, 0), t * jnp.exp(turn)

    u, _ = jax.lax.fori_loop(0, _START_STEPS, joint, (jnp.minimum(jnp.log1p(loads / t), loads / (1 + t)), t))
    logits = u.astype(targets.dtype)
    return logits - jnp.mean(logits, axis=1, keepdims=True)


class _State(NamedTuple):
    """Where the rows stand: p = `exponentials` / `total` with exponentials of z − `top`; q − p, and its sum, which is rounding."""

    logits: Rows
    value: Float[Array, " B"]
    exponentials: Rows
    difference: Rows
    total: Float[Array, "B 1"]
    top: Float[Array, "B 1"]
    lost: Float[Array, "B 1"]
    done: Bool[Array, " B"]
    steps: Int[Array, ""]


def frame_newton(targets: Rows, s, *, max_steps: int) -> FramePoint:
    """The logits z of zero sum with softmax(z) + s z = q, for targets q that sum to one in each row.

    A row is done when a full step is so short that what is left after it, its square, is of the order of rounding.
    """
    K, eps = targets.shape[1], jnp.finfo(targets.dtype).eps
    small = float(eps) ** 0.45

    def at(logits: Rows):
        top = jnp.max(logits, axis=1, keepdims=True)
        # the difference is used nowhere else, lest it be stored, and the exponential, by itself, be three times as slow
        exponentials = jnp.exp(logits - top)
        total = jnp.sum(exponentials, axis=1, keepdims=True)
        # computed once: computed again next to the sum it may be rounded otherwise, and the sum would no longer be its rounding
        difference = jax.lax.optimization_barrier(targets - exponentials / total)
        lost, gain, square = sums(difference, targets * logits, logits**2)
        return (jnp.log(total) + top - gain + 0.5 * s * square)[:, 0], exponentials, difference, total, top, lost

    def equation(state: _State) -> tuple[Rows, Rows]:
        p = state.exponentials / state.total
        # q − p sums to zero; what it has lost to rounding at p near 1 is, at small s, more than the residual of that class
        return p, state.difference - p * state.lost - s * state.logits

    def step(state: _State) -> _State:
        p, wanted = equation(state)
        inverse = 1 / (p + s)
        share = p * inverse
        shares, load = sums(share, share * wanted)
        direction = inverse * (wanted + p * (load / (s * shares)))
        (slope,) = sums(-wanted * direction)
        slope = slope[:, 0]
        noise = (8 + K) * eps * (1 + jnp.abs(state.value) + state.top[:, 0])

        def attempt(length):
            there = state.logits + length[:, None] * direction
            value, *rest = at(there)
            good = value <= state.value + 1e-4 * length * slope + noise
            return there, value, *rest, good | state.done

        def shorten(trial):
            length, *_, good = trial
            length = jnp.where(good, length, 0.5 * length)
            return length, *attempt(length)

        # a row that is done takes one more step, of the order of rounding, with the others
        length = jnp.ones_like(slope)
        length, *there, _ = jax.lax.while_loop(lambda trial: jnp.any(~trial[-1] & (trial[0] > eps)), shorten, (length, *attempt(length)))
        # logits are of size 1/s where s is large
        size = jnp.max(jnp.abs(direction), axis=1) * (1 + s)
        done = state.done | ((size <= small) & (length == 1))
        return _State(*there, done=done, steps=state.steps + 1)

    logits = entropy_start(targets, s)
    start = _State(logits, *at(logits), done=jnp.zeros(len(targets), bool), steps=jnp.asarray(0))
    end = jax.lax.while_loop(lambda state: ~jnp.all(state.done) & (state.steps < max_steps), step, start)
    # relative to the largest logit: near one-hot targets their difference is tiny
    (gain,) = sums(targets * (end.logits - end.top))
    return FramePoint(end.logits, (jnp.log(end.total) - gain)[:, 0], equation(end)[1], end.done, end.steps)


def sums(*terms: Rows) -> tuple[Float[Array, "B 1"], ...]:
    """Row sums of several arrays in one pass: a sum by itself costs as much as a quarter of an exponential."""
    zeros = tuple(jnp.zeros((), term.dtype) for term in terms)
    totals = jax.lax.reduce(terms, zeros, lambda a, b: tuple(x + y for x, y in zip(a, b, strict=True)), (1,))
    return tuple(total[:, None] for total in totals)
