"""What is asked of `minimise` beside the problem."""

from __future__ import annotations

import dataclasses

from jaxtyping import PRNGKeyArray

from ufm._validate import (
    MOST_STARTS,
    is_traced,
    require,
    require_flag,
    require_key,
    require_one_of,
    require_whole,
)
from ufm.model import Params, Problem, require_minimum
from ufm.solution import Solution
from ufm.solvers.proof import require_provable
from ufm.solvers.resuming import require_same_problem
from ufm.solvers.solver import AbstractSolver
from ufm.solvers.suitable import suitable_solver
from ufm.tolerances import gradient_tolerance


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """Arguments, by the names and with the meaning that they have there."""

    key: PRNGKeyArray | None
    solver: AbstractSolver | None
    starts: int
    start: Params | None
    resume: Solution | None
    tolerance: float | None
    gap: float | None
    throw: bool
    progress: bool | None

    def checked(self, problem: Problem) -> CheckedRequest:
        """The same for one problem, with what was left open filled in.

        Raises
        ------
        ValueError
            For what `minimise` refuses, apart from starts that do not fit.
        """
        solver = suitable_solver(problem, self.solver)
        require_one_of(key=self.key, start=self.start, resume=self.resume)
        if self.key is not None:
            require_key("key", self.key)
        starts = require_whole("starts", self.starts, most=MOST_STARTS)
        require_flag("throw", self.throw)
        require_flag("progress", self.progress, optional=True)
        words = "`starts` > 1 needs random starts, that is `key`"
        require(starts == 1 or self.key is not None, words, starts)
        require_minimum(problem, "a minimiser")
        tolerance = gradient_tolerance(self.tolerance, problem.dtype)
        if self.gap is not None:
            require_provable(problem, self.gap)
        if self.resume is not None:
            require_same_problem(problem, self.resume)
        filled = {"solver": solver, "starts": starts, "tolerance": tolerance}
        return CheckedRequest(**vars(self) | filled)

    def require_known_start(self) -> None:
        """`ValueError` for a start whose numbers are traced."""
        words = "`start` must hold numbers, as no minimum depends on where the search for it begins"
        require(not is_traced(self.start), words, "a tracer")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckedRequest(Request):
    """One whose solver and tolerance are known."""

    solver: AbstractSolver
    tolerance: float
