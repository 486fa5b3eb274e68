"""A search of a model with ReLU layers, a batch of descents at a time."""

from __future__ import annotations

import numpy as np
from jaxtyping import PRNGKeyArray

from ufm._system.interrupts import interrupts_answered
from ufm._system.progress import Progress
from ufm.analysis.best_known import BestKnown, Pool, key_numbers
from ufm.analysis.kinked_search import BATCH, Descents
from ufm.model import Params, Problem
from ufm.solvers.continuation import (
    require_rectified,
    settled,
    solution_beside_kinks,
    solution_on_kinks,
)
from ufm.solvers.coordinates import to_flat
from ufm.solvers.onto_kinks import onto_kinks


def search_on_kinks(
    problem: Problem, key: PRNGKeyArray, starts: int, resume: BestKnown | None, progress
) -> BestKnown:
    """`search` of a model with ReLU layers.

    Parameters
    ----------
    problem, key, starts, resume, progress
        As of `search`, checked.

    Returns
    -------
    BestKnown
        As by `search`.

    Raises
    ------
    ValueError
        For a model without ReLU layers, or with more than decay.
    KeyboardInterrupt
        Before the first batch has ended.
    """
    require_rectified(problem, "a search of it")
    descents = Descents(problem, key, starts)
    plan, origins, values = list(descents.plan()), [], []
    if resume is not None:
        origins, values = list(resume.origins), list(resume.values)
        for solution in resume.solutions:
            flat = np.asarray(to_flat(problem, solution.params))
            descents.keep(float(solution.value), flat)
    finished, bar = True, Progress("search", total=len(plan), show=progress)
    try:
        for index in range(len(values) // BATCH, len(plan)):
            names, ends = descents.run(index, plan[index])
            origins += names
            values += ends.tolist()
            bar.update(index + 1, f"best {descents.found[0][0]:.9g}")
    except KeyboardInterrupt:
        if not values:
            raise
        finished = False
    finally:
        bar.close()
    pool, left = Pool(problem, []), descents.points()
    if finished:
        finished = _onto_kinks(problem, left, pool)
    if not finished:
        with interrupts_answered():
            for point in left:
                pool.add(solution_beside_kinks(problem, point))
    # (a descent ends beside its kinks: neither its rank nor its result is looked at)
    unknown = np.full(len(values), -1)
    return BestKnown(
        problem,
        tuple(pool.solutions),
        tuple(origins),
        np.array(values),
        unknown,
        unknown,
        finished,
        key_numbers(key),
        {},
    )


def _onto_kinks(problem: Problem, left: list[Params], pool: Pool) -> bool:
    """Take what is left into the pool, on its kinks and the first below every saddle, until none
    is; False where Ctrl-C came before that."""
    try:
        pool.add(solution_on_kinks(problem, *settled(problem, left[0])))
        first = left.pop(0)
        pool.add(solution_on_kinks(problem, *onto_kinks(problem, first)))
        while left:
            pool.add(solution_on_kinks(problem, *onto_kinks(problem, left[0])))
            del left[0]
    except KeyboardInterrupt:
        return False
    return True
