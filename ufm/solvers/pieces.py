"""A solve in compiled pieces: between two of them the clock and the keyboard are looked at."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ufm._programs.jit import quick_jit
from ufm._system.interrupts import interrupts_later
from ufm._system.progress import Progress
from ufm.batch.layout import over_lanes
from ufm.model import Params, Problem, objective
from ufm.solution import Result
from ufm.solvers.coordinates import Flat, departing, merit_size, to_flat, to_params, value_of
from ufm.solvers.draws import Drawn
from ufm.solvers.packed import Packed, packed
from ufm.solvers.solver import AbstractSolver, State, advance, code_of
from ufm.solvers.start import flat_start
from ufm.solvers.work import draft_loses, few_or_many_logits, one_kernel_suits

# Aim of one jitted piece between two looks at the clock and the keyboard.
_PIECE_SECONDS = 0.3
# Starts whose values agree to this are the same optimum; the one with the smallest gradient is
# returned.
_SAME_VALUE = 1e-9


class Outcome(NamedTuple):
    """What a piece of a solve answers: all states, and of the best start point, value and relative
    gradient norm, with the values of all."""

    held: Packed
    params: Params
    value: Float[Array, ""]
    grad_norm: Float[Array, ""]
    values: Float[Array, " S"]


def run_on(
    problem,
    solver,
    tolerance,
    begin: Callable[[], Outcome],
    piece: int,
    budget: int,
    progress,
) -> tuple[Outcome, bool]:
    """What `begin` returns, gone on with in pieces until every start has stopped or spent the
    budget.

    Nobody else holds a state: each piece takes the memory of the one before.

    Parameters
    ----------
    problem, solver, tolerance
        As `launch` takes them.
    begin
        Makes the first outcome, from nothing that is used later.
    piece, budget
        Steps of the first piece, and of all.
    progress
        As `minimise` takes it.

    Returns
    -------
    tuple[Outcome, bool]
        Of the last piece, and whether Ctrl-C stopped it, which keeps that.
    """
    began = time.monotonic()
    bar, interrupted = None, False
    outcome = begin()
    try:
        while True:
            held = outcome.held
            steps = held.num_steps
            running = (held.codes == Result.RUNNING) & (steps < budget)
            if not running.any():
                break
            if bar is None:
                bar = Progress("minimise", total=budget, show=progress)
                bar.began = began
            seconds = time.monotonic() - began
            done = int(steps[running].min())
            bar.update(done, f"relative gradient norm {float(outcome.grad_norm):.1e}")
            piece = next_piece(piece, seconds)
            began = time.monotonic()
            with interrupts_later():
                outcome = go_on(problem, solver, tolerance, min(done + piece, budget), held)
            jax.block_until_ready(outcome)
    except KeyboardInterrupt:
        interrupted = True
    if bar is not None:
        bar.close()
    return outcome, interrupted


def own(held: Packed) -> Packed:
    """A copy to give away to `go_on`.

    Parameters
    ----------
    held
        Somebody else's.

    Returns
    -------
    Packed
        The same numbers.
    """
    return jax.tree.map(lambda leaf: jax.device_put(leaf, may_alias=False), held)


def next_piece(piece: int, seconds: float) -> int:
    """Steps of the next piece, where one of `piece` steps took so many seconds.

    Parameters
    ----------
    piece, seconds
        The last one, and what it took.

    Returns
    -------
    int
        At most twice as many, or 1000.
    """
    return int(np.clip(piece * _PIECE_SECONDS / max(seconds, 1e-3), 1, max(2 * piece, 1000)))


def _over_starts(function, states):
    """`function` of every start."""
    if jax.tree.leaves(states)[0].shape[0] == 1:
        return jax.tree.map(
            lambda leaf: leaf[None], function(jax.tree.map(lambda leaf: leaf[0], states))
        )
    return over_lanes(function, states, platform=jax.default_backend())


def _best(problem: Problem, states: State) -> Int[Array, ""]:
    """Which of the starts came lowest, and of those that came as low, was solved best."""
    if len(states.value) == 1:
        return jnp.asarray(0)
    values = jnp.where(jnp.isfinite(states.value), states.value, jnp.inf)
    lowest = jnp.min(values)
    near = values <= lowest + _SAME_VALUE * merit_size(problem, lowest)
    return jnp.argmin(jnp.where(near, states.grad_norm, jnp.inf))


def _outcome(problem: Problem, solver: AbstractSolver, states: State, tolerance) -> Outcome:
    values = jax.vmap(functools.partial(solver.value_at, problem))(states)
    states = eqx.tree_at(lambda states: states.value, states, values)
    best = _best(problem, states)
    codes = jax.vmap(lambda state: code_of(state, tolerance))(states)
    params = to_params(problem, states.flat[best])
    # not from a logarithm, which would lose digits
    value = objective(problem, params) if problem.logarithmic else states.value[best]
    return Outcome(
        packed(states, codes, best),
        params,
        value,
        states.grad_norm[best],
        value_of(problem, states.value),
    )


@jax.jit
def fresh(problem: Problem, solver: AbstractSolver, flats) -> Packed:
    """States of runs that have not moved yet.

    Parameters
    ----------
    problem, solver, flats
        What is solved, how, and from where (S, n).

    Returns
    -------
    Packed
        Of S starts, for `go_on`.
    """
    states = _over_starts(functools.partial(solver.launch, problem), flats)
    running = jnp.full(len(flats), int(Result.RUNNING))
    return packed(states, running, jnp.asarray(0))


@jax.jit
def drawn_states(problem: Problem, solver: AbstractSolver, draws: Drawn) -> Packed:
    """The states of random starts that have not moved yet.

    Parameters
    ----------
    problem, solver
        What is solved, and how.
    draws
        Of S starts.

    Returns
    -------
    Packed
        Of S starts, for `go_on`.
    """
    return fresh(problem, solver, jax.vmap(lambda drawn: flat_start(problem, drawn))(draws))


@quick_jit(
    when=few_or_many_logits, small=one_kernel_suits, loses=draft_loses, donate_argnames="held"
)
def go_on(problem: Problem, solver: AbstractSolver, tolerance, limit, held: Packed) -> Outcome:
    """Go on from states (of S starts) that are used up.

    Parameters
    ----------
    problem, solver, tolerance, limit
        As of `launch`.
    held
        No longer readable afterwards.

    Returns
    -------
    Outcome
        As of `launch`.
    """
    run = functools.partial(advance, solver.stepper(problem), tolerance, limit)
    return _outcome(problem, solver, _over_starts(run, held.states), tolerance)


def _begin(problem: Problem, solver: AbstractSolver, tolerance, limit, flats: Float[Array, "S n"]):
    def run(flat: Flat) -> State:
        step, state = solver.stepper(problem), solver.launch(problem, flat)
        return advance(step, tolerance, limit, state)

    return _outcome(problem, solver, _over_starts(run, flats), tolerance)


@quick_jit(when=few_or_many_logits, small=one_kernel_suits, loses=draft_loses)
def launch(problem: Problem, solver: AbstractSolver, tolerance, limit, draws: Drawn):
    """From random starts.

    Parameters
    ----------
    problem, solver, tolerance, limit
        What is solved, how, how well, and for how many steps at most.
    draws
        Of S starts.

    Returns
    -------
    Outcome
        Of S starts.
    """
    flats = jax.vmap(lambda drawn: flat_start(problem, drawn))(draws)
    return _begin(problem, solver, tolerance, limit, flats)


@quick_jit(when=few_or_many_logits, small=one_kernel_suits, loses=draft_loses)
def launch_from(problem: Problem, solver: AbstractSolver, tolerance, limit, start: Params):
    """From a point.

    Parameters
    ----------
    problem, solver, tolerance, limit
        As of `launch`.
    start
        Of the problem's shapes.

    Returns
    -------
    Outcome
        Of one start.
    """
    begin = departing(problem, to_flat(problem, start))
    return _begin(problem, solver, tolerance, limit, begin[None])
