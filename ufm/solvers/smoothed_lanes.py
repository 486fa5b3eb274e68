r"""L-BFGS through stages of smoothing, in lanes that stand in the last axis.

Vectors are long and operations few, and all of them vectorise over lanes. A pass of the loop is one
evaluation, a step of one lane and a shorter trial of another; every lane is in a stage of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ufm.model import Problem
from ufm.solvers.coordinates import flat_objective, relative_norm
from ufm.solvers.newton.rules import SUFFICIENT
from ufm.solvers.one_layer import dot, select

# Curvature along a step below this, relatively, is rounding.
_FLAT = 1e-12
# Two trials in a row are between so many times shorter and half as long.
_SHORTEN = (0.1, 0.5)

Lanes = Float[Array, "n B"]


class Course(NamedTuple):
    """What lanes go through: stages, as (ε, share of the decay, evaluations), the relative gradient
    norm at which one is left, pairs of steps and gradients kept, and evaluations in all."""

    stages: tuple[tuple[float, float, int], ...]
    accuracy: float
    memory_size: int
    max_steps: int


class SmoothedLanes(NamedTuple):
    """Points, values and gradients in the stage of each lane, and the memory of L-BFGS.

    A lane that takes no step writes zeros into the slot that all lanes share, which changes no
    direction.
    """

    x: Lanes
    value: Float[Array, " B"]
    gradient: Lanes
    steps: Float[Array, "m n B"]
    turns: Float[Array, "m n B"]
    weights: Float[Array, "m B"]
    scale: Float[Array, " B"]
    slot: Int[Array, ""]
    direction: Lanes
    length: Float[Array, " B"]
    slope: Float[Array, " B"]
    stage: Int[Array, " B"]
    since: Int[Array, " B"]
    fresh: Bool[Array, " B"]


def descend_lanes(
    course: Course, problems: Problem, x: Lanes, live: Bool[Array, " B"]
) -> tuple[SmoothedLanes, Int[Array, " B"]]:
    """Through all stages from flat points. Runs inside `jit`.

    Parameters
    ----------
    course
        Stages and numbers.
    problems
        Stacked.
    x
        (n, B), lanes last.
    live
        (B,), which lanes move.

    Returns
    -------
    tuple[SmoothedLanes, Int[Array, " B"]]
        Where every lane stands, and how many evaluations it took.
    """
    state, count = fresh_lanes(x, course.memory_size), len(course.stages)
    state = state._replace(stage=jnp.where(live, 0, count))

    def running(carry):
        state, _, passes = carry
        return jnp.any(state.stage < count) & (passes < course.max_steps)

    def body(carry):
        state, evaluations, passes = carry
        return (
            one_pass(course, problems, state),
            jnp.where(state.stage < count, evaluations + 1, evaluations),
            passes + 1,
        )

    state, evaluations, _ = jax.lax.while_loop(running, body, (state, 0 * state.stage, 0))
    return state, evaluations


def fresh_lanes(x: Lanes, memory_size: int) -> SmoothedLanes:
    """Points (n, B) at which nothing was evaluated."""
    (n, B), nothing = x.shape, jnp.zeros_like(x[0])
    pairs, none = jnp.zeros((memory_size, n, B), x.dtype), jnp.zeros(B, int)
    return SmoothedLanes(
        x=x,
        value=nothing,
        gradient=jnp.zeros_like(x),
        steps=pairs,
        turns=pairs,
        weights=pairs[:, 0],
        scale=nothing + 1,
        slot=jnp.asarray(0),
        direction=jnp.zeros_like(x),
        length=nothing,
        slope=nothing,
        stage=none,
        since=none,
        fresh=jnp.ones(B, bool),
    )


def relative_norms(problems: Problem, gradient: Lanes, x: Lanes, value) -> Float[Array, " L"]:
    """The relative gradient norm of every lane.

    Parameters
    ----------
    problems
        Stacked.
    gradient, x
        Of the lanes (n, L).
    value
        (L,).

    Returns
    -------
    Float[Array, " L"]
        As `relative_norm` has it.
    """
    return jax.vmap(relative_norm, (0, 1, 1, 0))(problems, gradient, x, value)


def _evaluate(problems: Problem, x: Lanes, width, share):
    """Values and gradients under ReLU of a width and a share of the decay."""

    def one(problem, flat, width, share):
        """The smoothed objective of one lane, with a share of its decay.

        Parameters
        ----------
        problem, flat
            The point, in the coordinates of the solvers.
        width, share
            Of the smoothing, and of the decay.

        Returns
        -------
        Float[Array, ""]
            The value.
        """
        smooth = eqx.tree_at(lambda p: p.map, problem, problem.map.rounded(width))
        # (a bias, which comes last, is held otherwise)
        held = flat[: flat.size - problem.weight_shapes[0][0]] if problem.has_bias else flat
        return flat_objective(smooth, flat) - 0.5 * (1 - share) * jnp.sum(held**2)

    def total(x):
        values = jax.vmap(one, in_axes=(0, 1, 0, 0))(problems, x, width, share)
        return jnp.sum(values), values

    gradient, values = jax.grad(total, has_aux=True)(x)
    return values, gradient


def one_pass(course: Course, problems: Problem, s: SmoothedLanes) -> SmoothedLanes:
    """An evaluation in every lane, a step where it is lower, and what follows from both.

    Parameters
    ----------
    course
        Stages and numbers.
    problems
        Stacked.
    s
        Where every lane stands.

    Returns
    -------
    SmoothedLanes
        Where they stand then.
    """
    widths, shares, budgets = (jnp.asarray(part) for part in zip(*course.stages, strict=True))
    live, now = s.stage < len(course.stages), jnp.minimum(s.stage, len(course.stages) - 1)
    trial = s.x + jnp.where(s.fresh, 0, s.length)[None] * s.direction
    value, gradient = _evaluate(
        problems, trial, widths[now].astype(s.x.dtype), shares[now].astype(s.x.dtype)
    )
    lower = value <= s.value + SUFFICIENT * s.length * s.slope
    taken = (lower | s.fresh) & jnp.isfinite(value) & live
    s = _remember(s, trial - s.x, gradient - s.gradient, taken & ~s.fresh)
    x, here, slopes = select(taken, (trial, value, gradient), (s.x, s.value, s.gradient))
    direction, slope, first = _direction(s, x, slopes)
    # where the parabola through both values and the slope is least
    bend = value - s.value - s.length * s.slope
    shorter = -0.5 * s.slope * s.length / jnp.where(bend > 0, bend, jnp.inf)
    shorter = s.length * jnp.clip(jnp.where(jnp.isfinite(value), shorter, 0), *_SHORTEN)
    norm = relative_norms(problems, slopes, x, here)
    since = s.since + 1
    left = (norm <= course.accuracy) | (since >= budgets[now])
    left = live & (left | (~taken & (shorter < jnp.finfo(x.dtype).eps)))
    return s._replace(
        x=x,
        value=here,
        gradient=slopes,
        direction=select(taken, direction, s.direction),
        length=jnp.where(taken, first, shorter),
        slope=jnp.where(taken, slope, s.slope),
        stage=jnp.where(left, s.stage + 1, s.stage),
        since=jnp.where(left, 0, since),
        fresh=left,
    )


def _remember(
    s: SmoothedLanes, step: Lanes, turn: Lanes, taken: Bool[Array, " B"]
) -> SmoothedLanes:
    """A step and the turn of the gradient along it, in the next slot."""
    along, turned = dot(step, turn), dot(turn, turn)
    curved = taken & (along > _FLAT * jnp.sqrt(dot(step, step) * turned))
    slot = (s.slot + 1) % len(s.weights)
    weight = jnp.where(curved, 1 / jnp.where(curved, along, 1), 0)
    # another stage is another function
    weights = jnp.where(s.fresh[None], 0, s.weights.at[slot].set(weight))
    return s._replace(
        steps=s.steps.at[slot].set(jnp.where(curved[None], step, 0)),
        turns=s.turns.at[slot].set(jnp.where(curved[None], turn, 0)),
        weights=weights,
        scale=jnp.where(curved, along / jnp.where(curved, turned, 1), s.scale),
        slot=slot,
    )


def _direction(s: SmoothedLanes, x: Lanes, gradient: Lanes):
    """Where to go, the slope there, and how far first: the two-loop recursion (Nocedal & Wright,
    algorithm 7.4), or downhill by a tenth of the size of the point."""
    m = len(s.weights)

    def back(i, carry):
        q, shares = carry
        at = (s.slot - i) % m
        share = s.weights[at] * dot(s.steps[at], q)
        return q - share[None] * s.turns[at], shares.at[at].set(share)

    def forth(i, q):
        at = (s.slot + 1 + i) % m
        return q + (shares[at] - s.weights[at] * dot(s.turns[at], q))[None] * s.steps[at]

    # (written out, the rounds take a third longer to compile and no less to run)
    q, shares = jax.lax.fori_loop(0, m, back, (gradient, s.weights))
    q = jax.lax.fori_loop(0, m, forth, s.scale[None] * q)
    slope, size = -dot(gradient, q), dot(gradient, gradient)
    downhill = slope < -jnp.finfo(x.dtype).eps * jnp.sqrt(size * dot(q, q))
    memory = downhill & ~s.fresh
    first = 0.1 * jnp.sqrt(dot(x, x) / jnp.where(size > 0, size, 1))
    return (
        jnp.where(memory[None], -q, -gradient),
        jnp.where(memory, slope, -size),
        jnp.where(memory, 1, jnp.minimum(first, 1)),
    )
