"""What happened along the way of a flow or a descent."""

from __future__ import annotations

from collections import Counter

import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from ufm._classes.module import Module
from ufm._validate import require, require_whole
from ufm.model import Params, Problem
from ufm.solution.results import Result
from ufm.solution.solutions import Solution
from ufm.tolerances import caveat


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

    def __str__(self) -> str:
        """Value and result at the end, and what is recorded; of a batch how many ended how."""
        if not isinstance(self.code, np.ndarray | jax.Array) or isinstance(self.code, Tracer):
            return repr(self)
        values = np.asarray(self.value)
        if np.ndim(self.code) == 0:
            more = "; go on with `start=trajectory.final`, where time begins anew"
            advice = f"{self.result}{more * self.result.unfinished}"
            lines = [_ended(values, self.ts, self.num_steps), advice]
        else:
            count = Counter(result.name for result in self.results)
            ends = ", ".join(f"{number} {name}" for name, number in count.items())
            lines = [f"{len(self.results)} runs: {ends}"]
        lines.append(_recorded(values, self.ts, ["value", *self.observables]))
        if self.polish is not None:
            lines.append(f"polished: {self.polish}")
        return "\n".join(lines) + caveat(self.value.dtype) * (self.polish is None)

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


def _ended(values: np.ndarray, ts, num_steps) -> str:
    """The last value that was recorded, and when."""
    reached = np.flatnonzero(np.isfinite(values))
    steps = f"{int(num_steps)} steps"
    if len(reached) == 0:
        return f"no value recorded in {steps}"
    return f"value {values[reached[-1]]:.12g} at t = {float(ts[reached[-1]]):g} after {steps}"


def _recorded(values: np.ndarray, ts, names: list[str]) -> str:
    """How many records of what, from when to when."""
    times, reached = np.asarray(ts), np.isfinite(values)
    asked = times.shape[-1]
    few = "" if reached.all() else f" ({reached.sum()} of {reached.size} are finite)"
    records = f"{asked} record{'s' * (asked != 1)}"
    span = f"from t = {times.min():g} to {times.max():g}"
    return f"{records} {span}{few}: {', '.join(names)}"
