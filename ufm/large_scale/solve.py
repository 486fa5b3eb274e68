"""`minimise_large`: L-BFGS for problems whose logits do not fit.

The variables and a few copies of them are all that is held.
"""

from __future__ import annotations

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ufm._progress import Progress
from ufm._validate import (
    require,
    require_flag,
    require_instance,
    require_key,
    require_one_of,
    require_whole,
)
from ufm.large_scale.problem import LargeProblem, as_problem, large_objective
from ufm.model import Params, check_params, require_minimum
from ufm.solution import Result, Solution, SolveFailed
from ufm.solvers.coordinates import Flat, to_flat, to_params
from ufm.solvers.lbfgs import lbfgs_step
from ufm.solvers.loop import code_of, next_piece, require_same_problem
from ufm.solvers.solver import State
from ufm.tolerances import gradient_tolerance

# Of the typical size of a factor: with one layer a small start only has less to unlearn.
_START = 0.3


def minimise_large(
    problem: LargeProblem,
    *,
    key: PRNGKeyArray | None = None,
    start: Params | None = None,
    resume: Solution | None = None,
    tolerance: float | None = None,
    max_steps: int = 20_000,
    memory_size: int = 10,
    throw: bool = False,
    progress: bool | None = None,
) -> Solution:
    r"""Minimise a `LargeProblem` by L-BFGS (optax) in decay-weighted coordinates, from a random
    start, a given one, or an earlier solution.

    `key`, `start`, `resume`: exactly one, as for `minimise`. `tolerance`: on the relative gradient
    norm $\|\nabla f\|/\sqrt{2f}$ (`ufm.tolerances` has the default). `max_steps`: steps of this
    call. `memory_size`: pairs of vectors that L-BFGS keeps; they are most of the memory, 2 ×
    `memory_size` × (K + C) d numbers. `throw`: raise `SolveFailed` unless CONVERGED. `progress`:
    None shows it on a terminal once a second has passed.

    Returns a `Solution` (its `logits` would be the whole K × C matrix: do not ask for them at
    size). Ctrl-C returns the point reached, result INTERRUPTED, to be resumed. `certify_large` says
    how far the point can be from the global minimum.

    Raises `ValueError` for λ = 0, a start that does not fit, a tolerance that the dtype cannot
    reach, or none or several of `key`, `start` and `resume`.

    L-BFGS decides by values, whose rounding leaves the relative gradient norm near 1e-8 in float64
    on badly scaled problems: such a run ends STALLED and says so.
    """
    require_instance(
        "problem", problem, LargeProblem, "ufm.LargeProblem; ufm.minimise solves a Problem"
    )
    require_one_of(key=key, start=start, resume=resume)
    if key is not None:
        require_key("key", key)
    max_steps, memory_size = (
        require_whole("max_steps", max_steps),
        require_whole("memory_size", memory_size),
    )
    require_flag("throw", throw)
    require_flag("progress", progress, optional=True)
    require_minimum(as_problem(problem), "a minimiser")
    tolerance = gradient_tolerance(tolerance, problem.dtype)

    if resume is not None:
        state = _checked_state(problem, resume, memory_size)
    else:
        state = _begin(
            problem,
            _start(problem, key) if start is None else _checked_start(problem, start),
            memory_size,
        )
    state, interrupted = _run(
        problem, state, jnp.asarray(tolerance, problem.dtype), max_steps, memory_size, progress
    )
    solution = _to_solution(problem, state, tolerance, interrupted)
    if throw and solution.result is not Result.CONVERGED:
        raise SolveFailed(solution)
    return solution


