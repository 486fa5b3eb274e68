r"""Newton's method for thousands of small one-layer problems at once: a queue of lanes.

A vmapped loop waits for its slowest lane. Here the loop is flat: each lane is in its own CG
iteration of its own Newton step (`rounds.py`), and one that has finished hands its place to the
next of the queue.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ufm.model import Problem
from ufm.solution import Result
from ufm.solvers.newton.rounds import (
    LaneState,
    Outer,
    as_floats,
    as_rows,
    fresh_lanes,
    newton_round,
)
from ufm.solvers.newton.single import Newton
from ufm.solvers.one_layer import OneLayer, queue_of, select

# Lanes that step together: whole solves at 10 × 10 × 10 took 98 µs a lane with 48 of them, 103 with
# 64, 135 with 40 or 96 (the cache).
WIDTH = 48


class LaneResults(NamedTuple):
    """What came of each lane; `flat` as in `coordinates`."""

    flat: Float[Array, "L n"]
    value: Float[Array, " L"]
    grad_norm: Float[Array, " L"]
    code: Int[Array, " L"]
    num_steps: Int[Array, " L"]
    num_evaluations: Int[Array, " L"]


def _packed(queue: OneLayer):
    """Stacked problems as one array (L, P), and what makes lane problems of its columns (P, B)."""
    leaves, tree = jax.tree.flatten(queue)
    L, dtype = leaves[0].shape[0], queue.targets.dtype
    edges = np.cumsum([leaf[0].size for leaf in leaves])[:-1]

    def unpack(columns: Float[Array, "P B"]) -> OneLayer:
        parts = zip(jnp.split(columns, edges), leaves, strict=True)
        # the parameters of a loss may have another dtype
        shaped = [
            part.reshape(*leaf.shape[1:], part.shape[-1]).astype(leaf.dtype)
            for part, leaf in parts
        ]  # fmt: skip
        return jax.tree.unflatten(tree, shaped)

    flat = [leaf.reshape(L, -1).astype(dtype) for leaf in leaves]
    return jnp.concatenate(flat, axis=1), unpack


def _lane(array, place):
    """One lane of an array (…, B)."""
    return jax.lax.dynamic_index_in_dim(array, place, -1, keepdims=False)


def _put(array, place, column):
    """An array (…, B) with something else in one lane."""
    return jax.lax.dynamic_update_index_in_dim(array, column, place, -1)


class _Held(NamedTuple):
    """What is at work: problems (P, B) and where they stand, results so far (L, ·), and who is
    next."""

    columns: Float[Array, "P B"]
    state: LaneState
    out: Float[Array, "L R"]
    upcoming: Int[Array, ""]


class _Queue(NamedTuple):
    """Problems (L, P) and starts (L, n) that wait, of which the first `number` are wanted.

    `ends`: that number, as places in the queue are rows of `outer`; whole numbers of that size are
    exact there.
    """

    problems: Float[Array, "L P"]
    starts: Float[Array, "L n"]
    number: Int[Array, ""]
    ends: Float[Array, ""]

    def begin(self, width: int) -> _Held:
        """The first so many of them at work."""
        L, dtype = len(self.starts), self.starts.dtype
        lane = jnp.arange(width)
        s = fresh_lanes(self.starts[:width].T, lane.astype(dtype), lane < self.number)
        # of those that are never begun: where they are, and that nothing is known there
        unknown = {"value": np.inf, "grad_norm": np.inf, "code": float(Result.INTERRUPTED)}
        idle = jnp.asarray([unknown.get(name, 0.0) for name in Outer._fields], dtype)
        numbers = jnp.broadcast_to(idle, (L, len(idle)))
        out = jnp.concatenate([self.starts, numbers], axis=1)
        return _Held(self.problems[:width].T, s, out, jnp.asarray(width))

    def finished(self, held: _Held):
        """The lanes (B,) whose problem is done and not handed on."""
        outer = held.state.numbers
        # a place past the end of the queue is idle
        return (outer.code != Result.RUNNING) & (outer.lane < self.ends)

    def _successor(self, outer: Outer, lane) -> Outer:
        """The numbers of a place that is given to a lane of the queue, or to none."""
        code = jnp.where(lane < self.number, int(Result.RUNNING), int(Result.INTERRUPTED))
        return outer._replace(steps=-jnp.ones_like(outer.value), code=code, lane=lane)

    def exchange(self, held: _Held) -> _Held:
        """Keep what came of one finished lane, and give its place to the next of the queue."""
        columns, s, out, upcoming = held
        place = jnp.argmax(self.finished(held))
        outer = Outer(*_lane(s.outer, place))
        found = jnp.concatenate([_lane(s.x, place), jnp.stack(outer)])
        out = out.at[outer.lane.astype(int)].set(found)
        rows = jnp.stack(as_floats(self._successor(outer, upcoming)))
        x = _put(s.x, place, self.starts[upcoming])
        s = s._replace(x=x, outer=_put(s.outer, place, rows))
        return _Held(_put(columns, place, self.problems[upcoming]), s, out, upcoming + 1)

    def exchange_all(self, held: _Held) -> _Held:
        """The same of every finished lane at once, for thousands abreast."""
        columns, s, out, upcoming = held
        done, outer, L = self.finished(held), s.numbers, len(self.starts)
        found = jnp.concatenate([s.x, s.outer]).T
        out = out.at[jnp.where(done, outer.lane.astype(int), L)].set(found, mode="drop")
        lane = upcoming + jnp.cumsum(done) - 1
        rows = as_rows(select(done, as_floats(self._successor(outer, lane)), outer))
        held_by = jnp.minimum(lane, L - 1)
        s = s._replace(x=select(done, self.starts[held_by].T, s.x), outer=rows)
        columns = select(done, self.problems[held_by].T, columns)
        return _Held(columns, s, out, upcoming + jnp.sum(done))


def newton_lanes(
    problems: Problem,
    starts: Float[Array, "L n"],
    tolerance,
    number,
    *,
    solver: Newton,
    width: int = WIDTH,
) -> LaneResults:
    """Minimise the first `number` of stacked problems.

    The rest is left alone. Runs inside `jit`.

    Parameters
    ----------
    problems
        L plain one-layer problems of one structure.
    starts
        (L, n), flat.
    tolerance
        On the relative gradient norm.
    number
        How many of them to solve.
    solver
        The rules.
    width
        How many run at a time; one that ends gives its place to the next.

    Returns
    -------
    LaneResults
        With a leading axis L; what was left alone stays where it is, INTERRUPTED, with an infinite
        value and gradient.
    """
    (packed, unpack), (L, n) = _packed(queue_of(problems)), starts.shape
    queue = _Queue(packed, starts, number, jnp.asarray(number, starts.dtype))
    width = min(width, L)
    exchange = queue.exchange if width <= WIDTH else queue.exchange_all

    def body(held: _Held) -> _Held:
        s = newton_round(solver, unpack(held.columns), held.state, tolerance)
        held = held._replace(state=s)
        return jax.lax.while_loop(lambda held: jnp.any(queue.finished(held)), exchange, held)

    def unfinished(held: _Held):
        return jnp.any(held.state.numbers.code == Result.RUNNING)

    found = jax.lax.while_loop(unfinished, body, queue.begin(width)).out
    outer = Outer(*found[:, n:].T)
    whole = (number.astype(int) for number in (outer.code, outer.steps, outer.evaluations))
    return LaneResults(found[:, :n], outer.value, outer.grad_norm, *whole)
