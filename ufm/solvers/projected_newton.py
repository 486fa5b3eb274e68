"""Trust-region Newton for features that must stay nonnegative: a projected step finds the zeros, conjugate gradients do the rest."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ufm.problem import Problem
from ufm.solvers.coordinates import Flat, flat_objective
from ufm.solvers.newton import PATIENCE, agreement, first_radius, steihaug
from ufm.solvers.solver import AbstractSolver, State

# Sufficient decrease of the model, relative to its slope, that a projected step must reach.
_DECREASE = 1e-2
# Conjugate-gradient solves of one step, each on the face that the one before ended on; more are wasted while the model still changes.
_FACES = 4
_SHRINK = 0.3
_MAX_SHRINKS = 40


class _Memory(NamedTuple):
    gradient: Flat
    radius: Float[Array, ""]
    smallest: Float[Array, ""]
    since: Int[Array, ""]


class ProjectedNewton(AbstractSolver):
    r"""Projected trust-region Newton–CG in decay-weighted coordinates, in which $H \ge 0$ is still a sign of each entry.

    `max_steps`: outer steps. `max_cg`: cap on the Hessian-vector products of one conjugate-gradient solve. Convergence is measured by
    the projected gradient, and entries at zero are exactly zero. Without bounds it is `Newton` with a gradient step first.
    Source: Lin & Moré 1999 (TRON); Nocedal & Wright, Numerical Optimization, section 16.7.
    """

    max_steps: int = eqx.field(static=True, default=1000)
    max_cg: int = eqx.field(static=True, default=1000)
    bounded: ClassVar[bool] = True

    def init(self, problem: Problem, flat: Flat) -> State:
        flat = _project(bounds(problem, flat), flat)
        value, gradient = jax.value_and_grad(flat_objective, argnums=1)(problem, flat)
        radius = first_radius(jnp.sum(flat**2), value)
        memory = _Memory(gradient, radius, jnp.full_like(radius, jnp.inf), jnp.asarray(0))
        return State.fresh(flat, value, projected_gradient(bounds(problem, flat), flat, gradient), memory=memory)

    def step(self, problem: Problem, state: State) -> State:
        bounded, flat, memory = bounds(problem, state.flat), state.flat, state.memory

        def gradient_at(flat):
            return jax.grad(flat_objective, argnums=1)(problem, flat)

        _, hessian = jax.linearize(gradient_at, flat)
        cauchy = _cauchy(hessian, memory.gradient, state.gradient, flat, bounded, memory.radius)
        sub = _along_faces(hessian, memory.gradient, flat, bounded, cauchy, state.grad_norm, memory.radius, max_cg=self.max_cg)
        trial = _project(bounded, flat + sub.step)
        value, gradient = jax.value_and_grad(flat_objective, argnums=1)(problem, trial)

        step = trial - flat
        predicted = -(jnp.dot(memory.gradient, step) + 0.5 * jnp.dot(step, sub.curved))
        ratio, noisy = agreement(state.value, value, predicted, -0.5 * jnp.dot(memory.gradient + gradient, step))

        length = jnp.sqrt(jnp.sum(step**2))
        # a step over several faces is several radii long: a quarter of that need not be shorter
        radius = jnp.where(ratio < 0.25, 0.25 * jnp.minimum(length, memory.radius), memory.radius)
        radius = jnp.where((ratio > 0.75) & (length >= 0.5 * memory.radius), 2 * memory.radius, radius)
        accepted = ratio > 1e-4
        improved = state.grad_norm < memory.smallest
        since = jnp.where(improved | ~noisy, 0, memory.since + 1)
        kept = jnp.where(accepted, gradient, memory.gradient)
        new = _Memory(kept, radius, jnp.minimum(memory.smallest, state.grad_norm), since)
        projected = projected_gradient(bounded, trial, gradient)
        return state.moved(
            accepted, trial, value, projected, memory=new, evaluations=sub.products + cauchy.products + 2, stalled=since >= PATIENCE
        )


def bounds(problem: Problem, flat: Flat) -> Bool[Array, " n"]:
    """Which entries of the flat vector must stay nonnegative: those of constrained features."""
    # weights, features, bias is the order of `coordinates.split`
    after = problem.labels.num_classes if problem.has_bias else 0
    size = problem.feature_dim * problem.labels.num_columns
    place = jnp.arange(flat.size)
    inside = (place >= flat.size - after - size) & (place < flat.size - after)
    return inside & (problem.features == "nonnegative")


def projected_gradient(bounded: Bool[Array, " n"], flat: Flat, gradient: Flat) -> Flat:
    """The gradient without what would push an entry at zero below zero."""
    return jnp.where(bounded & (flat <= 0), jnp.minimum(gradient, 0), gradient)


def _project(bounded: Bool[Array, " n"], flat: Flat) -> Flat:
    return jnp.where(bounded, jnp.maximum(flat, 0), flat)


class _Cauchy(NamedTuple):
    step: Flat
    curved: Flat
    length: Float[Array, ""]
    sufficient: Bool[Array, ""]
    products: Int[Array, ""]


def _cauchy(hessian, gradient: Flat, projected: Flat, flat: Flat, bounded, radius) -> _Cauchy:
    """Down the projected gradient as far as the model goes down enough: this decides which entries are zero."""
    size = jnp.sqrt(jnp.sum(projected**2))
    size = jnp.where(size > 0, size, 1)
    curvature = jnp.dot(projected, hessian(projected)) / size**2
    reach = radius / size
    length = jnp.where(curvature > 0, jnp.minimum(reach, 1 / jnp.where(curvature > 0, curvature, 1)), reach)

    def at(length, products) -> _Cauchy:
        step = _project(bounded, flat - length * projected) - flat
        curved = hessian(step)
        slope = jnp.dot(gradient, step)
        return _Cauchy(step, curved, length, slope + 0.5 * jnp.dot(step, curved) <= _DECREASE * slope, products)

    def shorter(cauchy: _Cauchy) -> _Cauchy:
        return at(_SHRINK * cauchy.length, cauchy.products + 1)

    return jax.lax.while_loop(lambda c: ~c.sufficient & (c.products < _MAX_SHRINKS), shorter, at(length, jnp.asarray(2)))


class _Face(NamedTuple):
    step: Flat
    curved: Flat
    hit: Bool[Array, ""]
    number: Int[Array, ""]
    products: Int[Array, ""]


def _along_faces(hessian, gradient: Flat, flat: Flat, bounded, cauchy: _Cauchy, relative, radius, *, max_cg: int) -> _Face:
    """From the Cauchy point, solve on the entries that are not zero; where that runs into further zeros, again without these."""

    def model(step, curved):
        return jnp.dot(gradient, step) + 0.5 * jnp.dot(step, curved)

    def once(face: _Face) -> _Face:
        point = flat + face.step
        moving = ~(bounded & (point <= 0))

        def masked(direction):
            return jnp.where(moving, hessian(jnp.where(moving, direction, 0)), 0)

        residual = jnp.where(moving, gradient + face.curved, 0)
        cg = steihaug(masked, residual, radius=radius, relative=relative, max_cg=max_cg)
        here = model(face.step, face.curved)
        slope = jnp.minimum(jnp.dot(residual, cg.step), 0)

        def at(length, products):
            step = _project(bounded, point + length * cg.step) - flat
            curved = hessian(step)
            return step, curved, length, model(step, curved) <= here + _DECREASE * length * slope, products

        step, curved, _, better, products = jax.lax.while_loop(
            lambda c: ~c[3] & (c[4] < _MAX_SHRINKS), lambda c: at(_SHRINK * c[2], c[4] + 1), at(jnp.ones_like(radius), jnp.asarray(1))
        )
        step, curved = jnp.where(better, step, face.step), jnp.where(better, curved, face.curved)
        hit = better & jnp.any(bounded & moving & (flat + step <= 0))
        return _Face(step, curved, hit, face.number + 1, face.products + cg.products + products)

    start = _Face(cauchy.step, cauchy.curved, jnp.asarray(True), jnp.asarray(0), jnp.asarray(0))
    return jax.lax.while_loop(lambda face: face.hit & (face.number < _FACES), once, start)
