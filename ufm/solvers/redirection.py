"""Going on from the best start of a deep product while other directions of it are lower."""

from __future__ import annotations

import functools

import equinox as eqx
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
    while not interrupted:
        _, codes, best, params, value, *_ = outcome
        converged = int(np.asarray(codes)[int(best)]) == Result.CONVERGED
        start = better_directions(problem, params) if converged else None
        if start is None:
            break
        begin = functools.partial(pieces.launch_from, *setting, min(piece, budget), start)
        found, interrupted = pieces.run_on(*setting, begin, piece, budget, progress)
        if not float(found[4]) < float(value):
            break
        outcome = _instead(outcome, found)
    return outcome, interrupted


def _instead(outcome, found):
    """What came of every start, with what was found from the end of the best one in its place."""
    states, codes, best, *_, values = outcome
    new, new_codes, _, *point, new_values = found
    best = int(best)

    def put(whole, one):
        whole = np.array(whole)
        whole[best] = one
        return whole

    steps = states.num_steps[best] + new.num_steps[0]
    evaluations = states.num_evaluations[best] + new.num_evaluations[0]
    states = jax.tree.map(lambda whole, one: put(whole, one[0]), states, new)
    states = eqx.tree_at(
        lambda s: (s.num_steps, s.num_evaluations),
        states,
        (put(states.num_steps, steps), put(states.num_evaluations, evaluations)),
    )
    return states, put(codes, new_codes[0]), best, *point, put(values, new_values[0])
