"""Trust-region Newton–CG on Hessian-vector products, one problem at a time.

It uses negative curvature, so saddles are left and not reported as optima.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._validate import require_whole
from ufm.model import Problem
from ufm.solvers.coordinates import Flat, relative_size
from ufm.solvers.merit import AbstractMerit, merit_of
from ufm.solvers.newton.bias import curvature_units, with_better_bias
from ufm.solvers.newton.rounded import SINGLE, Rounding, rounded_or_exact
from ufm.solvers.newton.rules import AbstractTrustRegion, Trial, Trust
from ufm.solvers.newton.steihaug import Subproblem, steihaug
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
    single_from
        From so many unknowns on, the conjugate gradients of a plain one-layer problem in double
        precision, and of one on spheres, are done in single; values and gradients never are. A
        solve that came to nothing, and one after a step that was not worth it, is done in double.
        And each step of a free bias is followed by some of its own, the product held.

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

    single_from: int = eqx.field(static=True, default=100_000, kw_only=True)

    def __check_init__(self):
        require_whole("single_from", self.single_from)

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

    def launch(self, problem: Problem | AbstractMerit, flat: Flat) -> State:
        """A state in which nothing was evaluated: the first step does not move, and counts as none.

        Returns
        -------
        State
            From which the program has one place where the objective is evaluated.
        """
        zero = jnp.asarray(0)
        one = jnp.ones((), flat.dtype)
        merit = merit_of(problem)
        large = flat.dtype != SINGLE and flat.size >= self.single_from
        rounding = Rounding.fresh() if large and merit.rounds else None
        return State(
            flat=flat,
            value=one,
            gradient=jnp.zeros_like(flat),
            grad_norm=one,
            memory=_Memory(Trust(one, one, zero), 0 * one, merit.unknown(), rounding),
            num_steps=zero,
            num_evaluations=zero,
            stalled=jnp.asarray(False),
        )

    def stepper(self, problem: Problem | AbstractMerit) -> Callable[[State], State]:
        return functools.partial(self._step, merit_of(problem))

    def _subproblem(self, merit: AbstractMerit, state: State) -> Subproblem:
        """The solve of a step, in single precision where the state holds a word about that."""
        trust, gradient_sq, known, rounding = state.memory
        if rounding is None:
            units = merit.units(state.flat, known)
            if units is None:
                sub = steihaug(
                    self,
                    merit.hessian(state.flat, known),
                    merit.split(state.gradient),
                    radius=trust.radius,
                    relative=state.grad_norm,
                    gradient_sq=gradient_sq,
                )
                return _joined(merit, sub)
            place = merit, state.flat, known, units, state.grad_norm
            sub = _scaled_solve(self, place, units * state.gradient, trust.radius)
            return _unscaled(sub, units)
        plain = merit.one_layer
        if plain is not None:
            units = curvature_units(plain, state.flat, known)
        else:
            units = merit.units(state.flat, known)
            units = jnp.ones_like(state.flat) if units is None else units
        place = merit, state.flat, known, units, state.grad_norm
        sub = rounded_or_exact(
            functools.partial(_scaled_solve, self, place),
            units * state.gradient,
            trust.radius,
            rounding.next,
        )
        return _unscaled(sub, units)

    def _step(self, merit: AbstractMerit, state: State) -> State:
        old, (trust, gradient_sq, known, rounding) = state.gradient, state.memory
        fresh, relative = state.num_evaluations == 0, state.grad_norm
        # of a fresh state the gradient is 0, and no product is needed to solve for that
        sub = self._subproblem(merit, state)
        trial = merit.settled(state.flat + sub.step)
        if rounding is not None and merit.one_layer is not None:
            trial = with_better_bias(self, merit.one_layer, trial, relative)
        there = merit.evaluate(trial)
        new, step = there.gradient, sub.step
        along, along_new = jnp.dot(old, step), jnp.dot(new, step)
        bend, new_sq = jnp.dot(step, sub.curved_step), jnp.dot(new, new)
        tried = Trial(
            values=(state.value, there.value),
            size=merit.size(state.value),
            predicted=-(along + 0.5 * bend),
            by_gradients=-0.5 * (along + along_new),
            length=jnp.sqrt(jnp.dot(step, step)) if sub.length is None else sub.length,
            far=sub.on_boundary,
            grad_norm=relative,
        )
        verdict = self.judge(trust, tried)
        accepted = verdict.accepted | fresh
        memory = _Memory(
            _where(fresh, self.first_trust(there.size_sq, there.value), verdict.trust),
            jnp.where(accepted, new_sq, gradient_sq),
            _where(accepted, there.known, known),
            None
            if rounding is None
            else rounding.after(
                sub, ~fresh & (verdict.trust.radius < trust.radius), new_sq, gradient_sq
            ),
        )
        here = there.value, relative_size(new_sq, there.size_sq, there.value)
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


def _unscaled(sub: Subproblem, units: Flat) -> Subproblem:
    """From coordinates in these units; the length stays that in which the radius is."""
    length = jnp.sqrt(jnp.sum(sub.step**2))
    return sub._replace(step=units * sub.step, curved_step=sub.curved_step / units, length=length)


def _scaled_solve(solver: Newton, place, gradient, radius) -> Subproblem:
    """Conjugate gradients in the dtype of a gradient that is in scaled units, as is the step."""

    def cast(leaf):
        return leaf.astype(gradient.dtype) if eqx.is_inexact_array(leaf) else leaf

    merit, flat, known, units, relative = jax.tree.map(cast, place)
    times, parts = merit.scaled_hessian(flat, known, units), merit.split(gradient)
    return _joined(merit, steihaug(solver, times, parts, radius=radius, relative=relative))


def _joined(merit: AbstractMerit, sub: Subproblem) -> Subproblem:
    """With flat vectors."""
    return sub._replace(step=merit.join(sub.step), curved_step=merit.join(sub.curved_step))


class _Memory(NamedTuple):
    trust: Trust
    gradient_sq: Float[Array, ""]
    known: Any
    # None where no solve is in single precision
    rounding: Rounding | None


def _where(flag, new, old):
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b), new, old)
