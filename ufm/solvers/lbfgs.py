"""L-BFGS, from optax, in decay-weighted coordinates."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from ufm.problem import Problem
from ufm.solvers.coordinates import Flat, flat_objective
from ufm.solvers.solver import AbstractSolver, State


class LBFGS(AbstractSolver):
    """Limited-memory BFGS with a zoom line search (optax). `memory_size`: pairs kept. `max_steps`: iterations.

    Gradients only: cheaper per step than Newton at very large sizes, more steps, and blind to negative curvature.
    """

    max_steps: int = eqx.field(static=True, default=20_000)
    memory_size: int = eqx.field(static=True, default=20)

    def init(self, problem: Problem, flat: Flat) -> State:
        value, gradient = jax.value_and_grad(flat_objective, argnums=1)(problem, flat)
        return State.fresh(flat, value, gradient, memory=optax.lbfgs(memory_size=self.memory_size).init(flat))

    def step(self, problem: Problem, state: State) -> State:
        def function(flat):
            return flat_objective(problem, flat)

        # optax.lbfgs mixes int32 and int64 counters, which strict promotion refuses
        with jax.numpy_dtype_promotion("standard"):
            updates, memory = optax.lbfgs(memory_size=self.memory_size).update(
                state.gradient, state.memory, state.flat, value=state.value, grad=state.gradient, value_fn=function
            )
            flat = optax.apply_updates(state.flat, updates)
            value, gradient = optax.value_and_grad_from_state(function)(flat, state=memory)
        assert isinstance(flat, jax.Array)
        assert isinstance(gradient, jax.Array)
        # the line search returns the point itself once the decrease it looks for is below rounding
        stalled = jnp.all(flat == state.flat) | ~jnp.isfinite(value)
        searched = optax.tree.get(memory, "info").num_linesearch_steps
        return state.moved(
            ~stalled, flat, value, gradient, memory=memory, evaluations=searched.astype(state.num_evaluations.dtype), stalled=stalled
        )
