r"""Newton's method for thousands of small one-layer problems at once: the arithmetic of `newton.py`, written with the lanes innermost.

Batched products of 10 × 10 matrices are slow on a CPU, and a vmapped loop waits for its slowest lane. Here every array ends in an axis of
lanes, so that a product is a sum of elementwise products that vectorises over them; and the loop is flat: each lane is in its own CG
iteration of its own Newton step, and one that has finished hands its place to the next of the queue.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ufm.problem import Problem
from ufm.solution import Result
from ufm.solvers.lane_problems import LaneProblems, dot, evaluate, queue_of, select
from ufm.solvers.newton import PATIENCE, Newton, agreement, first_radius

# Lanes that step together: whole solves at 10 × 10 × 10 took 98 µs a lane with 48 of them, 103 with 64, 135 with 40 or 96 (the cache).
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
    """Numbers of the Newton iteration, and the place in the queue. `steps` is -1 before the first evaluation."""

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


class _Inner(NamedTuple):
    """Numbers of the CG iteration; the last two are flags, 0 or 1. `stale`: the Hessian at hand is that of a refused step."""

    residual_sq: Float[Array, " B"]
    target_sq: Float[Array, " B"]
    step_sq: Float[Array, " B"]
    along: Float[Array, " B"]
    direction_sq: Float[Array, " B"]
    products: Float[Array, " B"]
    on_boundary: Float[Array, " B"]
    stale: Float[Array, " B"]


class _State(NamedTuple):
    """Every lane's vectors, and its numbers as the rows of two arrays.

    Few arrays, because XLA's CPU client hands work to other threads wherever more than eight operations could go on at once, and with
    a loop that carries every number by itself it spent a third of the time on handing over.
    """

    x: Float[Array, "n B"]
    gradient: Float[Array, "n B"]
    step: Float[Array, "n B"]
    residual: Float[Array, "n B"]
    direction: Float[Array, "n B"]
    outer: Float[Array, "10 B"]
    inner: Float[Array, "8 B"]


def _rows(numbers: tuple[Array, ...]) -> Float[Array, "rows B"]:
    """Numbers (B,) as the rows of an array, in one elementwise operation."""
    shape = len(numbers), numbers[0].shape[0]
    row = jax.lax.broadcasted_iota(jnp.int32, shape, 0)
    out = jnp.broadcast_to(numbers[-1][None], shape)
    for k, number in enumerate(numbers[:-1]):
        out = jnp.where(row == k, number[None], out)
    return out


def _fresh(x, lane, live) -> _State:
    """Lanes that wait for their first evaluation."""
    nothing, zero = jnp.zeros_like(x), jnp.zeros_like(x[0])
    code = jnp.where(live, float(Result.RUNNING), float(Result.INTERRUPTED))
    outer = _Outer(*[zero] * 6, steps=zero - 1, evaluations=zero, code=code, lane=lane)
    return _State(x, nothing, nothing, nothing, nothing, _rows(outer), _rows(_Inner(*[zero] * 8)))


def _in_cg(outer: _Outer, inner: _Inner, max_cg: int):
    going = (outer.code == Result.RUNNING) & (outer.steps >= 0)
    return going & (inner.on_boundary == 0) & (inner.residual_sq > inner.target_sq) & (inner.products < max_cg)


def _conjugate(hessian, s: _State, max_cg: int) -> _State:
    """One step of `newton.steihaug` in every lane that is in CG."""
    outer, c = _Outer(*s.outer), _Inner(*s.inner)
    active = _in_cg(outer, c, max_cg) & (c.stale == 0)
    curved = hessian(s.direction)
    curvature = dot(s.direction, curved)
    length = c.residual_sq / jnp.where(curvature > 0, curvature, 1)
    outside = c.step_sq + 2 * length * c.along + length**2 * c.direction_sq >= outer.radius**2
    leaves = (curvature <= 0) | outside
    room = jnp.maximum(outer.radius**2 - c.step_sq, 0)
    root = c.along + jnp.sqrt(c.along**2 + c.direction_sq * room)
    length = jnp.where(leaves, room / jnp.where(room > 0, root, 1), length)
    length = jnp.where(active, length, 0)
    residual = s.residual + length[None] * curved
    residual_sq = jnp.where(active, dot(residual, residual), c.residual_sq)
    turn = residual_sq / jnp.where(active, c.residual_sq, 1)
    inner = c._replace(
        residual_sq=residual_sq,
        step_sq=c.step_sq + 2 * length * c.along + length**2 * c.direction_sq,
        along=jnp.where(active, turn * (c.along + length * c.direction_sq), c.along),
        direction_sq=jnp.where(active, residual_sq + turn**2 * c.direction_sq, c.direction_sq),
        on_boundary=jnp.where(active & leaves, 1, c.on_boundary),
        products=c.products + active.astype(length.dtype),
    )
    return s._replace(
        step=s.step + length[None] * s.direction,
        residual=residual,
        direction=select(active, turn[None] * s.direction - residual, s.direction),
        inner=_rows(inner),
    )


def _newton(lanes: LaneProblems, s: _State, tolerance, *, max_steps: int, max_cg: int):
    """`Newton.step` after its CG, in every lane that is through with it; `Newton.init` in one that is fresh. With the Hessians."""
    o, c = _Outer(*s.outer), _Inner(*s.inner)
    fresh = o.steps < 0
    ready = (o.code == Result.RUNNING) & ~_in_cg(o, c, max_cg)
    trial = select(ready & ~fresh, s.x + s.step, s.x)
    value, size_sq, gradient, hessian = evaluate(lanes, trial)
    predicted = -0.5 * dot(s.gradient + s.residual, s.step)
    ratio, noisy = agreement(o.value, value, predicted, -0.5 * dot(s.gradient + gradient, s.step))
    length = jnp.sqrt(c.step_sq)
    grown = jnp.where((ratio > 0.75) & (c.on_boundary > 0), 2 * o.radius, o.radius)
    radius = jnp.where(ratio < 0.25, 0.25 * length, grown)
    since = jnp.where((o.grad_norm < o.smallest) | ~noisy, 0, o.since + 1)

    accepted = (ratio > 1e-4) | fresh
    gradient_sq = dot(gradient, gradient)
    grad_norm = jnp.sqrt(gradient_sq / jnp.maximum(jnp.maximum(2 * value, size_sq), jnp.finfo(value.dtype).tiny))
    numbers = select(accepted, (value, gradient_sq, grad_norm), (o.value, o.gradient_sq, o.grad_norm))
    value, gradient_sq, grad_norm = numbers
    steps = o.steps + 1
    code = jnp.where(steps >= max_steps, float(Result.MAX_STEPS), float(Result.RUNNING))
    code = jnp.where((since >= PATIENCE) & ~fresh, float(Result.STALLED), code)
    code = jnp.where(grad_norm <= tolerance, float(Result.CONVERGED), code)
    code = jnp.where(jnp.isfinite(value) & jnp.isfinite(grad_norm), code, float(Result.DIVERGED))
    outer = _Outer(
        value=value,
        gradient_sq=gradient_sq,
        grad_norm=grad_norm,
        radius=jnp.where(fresh, first_radius(size_sq, value), radius),
        smallest=jnp.where(fresh, jnp.inf, jnp.minimum(o.smallest, o.grad_norm)),
        since=jnp.where(fresh, 0, since),
        steps=steps,
        evaluations=jnp.where(fresh, 1, o.evaluations + c.products + 2),
        code=code,
        lane=o.lane,
    )
    zero = jnp.zeros_like(value)
    inner = _Inner(
        residual_sq=gradient_sq,
        target_sq=jnp.clip(jnp.sqrt(grad_norm), 1e-2, 0.5) ** 2 * gradient_sq,
        step_sq=zero,
        along=zero,
        direction_sq=gradient_sq,
        products=zero,
        on_boundary=zero,
        stale=jnp.where(accepted, 0.0, 1.0),
    )
    gradient = select(ready & accepted, gradient, s.gradient)
    new = _State(
        x=select(ready & accepted, trial, s.x),
        gradient=gradient,
        step=select(ready, jnp.zeros_like(s.step), s.step),
        residual=select(ready, gradient, s.residual),
        direction=select(ready, -gradient, s.direction),
        outer=_rows(select(ready, outer, o)),
        inner=_rows(select(ready, inner, c._replace(stale=zero))),
    )
    return new, hessian


def _packed(queue: LaneProblems):
    """Stacked problems as one array (L, P), and what makes problems with the lanes last of its columns (P, B)."""
    leaves, tree = jax.tree.flatten(queue)
    L, edges = leaves[0].shape[0], np.cumsum([leaf[0].size for leaf in leaves])[:-1]

    def unpack(columns: Float[Array, "P B"]) -> LaneProblems:
        parts = zip(jnp.split(columns, edges), leaves, strict=True)
        # the parameters of a loss may have another dtype
        shaped = [part.reshape(*leaf.shape[1:], part.shape[-1]).astype(leaf.dtype) for part, leaf in parts]
        return jax.tree.unflatten(tree, shaped)

    return jnp.concatenate([leaf.reshape(L, -1).astype(queue.targets.dtype) for leaf in leaves], axis=1), unpack


def _put(array, place, column):
    """An array (…, B) with something else in one lane."""
    return jax.lax.dynamic_update_index_in_dim(array, column, place, -1)


def newton_lanes(problems: Problem, starts: Float[Array, "L n"], tolerance, number, *, solver: Newton, width: int = WIDTH) -> LaneResults:
    """Minimise the first `number` of stacked problems from flat starts (L, n); the rest is left alone. Runs inside `jit`."""
    (queue, unpack), (L, n) = _packed(queue_of(problems)), starts.shape
    width = min(width, L)
    budget = {"max_steps": solver.max_steps, "max_cg": solver.max_cg}
    # places in the queue are rows of `outer`, and whole numbers of that size are exact there
    ends = jnp.asarray(number, starts.dtype)

    def finished(s: _State):
        outer = _Outer(*s.outer)
        # a place past the end of the queue is idle
        return (outer.code != Result.RUNNING) & (outer.lane < ends)

    def exchange(carry):
        """Keep what came of one finished lane, and give its place to the next of the queue."""
        columns, s, out, upcoming = carry
        place = jnp.argmax(finished(s))
        outer = _Outer(*jax.lax.dynamic_index_in_dim(s.outer, place, -1, keepdims=False))
        found = jnp.concatenate([jax.lax.dynamic_index_in_dim(s.x, place, -1, keepdims=False), jnp.stack(outer)])
        code = jnp.where(upcoming < number, float(Result.RUNNING), float(Result.INTERRUPTED)).astype(starts.dtype)
        out = out.at[outer.lane.astype(int)].set(found)
        outer = outer._replace(steps=-jnp.ones_like(code), code=code, lane=upcoming.astype(code.dtype))
        s = s._replace(x=_put(s.x, place, starts[upcoming]), outer=_put(s.outer, place, jnp.stack(outer)))
        return _put(columns, place, queue[upcoming]), s, out, upcoming + 1

    def body(carry):
        columns, s, out, upcoming = carry
        s, hessian = _newton(unpack(columns), s, tolerance, **budget)

        def busy(s):
            outer, inner = _Outer(*s.outer), _Inner(*s.inner)
            going = (outer.code == Result.RUNNING) & (inner.stale == 0)
            # CG goes on while more than half of the lanes are in it; the others wait for their next gradient
            in_cg = jnp.sum(going & _in_cg(outer, inner, solver.max_cg))
            return 2 * in_cg > jnp.sum(going)

        s = jax.lax.while_loop(busy, lambda s: _conjugate(hessian, s, solver.max_cg), s)
        return jax.lax.while_loop(lambda carry: jnp.any(finished(carry[1])), exchange, (columns, s, out, upcoming))

    def unfinished(carry):
        return jnp.any(_Outer(*carry[1].outer).code == Result.RUNNING)

    lane = jnp.arange(width)
    s = _fresh(starts[:width].T, lane.astype(starts.dtype), lane < number)
    out = jnp.zeros((L, n + len(_Outer._fields)), starts.dtype)
    found = jax.lax.while_loop(unfinished, body, (queue[:width].T, s, out, jnp.asarray(width)))[2]
    outer = _Outer(*found[:, n:].T)
    whole = (number.astype(int) for number in (outer.code, outer.steps, outer.evaluations))
    return LaneResults(found[:, :n], outer.value, outer.grad_norm, *whole)