def _run(
    problem: LargeProblem, state: State, tolerance, max_steps: int, memory_size: int, progress
) -> tuple[State, bool]:
    """Pieces of steps until the run has stopped or spent its budget.

    Ctrl-C keeps the last piece.
    """
    K, C, d = problem.labels.num_classes, problem.labels.num_columns, problem.feature_dim
    # a second's worth at 1e10 operations a second, three products of 2 K C d each and an evaluation
    # more for the line search
    piece = int(np.clip(1e10 / (12.0 * K * C * d), 1, 1000))
    first = int(state.num_steps)
    bar = Progress("minimise_large", total=max_steps, show=progress)
    try:
        while int(state.num_steps) < first + max_steps and bool(_running(state, tolerance)):
            began = time.monotonic()
            limit = min(int(state.num_steps) + piece, first + max_steps)
            state = _advance(
                problem, state, tolerance, jnp.asarray(limit, state.num_steps.dtype), memory_size
            )
            jax.block_until_ready(state)
            bar.update(
                int(state.num_steps) - first, f"relative gradient norm {float(state.grad_norm):.1e}"
            )
            piece = next_piece(piece, time.monotonic() - began)
    except KeyboardInterrupt:
        return state, True
    finally:
        bar.close()
    return state, False


def _to_solution(
    problem: LargeProblem, state: State, tolerance: float, interrupted: bool
) -> Solution:
    code = Result(int(code_of(state, jnp.asarray(tolerance, problem.dtype))))
    if code is Result.RUNNING:
        code = Result.INTERRUPTED if interrupted else Result.MAX_STEPS
    return Solution(
        problem=as_problem(problem),
        params=to_params(as_problem(problem), state.flat),
        value=state.value,
        grad_norm=state.grad_norm,
        code=jnp.asarray(int(code)),
        num_steps=state.num_steps,
        num_evaluations=state.num_evaluations,
        values=state.value[None],
        codes=jnp.asarray([int(code)]),
        state=state,
    )


def _checked_start(problem: LargeProblem, start: Params) -> Params:
    return check_params(as_problem(problem), start, name="start")


def _checked_state(problem: LargeProblem, resume: Solution, memory_size: int) -> State:
    require_same_problem(problem, resume)
    expected = jax.eval_shape(lambda: optax.lbfgs(memory_size=memory_size).init(resume.state.flat))
    fits = [
        np.shape(a) == b.shape
        for a, b in zip(
            jax.tree.leaves(resume.state.memory), jax.tree.leaves(expected), strict=True
        )
    ]
    require(all(fits), "`memory_size` must be that of `resume`", memory_size)
    return resume.state


@jax.jit
def _start(problem: LargeProblem, key: PRNGKeyArray) -> Params:
    """Gaussian factors whose mass-weighted product has singular values of about a tenth of the
    targets'; K and C are far above d."""
    labels, (lam,) = problem.labels, problem.lambda_W
    K, C, d = labels.num_classes, labels.num_columns, problem.feature_dim
    key_W, key_H = jax.random.split(key)
    # factors of equal norm in the decay-weighted coordinates: balance
    size = _START * (lam * problem.lambda_H) ** 0.25 * jnp.sqrt(problem.typical)
    W = jax.random.normal(key_W, (K, d), problem.dtype) * (size / jnp.sqrt(lam * max(K, d)))
    H = jax.random.normal(key_H, (d, C), problem.dtype) * (
        size / jnp.sqrt(problem.lambda_H * max(C, d))
    )
    bias = jnp.zeros(K, problem.dtype) if problem.has_bias else None
    return Params(weights=(W,), features=H / jnp.sqrt(labels.masses)[None, :], bias=bias)


def _objective(problem: LargeProblem, flat: Flat) -> Float[Array, ""]:
    return large_objective(problem, to_params(as_problem(problem), flat))


@functools.partial(jax.jit, static_argnames="memory_size")
def _begin(problem: LargeProblem, start: Params, memory_size: int) -> State:
    flat = to_flat(as_problem(problem), start)
    value, gradient = jax.value_and_grad(_objective, argnums=1)(problem, flat)
    return State.fresh(
        flat, value, gradient, memory=optax.lbfgs(memory_size=memory_size).init(flat)
    )


def _running(state: State, tolerance):
    return code_of(state, tolerance) == Result.RUNNING


@functools.partial(jax.jit, static_argnames="memory_size")
def _advance(
    problem: LargeProblem, state: State, tolerance, limit: Int[Array, ""], memory_size: int
) -> State:
    """L-BFGS steps until the run stops or has made `limit` steps."""
    step = functools.partial(
        lbfgs_step, functools.partial(_objective, problem), memory_size=memory_size
    )
    return jax.lax.while_loop(
        lambda state: _running(state, tolerance) & (state.num_steps < limit), step, state
    )
