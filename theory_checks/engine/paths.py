"""Iterates as checks see them.

A solver one step at a time, and what every point of its path cost.
"""

from __future__ import annotations

import dataclasses

import numpy as np

import ufm
from theory_checks.engine.registry import NotConverged


@dataclasses.dataclass(frozen=True, eq=False)
class Path:
    """What a method did.

    Step numbers, gradients and Hessian-vector products used so far, and the point there.
    """

    steps: np.ndarray
    products: np.ndarray
    points: tuple[ufm.Params, ...]


def stepwise(problem: ufm.Problem, start: ufm.Params, solver) -> tuple[ufm.Solution, Path]:
    """`minimise` one step at a time from `start`, until it converges.

    `solver` has `max_steps` 1.
    """
    solution = ufm.minimise(problem, start=start, solver=solver, progress=False)
    rows = [(0, 0, start)]
    while True:
        rows.append((int(solution.num_steps), int(solution.num_evaluations), solution.params))
        if solution.result is ufm.Result.INTERRUPTED:
            raise KeyboardInterrupt
        if solution.result is not ufm.Result.MAX_STEPS:
            break
        solution = ufm.minimise(problem, resume=solution, solver=solver, progress=False)
    if solution.result is not ufm.Result.CONVERGED:
        raise NotConverged(str(solution))
    steps, products, points = zip(*rows, strict=True)
    return solution, Path(np.array(steps), np.array(products), points)
