"""Trust-region Newton–CG on Hessian-vector products; it uses negative curvature, so saddles are left and not reported as optima."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ufm.problem import Problem
from ufm.solvers.coordinates import Flat, flat_objective
from ufm.solvers.solver import AbstractSolver, State

# A step is judged by the trapezoid of the gradients once its predicted decrease is below this many rounding errors of the value.
_NOISE = 100.0
# In that range, so many steps without a smaller gradient mean that only rounding is left to move.
PATIENCE = 20


class _Memory(NamedTuple):
    radius: Float[Array, ""]
    smallest: Float[Array, ""]
    since: Int[Array, ""]


class Newton(AbstractSolver):
    """Steihaug–Toint trust-region Newton–CG in decay-weighted coordinates.

    `max_steps`: outer steps (each is one conjugate-gradient solve). `max_cg`: cap on the Hessian-vector products of one step.
    Source: Steihaug 1983; Nocedal & Wright, Numerical Optimization, algorithms 4.1 and 7.2.
    """

    max_steps: int = eqx.field(static=True, default=1000)
    max_cg: int = eqx.field(static=True, default=2000)

    def init(self, problem: Problem, flat: Flat) -> State:
        value, gradient = jax.value_and_grad(flat_objective, argnums=1)(problem, flat)
        radius = first_radius(jnp.sum(flat**2), value)
        return State.fresh(flat, value, gradient, memory=_Memory(radius, jnp.full_like(radius, jnp.inf), jnp.asarray(0)))

    def step(self, problem: Problem, state: State) -> State:
        def gradient_at(flat):
            return jax.grad(flat_objective, argnums=1)(problem, flat)

        _, hessian = jax.linearize(gradient_at, state.flat)
        sub = steihaug(hessian, state.gradient, radius=state.memory.radius, relative=state.grad_norm, max_cg=self.max_cg)
        trial = state.flat + sub.step
        value, gradient = jax.value_and_grad(flat_objective, argnums=1)(problem, trial)

        predicted = -(jnp.dot(state.gradient, sub.step) + 0.5 * jnp.dot(sub.step, sub.curved_step))
        ratio, noisy = agreement(state.value, value, predicted, -0.5 * jnp.dot(state.gradient + gradient, sub.step))

        length = jnp.sqrt(jnp.sum(sub.step**2))
        radius = state.memory.radius
        radius = jnp.where(ratio < 0.25, 0.25 * length, jnp.where((ratio > 0.75) & sub.on_boundary, 2 * radius, radius))
        improved = state.grad_norm < state.memory.smallest
        since = jnp.where(improved | ~noisy, 0, state.memory.since + 1)
        memory = _Memory(radius, jnp.minimum(state.memory.smallest, state.grad_norm), since)
        return state.moved(ratio > 1e-4, trial, value, gradient, memory=memory, evaluations=sub.products + 2, stalled=since >= PATIENCE)


def first_radius(size_sq: Array, value: Array) -> Array:
    """A tenth of the natural size: a step too long from a random point is refused at full cost, one too short doubles the next."""
    return 0.1 * (jnp.sqrt(size_sq) + jnp.sqrt(jnp.abs(value)))


def agreement(value: Array, trial: Array, predicted: Array, by_gradients: Array) -> tuple[Array, Array]:
    """Actual over predicted decrease, -1 for a step that must be refused, and whether values can no longer tell (`by_gradients` does)."""
    noisy = predicted < _NOISE * float(jnp.finfo(value.dtype).eps) * jnp.abs(value)
    ratio = jnp.where(noisy, by_gradients, value - trial) / jnp.where(predicted > 0, predicted, 1)
    return jnp.where(jnp.isfinite(trial) & (predicted > 0), ratio, -1), noisy


class Subproblem(NamedTuple):
    """The step, H times it, whether it ends on the trust-region boundary, and the Hessian-vector products it cost."""

    step: Flat
    curved_step: Flat
    on_boundary: Bool[Array, ""]
    products: Int[Array, ""]


class _CG(NamedTuple):
    step: Flat
    residual: Flat
    direction: Flat
    residual_sq: Float[Array, ""]
    step_sq: Float[Array, ""]
    along: Float[Array, ""]
    direction_sq: Float[Array, ""]
    on_boundary: Bool[Array, ""]
    products: Int[Array, ""]


def steihaug(hessian, gradient: Flat, *, radius, relative, max_cg: int) -> Subproblem:
    """Minimise gᵀp + pᵀHp/2 over ‖p‖ <= radius by CG; stop at the boundary, also along the first direction of negative curvature."""
    gradient_sq = jnp.dot(gradient, gradient)
    # floor 1e-2: tighter solves cost more products than the outer steps they save; sqrt gives superlinear convergence above it
    forcing = jnp.clip(jnp.sqrt(relative), 1e-2, 0.5)
    target = forcing**2 * gradient_sq

    def unfinished(cg: _CG):
        return ~cg.on_boundary & (cg.residual_sq > target) & (cg.products < max_cg)

    def body(cg: _CG) -> _CG:
        curved = hessian(cg.direction)
        curvature = jnp.dot(cg.direction, curved)
        length = cg.residual_sq / jnp.where(curvature > 0, curvature, 1)
        outside = cg.step_sq + 2 * length * cg.along + length**2 * cg.direction_sq >= radius**2
        leaves = (curvature <= 0) | outside
        # the positive root of ‖p + a d‖ = radius, in the form that does not cancel
        room = jnp.maximum(radius**2 - cg.step_sq, 0)
        root = cg.along + jnp.sqrt(cg.along**2 + cg.direction_sq * room)
        length = jnp.where(leaves, room / jnp.where(room > 0, root, 1), length)
        residual = cg.residual + length * curved
        residual_sq = jnp.dot(residual, residual)
        turn = residual_sq / cg.residual_sq
        return _CG(
            step=cg.step + length * cg.direction,
            residual=residual,
            direction=turn * cg.direction - residual,
            residual_sq=residual_sq,
            # ‖p‖², pᵀd and ‖d‖² by recurrence, not by three passes over the vectors (Conn, Gould & Toint 2000, section 7.5.1)
            step_sq=cg.step_sq + 2 * length * cg.along + length**2 * cg.direction_sq,
            along=turn * (cg.along + length * cg.direction_sq),
            direction_sq=residual_sq + turn**2 * cg.direction_sq,
            on_boundary=leaves,
            products=cg.products + 1,
        )

    nothing = jnp.zeros_like(gradient_sq)
    start = _CG(
        step=jnp.zeros_like(gradient),
        residual=gradient,
        direction=-gradient,
        residual_sq=gradient_sq,
        step_sq=nothing,
        along=nothing,
        direction_sq=gradient_sq,
        on_boundary=jnp.asarray(False),
        products=jnp.asarray(0),
    )
    cg = jax.lax.while_loop(unfinished, body, start)
    # the residual is g + H p
    return Subproblem(cg.step, cg.residual - gradient, cg.on_boundary, cg.products)
