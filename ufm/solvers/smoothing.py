r"""Descent on models with ReLU layers, smoothed less and less: many starts or problems at once.

Minima lie on kinks: preactivations of inner layers are exactly 0, no gradient vanishes there, and
descent on ReLU itself stops early. So $\sigma_\epsilon(x) = \tfrac12(x+\sqrt{x^2+4\epsilon^2})$
is minimised instead and ε led to 0, by L-BFGS with the lanes in the last axis: its vectors are
long, its operations few, and all of them vectorise over lanes. A pass of the loop is one
evaluation, a step of one lane and a shorter trial of another; every lane is in a stage of its own.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ufm._validate import inside, require, require_flag, require_static, require_whole
from ufm.domains import AbstractDomain
from ufm.model import Problem
from ufm.solution import Result
from ufm.solvers.coordinates import Flat, flat_objective, relative_size
from ufm.solvers.newton.lanes import LaneResults
from ufm.solvers.newton.rules import SUFFICIENT
from ufm.solvers.one_layer import dot, select
from ufm.solvers.solver import AbstractSolver, State

# Stages as (ε, share of the decay, evaluations). Without a stage under a tenth of the decay random
# starts end at zero from six matrices on; and what is solved there need not be solved well.
_WEAKER = ((0.1, 0.1, 60), (0.03, 0.1, 60))
# Five widths do what eight did, a hundred evaluations each: on four classes behind four matrices
# as many of 48 starts end at the best value of them, within as much of its kinks.
_STAGES = tuple((width, 1.0, 100) for width in (0.1, 0.01, 1e-3, 1e-4, 1e-5))
# A point that is given is kept where it is: the first widths would lead it away.
_CLOSE = _STAGES[1:]
# ReLU itself is evaluated, and no step taken.
_LAST = (0.0, 1.0, 1)
# Curvature along a step below this, relatively, is rounding.
_FLAT = 1e-12
# Two trials in a row are between so many times shorter and half as long.
_SHORTEN = (0.1, 0.5)

Lanes = Float[Array, "n B"]


class Smoothing(AbstractSolver):
    """L-BFGS on ReLU models smoothed less and less.

    Parameters
    ----------
    max_steps
        Evaluations in all, at most.
    memory_size
        Pairs of steps and gradients kept.
    accuracy
        Relative gradient norm at which a width is left for the next.
    near
        Whether to start at a tenth of the first width and with all of the decay, as from a
        point that is to be kept; random starts go through a tenth of the decay first.

    Raises
    ------
    ValueError
        For numbers out of range; in use, for a map without kinks.

    Notes
    -----
    The value is that of the model itself, ReLU unsmoothed. At a kink its gradient does not vanish,
    so a run ends STALLED, at a point within about 1e-5 of the kinks; `minimise_rectified` goes on
    to them. In `ufm.sweep` all lanes of a chunk step together.
    """

    max_steps: int = eqx.field(static=True, default=2000)
    memory_size: int = eqx.field(static=True, default=10)
    accuracy: float = eqx.field(static=True, default=1e-6)
    near: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        require_whole("max_steps", self.max_steps)
        require_whole("memory_size", self.memory_size)
        require_static("accuracy", self.accuracy, inside(0, 1), "lie in (0, 1)")
        require_flag("near", self.near)

    @property
    def stages(self) -> tuple[tuple[float, float, int], ...]:
        """(ε, share of the decay, evaluations) of every stage."""
        return (*_CLOSE, _LAST) if self.near else (*_WEAKER, *_STAGES, _LAST)

    def covers(self, domain: AbstractDomain) -> bool:
        """Whether it can keep vectors in a domain: it knows decay alone."""
        return not domain.constrained

    def init(self, problem: Problem, flat: Flat) -> State:
        """The state after the start was evaluated, at the first width.

        Returns
        -------
        State
            One evaluation later than `launch`.
        """
        return self.step(problem, self.launch(problem, flat))

    def launch(self, problem: Problem, flat: Flat) -> State:
        """A state in which nothing was evaluated.

        Returns
        -------
        State
            At the first width.

        Raises
        ------
        ValueError
            For a map without kinks.
        """
        _require_kinks(problem)
        one, zero = jnp.ones((), flat.dtype), jnp.asarray(0)
        memory = _fresh(flat[:, None], self.memory_size)
        return State(flat, one, jnp.zeros_like(flat), one, memory, zero, zero, jnp.asarray(False))

    def step(self, problem: Problem, state: State) -> State:
        """One evaluation, and the next width where the gradient is small enough at this one.

        Returns
        -------
        State
            Its gradient norm is 1 until the end, as the gradient is that of another model until
            then.
        """
        stacked = jax.tree.map(lambda leaf: leaf[None], problem)
        lanes = _step(self, stacked, state.memory)
        ended = lanes.stage[0] >= len(self.stages)
        x, gradient, value = lanes.x[:, 0], lanes.gradient[:, 0], lanes.value[0]
        norm = relative_size(jnp.sum(gradient**2), jnp.sum(x**2), value)
        # until the end the gradient is that of another model
        norm = jnp.where(ended, norm, 1.0)
        return State(
            flat=x,
            value=value,
            gradient=gradient,
            grad_norm=norm,
            memory=lanes,
            num_steps=state.num_steps + 1,
            num_evaluations=state.num_evaluations + 1,
            stalled=ended,
        )

    def lanes(
        self, problems: Problem, flats: Float[Array, "L n"], tolerance, number
    ) -> LaneResults:
        """Every lane of stacked problems at once. Runs inside `jit`.

        Parameters
        ----------
        problems
            L problems of one structure.
        flats
            (L, n), their starts.
        tolerance
            On the relative gradient norm.
        number
            Lanes past this are left alone.

        Returns
        -------
        LaneResults
            With a leading axis L.
        """
        _require_kinks(problems)
        live = jnp.arange(flats.shape[0]) < number
        state, evaluations = descend_lanes(self, problems, flats.T, live)
        norms = relative_size(
            dot(state.gradient, state.gradient), dot(state.x, state.x), state.value
        )
        ended = jnp.where(
            state.stage < len(self.stages), int(Result.MAX_STEPS), int(Result.STALLED)
        )
        code = jnp.where(norms <= tolerance, int(Result.CONVERGED), ended)
        code = jnp.where(jnp.isfinite(state.value), code, int(Result.DIVERGED))
        return LaneResults(state.x.T, state.value, norms, code, evaluations, evaluations)


def _require_kinks(problem: Problem) -> None:
    words = "`solver` must not be Smoothing for a map without kinks"
    require(problem.kinked, words, type(problem.map).__name__)


class _Lanes(NamedTuple):
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
    solver: Smoothing, problems: Problem, x: Lanes, live: Bool[Array, " B"]
) -> tuple[_Lanes, Int[Array, " B"]]:
    """Through all stages from flat points. Runs inside `jit`.

    Parameters
    ----------
    solver
        Its numbers.
    problems
        Stacked.
    x
        (n, B), lanes last.
    live
        (B,), which lanes move.

    Returns
    -------
    tuple[_Lanes, Int[Array, " B"]]
        Where every lane stands, and how many evaluations it took.
    """
    state, count = _fresh(x, solver.memory_size), len(solver.stages)
    state = state._replace(stage=jnp.where(live, 0, count))

    def running(carry):
        state, _, passes = carry
        return jnp.any(state.stage < count) & (passes < solver.max_steps)

    def body(carry):
        state, evaluations, passes = carry
        return (
            _step(solver, problems, state),
            jnp.where(state.stage < count, evaluations + 1, evaluations),
            passes + 1,
        )

    state, evaluations, _ = jax.lax.while_loop(running, body, (state, 0 * state.stage, 0))
    return state, evaluations


def _fresh(x: Lanes, memory_size: int) -> _Lanes:
    (n, B), nothing = x.shape, jnp.zeros_like(x[0])
    pairs, none = jnp.zeros((memory_size, n, B), x.dtype), jnp.zeros(B, int)
    return _Lanes(
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


def _step(solver: Smoothing, problems: Problem, s: _Lanes) -> _Lanes:
    """An evaluation in every lane, a step where it is lower, and what follows from both."""
    widths, shares, budgets = (jnp.asarray(part) for part in zip(*solver.stages, strict=True))
    live, now = s.stage < len(solver.stages), jnp.minimum(s.stage, len(solver.stages) - 1)
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
    norm = relative_size(dot(slopes, slopes), dot(x, x), here)
    since = s.since + 1
    left = (norm <= solver.accuracy) | (since >= budgets[now])
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


def _remember(s: _Lanes, step: Lanes, turn: Lanes, taken: Bool[Array, " B"]) -> _Lanes:
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


def _direction(s: _Lanes, x: Lanes, gradient: Lanes):
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


@functools.partial(jax.jit, static_argnums=0)
def smoothed(
    solver: Smoothing, problem: Problem, flats: Float[Array, "S n"]
) -> tuple[Float[Array, "S n"], Float[Array, " S"]]:
    """Where the starts of one problem get to.

    Parameters
    ----------
    solver
        Its numbers.
    problem
        With ReLU layers.
    flats
        (S, n), the starts.

    Returns
    -------
    tuple[Float[Array, "S n"], Float[Array, " S"]]
        The ends, and the values of the problem there, unsmoothed.
    """
    problems = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(flats), *leaf.shape)), problem)
    state, _ = descend_lanes(solver, problems, flats.T, jnp.ones(len(flats), bool))
    return state.x.T, jax.vmap(lambda flat: flat_objective(problem, flat))(state.x.T)
