"""Few lanes of a sweep, one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from ufm.model import Params, Problem
from ufm.solution import Result
from ufm.solvers import minimise
from ufm.solvers.solver import AbstractSolver
from ufm.sweeping.looks import Arrays, kept_of, numbers_of
from ufm.sweeping.options import Report


@dataclass(frozen=True)
class LoneLanes:
    """Minimisation of few lanes, each by `minimise`.

    The programs of `MinimiseChunk` take seconds to compile, and those of one problem do not.
    """

    key: PRNGKeyArray
    solver: AbstractSolver
    tolerance: float
    report: Report

    def __call__(self, problems: Problem, seeds: np.ndarray) -> Arrays:
        """The results of some lanes; KeyboardInterrupt where it was interrupted."""
        lanes = [
            self._lane(jax.tree.map(lambda leaf, i=i: jnp.asarray(leaf[i]), problems), seed)
            for i, seed in enumerate(seeds.tolist())
        ]
        names = lanes[0] if lanes else {}
        return {name: np.stack([np.asarray(lane[name]) for lane in lanes]) for name in names}

    def _lane(self, problem: Problem, seed: int) -> dict:
        key = jax.random.fold_in(self.key, seed)
        asked = {"solver": self.solver, "tolerance": self.tolerance, "progress": False}
        found = minimise(problem, key=key, **asked)
        if found.result is Result.INTERRUPTED:
            raise KeyboardInterrupt
        out = {
            "value": found.value,
            "grad_norm": found.grad_norm,
            "code": np.int8(found.code),
            "num_steps": np.int32(found.num_steps),
            "num_evaluations": np.int32(found.num_evaluations),
        } | self._looked_at(problem, found.params)
        return out | kept_of(problem, found.params, report=self.report)

    def _looked_at(self, problem: Problem, params: Params) -> dict:
        """Certificate and metrics, of a point that diverged those of nothing."""
        if all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(params)):
            return numbers_of(problem, params, report=self.report)
        bounds = {"lower_bound": -np.inf, "gap": np.inf} if self.report.certificates else {}
        numbers = bounds | dict.fromkeys(self.report.metrics, np.nan)
        return {name: np.asarray(number, problem.dtype) for name, number in numbers.items()}
