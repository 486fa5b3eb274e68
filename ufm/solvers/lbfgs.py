"""L-BFGS, from optax, in decay-weighted coordinates."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ufm._validate import require_whole
from ufm.model import Problem
from ufm.solvers.coordinates import Flat, flat_objective
from ufm.solvers.solver import AbstractSolver, State


class LBFGS(AbstractSolver):
    """Limited-memory BFGS with a zoom line search (optax). `memory_size`: pairs kept.

    `max_steps`: iterations.

    Gradients only: cheaper per step than Newton at very large sizes, more steps, and blind to
    negative curvature. A run holds about 2 `memory_size` + 15 vectors of all unknowns (a third of
    them of the line search), and the logits of a few chunks where labels come in chunks.
    """

    max_steps: int = eqx.field(static=True, default=20_000)
    memory_size: int = eqx.field(static=True, default=20)

    def __check_init__(self):
        require_whole("memory_size", self.memory_size)

    def init(self, problem: Problem, flat: Flat) -> State:
        """The state at a starting point, with no pairs yet.

        Returns
        -------
        State
            Value and gradient there, evaluated once.
        """
        value, gradient = jax.value_and_grad(flat_objective, argnums=1)(problem, flat)
        return State.fresh(
            problem, flat, value, gradient, memory=fresh_memory(flat, self.memory_size)
        )

    def step(self, problem: Problem, state: State) -> State:
        """One iteration: the two-loop recursion and a zoom line search.

        Returns
        -------
        State
            Stalled where the line search finds no decrease above rounding.
        """
        return lbfgs_step(problem, state, memory_size=self.memory_size)


def fresh_memory(flat: Flat, memory_size: int) -> Any:
    """The memory of a run that has not moved yet."""
    import optax

    return optax.lbfgs(memory_size=memory_size).init(flat)


def lbfgs_step(problem: Problem, state: State, *, memory_size: int) -> State:
    """One L-BFGS step on what is minimised.

    Parameters
    ----------
    problem
        What is minimised.
    state
        Where it begins; its memory is that of `optax.lbfgs`.
    memory_size
        Pairs kept.

    Returns
    -------
    State
        Stalled where the line search finds no decrease above rounding.
    """
    # imported where it is used: it takes as long as all the rest
    import optax

    def function(flat):
        # the line search tries its steps in the default dtype
        return flat_objective(problem, flat.astype(state.flat.dtype))

    # optax.lbfgs mixes int32 and int64 counters, which strict promotion refuses
    with jax.numpy_dtype_promotion("standard"):
        updates, memory = optax.lbfgs(memory_size=memory_size).update(
            state.gradient,
            state.memory,
            state.flat,
            value=state.value,
            grad=state.gradient,
            value_fn=function,
        )
        flat = jnp.asarray(optax.apply_updates(state.flat, updates))
        memory = jax.tree.map(lambda new, old: new.astype(old.dtype), memory, state.memory)
        # the line search has both at the point it chose
        value, gradient = optax.tree.get(memory, "value"), optax.tree.get(memory, "grad")
    evaluations = optax.tree.get(memory, "info").num_linesearch_steps.astype(
        state.num_evaluations.dtype
    )
    # the line search returns the point itself once the decrease it looks for is below rounding
    stalled = jnp.all(flat == state.flat) | ~jnp.isfinite(value)
    return state.moved(
        problem,
        ~stalled,
        flat,
        value,
        gradient,
        memory=memory,
        evaluations=evaluations,
        stalled=stalled,
    )
