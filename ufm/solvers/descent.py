"""`descend`: a paper's first-order recipe, and what happens along the way."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from numbers import Number
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from ufm._programs.outside import SWEEP, on_the_host
from ufm._system.progress import Progress
from ufm._validate import (
    LARGEST_WHOLE,
    Shown,
    require,
    require_flag,
    require_instance,
    require_one_of,
    require_real,
)
from ufm.model import (
    Params,
    Problem,
    check_params,
    objective,
    require_decay,
    require_unconstrained,
)
from ufm.solution import Result, Trajectory
from ufm.solvers.first_order import AbstractFirstOrder, sample_gradient
from ufm.solvers.start import random_start

Observables = Mapping[str, Callable[[Problem, Params], Array]]


@on_the_host(SWEEP)
def descend(
    problem: Problem,
    solver: AbstractFirstOrder,
    *,
    steps,
    key: PRNGKeyArray | None = None,
    start: Params | None = None,
    observables: Observables | None = None,
    keep_params: bool = False,
    progress: bool | None = None,
) -> Trajectory:
    """Run a paper's first-order recipe and record what happens along the way.

    Parameters
    ----------
    problem
        Without domains: a recipe knows no bounds.
    solver
        `GradientDescent`, `Momentum` or `Adam`.
    steps
        (T,), increasing whole step numbers >= 0 at which to record.
    key
        A `jax.random.key`, to start at random.
    start
        Or the point to start from.
    observables
        Name → function(problem, params) → array, evaluated at those steps only.
    keep_params
        Whether to keep every recorded point too.
    progress
        Show progress on standard error; None shows it on a terminal once a second has passed.

    Returns
    -------
    Trajectory
        Its `ts` is step number times step size. Ctrl-C returns what was recorded, the rest NaN,
        result INTERRUPTED.

    Raises
    ------
    ValueError
        For steps that are not increasing whole numbers, neither or both of `key` and `start`, or a
        problem with domains.
    """
    require_instance("problem", problem, Problem)
    require_instance(
        "solver", solver, AbstractFirstOrder, "a GradientDescent, Momentum or Adam instance"
    )
    numbers = np.asarray(require_real("steps", steps, ndim=1))
    whole = np.issubdtype(numbers.dtype, np.integer) and numbers[-1] <= LARGEST_WHOLE
    increasing = whole and numbers[0] >= 0 and np.all(np.diff(numbers) > 0)
    require(
        increasing,
        f"`steps` must be increasing whole numbers from 0 to {LARGEST_WHOLE}",
        Shown(steps),
    )
    functions = checked_observables(observables)
    require_flag("keep_params", keep_params)
    require_flag("progress", progress, optional=True)
    require_unconstrained(problem, "a first-order recipe")
    params = starting_point(problem, key, start)
    free: Any = problem.free_part(params)
    memory = solver.optimiser().init(free)
    record = _recorder(functions, keep_params)
    rows, code, done = [], Result.REACHED_END, 0
    bar = Progress("descend", total=int(numbers[-1]), show=progress)
    try:
        for number in numbers.tolist():
            while done < number:
                # pieces of a thousand steps: progress and Ctrl-C cost nothing and never wait long
                piece = min(number - done, 1000)
                params, memory = _descend_piece(problem, solver, params, memory, piece)
                done += piece
                jax.block_until_ready(params)
                bar.update(done)
            rows.append(jax.device_get(record(problem, params)))
            if not np.isfinite(rows[-1]["value"]):
                code = Result.DIVERGED
                break
    except KeyboardInterrupt:
        code = Result.INTERRUPTED
        rows = rows or [blank_rows(jax.eval_shape(record, problem, params))]
    bar.close()
    stacked = _stack_rows(rows, len(numbers))
    return Trajectory(
        problem=problem,
        ts=jnp.asarray(numbers * np.asarray(solver.step_size), problem.dtype),
        value=stacked["value"],
        params=stacked["params"],
        observables=stacked["observables"],
        final=params,
        code=jnp.asarray(code),
        num_steps=jnp.asarray(done),
    )


@jax.jit
def _descend_piece(problem: Problem, solver: AbstractFirstOrder, params: Params, memory, number):
    def body(_, carry):
        params, memory = carry
        return solver.update(problem, params, sample_gradient(problem, params), memory)

    return jax.lax.fori_loop(0, number, body, (params, memory))


def recorded(problem: Problem, params: Params, observables, keep_params: bool) -> dict:
    """One row of a trajectory.

    Parameters
    ----------
    problem, params
        Where the trajectory is.
    observables
        Pairs of a name and a function(problem, params) → array.
    keep_params
        Whether the row holds the point itself.

    Returns
    -------
    dict
        `value`, `params` (or None) and `observables`.
    """
    return {
        "value": objective(problem, params),
        "params": params if keep_params else None,
        "observables": {
            name: _observed(name, function, problem, params) for name, function in observables
        },
    }


def _observed(name: str, function: Callable, problem: Problem, params: Params):
    """What a function of the user's makes of a point, which it may meet while that is traced."""
    asked = f"`observables[{name!r}]` must"
    try:
        seen = function(problem, params)
    except jax.errors.JAXTypeError as error:
        words = f"{asked} be written in jax.numpy, as it is compiled; {error}".splitlines()[0]
        raise TypeError(words) from error
    leaves = jax.tree.leaves(seen)
    numbers = all(isinstance(leaf, jax.Array | np.ndarray | Number) for leaf in leaves)
    require(leaves and numbers, f"{asked} return an array or a tree of arrays", Shown(seen))
    return jax.tree.map(jnp.asarray, seen)


