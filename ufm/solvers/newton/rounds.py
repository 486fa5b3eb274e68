"""Newton's method in lanes, the lanes innermost: where each stands, and the rounds of the loop.

Each lane is in its own CG iteration of its own Newton step. Batched products of 10 × 10 matrices
are slow on a CPU, so every array ends in an axis of lanes, and a product is a sum of elementwise
products that vectorises over them.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm.solution import Result
from ufm.solvers.coordinates import relative_size
from ufm.solvers.newton.rules import CG, Trial, Trust, follow, stride
from ufm.solvers.newton.single import Newton
from ufm.solvers.one_layer import OneLayer, dot, evaluate, hessian, join, select, split
from ufm.solvers.solver import result_of


class Outer(NamedTuple):
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


class LaneState(NamedTuple):
    """Every lane's vectors, and its numbers as the rows of two arrays: those of `Outer`, of `CG`.

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
    def numbers(self) -> Outer:
        """Those of the Newton iteration."""
        return Outer(*self.outer)

    @property
    def cg(self) -> CG:
        """Those of the conjugate gradients."""
        *numbers, on_boundary = self.inner
        return CG(*numbers, on_boundary=on_boundary > 0)


def as_rows(numbers: tuple[Array, ...]) -> Float[Array, "rows B"]:
    """Numbers (B,) as the rows of an array, in one elementwise operation."""
    numbers = as_floats(numbers)
    shape = len(numbers), numbers[0].shape[0]
    row = jax.lax.broadcasted_iota(jnp.int32, shape, 0)
    out = jnp.broadcast_to(numbers[-1][None], shape)
    for k, number in enumerate(numbers[:-1]):
        out = jnp.where(row == k, number[None], out)
    return out


def as_floats(numbers):
    """Counts and flags among numbers in the dtype of the first of them."""
    dtype = numbers[0].dtype
    return jax.tree.map(lambda number: number.astype(dtype), numbers)


def fresh_lanes(x, lane, live) -> LaneState:
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
    LaneState
        With nothing evaluated.
    """
    nothing, zero = jnp.zeros_like(x), jnp.zeros_like(x[0])
    code = jnp.where(live, float(Result.RUNNING), float(Result.INTERRUPTED))
    outer = Outer(*[zero] * len(Outer._fields))
    outer = outer._replace(steps=zero - 1, code=code, lane=lane)
    inner = jnp.zeros((len(CG._fields), *zero.shape), zero.dtype)
    return LaneState(x, nothing, nothing, nothing, nothing, as_rows(outer), inner)


def _in_cg(solver: Newton, s: LaneState):
    o = s.numbers
    return (o.code == Result.RUNNING) & (o.steps >= 0) & solver.unfinished(s.cg)


def _conjugate(solver: Newton, times, s: LaneState) -> LaneState:
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
        inner=as_rows(select(active, new, cg)),
    )


def _newton(solver: Newton, lanes: OneLayer, s: LaneState, tolerance):
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
    trust = select(fresh, as_floats(solver.first_trust(size_sq, value)), verdict.trust)
    outer = Outer(
        *here,
        *trust,
        steps=steps,
        evaluations=jnp.where(fresh, 1, o.evaluations + cg.products + 2),
        code=jnp.where(spent, int(Result.MAX_STEPS), code),
        lane=o.lane,
        stale=~accepted,
    )
    outer = as_floats(outer)
    gradient = select(ready & accepted, gradient, s.gradient)
    new = LaneState(
        x=select(ready & accepted, trial, s.x),
        gradient=gradient,
        step=select(ready, jnp.zeros_like(s.step), s.step),
        residual=select(ready, gradient, s.residual),
        direction=select(ready, -gradient, s.direction),
        outer=as_rows(select(ready, outer, o._replace(stale=jnp.zeros_like(value)))),
        inner=select(ready, as_rows(solver.begin(gradient_sq, grad_norm)), s.inner),
    )
    times = hessian(lanes, trial, logits)
    return new, lambda direction: join(times(split(lanes, direction)))


def newton_round(solver: Newton, lanes: OneLayer, s: LaneState, tolerance) -> LaneState:
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
    LaneState
        Where they stand then.
    """
    s, times = _newton(solver, lanes, s, tolerance)

    def busy(s):
        going = (s.numbers.code == Result.RUNNING) & (s.numbers.stale == 0)
        return 2 * jnp.sum(going & _in_cg(solver, s)) > jnp.sum(going)

    return jax.lax.while_loop(busy, lambda s: _conjugate(solver, times, s), s)
