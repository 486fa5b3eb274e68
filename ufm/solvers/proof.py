"""Stop when it is proved: a run goes on until its certificate closes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ufm._validate import require_static
from ufm.certificates import certify
from ufm.model import Problem, require_certifiable
from ufm.solution import Result, Solution

# The gap is first order in the relative gradient, which is looked at until it is this share of what
# the last certificate says that it must be, and not less than a hundredth of what it was.
_SHARE, _LEAST = 0.3, 1e-2

Run = Callable[[float, Solution | None], Solution]


def require_provable(problem: Problem, gap: float) -> None:
    """`ValueError` for a problem that has no certificate, and for a gap outside (0, 1)."""
    require_static("gap", gap, lambda gap: 0 < gap < 1, "lie in (0, 1)")
    require_certifiable(problem)


def until_proved(run: Run, problem: Problem, gap: float, tolerance: float) -> Solution:
    """The first solution along a run whose certificate closes to `gap`, or else the last one.

    Parameters
    ----------
    run
        From a relative gradient norm and the solution before, or None, to the solution there.
    problem
        What is solved.
    gap
        The relative duality gap that is wanted.
    tolerance
        The smallest relative gradient norm to try.

    Returns
    -------
    Solution
        With its certificate, which is made where the gradient says that it could close; PROVED if
        it did. INTERRUPTED, without one, where Ctrl-C stops the certificate or what follows it.
    """
    wanted, solution = max(tolerance, gap), None
    while True:
        try:
            solution = run(wanted, solution)
            certificate = certify(problem, solution.params)
        except KeyboardInterrupt:
            if solution is None:
                raise
            return dataclasses.replace(solution, code=np.int64(Result.INTERRUPTED))
        closed = certificate.closes(gap)
        if closed or wanted <= tolerance or solution.result is not Result.CONVERGED:
            code = np.int64(Result.PROVED) if closed else solution.code
            return solution.proved(certificate, code)
        share = _SHARE * gap / float(certificate.gap)
        wanted = max(tolerance, wanted * min(max(share, _LEAST), _SHARE))
