r"""Descent on models with ReLU layers, smoothed less and less: many starts or problems at once.

Minima lie on kinks: preactivations of inner layers are exactly 0, no gradient vanishes there, and
descent on ReLU itself stops early. So $\sigma_\epsilon(x) = \tfrac12(x+\sqrt{x^2+4\epsilon^2})$
is minimised instead and ε led to 0, by L-BFGS with the lanes in the last axis: its vectors are
long, its operations few, and all of them vectorise over lanes. A pass of the loop is one
evaluation, a step of one lane and a shorter trial of another; every lane is in a stage of its own.
"""

from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._validate import inside, require, require_flag, require_static, require_whole
from ufm.domains import AbstractDomain
from ufm.model import Problem
from ufm.solution import Result
from ufm.solvers.coordinates import Flat, flat_objective, relative_norm
from ufm.solvers.newton.lanes import LaneResults
from ufm.solvers.smoothed_lanes import (
    Course,
    descend_lanes,
    fresh_lanes,
    one_pass,
    relative_norms,
)
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

    @property
    def course(self) -> Course:
        """What its lanes go through."""
        return Course(self.stages, self.accuracy, self.memory_size, self.max_steps)

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
        memory = fresh_lanes(flat[:, None], self.memory_size)
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
        lanes = one_pass(self.course, stacked, state.memory)
        ended = lanes.stage[0] >= len(self.stages)
        x, gradient, value = lanes.x[:, 0], lanes.gradient[:, 0], lanes.value[0]
        norm = relative_norm(problem, gradient, x, value)
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

    def value_at(self, problem: Problem, state: State) -> Float[Array, ""]:
        """The objective of the model itself, of which steps before the end know nothing.

        Returns
        -------
        Float[Array, ""]
            At the point of the state.
        """
        return jnp.where(state.stalled, state.value, flat_objective(problem, state.flat))

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
        state, evaluations = descend_lanes(self.course, problems, flats.T, live)
        norms = relative_norms(problems, state.gradient, state.x, state.value)
        # until the end value and gradient are those of another model
        ended = state.stage >= len(self.stages)
        norms = jnp.where(ended, norms, 1)
        values = jnp.where(ended, state.value, jax.vmap(flat_objective)(problems, state.x.T))
        code = jnp.where(ended, int(Result.STALLED), int(Result.MAX_STEPS))
        code = jnp.where(norms <= tolerance, int(Result.CONVERGED), code)
        code = jnp.where(jnp.isfinite(values), code, int(Result.DIVERGED))
        return LaneResults(state.x.T, values, norms, code, evaluations, evaluations)


def _require_kinks(problem: Problem) -> None:
    words = "`solver` must not be Smoothing for a map without kinks"
    require(problem.kinked, words, type(problem.map).__name__)


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
    state, _ = descend_lanes(solver.course, problems, flats.T, jnp.ones(len(flats), bool))
    return state.x.T, jax.vmap(lambda flat: flat_objective(problem, flat))(state.x.T)
