"""Trust-region Newton for features that must stay nonnegative.

A projected step finds the zeros, conjugate gradients do the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ufm._validate import inside, require_static, require_whole
from ufm.domains import AbstractDomain
from ufm.model import Problem
from ufm.solvers.coordinates import Flat, bounds, factors_sq, flat_objective, merit_size, retract
from ufm.solvers.newton.rules import AbstractTrustRegion, Trial, Trust
from ufm.solvers.newton.steihaug import steihaug
from ufm.solvers.solver import State


class _Memory(NamedTuple):
    gradient: Flat
    trust: Trust


class ProjectedNewton(AbstractTrustRegion):
    r"""Projected trust-region Newton–CG in decay-weighted coordinates.

    There $H \ge 0$ is still a sign of each entry. Convergence is measured by the projected
    gradient, and entries at zero are exactly zero. Without bounds it is `Newton` with a gradient
    step first.

    Parameters
    ----------
    max_steps
        Outer steps.
    max_cg
        Cap on the Hessian-vector products of one conjugate-gradient solve.
    faces
        Conjugate-gradient solves of one step, each on the face that the one before ended on; more
        are wasted while the model still changes.
    decrease
        Sufficient decrease of the model, relative to its slope, that a projected step must reach.
    cut, max_cuts
        A projected step that does not is shortened by `cut`, at most `max_cuts` times.
    first, poor, good, shrink, grow, accept, noise, patience, forcing
        As in `Newton`.

    References
    ----------
    Lin & Moré 1999 (TRON); Nocedal & Wright, Numerical Optimization, section 16.7.
    """

    max_cg: int = eqx.field(static=True, default=1000)
    faces: int = eqx.field(static=True, default=4, kw_only=True)
    decrease: float = eqx.field(static=True, default=1e-2, kw_only=True)
    cut: float = eqx.field(static=True, default=0.3, kw_only=True)
    max_cuts: int = eqx.field(static=True, default=40, kw_only=True)

    def __check_init__(self):
        require_whole("faces", self.faces)
        require_whole("max_cuts", self.max_cuts)
        require_static("decrease", self.decrease, inside(0, 1), "lie in (0, 1)")
        require_static("cut", self.cut, inside(0, 1), "lie in (0, 1)")

    def covers(self, domain: AbstractDomain) -> bool:
        return True

    def init(self, problem: Problem, flat: Flat) -> State:
        """The state at the start moved to where the bounds hold.

        Returns
        -------
        State
            Its gradient is the projected one; the memory keeps the whole.
        """
        return self.step(problem, self.launch(problem, flat))

    def launch(self, problem: Problem, flat: Flat) -> State:
        """A state in which nothing was evaluated: the first step does not move, and counts as none.

        Returns
        -------
        State
            From which the program has one place where the objective is evaluated.
        """
        flat, zero = _project(bounds(problem), flat), jnp.asarray(0)
        one, nothing = jnp.ones((), flat.dtype), jnp.zeros_like(flat)
        return State(
            flat=flat,
            value=one,
            gradient=nothing,
            grad_norm=one,
            memory=_Memory(nothing, Trust(one, one, zero)),
            num_steps=zero,
            num_evaluations=zero,
            stalled=jnp.asarray(False),
        )

    def step(self, problem: Problem, state: State) -> State:
        """One step: a Cauchy point, conjugate gradients along faces, a projected trial point.

        Returns
        -------
        State
            Where it was unless the trial point is accepted.
        """
        bounded, flat, memory = bounds(problem), state.flat, state.memory
        radius, fresh = memory.trust.radius, state.num_evaluations == 0

        def gradient_at(flat):
            return jax.grad(flat_objective, argnums=1)(problem, flat)

        _, hessian = jax.linearize(gradient_at, flat)
        model = _Model(hessian, memory.gradient, flat, bounded)
        cauchy = _cauchy(self, model, state.gradient, radius)
        sub = _along_faces(self, model, cauchy, relative=state.grad_norm, radius=radius)
        trial = retract(problem, _project(bounded, flat + sub.step))
        value, gradient = jax.value_and_grad(flat_objective, argnums=1)(problem, trial)

        step = trial - flat
        length = jnp.sqrt(jnp.sum(step**2))
        tried = Trial(
            values=(state.value, value),
            size=merit_size(problem, state.value),
            predicted=-(jnp.dot(memory.gradient, step) + 0.5 * jnp.dot(step, sub.curved)),
            by_gradients=-0.5 * jnp.dot(memory.gradient + gradient, step),
            # a step over several faces is several radii long: a quarter of that need not be shorter
            length=jnp.minimum(length, radius),
            far=length >= 0.5 * radius,
            grad_norm=state.grad_norm,
        )
        verdict = self.judge(memory.trust, tried)
        accepted = verdict.accepted | fresh
        first = self.first_trust(factors_sq(problem.blocks, trial), value)
        trust = jax.tree.map(lambda a, b: jnp.where(fresh, a, b), first, verdict.trust)
        moved = state.moved(
            problem,
            accepted,
            trial,
            value,
            projected_gradient(bounded, trial, gradient),
            memory=_Memory(jnp.where(accepted, gradient, memory.gradient), trust),
            evaluations=jnp.where(fresh, 1, sub.products + cauchy.products + 2),
            stalled=verdict.stalled & ~fresh,
        )
        return eqx.tree_at(lambda s: s.num_steps, moved, state.num_steps + jnp.where(fresh, 0, 1))


def projected_gradient(bounded: Bool[Array, " n"], flat: Flat, gradient: Flat) -> Flat:
    """The gradient without what would push an entry at zero below zero.

    Parameters
    ----------
    bounded
        (n,), which entries have the bound 0.
    flat, gradient
        Point and gradient (n,).

    Returns
    -------
    Flat
        (n,); zero at a stationary point of the bounded problem.
    """
    return jnp.where(bounded & (flat <= 0), jnp.minimum(gradient, 0), gradient)


def _project(bounded: Bool[Array, " n"], flat: Flat) -> Flat:
    return jnp.where(bounded, jnp.maximum(flat, 0), flat)


class _Model(NamedTuple):
    """The quadratic model of the objective around a point, and which entries have a bound."""

    hessian: Callable[[Flat], Flat]
    gradient: Flat
    flat: Flat
    bounded: Bool[Array, " n"]

    def value(self, step: Flat, curved: Flat) -> Float[Array, ""]:
        """gᵀp + pᵀHp/2.

        Parameters
        ----------
        step
            p (n,).
        curved
            H p (n,).

        Returns
        -------
        Float[Array, ""]
            The change that the model predicts.
        """
        return jnp.dot(self.gradient, step) + 0.5 * jnp.dot(step, curved)

    def projected(self, step: Flat) -> Flat:
        """The step that is left of one once the point is projected."""
        return _project(self.bounded, self.flat + step) - self.flat


class _Cauchy(NamedTuple):
    step: Flat
    curved: Flat
    # of the next one to try
    length: Float[Array, ""]
    sufficient: Bool[Array, ""]
    products: Int[Array, ""]


def _cauchy(solver: ProjectedNewton, model: _Model, projected: Flat, radius) -> _Cauchy:
    """Down the projected gradient as far as the model goes down enough.

    This decides which entries are zero.
    """
    size = jnp.sqrt(jnp.sum(projected**2))
    size = jnp.where(size > 0, size, 1)
    curvature = jnp.dot(projected, model.hessian(projected)) / size**2
    reach = radius / size
    lowest = 1 / jnp.where(curvature > 0, curvature, 1)
    length = jnp.where(curvature > 0, jnp.minimum(reach, lowest), reach)

    def tried(cauchy: _Cauchy) -> _Cauchy:
        step = model.projected(-cauchy.length * projected)
        curved = model.hessian(step)
        enough = solver.decrease * jnp.dot(model.gradient, step)
        sufficient = model.value(step, curved) <= enough
        return _Cauchy(step, curved, solver.cut * cauchy.length, sufficient, cauchy.products + 1)

    def unfinished(cauchy: _Cauchy):
        return ~cauchy.sufficient & (cauchy.products < max(solver.max_cuts, 2))

    nothing = jnp.zeros_like(projected)
    # (the loop tries the first length too: its body is the only place where one is tried)
    untried = _Cauchy(nothing, nothing, length, jnp.asarray(False), jnp.asarray(1))
    return jax.lax.while_loop(unfinished, tried, untried)


class _Face(NamedTuple):
    step: Flat
    curved: Flat
    hit: Bool[Array, ""]
    number: Int[Array, ""]
    products: Int[Array, ""]


def _along_faces(
    solver: ProjectedNewton,
    model: _Model,
    cauchy: _Cauchy,
    *,
    relative: Array,
    radius: Array,
) -> _Face:
    """From the Cauchy point, solve on the entries that are not zero.

    Where that runs into further zeros, again without these.
    """

    def once(face: _Face) -> _Face:
        moving = ~(model.bounded & (model.flat + face.step <= 0))

        def masked(direction):
            return jnp.where(moving, model.hessian(jnp.where(moving, direction, 0)), 0)

        residual = jnp.where(moving, model.gradient + face.curved, 0)
        cg = steihaug(solver, masked, residual, radius=radius, relative=relative)
        here = model.value(face.step, face.curved)
        slope = jnp.minimum(jnp.dot(residual, cg.step), 0)

        def tried(carry):
            *_, length, _, products = carry
            step = model.projected(face.step + length * cg.step)
            curved = model.hessian(step)
            better = model.value(step, curved) <= here + solver.decrease * length * slope
            return step, curved, solver.cut * length, better, products + 1

        step, curved, _, better, products = jax.lax.while_loop(
            lambda carry: ~carry[3] & (carry[4] < solver.max_cuts),
            tried,
            (face.step, face.curved, jnp.ones_like(radius), jnp.asarray(False), jnp.asarray(0)),
        )
        step, curved = jnp.where(better, step, face.step), jnp.where(better, curved, face.curved)
        hit = better & jnp.any(model.bounded & moving & (model.flat + step <= 0))
        return _Face(step, curved, hit, face.number + 1, face.products + cg.products + products)

    start = _Face(cauchy.step, cauchy.curved, jnp.asarray(True), jnp.asarray(0), jnp.asarray(0))
    return jax.lax.while_loop(lambda face: face.hit & (face.number < solver.faces), once, start)
