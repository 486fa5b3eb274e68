r"""Newton's method for thousands of small one-layer problems at once: the arithmetic of `newton.py`, written with the lanes innermost.

Batched products of 10 × 10 matrices are slow on a CPU, and a vmapped loop waits for its slowest lane. Here every array ends in an axis of
lanes, so that a product is a sum of elementwise products that vectorises over them; and the loop is flat: each lane is in its own CG
iteration of its own Newton step, and one that has finished hands its place to the next of the queue.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ufm.problem import Problem
from ufm.solution import Result
from ufm.solvers.lane_problems import LaneProblems, dot, evaluate, queue_of, select
from ufm.solvers.newton import PATIENCE, Newton, agreement, first_radius

# Lanes that step together: whole solves at 10 × 10 × 10 took 240 µs a lane with 16 or 32 of them, 225 with 48, 390 with 64 (the cache).
WIDTH = 48
# Finished lanes are exchanged once there are so many: each exchange copies the problems of all.
_EXCHANGE = 2


class LaneResults(NamedTuple):
    """What came of each lane; `flat` as in `coordinates`."""

    flat: Float[Array, "L n"]
    value: Float[Array, " L"]
    grad_norm: Float[Array, " L"]
    code: Int[Array, " L"]
    num_steps: Int[Array, " L"]
    num_evaluations: Int[Array, " L"]


class _State(NamedTuple):
    """Every lane's Newton state, then its CG state, then its place in the queue. `steps` is -1 before the first evaluation."""

    x: Float[Array, "n B"]
    value: Float[Array, " B"]
    gradient: Float[Array, "n B"]
    gradient_sq: Float[Array, " B"]
    grad_norm: Float[Array, " B"]
    radius: Float[Array, " B"]
    smallest: Float[Array, " B"]
    since: Int[Array, " B"]
    steps: Int[Array, " B"]
    evaluations: Int[Array, " B"]
    step: Float[Array, "n B"]
    residual: Float[Array, "n B"]
    direction: Float[Array, "n B"]
    residual_sq: Float[Array, " B"]
    target_sq: Float[Array, " B"]
    step_sq: Float[Array, " B"]
    along: Float[Array, " B"]
    direction_sq: Float[Array, " B"]
    on_boundary: Bool[Array, " B"]
    products: Int[Array, " B"]
    stale: Bool[Array, " B"]
    code: Int[Array, " B"]
    lane: Int[Array, " B"]


def _fresh(x, lane, live) -> _State:
    """Lanes that wait for their first evaluation."""
    zero, none, nothing = jnp.zeros_like(x[0]), jnp.zeros_like(lane), jnp.zeros_like(x)
    return _State(
        x=x,
        value=zero,
        gradient=nothing,
        gradient_sq=zero,
        grad_norm=zero,
        radius=zero,
        smallest=zero,
        since=none,
        steps=none - 1,
        evaluations=none,
        step=nothing,
        residual=nothing,
        direction=nothing,
        residual_sq=zero,
        target_sq=zero,
        step_sq=zero,
        along=zero,
        direction_sq=zero,
        on_boundary=jnp.zeros_like(live),
        products=none,
        stale=jnp.zeros_like(live),
        code=jnp.where(live, int(Result.RUNNING), int(Result.INTERRUPTED)),
        lane=lane,
    )


def _in_cg(s: _State, max_cg: int):
    return (s.code == Result.RUNNING) & ~s.on_boundary & (s.residual_sq > s.target_sq) & (s.products < max_cg)


def _conjugate(hessian, s: _State, max_cg: int) -> _State:
    """One step of `newton.steihaug` in every lane that is in CG."""
    active = _in_cg(s, max_cg) & ~s.stale
    curved = hessian(s.direction)
    curvature = dot(s.direction, curved)
    length = s.residual_sq / jnp.where(curvature > 0, curvature, 1)
    outside = s.step_sq + 2 * length * s.along + length**2 * s.direction_sq >= s.radius**2
    leaves = (curvature <= 0) | outside
    room = jnp.maximum(s.radius**2 - s.step_sq, 0)
    root = s.along + jnp.sqrt(s.along**2 + s.direction_sq * room)
    length = jnp.where(leaves, room / jnp.where(room > 0, root, 1), length)
    length = jnp.where(active, length, 0)
    residual = s.residual + length[None] * curved
    residual_sq = jnp.where(active, dot(residual, residual), s.residual_sq)
    turn = residual_sq / jnp.where(active, s.residual_sq, 1)
    return s._replace(
        step=s.step + length[None] * s.direction,
        residual=residual,
        direction=select(active, turn[None] * s.direction - residual, s.direction),
        residual_sq=residual_sq,
        step_sq=s.step_sq + 2 * length * s.along + length**2 * s.direction_sq,
        along=jnp.where(active, turn * (s.along + length * s.direction_sq), s.along),
        direction_sq=jnp.where(active, residual_sq + turn**2 * s.direction_sq, s.direction_sq),
        on_boundary=s.on_boundary | (active & leaves),
        products=s.products + active.astype(s.products.dtype),
    )