def checked_observables(
    observables: Observables | None, *, name: str = "observables"
) -> tuple[tuple[str, Callable], ...]:
    """Name and function of each observable; `ValueError` for what is no dict of functions."""
    if observables is None:
        return ()
    require_instance(name, observables, Mapping, "a dict from name to function")
    for word, function in observables.items():
        good = isinstance(word, str) and callable(function)
        require(
            good,
            f"`{name}` must be a dict from name to function(problem, params)",
            Shown({word: function}),
        )
        words = f"`{name}[{word!r}]` must take a problem and params, as function(problem, params)"
        require(_takes(function, 2), words, Shown(function))
    return tuple(observables.items())


def _takes(function: Callable, number: int) -> bool:
    """Whether so many arguments suit a function, as far as it says what it takes."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*[None] * number)
    except TypeError:
        return False
    return True


def starting_point(problem: Problem, key: PRNGKeyArray | None, start) -> Params:
    """The start a user gave, checked, or a random one.

    Parameters
    ----------
    problem
        What is started.
    key
        A `jax.random.key` for a random start, or None.
    start
        A point, or None.

    Returns
    -------
    Params
        With arrays of the problem's dtype.

    Raises
    ------
    ValueError
        For neither or both of `key` and `start`, or a start of the wrong shape, dtype or sign.
    """
    require_one_of(key=key, start=start)
    if key is not None:
        other = "give `start`, such as ufm.solvers.random_start(problem, key=key, std=0.1)"
        require_decay(problem, f"a random start; {other}")
        return random_start(problem, key=key)
    return check_params(problem, start, name="start")


def _recorder(observables, keep_params: bool):
    return jax.jit(lambda problem, params: recorded(problem, params, observables, keep_params))


def blank_rows(rows) -> Any:
    """Rows that were not reached, shaped like `rows` and as wide."""

    def blank(leaf):
        return np.full(leaf.shape, np.nan, np.result_type(leaf.dtype, np.float32))

    return jax.tree.map(blank, rows)


def _stack_rows(rows: list[dict], length: int) -> dict:
    """Rows stacked on a leading axis, padded with NaN to `length`."""

    def stack(*leaves):
        block = np.stack(leaves)
        if len(leaves) == length:
            return jax.device_put(block)
        block = block.astype(np.result_type(block.dtype, np.float32))
        return jnp.asarray(
            np.concatenate(
                [block, np.full((length - len(leaves), *block.shape[1:]), np.nan, block.dtype)]
            )
        )

    return jax.tree.map(stack, *rows)
