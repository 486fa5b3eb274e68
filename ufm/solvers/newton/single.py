"""Trust-region Newton–CG on Hessian-vector products, one problem at a time.

It uses negative curvature, so saddles are left and not reported as optima.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from ufm.model import Problem
from ufm.solvers.coordinates import Flat, flat_objective, merit_size, retract
from ufm.solvers.newton.rules import CG, AbstractTrustRegion, follow, stride
from ufm.solvers.solver import State


class Newton(AbstractTrustRegion):
    """Steihaug–Toint trust-region Newton–CG in decay-weighted coordinates.

    Parameters
    ----------
    max_steps
        Outer steps; each is one conjugate-gradient solve.
    max_cg
        Cap on the Hessian-vector products of one step.
    first
        The first radius, in units of the size of the start and of the root of its value. A tenth: a
        step too long from a random point is refused at full cost, one too short grows the next.
    poor, good
        Shares of the predicted decrease below and above which the radius changes.
    shrink, grow
        After a poor step the radius is `shrink` times its length; after a good one that the radius
        held back it grows by `grow`.
    accept
        The share of the predicted decrease that a step must reach to be taken; any above rounding.
    noise
        Below so many rounding errors of the value its decrease is noise, and a step is judged by
        the trapezoid of the gradients.
    patience
        In that range, so many steps without a smaller gradient mean that only rounding is left to
        move: STALLED.
    forcing
        Least and largest share of the gradient that a conjugate-gradient solve may leave; between
        them it is the root of the relative gradient norm. A floor of 1e-2: tighter solves cost more
        products than the outer steps they save.

    Raises
    ------
    ValueError
        For numbers that make no method: `accept` < `poor` <= `good` < 1, 0 < `shrink` < 1 < `grow`,
        and so on.

    Notes
    -----
    Every number is static: another value is another compilation.

    References
    ----------
    Steihaug 1983; Nocedal & Wright, Numerical Optimization, algorithms 4.1 and 7.2.
    """

    def init(self, problem: Problem, flat: Flat) -> State:
        value, gradient = jax.value_and_grad(flat_objective, argnums=1)(problem, flat)
        memory = self.first_trust(jnp.sum(flat**2), value)
        return State.fresh(flat, value, gradient, memory=memory)

    def step(self, problem: Problem, state: State) -> State:
        def gradient_at(flat):
            return jax.grad(flat_objective, argnums=1)(problem, flat)

        _, hessian = jax.linearize(gradient_at, state.flat)
        old, trust, relative = state.gradient, state.memory, state.grad_norm
        sub = steihaug(self, hessian, old, radius=trust.radius, relative=relative)
        trial = retract(problem, state.flat + sub.step)
        value, gradient = jax.value_and_grad(flat_objective, argnums=1)(problem, trial)
        verdict = self.judge(
            trust,
            values=(state.value, value),
            size=merit_size(problem, state.value),
            predicted=-(jnp.dot(old, sub.step) + 0.5 * jnp.dot(sub.step, sub.curved_step)),
            by_gradients=-0.5 * jnp.dot(old + gradient, sub.step),
            length=jnp.sqrt(jnp.sum(sub.step**2)),
            far=sub.on_boundary,
            grad_norm=relative,
        )
        return state.moved(
            verdict.accepted,
            trial,
            value,
            gradient,
            memory=verdict.trust,
            evaluations=sub.products + 2,
            stalled=verdict.stalled,
        )


class Subproblem(NamedTuple):
    """The step, H times it, whether it ends on the boundary, and the products that it cost."""

    step: Flat
    curved_step: Flat
    on_boundary: Bool[Array, ""]
    products: Int[Array, ""]


def steihaug(
    solver: AbstractTrustRegion,
    hessian: Callable[[Flat], Flat],
    gradient: Flat,
    *,
    radius: Array,
    relative: Array,
) -> Subproblem:
    """Minimise gᵀp + pᵀHp/2 over ‖p‖ <= radius by conjugate gradients."""

    def body(carry):
        cg, step, residual, direction = carry
        curved = hessian(direction)
        length, leaves = stride(cg, jnp.dot(direction, curved), radius)
        residual = residual + length * curved
        turn, cg = follow(cg, length, leaves, jnp.dot(residual, residual))
        return cg, step + length * direction, residual, turn * direction - residual

    def unfinished(carry):
        return solver.unfinished(carry[0])

    cg = solver.begin(jnp.dot(gradient, gradient), relative)
    start: tuple[CG, Flat, Flat, Flat] = (cg, jnp.zeros_like(gradient), gradient, -gradient)
    cg, step, residual, _ = jax.lax.while_loop(unfinished, body, start)
    # the residual is g + H p
    return Subproblem(step, residual - gradient, cg.on_boundary, cg.products)
