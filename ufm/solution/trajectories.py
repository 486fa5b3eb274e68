"""What happened along the way of a flow or a descent."""

from __future__ import annotations

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from ufm._module import Module
from ufm._validate import require, require_whole
from ufm.model import Params, Problem
from ufm.solution.results import Result
from ufm.solution.solutions import Solution


class Trajectory(Module):
    """What happened along the way: `flow` and `descend` share it, so one plot can hold both.

    `ts` (T,): times (for a discrete method, steps taken times step size). `value` (T,): the
    objective. `params`: every leaf stacked on T, or None where they were not kept. `observables`:
    name → array stacked on T. Rows past a failure are NaN. `final`: the last point reached.
    """

    problem: Problem
    ts: Float[Array, "*B T"]
    value: Float[Array, "*B T"]
    params: Params | None
    observables: dict[str, Array]
    final: Params
    code: Int[Array, "*B"]
    num_steps: Int[Array, "*B"]
    polish: Solution | None = None

    @property
    def result(self) -> Result:
        """How the run ended."""
        return Result(int(self.code))

    @property
    def results(self) -> tuple[Result, ...]:
        """How each run of a batch ended."""
        return tuple(Result(code) for code in np.ravel(self.code).tolist())

    def run(self, index: int) -> Trajectory:
        """One run of a batch; `ValueError` unless `index` is that of one, from 0 on."""
        require(
            np.ndim(self.code) == 1,
            "`index` is for the runs of a batch (see ufm.flows.flow_batch)",
            "a single run",
        )
        index = require_whole("index", index, least=0, most=len(self.code) - 1)
        return jax.tree.map(lambda leaf: leaf[index], self)
