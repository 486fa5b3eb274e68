"""Going on from the best start of a deep product while other directions of it are lower."""

from __future__ import annotations

import functools

import jax
import numpy as np

from ufm.solution import Result
from ufm.solvers import pieces
from ufm.solvers.directions import better_directions


def with_better_directions(problem, solver, tolerance, outcome, piece, budget, progress):
    """Go on from the best start while other directions of its product are lower.

    Parameters
    ----------
    problem, solver, tolerance, piece, budget, progress
        As `pieces.run_on` takes them.
    outcome
        From there.

    Returns
    -------
    tuple
        The outcome with what was found in place of the best start, and whether Ctrl-C stopped it.
    """
    setting, interrupted = (problem, solver, tolerance), False
    try:
        while not interrupted:
            converged = outcome.held.codes[outcome.held.best] == Result.CONVERGED
            start = better_directions(problem, outcome.params) if converged else None
            if start is None:
                break
            begin = functools.partial(pieces.launch_from, *setting, min(piece, budget), start)
            found, interrupted = pieces.run_on(*setting, begin, piece, budget, progress)
            if not float(found.value) < float(outcome.value):
                break
            outcome = _instead(outcome, found)
    except KeyboardInterrupt:
        # (before a step from the new start has been made)
        interrupted = True
    return outcome, interrupted


def _instead(outcome: pieces.Outcome, found: pieces.Outcome) -> pieces.Outcome:
    """What came of every start, with what was found from the end of the best one in its place."""
    before, best = outcome.held, outcome.held.best

    def put(whole, one):
        whole = np.array(whole)
        whole[best] = np.asarray(one)[0]
        return whole

    held, values = jax.tree.map(put, (before, outcome.values), (found.held, found.values))
    counts = int(before.num_steps[best]), int(before.num_evaluations[best])
    return found._replace(held=held.continued(best, *counts), values=values)
