"""`minimise`: the one loop around every solver."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from jaxtyping import PRNGKeyArray

from ufm._programs.compilation import Compiling
from ufm._programs.outside import SWEEP_ALONE, on_the_host
from ufm._validate import is_traced, require_instance
from ufm.model import Params, Problem, check_params
from ufm.solution import Result, Solution, SolveFailed
from ufm.solvers import pieces
from ufm.solvers.directions import has_directions
from ufm.solvers.draws import random_draws
from ufm.solvers.exchangeable import exchangeable, invariant_point
from ufm.solvers.implicit import differentiable
from ufm.solvers.narrowing import narrowed, widened
from ufm.solvers.newton import Newton
from ufm.solvers.proof import until_proved
from ufm.solvers.redirection import with_better_directions
from ufm.solvers.request import CheckedRequest, Request
from ufm.solvers.resuming import require_same_solver
from ufm.solvers.solver import AbstractSolver
from ufm.solvers.work import first_piece

# Of the gap that is wanted, the relative gradient norm at which groups of classes are left.
_OF_GAP = 1e-2
# Steps that a first piece must have for a solve to end there.
_ONE_PIECE = 40


@on_the_host(SWEEP_ALONE, slopes=True)
def minimise(
    problem: Problem,
    *,
    key: PRNGKeyArray | None = None,
    solver: AbstractSolver | None = None,
    starts: int = 1,
    start: Params | None = None,
    resume: Solution | None = None,
    tolerance: float | None = None,
    gap: float | None = None,
    throw: bool = False,
    progress: bool | None = None,
) -> Solution:
    r"""Minimise the objective from random starts that know nothing of any predicted optimum.

    Parameters
    ----------
    problem
        What to minimise. A traced one is differentiated, see the notes.
    key
        A `jax.random.key`, for random starts, the same ones every time; or instead of it …
    solver
        `Newton()` unless given, `ProjectedNewton()` for nonnegative features (which needs it);
        `LBFGS`, the default where the labels are too large for all logits, `GradientDescent`,
        `Momentum`, `Adam`.
    starts
        How many random starts to run in one call; the best is returned, `values` and `codes` report
        all.
    start
        … a point of the user's, or …
    resume
        … an earlier solution of the same problem and solver to go on from, to where it would have
        got to.
    tolerance
        On the relative gradient norm $\|\nabla f\|/\sqrt{2f}$ in coordinates where every factor is
        multiplied by the root of its λ (`ufm.tolerances` has the default: 1e-12 in float64); of
        nonnegative features the gradient is the projected one, without the entries that push a zero
        below zero.
    gap
        Stop as soon as `certify` proves the point optimal to this relative gap, result PROVED; the
        solution carries the `certificate`, also where it did not close.
    throw
        Raise `SolveFailed` (with `.solution`) unless CONVERGED or PROVED.
    progress
        Show progress on standard error; None shows it on a terminal once a second has passed.

    Returns
    -------
    Solution
        Of the best start. Ctrl-C returns the best so far, result INTERRUPTED, to be resumed;
        `codes` say how each start stands. Before the first steps (while they are compiled) there is
        none, and it is a `KeyboardInterrupt`.

    Raises
    ------
    ValueError
        For λ = 0 on a free factor (the minimum may not exist), a free bias under a softmax loss
        with a class that no target holds (the infimum is not attained), a start of the wrong shape,
        dtype or sign, a solver without bounds for nonnegative features, a tolerance that the dtype
        cannot reach or that every point meets (>= 1), none or several of `key`, `start` and
        `resume`, or a `gap` for a problem that has no certificate (M >= 2, a loss that is not
        convex).
    SolveFailed
        With `throw`, for any result but CONVERGED and PROVED.
    RuntimeError
        Where a derivative does not exist.

    Notes
    -----
    A stationary point is not proved to be optimal: for M = 1 look at `certify`, for M >= 2 the
    origin and its like are local minima (use several `starts`, and `compare` with a closed form).
    From where the best random start of a deep product with decay alone ends, directions of the
    product are dropped or taken up for as long as that is lower.

    `Newton` starts a one-layer problem with more dimensions than are of use (more than min(K, C)
    with decay alone, half as many again on spheres, in balls and under budgets) with those, which
    has the same optimum, and answers with zeros in the further rows of H and columns of W: another
    d costs nothing. With a `gap`, a hundred classes or more of which many are alike begin as
    `exchangeable_start` does, whose steps are not counted.

    On a CPU the first solves of a kind in a process (64 of a small problem, fewer of many starts or
    of up to 300 classes) are compiled in a fifth of the time, and those after run two to five times
    as fast. The two may round differently.

    `jax.grad` and its like go through the `value` (envelope theorem) and the optimum (implicit
    function theorem; of what rotations of the hidden space leave alone, such as `logits`), in
    decays, masses, targets, radii and whatever else of the problem is an array, as often as wanted;
    `jit` and `vmap` do not.
    """
    require_instance("problem", problem, Problem)
    request = Request(
        key=key,
        solver=solver,
        starts=starts,
        start=start,
        resume=resume,
        tolerance=tolerance,
        gap=gap,
        throw=throw,
        progress=progress,
    )
    request.require_known_start()
    if is_traced(problem):
        return differentiable(problem, lambda plain: minimise(plain, **vars(request)))
    asked = request.checked(problem)
    if gap is None:
        solution = _run(problem, asked)(asked.tolerance, resume)
    else:
        solution = _proved(problem, asked, gap)
    if throw and solution.result not in (Result.CONVERGED, Result.PROVED):
        raise SolveFailed(solution)
    return solution


# a problem as it is solved, how, and how well
_Setting = tuple[Problem, AbstractSolver, np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Run:
    """From a tolerance and the solution before, or None, to the solution there.

    `solved`: the problem at the d at which it is solved. `start`: where the only start begins, None
    where it is drawn. `random`: whether any was. `interrupted`: whether Ctrl-C came on the way to
    `start`.
    """

    problem: Problem
    solved: Problem
    asked: CheckedRequest
    start: Params | None
    random: bool
    interrupted: bool

    def __call__(self, tolerance: float, before: Solution | None) -> Solution:
        # (an array of JAX's takes longer to make than all that is checked)
        setting = self.solved, self.asked.solver, np.asarray(tolerance, self.problem.dtype)
        with Compiling(show=self.asked.progress):
            if self.interrupted:
                outcome, stopped = pieces.launch_from(*setting, 0, self.start), True
            else:
                outcome, stopped = self._solve(setting, before)
            if self.random and not stopped and has_directions(self.solved):
                limits = first_piece(self.solved), self.asked.solver.max_steps
                outcome, stopped = with_better_directions(
                    *setting, outcome, *limits, self.asked.progress
                )
        return _to_solution(self.problem, outcome, stopped, self.random)

    def _solve(self, setting: _Setting, before: Solution | None) -> tuple[pieces.Outcome, bool]:
        """What came of every start, and whether Ctrl-C stopped it."""
        problem, solver, _ = setting
        piece, budget = first_piece(problem), solver.max_steps
        if before is not None:
            state = before.state
            done = int(state.num_steps.max())
            budget += done
            limit = min(done + piece, budget)

            def begin():
                return pieces.go_on(*setting, limit, pieces.own(state))

        elif self.start is not None:
            begin = functools.partial(pieces.launch_from, *setting, min(piece, budget), self.start)
        else:
            assert self.asked.key is not None
            draws = random_draws(problem, self.asked.key, self.asked.starts)
            limit = min(piece, budget)

            def begin():
                if piece >= _ONE_PIECE:
                    return pieces.launch(*setting, limit, draws)
                # one program less to compile, as the next piece needs that of `go_on` anyhow
                return pieces.go_on(*setting, limit, pieces.drawn_states(problem, solver, draws))

        return pieces.run_on(*setting, begin, piece, budget, self.asked.progress)


def _proved(problem: Problem, asked: CheckedRequest, gap: float) -> Solution:
    """The solution whose certificate closes to the gap, or which is as near as it gets.

    Where many classes are alike it begins near the optimum of the problem of groups, of which the
    certificate proves what it assumes; or says that it is none, and random numbers take its place.
    """

    def until(run: _Run) -> Solution:
        return until_proved(
            lambda wanted, before: run(wanted, before or asked.resume),
            problem,
            gap,
            asked.tolerance,
        )

    run = _run_of_groups(problem, asked, gap)
    if run is None:
        return until(_run(problem, asked))
    solution = until(run)
    certificate = solution.certificate
    # (a gap is of the size of the gradient at an optimum, and of that of the value at a saddle)
    near = certificate is None or certificate.closes(asked.tolerance**0.5)
    if near or solution.result is not Result.CONVERGED:
        return solution
    try:
        other = until(_run(problem, asked))
    except KeyboardInterrupt:
        return dataclasses.replace(solution, code=np.int64(Result.INTERRUPTED))
    best = min(solution, other, key=lambda each: float(each.value))
    return other if other.result is Result.INTERRUPTED else best


def _run_of_groups(problem: Problem, asked: CheckedRequest, gap: float) -> _Run | None:
    """From where groups of classes that are alike have their optimum; None where there are no such
    groups, or did not get there."""
    if asked.key is None or asked.starts > 1 or not isinstance(asked.solver, Newton):
        return None
    groups = exchangeable(problem)
    if groups is None:
        return None
    near = max(asked.tolerance, _OF_GAP * gap)
    point, ended = invariant_point(problem, groups, asked.key, near, asked.progress)
    if ended not in (Result.CONVERGED, Result.INTERRUPTED):
        return None
    solved = narrowed(problem, asked.solver)
    start, interrupted = widened(point, solved.feature_dim), ended is Result.INTERRUPTED
    return _Run(problem, solved, asked, start, random=True, interrupted=interrupted)


def _run(problem: Problem, asked: CheckedRequest) -> _Run:
    """What is asked, from the user's start, from random ones, or from where a solution stands."""
    start, resume = asked.start, asked.resume
    solved = _as_solved(problem, asked.solver, start, resume)
    random = asked.key is not None if resume is None else resume.random
    if resume is not None:
        require_same_solver(solved, asked.solver, resume.state)
    elif start is not None:
        start = check_params(problem, start, name="start")
    return _Run(problem, solved, asked, start, random, interrupted=False)


def _as_solved(
    problem: Problem, solver: AbstractSolver, start: Params | None, resume: Solution | None
) -> Problem:
    """The problem at the d at which it is solved (see `ufm/solvers/narrowing.py`).

    A start of the user's, and what goes on from one, keep all of a larger d.
    """
    solved = narrowed(problem, solver)
    if resume is None:
        return solved if start is None else problem
    return solved if resume.state.size == solved.blocks.size else problem


def _to_solution(
    problem: Problem, outcome: pieces.Outcome, interrupted: bool, random: bool
) -> Solution:
    held, params, value, grad_norm, values = outcome
    left = Result.INTERRUPTED if interrupted else Result.MAX_STEPS
    codes, best = held.codes, held.best
    codes = np.where(codes == Result.RUNNING, int(left), codes)
    return Solution(
        problem=problem,
        params=widened(params, problem.feature_dim),
        value=value,
        grad_norm=grad_norm,
        # also where the best start had come to its end
        code=np.int64(left) if interrupted else codes[best],
        num_steps=held.num_steps[best],
        num_evaluations=held.num_evaluations[best],
        values=values,
        codes=codes,
        state=held,
        random=random,
    )
