r"""Newton's method for thousands of small one-layer problems at once, the lanes innermost.

Batched products of 10 × 10 matrices are slow on a CPU, and a vmapped loop waits for its slowest
lane. Here every array ends in an axis of lanes, so that a product is a sum of elementwise products
that vectorises over them; and the loop is flat: each lane is in its own CG iteration of its own
Newton step, and one that has finished hands its place to the next of the queue.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ufm.model import Problem
from ufm.solution import Result
from ufm.solvers.coordinates import relative_size
from ufm.solvers.newton.rules import CG, Trial, Trust, follow, stride
from ufm.solvers.newton.single import Newton
from ufm.solvers.one_layer import OneLayer, dot, evaluate, hessian, queue_of, select
from ufm.solvers.solver import result_of

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


class _Outer(NamedTuple):
    """Numbers of the Newton iteration, and the place in the queue.

    `steps` is -1 before the first evaluation. `stale`, 0 or 1: the Hessian at hand is that of a
    refused step.
    """

    value: Float[Array, " B"]
    gradient_sq: Float[Array, " B"]
    grad_norm: Float[Array, " B"]
    radius: Float[Array, " B"]
    smallest: Float[Array, " B"]
    since: Float[Array, " B"]
    steps: Float[Array, " B"]
    evaluations: Float[Array, " B"]
    code: Float[Array, " B"]
    lane: Float[Array, " B"]
    stale: Float[Array, " B"]


class _State(NamedTuple):
    """Every lane's vectors, and its numbers as the rows of two arrays: those of `_Outer`, of `CG`.

    Few arrays, because XLA's CPU client hands work to other threads wherever more than eight
    operations could go on at once, and with a loop that carries every number by itself it spent a
    third of the time on handing over.
    """

    x: Float[Array, "n B"]
    gradient: Float[Array, "n B"]
    step: Float[Array, "n B"]
    residual: Float[Array, "n B"]
    direction: Float[Array, "n B"]
    outer: Float[Array, "11 B"]
    inner: Float[Array, "7 B"]

    @property
    def numbers(self) -> _Outer:
        """Those of the Newton iteration."""
        return _Outer(*self.outer)

    @property
    def cg(self) -> CG:
        """Those of the conjugate gradients."""
        *numbers, on_boundary = self.inner
        return CG(*numbers, on_boundary=on_boundary > 0)


def _rows(numbers: tuple[Array, ...]) -> Float[Array, "rows B"]:
    """Numbers (B,) as the rows of an array, in one elementwise operation."""
    numbers = _floats(numbers)
    shape = len(numbers), numbers[0].shape[0]
    row = jax.lax.broadcasted_iota(jnp.int32, shape, 0)
    out = jnp.broadcast_to(numbers[-1][None], shape)
    for k, number in enumerate(numbers[:-1]):
        out = jnp.where(row == k, number[None], out)
    return out


def _floats(numbers):
    """Counts and flags among numbers in the dtype of the first of them."""
    dtype = numbers[0].dtype
    return jax.tree.map(lambda number: number.astype(dtype), numbers)


def fresh_lanes(x, lane, live) -> _State:
    """Lanes that wait for their first evaluation.

    Parameters
    ----------
    x
        (n, L), the starts, lanes last.
    lane
        (L,), whose place in the queue each has.
    live
        (L,), whether it is to run at all.

    Returns
    -------
    _State
        With nothing evaluated.
    """
    nothing, zero = jnp.zeros_like(x), jnp.zeros_like(x[0])
    code = jnp.where(live, float(Result.RUNNING), float(Result.INTERRUPTED))
    outer = _Outer(*[zero] * len(_Outer._fields))
    outer = outer._replace(steps=zero - 1, code=code, lane=lane)
    inner = jnp.zeros((len(CG._fields), *zero.shape), zero.dtype)
    return _State(x, nothing, nothing, nothing, nothing, _rows(outer), inner)


def _in_cg(solver: Newton, s: _State):
    o = s.numbers
    return (o.code == Result.RUNNING) & (o.steps >= 0) & solver.unfinished(s.cg)


def _conjugate(solver: Newton, times, s: _State) -> _State:
    """One step of `steihaug` in every lane that is in CG."""
    o, cg = s.numbers, s.cg
    active = _in_cg(solver, s) & (o.stale == 0)
    curved = times(s.direction)
    length, leaves = stride(cg, dot(s.direction, curved), o.radius)
    length = jnp.where(active, length, 0)
    residual = s.residual + length[None] * curved
    turn, new = follow(cg, length, leaves, dot(residual, residual))
    return s._replace(
        step=s.step + length[None] * s.direction,
        residual=residual,
        direction=select(active, turn[None] * s.direction - residual, s.direction),
        inner=_rows(select(active, new, cg)),
    )


def _newton(solver: Newton, lanes: OneLayer, s: _State, tolerance):
    """`Newton.step` after its CG in every lane that waits for it, `init` in a fresh one.

    With the Hessians.
    """
    o, cg = s.numbers, s.cg
    fresh = o.steps < 0
    ready = (o.code == Result.RUNNING) & ~_in_cg(solver, s)
    trial = select(ready & ~fresh, s.x + s.step, s.x)
    value, size_sq, gradient, logits = evaluate(lanes, trial)
    tried = Trial(
        values=(o.value, value),
        size=jnp.abs(o.value),
        predicted=-0.5 * dot(s.gradient + s.residual, s.step),
        by_gradients=-0.5 * dot(s.gradient + gradient, s.step),
        length=jnp.sqrt(cg.step_sq),
        far=cg.on_boundary,
        grad_norm=o.grad_norm,
    )
    verdict = solver.judge(Trust(o.radius, o.smallest, o.since), tried)
    accepted = verdict.accepted | fresh
    gradient_sq = dot(gradient, gradient)
    here = value, gradient_sq, relative_size(gradient_sq, size_sq, value)
    here = select(accepted, here, (o.value, o.gradient_sq, o.grad_norm))
    value, gradient_sq, grad_norm = here
    steps = o.steps + 1
    code = result_of(value, grad_norm, verdict.stalled & ~fresh, tolerance)
    spent = (code == Result.RUNNING) & (steps >= solver.max_steps)
    trust = select(fresh, _floats(solver.first_trust(size_sq, value)), verdict.trust)
    outer = _Outer(
        *here,
        *trust,
        steps=steps,
        evaluations=jnp.where(fresh, 1, o.evaluations + cg.products + 2),
        code=jnp.where(spent, int(Result.MAX_STEPS), code),
        lane=o.lane,
        stale=~accepted,
    )
    outer = _floats(outer)
    gradient = select(ready & accepted, gradient, s.gradient)
    new = _State(
        x=select(ready & accepted, trial, s.x),
        gradient=gradient,
        step=select(ready, jnp.zeros_like(s.step), s.step),
        residual=select(ready, gradient, s.residual),
        direction=select(ready, -gradient, s.direction),
        outer=_rows(select(ready, outer, o._replace(stale=jnp.zeros_like(value)))),
        inner=select(ready, _rows(solver.begin(gradient_sq, grad_norm)), s.inner),
    )
    return new, hessian(lanes, trial, logits)


def newton_round(solver: Newton, lanes: OneLayer, s: _State, tolerance) -> _State:
    """An evaluation where it is due, and then conjugate gradients until half of the lanes wait.

    Parameters
    ----------
    solver
        The rules.
    lanes
        The problems, lanes last.
    s
        Where every lane stands.
    tolerance
        On the relative gradient norm.

    Returns
    -------
    _State
        Where they stand then.
    """
    s, times = _newton(solver, lanes, s, tolerance)

    def busy(s):
        going = (s.numbers.code == Result.RUNNING) & (s.numbers.stale == 0)
        return 2 * jnp.sum(going & _in_cg(solver, s)) > jnp.sum(going)

    return jax.lax.while_loop(busy, lambda s: _conjugate(solver, times, s), s)


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
    state: _State
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
        (L, n), dtype = self.starts.shape, self.starts.dtype
        lane = jnp.arange(width)
        s = fresh_lanes(self.starts[:width].T, lane.astype(dtype), lane < self.number)
        out = jnp.zeros((L, n + len(_Outer._fields)), dtype)
        return _Held(self.problems[:width].T, s, out, jnp.asarray(width))

    def finished(self, held: _Held):
        """The lanes (B,) whose problem is done and not handed on."""
        outer = held.state.numbers
        # a place past the end of the queue is idle
        return (outer.code != Result.RUNNING) & (outer.lane < self.ends)

    def _successor(self, outer: _Outer, lane) -> _Outer:
        """The numbers of a place that is given to a lane of the queue, or to none."""
        code = jnp.where(lane < self.number, int(Result.RUNNING), int(Result.INTERRUPTED))
        return outer._replace(steps=-jnp.ones_like(outer.value), code=code, lane=lane)

    def exchange(self, held: _Held) -> _Held:
        """Keep what came of one finished lane, and give its place to the next of the queue."""
        columns, s, out, upcoming = held
        place = jnp.argmax(self.finished(held))
        outer = _Outer(*_lane(s.outer, place))
        found = jnp.concatenate([_lane(s.x, place), jnp.stack(outer)])
        out = out.at[outer.lane.astype(int)].set(found)
        rows = jnp.stack(_floats(self._successor(outer, upcoming)))
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
        rows = _rows(select(done, _floats(self._successor(outer, lane)), outer))
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
        With a leading axis L; INTERRUPTED for what was left alone.
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
    outer = _Outer(*found[:, n:].T)
    whole = (number.astype(int) for number in (outer.code, outer.steps, outer.evaluations))
    return LaneResults(found[:, :n], outer.value, outer.grad_norm, *whole)
