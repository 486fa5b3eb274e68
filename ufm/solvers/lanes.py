"""Many stacked problems of equal shapes, each minimised from its own random start.

The way that suits the machine and the problem.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from ufm.batch.layout import over_lanes
from ufm.model import Params, Problem, objective
from ufm.solution import Result
from ufm.solvers.coordinates import to_params
from ufm.solvers.draws import Drawn
from ufm.solvers.narrowing import narrowed
from ufm.solvers.narrowing import widened as _widened
from ufm.solvers.newton import Newton
from ufm.solvers.newton.lanes import WIDTH, LaneResults, newton_lanes
from ufm.solvers.one_layer import is_plain
from ufm.solvers.smoothing import Smoothing
from ufm.solvers.solver import AbstractSolver, State, advance, code_of
from ufm.solvers.start import flat_start, random_starts

# Products are sums of at most so many terms, written out: more compile slowly, and have enough work
# of their own.
_LARGEST = 24
# Lanes abreast that are tried on an accelerator.
_WIDE = (2048, 16384)


def start_lanes(
    problems: Problem, keys: Key[Array, " B"], *, solver: AbstractSolver
) -> tuple[Problem, Float[Array, "L n"]]:
    """Stacked problems as they are solved, and a random start for each in flat coordinates.

    Runs inside `jit`.

    Parameters
    ----------
    problems
        L problems of one structure, stacked along a leading axis.
    keys
        (L,) of `jax.random.key`.
    solver
        What will solve them.

    Returns
    -------
    tuple[Problem, Float[Array, "L n"]]
        The problems at the d at which they are solved, and the starts.
    """
    small = _narrowed(problems, solver)
    return small, jax.vmap(lambda p, k: random_starts(p, k, 1)[0])(small, keys)


def place_lanes(
    problems: Problem, draws: Drawn, *, solver: AbstractSolver
) -> tuple[Problem, Float[Array, "L n"]]:
    """The same as `start_lanes`, from what was drawn on the host.

    Runs inside `jit`, and is compiled in a tenth of the time.

    Parameters
    ----------
    problems
        As there.
    draws
        L of `draws_of_seeds`, of a problem as it is solved.
    solver
        What will solve them.

    Returns
    -------
    tuple[Problem, Float[Array, "L n"]]
        As there.
    """
    small = _narrowed(problems, solver)
    return small, jax.vmap(flat_start)(small, draws)


def _narrowed(problems: Problem, solver: AbstractSolver) -> Problem:
    # vmap strips the leading axis, so that shapes are those of one problem
    return jax.vmap(functools.partial(narrowed, solver=solver))(problems)


def layouts(problem: Problem, solver: AbstractSolver, platform: str) -> tuple[int, ...]:
    """The ways in which lanes of a problem as it is solved can be minimised on a platform.

    On a CPU one is known to be the fastest; elsewhere several have to be tried.

    Parameters
    ----------
    problem
        One of the lanes.
    solver
        What solves it.
    platform
        JAX's name: "cpu" or another.

    Returns
    -------
    tuple[int, ...]
        For each way the number of lanes that go abreast in a queue, 0 for every lane by itself.
    """
    labels = problem.labels
    queued = isinstance(solver, Newton) and is_plain(problem)
    queued = queued and max(labels.num_classes, labels.num_columns) <= _LARGEST
    if platform == "cpu":
        return (WIDTH,) if queued else (0,)
    return (0, *_WIDE) if queued else (0,)


def minimise_lanes(
    small: Problem,
    flats: Float[Array, "L n"],
    tolerance: Float[Array, ""],
    number: Int[Array, ""] | int,
    *,
    solver: AbstractSolver,
    platform: str,
    abreast: int,
) -> LaneResults:
    """The first `number` of what `start_lanes` made; the others stay where they are.

    Runs inside `jit`. A lane is what the first start of `minimise` makes of its problem and key:
    lower directions of deep products are not looked for.

    Parameters
    ----------
    small, flats
        From `start_lanes`.
    tolerance
        On the relative gradient norm.
    number
        How many lanes to solve.
    solver
        What solves them.
    platform
        "cpu" or another.
    abreast
        One of `layouts`.

    Returns
    -------
    LaneResults
        With a leading axis L; of the others only `flat` means something.
    """
    if isinstance(solver, Smoothing):
        return solver.lanes(small, flats, tolerance, number)
    if abreast:
        assert isinstance(solver, Newton)
        return newton_lanes(small, flats, tolerance, number, solver=solver, width=abreast)
    return _each(small, flats, tolerance, number, solver, platform)


def widened(problems: Problem, small: Problem, flats: Float[Array, "L n"]) -> Params:
    """The points that flat ones of `small` stand for in `problems`.

    With zeros in the further rows of H and columns of W.

    Parameters
    ----------
    problems
        L stacked problems, as they were posed.
    small
        The same as they were solved.
    flats
        (L, n), points of `small`.

    Returns
    -------
    Params
        With a leading axis L.
    """
    return _widened(jax.vmap(to_params)(small, flats), problems.feature_dim)


def _each(
    problems: Problem, flats, tolerance, number, solver: AbstractSolver, platform: str
) -> LaneResults:
    """Every lane by `Solver.step`, as `minimise` does it."""

    def run(problem, flat, wanted):
        """One lane, until it has a result or has spent its budget.

        Parameters
        ----------
        problem, flat
            A problem and its start (n,).
        wanted
            The tolerance of this lane; infinite for one that is to stay where it is.

        Returns
        -------
        LaneResults
            Of this lane.
        """
        step, start = solver.stepper(problem), solver.launch(problem, flat)
        state: State = advance(step, wanted, solver.max_steps, start)
        code = code_of(state, wanted)
        code = jnp.where(code == Result.RUNNING, int(Result.MAX_STEPS), code)
        value = (
            objective(problem, to_params(problem, state.flat))
            if problem.logarithmic
            else state.value
        )
        return LaneResults(
            state.flat, value, state.grad_norm, code, state.num_steps, state.num_evaluations
        )

    # a lane past the number has nothing to do
    wanted = jnp.where(jnp.arange(flats.shape[0]) < number, tolerance, jnp.inf)
    return over_lanes(run, problems, flats, wanted, platform=platform)
