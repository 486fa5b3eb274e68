"""What a solver is: a start and a step on one state.

The loop around them is written once, in `loop.py`.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ufm._classes.module import Module
from ufm._validate import require_whole
from ufm.domains import AbstractDomain
from ufm.model import Problem
from ufm.solution import Result
from ufm.solvers.coordinates import Flat, relative_norm


class State(Module):
    """Where a run stands.

    The point in solver coordinates, value and gradient there, and the solver's own memory.
    """

    flat: Flat
    value: Float[Array, ""]
    gradient: Flat
    grad_norm: Float[Array, ""]
    memory: Any
    num_steps: Int[Array, ""]
    num_evaluations: Int[Array, ""]
    stalled: Bool[Array, ""]

    @classmethod
    def fresh(cls, problem: Problem, flat: Flat, value, gradient: Flat, *, memory) -> State:
        """The state of a run that has not moved yet.

        Parameters
        ----------
        problem
            What is minimised.
        flat, value, gradient
            The start (n,), evaluated.
        memory
            The solver's own.

        Returns
        -------
        State
            With no step taken and one evaluation.
        """
        return cls(
            flat=flat,
            value=value,
            gradient=gradient,
            grad_norm=relative_norm(problem, gradient, flat, value),
            memory=memory,
            num_steps=jnp.asarray(0),
            num_evaluations=jnp.asarray(1),
            stalled=jnp.asarray(False),
        )

    def moved(
        self,
        problem: Problem,
        accepted,
        flat: Flat,
        value,
        gradient: Flat,
        *,
        memory,
        evaluations,
        stalled: bool | Array = False,
    ) -> State:
        """The state after one step, which stays where it was unless the step is accepted.

        Parameters
        ----------
        problem
            What is minimised.
        accepted
            Whether to move.
        flat, value, gradient
            The trial point (n,), evaluated.
        memory
            The solver's own after the step, taken or not.
        evaluations
            How many the step took.
        stalled
            Whether no further step could make progress.

        Returns
        -------
        State
            One step later.
        """
        flat, value, gradient = jax.tree.map(
            lambda new, old: jnp.where(accepted, new, old),
            (flat, value, gradient),
            (self.flat, self.value, self.gradient),
        )
        return State(
            flat=flat,
            value=value,
            gradient=gradient,
            grad_norm=relative_norm(problem, gradient, flat, value),
            memory=memory,
            num_steps=self.num_steps + 1,
            num_evaluations=self.num_evaluations + evaluations,
            stalled=jnp.asarray(stalled),
        )


def result_of(value: Array, grad_norm: Array, stalled: Array, tolerance: Array) -> Int[Array, "*B"]:
    """The `Result` that these numbers amount to, RUNNING while steps remain to be taken.

    Parameters
    ----------
    value, grad_norm
        Value and relative gradient norm, of one run or of lanes.
    stalled
        Whether the solver gave up there.
    tolerance
        On the relative gradient norm.

    Returns
    -------
    Int[Array, "*B"]
        Codes of `Result`; DIVERGED where a number is not finite.
    """
    code = jnp.where(stalled, int(Result.STALLED), int(Result.RUNNING))
    code = jnp.where(grad_norm <= tolerance, int(Result.CONVERGED), code)
    return jnp.where(jnp.isfinite(value) & jnp.isfinite(grad_norm), code, int(Result.DIVERGED))


class AbstractSolver(Module):
    """A method that goes from a state to the next one.

    Its arrays are traced, its budget `max_steps` is static.
    """

    max_steps: eqx.AbstractVar[int]
    # whether its steps take products with second derivatives
    second_order: ClassVar[bool] = False

    def __check_init__(self):
        require_whole("max_steps", self.max_steps)

    def covers(self, domain: AbstractDomain) -> bool:
        """Whether it can keep vectors in a domain.

        Every method in coordinates can, but for bounds on them.
        """
        return not domain.nonnegative

    @abstractmethod
    def init(self, problem: Problem, flat: Flat) -> State:
        """The state at a starting point.

        Parameters
        ----------
        problem
            What is minimised.
        flat
            The start (n,), in the coordinates of the solvers.

        Returns
        -------
        State
            Evaluated there.
        """

    @abstractmethod
    def step(self, problem: Problem, state: State) -> State:
        """One step.

        Parameters
        ----------
        problem
            What is minimised.
        state
            Where the run stands.

        Returns
        -------
        State
            Where it stands then.
        """

    def launch(self, problem: Problem, flat: Flat) -> State:
        """A state that steps may begin with, perhaps not evaluated yet.

        Parameters
        ----------
        problem
            What is minimised.
        flat
            The start (n,), in the coordinates of the solvers.

        Returns
        -------
        State
            That of `init` unless a solver knows a cheaper one.
        """
        return self.init(problem, flat)

    def stepper(self, problem: Problem) -> Callable[[State], State]:
        """One step as a function of the state alone.

        With what all steps need of the problem prepared.
        """
        return functools.partial(self.step, problem)

    def value_at(self, problem: Problem, state: State) -> Float[Array, ""]:
        """What is minimised, where a state stands.

        Parameters
        ----------
        problem, state
            What is minimised, and the state.

        Returns
        -------
        Float[Array, ""]
            The value of the state, unless a solver descends on other objectives on its way.
        """
        return state.value


def code_of(state: State, tolerance: Float[Array, ""]) -> Int[Array, ""]:
    """The `Result` that a state amounts to, RUNNING while steps remain to be taken."""
    return result_of(state.value, state.grad_norm, state.stalled, tolerance)


def advance(step: Callable[[State], State], tolerance, limit, state: State) -> State:
    """Steps of a solver until it has a result, or has taken `limit` of them in all.

    Runs inside `jit`.

    Parameters
    ----------
    step
        One of them, as `stepper` has it.
    tolerance
        On the relative gradient norm.
    limit
        Number of steps, with those that the state has taken. A state in which nothing was evaluated
        is evaluated all the same, which is no step.
    state
        Where to go on from.

    Returns
    -------
    State
        Where the run stands then.
    """

    def running(state: State):
        left = (state.num_steps < limit) | (state.num_evaluations == 0)
        return (code_of(state, tolerance) == Result.RUNNING) & left

    return jax.lax.while_loop(running, step, state)