def _newton(lanes: LaneProblems, s: _State, tolerance, *, max_steps: int, max_cg: int):
    """`Newton.step` after its CG, in every lane that is through with it; `Newton.init` in one that is fresh. With the Hessians."""
    fresh = s.steps < 0
    ready = (s.code == Result.RUNNING) & ~_in_cg(s, max_cg)
    trial = jnp.where(ready[None], s.x + s.step, s.x)
    value, size_sq, gradient, hessian = evaluate(lanes, trial)
    predicted = -0.5 * dot(s.gradient + s.residual, s.step)
    ratio, noisy = agreement(s.value, value, predicted, -0.5 * dot(s.gradient + gradient, s.step))
    length = jnp.sqrt(s.step_sq)
    radius = jnp.where(ratio < 0.25, 0.25 * length, jnp.where((ratio > 0.75) & s.on_boundary, 2 * s.radius, s.radius))
    since = jnp.where((s.grad_norm < s.smallest) | ~noisy, 0, s.since + 1)

    accepted = (ratio > 1e-4) | fresh
    gradient_sq = dot(gradient, gradient)
    grad_norm = jnp.sqrt(gradient_sq / jnp.maximum(jnp.maximum(2 * value, size_sq), jnp.finfo(value.dtype).tiny))
    radius = jnp.where(fresh, first_radius(size_sq, value), radius)
    here = s.x, s.value, s.gradient, s.gradient_sq, s.grad_norm
    x, value, gradient, gradient_sq, grad_norm = select(accepted, (trial, value, gradient, gradient_sq, grad_norm), here)
    steps = s.steps + 1
    code = jnp.where(steps >= max_steps, int(Result.MAX_STEPS), int(Result.RUNNING))
    code = jnp.where((since >= PATIENCE) & ~fresh, int(Result.STALLED), code)
    code = jnp.where(grad_norm <= tolerance, int(Result.CONVERGED), code)
    code = jnp.where(jnp.isfinite(value) & jnp.isfinite(grad_norm), code, int(Result.DIVERGED))
    zero, nothing = jnp.zeros_like(value), jnp.zeros_like(x)
    new = _State(
        x=x,
        value=value,
        gradient=gradient,
        gradient_sq=gradient_sq,
        grad_norm=grad_norm,
        radius=radius,
        smallest=jnp.where(fresh, jnp.inf, jnp.minimum(s.smallest, s.grad_norm)),
        since=jnp.where(fresh, 0, since),
        steps=steps,
        evaluations=s.evaluations + jnp.where(fresh, 1, s.products + 2),
        step=nothing,
        residual=gradient,
        direction=-gradient,
        residual_sq=gradient_sq,
        target_sq=jnp.clip(jnp.sqrt(grad_norm), 1e-2, 0.5) ** 2 * gradient_sq,
        step_sq=zero,
        along=zero,
        direction_sq=gradient_sq,
        on_boundary=jnp.zeros_like(fresh),
        products=jnp.zeros_like(s.products),
        stale=~accepted,
        code=code,
        lane=s.lane,
    )
    return select(ready, new, s._replace(stale=jnp.zeros_like(ready))), hessian


def _gather(queue, index):
    """Chosen lanes of arrays (L, …), as arrays (…, B)."""
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf[index], 0, -1), queue)


def newton_lanes(problems: Problem, starts: Float[Array, "L n"], tolerance, number, *, solver: Newton, width: int = WIDTH) -> LaneResults:
    """Minimise the first `number` of stacked problems from flat starts (L, n); the rest is left alone. Runs inside `jit`."""
    queue, L = queue_of(problems), starts.shape[0]
    width = min(width, L)
    budget = {"max_steps": solver.max_steps, "max_cg": solver.max_cg}

    def load(lane):
        index = jnp.minimum(lane, L - 1)
        return _gather(queue, index), _fresh(_gather(starts, index), lane, lane < number)

    def exchange(carry):
        lanes, s, out, upcoming = carry
        done = s.code != Result.RUNNING
        # a place past the end of the queue is dropped
        at = jnp.where(done, s.lane, L)
        found = LaneResults(s.x.T, s.value, s.grad_norm, s.code, s.steps, s.evaluations)
        out = jax.tree.map(lambda store, new: store.at[at].set(new, mode="drop"), out, found)
        lane = jnp.where(done, upcoming + jnp.cumsum(done) - 1, s.lane)
        lanes, fresh = load(lane)
        return lanes, select(done, fresh, s), out, upcoming + jnp.sum(done)

    def body(carry):
        lanes, s, out, upcoming = carry
        s, hessian = _newton(lanes, s, tolerance, **budget)

        def busy(s):
            going = (s.code == Result.RUNNING) & ~s.stale
            # CG goes on while more than half of the lanes are in it; the others wait for their next gradient
            in_cg = jnp.sum(going & _in_cg(s, solver.max_cg))
            return 2 * in_cg > jnp.sum(going)

        s = jax.lax.while_loop(busy, lambda s: _conjugate(hessian, s, solver.max_cg), s)
        done = jnp.sum(s.code != Result.RUNNING)
        wanted = ((done >= min(_EXCHANGE, width)) & (upcoming < number)) | (done == width)
        return jax.lax.cond(wanted, exchange, lambda carry: carry, (lanes, s, out, upcoming))

    def unfinished(carry):
        return jnp.any(carry[1].code == Result.RUNNING)

    real, whole = jnp.zeros(L, starts.dtype), jnp.zeros(L, int)
    out = LaneResults(jnp.zeros_like(starts), real, real, whole, whole, whole)
    lanes, s = load(jnp.arange(width))
    return jax.lax.while_loop(unfinished, body, (lanes, s, out, jnp.asarray(width)))[2]
