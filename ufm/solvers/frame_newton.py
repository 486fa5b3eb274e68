r"""Cross-entropy under a simplex ETF, many labels at once.

Newton's method on $\mathrm{softmax}(z) + s z = q$, a row per label.

With $WW^\top = aP$ the logits of a feature are the feature in other coordinates, and a Newton step
costs one exponential an entry and no matrix product: $\mathrm{diag}\,p - pp^\top + s$ is inverted
by Sherman & Morrison.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ufm.losses.rows import Rows, sums
from ufm.losses.softmax_rows import entropy_start
from ufm.solvers.newton.backtracking import backtrack, descends


class FramePoint(NamedTuple):
    """Logits (B, K) of zero sum, losses, what is left of the equation, q − p − s z, whether each
    row is done, and steps."""

    logits: Rows
    losses: Float[Array, " B"]
    defect: Rows
    done: Bool[Array, " B"]
    steps: Int[Array, ""]


class _State(NamedTuple):
    """Where the rows stand: p = `exponentials` / `total` with exponentials of z − `top`.

    The `difference` is q − p, and `lost` its sum, which is rounding.
    """

    logits: Rows
    value: Float[Array, " B"]
    exponentials: Rows
    difference: Rows
    total: Float[Array, "B 1"]
    top: Float[Array, "B 1"]
    lost: Float[Array, "B 1"]
    done: Bool[Array, " B"]
    steps: Int[Array, ""]


class _Batch(NamedTuple):
    """The equations: q (B, K), and s of each row (B, 1)."""

    targets: Rows
    s: Float[Array, "B 1"]

    def at(self, logits: Rows):
        """What a `_State` knows of logits besides them."""
        top = jnp.max(logits, axis=1, keepdims=True)
        # the difference is used nowhere else, lest it be stored, and the exponential, by itself, be
        # three times as slow
        exponentials = jnp.exp(logits - top)
        total = jnp.sum(exponentials, axis=1, keepdims=True)
        # computed once: computed again next to the sum it may be rounded otherwise, and the sum
        # would no longer be its rounding
        difference = jax.lax.optimization_barrier(self.targets - exponentials / total)
        lost, gain, square = sums(difference, self.targets * logits, logits**2)
        value = (jnp.log(total) + top - gain + 0.5 * self.s * square)[:, 0]
        return value, exponentials, difference, total, top, lost

    def equation(self, state: _State) -> tuple[Rows, Rows]:
        """The softmax p, and q − p − s z."""
        p = state.exponentials / state.total
        # q − p sums to zero; what it has lost to rounding at p near 1 is, at small s, more than the
        # residual of that class
        return p, state.difference - p * state.lost - self.s * state.logits

    def step(self, state: _State) -> _State:
        """One Newton step of every row."""
        K, eps = self.targets.shape[1], jnp.finfo(self.targets.dtype).eps
        p, wanted = self.equation(state)
        inverse = 1 / (p + self.s)
        share = p * inverse
        shares, load = sums(share, share * wanted)
        direction = inverse * (wanted + p * (load / (self.s * shares)))
        (slope,) = sums(-wanted * direction)
        slope = slope[:, 0]
        noise = (8 + K) * eps * (1 + jnp.abs(state.value) + state.top[:, 0])

        def attempt(length):
            logits = state.logits + length[:, None] * direction
            there = logits, *self.at(logits)
            return there, descends(state.value, there[1], length, slope, noise=noise) | state.done

        # a row that is done takes one more step, of the order of rounding, with the others
        length, there, _ = backtrack(attempt, jnp.ones_like(slope))
        # logits are of size 1/s where s is large
        size = jnp.max(jnp.abs(direction), axis=1) * (1 + self.s[:, 0])
        done = state.done | ((size <= float(eps) ** 0.45) & (length == 1))
        return _State(*there, done=done, steps=state.steps + 1)


def frame_newton(targets: Rows, s, *, max_steps: Int[Array, ""] | int) -> FramePoint:
    r"""The logits z of zero sum with softmax(z) + s z = q.

    Parameters
    ----------
    targets
        q (B, K), each row of which sums to one.
    s
        > 0, the decay γ over the scale a of $WW^\top = aP$; (B, 1) where rows differ.
    max_steps
        Newton steps at most.

    Returns
    -------
    FramePoint
        Logits (B, K), losses, what is left of the equation, which rows are done, and the steps.

    Notes
    -----
    A row is done when a full step is so short that what is left after it, its square, is of the
    order of rounding.
    """
    batch = _Batch(targets, jnp.broadcast_to(s, (len(targets), 1)))
    logits = entropy_start(targets, batch.s)
    done = jnp.zeros(len(targets), bool)
    end = jax.lax.while_loop(
        lambda state: ~jnp.all(state.done) & (state.steps < max_steps),
        batch.step,
        _State(logits, *batch.at(logits), done=done, steps=jnp.asarray(0)),
    )
    # relative to the largest logit: near one-hot targets their difference is tiny
    (gain,) = sums(targets * (end.logits - end.top))
    losses = (jnp.log(end.total) - gain)[:, 0]
    return FramePoint(end.logits, losses, batch.equation(end)[1], end.done, end.steps)
