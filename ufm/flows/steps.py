"""Steps of a method up to a time, in one loop: `diffrax.diffeqsolve` for flows alone.

What that one can do besides is a third of its program, which is traced three times over, and its
checks call back to Python, so that no cache keeps what was compiled. Here are methods and controls
of diffrax, in the calls that it documents for steps by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ufm.flows.motion import Motion

# A step that would end within this many units in the last place of the last time ends there.
_ULPS = 100


class Stepped(NamedTuple):
    """What came of a stretch of time: rows, of which those not reached are infinite, the state at
    the end, the time there, whether it is steady there and whether a phase ended, steps, and what
    diffrax says."""

    rows: Any
    state: Any
    reached: Float[Array, ""]
    at_rest: Bool[Array, ""]
    phase_over: Bool[Array, ""]
    steps: Int[Array, ""]
    result: Any


class Watch(NamedTuple):
    """What is asked of a state between two steps.

    `record`: its row. `at_rest`: whether it moves no more, in which case all later rows are its
    own; None where nobody asks. `phase_over`: whether another field begins there, which comes
    before rest; or None. `every`: after so many steps rest is asked for, in all lanes at once, and
    at the end; near a saddle the answer costs as much as a dozen of them.
    """

    record: Callable[[Any], Any]
    at_rest: Callable[[Any], Bool[Array, ""]] | None = None
    phase_over: Callable[[Any], Bool[Array, ""]] | None = None
    every: int = 64

    def asked(self, state, due) -> tuple[Bool[Array, ""], Bool[Array, ""]]:
        """Whether a phase is over there, and else, where that is due, whether it is at rest.

        Parameters
        ----------
        state
            Between two steps.
        due
            Whether rest is asked for.

        Returns
        -------
        tuple
            Two flags.
        """
        no = jnp.asarray(False)
        over = no if self.phase_over is None else self.phase_over(state)
        if self.at_rest is None:
            return over, no
        due = due & ~over
        rests = jax.lax.cond(any_lane(due), self.at_rest, lambda state: no, state)
        return over, rests & due


def stepped(
    motion: Motion,
    began: Float[Array, ""],
    state: Any,
    times: Float[Array, " L"],
    *,
    last: Float[Array, ""],
    step: Float[Array, ""] | None,
    watch: Watch,
    max_steps: Int[Array, ""] | int,
) -> Stepped:
    """Follow a vector field until its last time, or until a condition holds between two steps.

    Parameters
    ----------
    motion
        The field, the method, and the lengths of steps.
    began, state
        Where it begins.
    times
        (L,), increasing, from `began` to `last`: of the rows, between the ends of steps.
    last, step
        The end, and the length of the first step, which has a default.
    watch
        What is asked between two steps, and the row of a state.
    max_steps
        At most so many.

    Returns
    -------
    Stepped
        As after the last step.
    """
    first = motion.begin(began, state, last, step)
    nearly = last - _ULPS * (last - jnp.nextafter(last, -jnp.inf))
    # (asked for twice, and traced once)
    tried = jax.jit(lambda now: motion.tried(now, last, nearly))
    nothing = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(tried, first)[1]
    )

    def go_on(loop):
        now, rows, written, rested, _, went = loop
        # (conditions take long to compile, and so are asked here alone, in a round more than steps)
        due = went & ((now.steps % watch.every == 0) | ~now.before(last))
        over, rests = watch.asked(now.state, due)
        # (a phase without a step would be followed by itself)
        over = over & (now.steps > 0)
        rests = rests | rested
        going = now.before(last) & ~over & ~rests & (now.steps < max_steps)
        after, step = jax.lax.cond(any_lane(going), tried, lambda now: (now, nothing), now)
        inside = motion.within(step)

        def row_at(time):
            state = jax.tree.map(
                lambda here, within: jnp.where(rests, here, within),
                now.state,
                inside.evaluate(time),
            )
            return watch.record(state)

        until = jnp.where(going & step.kept, step.ended, -jnp.inf)
        until = jnp.where(rests, jnp.inf, until)
        rows, written = _written(rows, written, times, until, row_at)
        after = jax.tree.map(lambda new, old: jnp.where(going, new, old), after, now)
        return after, rows, written, rests, over, going

    blank, zero = _unreached(len(times), jax.eval_shape(watch.record, state)), jnp.asarray(0)
    no, yes = jnp.asarray(False), jnp.asarray(True)
    now, rows, _, rests, over, _ = jax.lax.while_loop(
        lambda loop: any_lane(loop[-1]), go_on, (first, blank, zero, no, no, yes)
    )
    spent = now.before(last) & ~over & ~rests
    result = diffrax.RESULTS.where(spent, diffrax.RESULTS.max_steps_reached, now.result)
    return Stepped(rows, now.state, now.reached, rests, over, now.steps, result)


def _unreached(number: int, row) -> Any:
    """So many rows, none of which is reached."""
    return jax.tree.map(lambda leaf: jnp.full((number, *leaf.shape), jnp.inf, leaf.dtype), row)


def _written(rows, written, times, until, row_at) -> tuple[Any, Int[Array, ""]]:
    """Rows with those of all times up to one, and how many there are."""
    number = len(times)

    def due(written):
        return (written < number) & (times[jnp.minimum(written, number - 1)] <= until)

    def write(carried):
        rows, written = carried
        at, this = jnp.minimum(written, number - 1), due(written)
        # only the row is chosen, not all of them, as `vmap` of a loop would by itself
        rows = jax.tree.map(
            lambda all, new: jax.lax.dynamic_update_index_in_dim(
                all,
                jnp.where(this, new, jax.lax.dynamic_index_in_dim(all, at, keepdims=False)),
                at,
                0,
            ),
            rows,
            row_at(times[at]),
        )
        return rows, jnp.where(this, written + 1, written)

    return jax.lax.while_loop(lambda carried: any_lane(due(carried[1])), write, (rows, written))


@jax.custom_batching.custom_vmap
def any_lane(flag: Bool[Array, ""]) -> Bool[Array, ""]:
    """A flag, and under `vmap` whether it holds in any lane: the condition of a loop that goes on
    for all lanes as long as for one, and leaves alone by itself those that are done.

    Parameters
    ----------
    flag
        Of each lane.

    Returns
    -------
    Bool[Array, ""]
        The same in all lanes.
    """
    return flag


@any_lane.def_vmap
def _any_lane(size, batched, flags):
    return any_lane(jnp.any(flags, axis=0)) if batched[0] else flags, False
