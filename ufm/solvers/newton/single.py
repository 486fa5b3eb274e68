"""Trust-region Newton–CG on Hessian-vector products, one problem at a time.

It uses negative curvature, so saddles are left and not reported as optima.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ufm.model import Problem
from ufm.solvers.coordinates import Flat, relative_size
from ufm.solvers.merit import AbstractMerit, merit_of
from ufm.solvers.newton.rules import AbstractTrustRegion, Trust, follow, stride
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
        """The state after the start was evaluated.

        Returns
        -------
        State
            At the start, with no step counted.
        """
        return self.step(problem, self.launch(problem, flat))

    def step(self, problem: Problem, state: State) -> State:
        """One trust-region step; `stepper` prepares what is the same at every point.

        Returns
        -------
        State
            Where it was unless the trial point is accepted.
        """
        return self.stepper(problem)(state)

    def launch(self, problem: Problem, flat: Flat) -> State:
        """A state in which nothing was evaluated: the first step does not move, and counts as none.

        Returns
        -------
        State
            From which the program has one place where the objective is evaluated.
        """
        zero = jnp.asarray(0)
        one = jnp.ones((), flat.dtype)
        return State(
            flat=flat,
            value=one,
            gradient=jnp.zeros_like(flat),
            grad_norm=one,
            memory=_Memory(Trust(one, one, zero), 0 * one, merit_of(problem).unknown()),
            num_steps=zero,
            num_evaluations=zero,
            stalled=jnp.asarray(False),
        )

    def stepper(self, problem: Problem) -> Callable[[State], State]:
        return functools.partial(self._step, merit_of(problem))

    def _step(self, merit: AbstractMerit, state: State) -> State:
        old, (trust, gradient_sq, known) = state.gradient, state.memory
        fresh, relative = state.num_evaluations == 0, state.grad_norm
        # of a fresh state the gradient is 0, and no product is needed to solve for that
        sub = steihaug(
            self,
            merit.hessian(state.flat, known),
            old,
            radius=trust.radius,
            relative=relative,
            gradient_sq=gradient_sq,
        )
        trial = merit.retract(state.flat + sub.step)
        there = merit.evaluate(trial)
        # every inner product in one
        vectors = jnp.stack([old, there.gradient, sub.step, sub.curved_step])
        products = jnp.sum(vectors[:, None] * vectors[None], axis=2)
        verdict = self.judge(
            trust,
            values=(state.value, there.value),
            size=merit.size(state.value),
            predicted=-(products[0, 2] + 0.5 * products[2, 3]),
            by_gradients=-0.5 * (products[0, 2] + products[1, 2]),
            length=jnp.sqrt(products[2, 2]),
            far=sub.on_boundary,
            grad_norm=relative,
        )
        accepted = verdict.accepted | fresh
        memory = _Memory(
            _where(fresh, self.first_trust(there.size_sq, there.value), verdict.trust),
            jnp.where(accepted, products[1, 1], gradient_sq),
            _where(accepted, there.known, known),
        )
        here = there.value, relative_size(products[1, 1], there.size_sq, there.value)
        value, grad_norm = _where(accepted, here, (state.value, relative))
        flat, gradient = _where(accepted, (trial, there.gradient), (state.flat, old))
        return State(
            flat=flat,
            value=value,
            gradient=gradient,
            grad_norm=grad_norm,
            memory=memory,
            num_steps=state.num_steps + jnp.where(fresh, 0, 1),
            num_evaluations=state.num_evaluations + jnp.where(fresh, 1, sub.products + 2),
            stalled=verdict.stalled & ~fresh,
        )


class _Memory(NamedTuple):
    trust: Trust
    gradient_sq: Float[Array, ""]
    known: Any


def _where(flag, new, old):
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b), new, old)


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
    gradient_sq: Array | None = None,
) -> Subproblem:
    """Minimise gᵀp + pᵀHp/2 over ‖p‖ <= radius by conjugate gradients.

    Parameters
    ----------
    solver
        The rules.
    hessian
        From a direction (n,) to H times it.
    gradient
        g (n,).
    radius
        Of the trust region.
    relative
        The relative gradient norm, for the forcing term.
    gradient_sq
        gᵀg, where it is known.

    Returns
    -------
    Subproblem
        The step p, H p, whether p is on the boundary, and the products that it took.
    """
    if gradient_sq is None:
        gradient_sq = jnp.dot(gradient, gradient)

    def body(carry):
        cg, step, residual, direction = carry
        curved = hessian(direction)
        length, leaves = stride(cg, jnp.dot(direction, curved), radius)
        residual = residual + length * curved
        turn, cg = follow(cg, length, leaves, jnp.dot(residual, residual))
        return cg, step + length * direction, residual, turn * direction - residual

    def unfinished(carry):
        return solver.unfinished(carry[0])

    cg = solver.begin(gradient_sq, relative)
    start = (cg, jnp.zeros_like(gradient), gradient, -gradient)
    cg, step, residual, _ = jax.lax.while_loop(unfinished, body, start)
    # the residual is g + H p
    return Subproblem(step, residual - gradient, cg.on_boundary, cg.products)
