"""Chunks of lanes of a sweep that flow."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from ufm.batch.execution import Execution
from ufm.flows import Flow, Record, flow_batch
from ufm.flows.options import record_of
from ufm.model import Problem, objective
from ufm.solution import Result, Trajectory
from ufm.sweeping.looks import Arrays, measured
from ufm.sweeping.options import Report

_measured = functools.partial(jax.jit, static_argnames=("report", "platform"))(measured)
_objectives = jax.jit(jax.vmap(objective))


@dataclass(frozen=True)
class FlowChunk:
    """Flows of chunks, by `flow_batch`."""

    key: PRNGKeyArray
    flow: Flow
    report: Report
    execution: Execution
    width: int

    def __call__(self, problems: Problem, seeds: np.ndarray) -> Arrays:
        """The results of some lanes; KeyboardInterrupt where it was interrupted."""
        number = len(seeds)
        if not number:
            return {}
        # every call has the shapes of a full chunk: one compilation
        place = np.minimum(np.arange(self.width), number - 1)
        keys = jax.vmap(lambda seed: jax.random.fold_in(self.key, seed))(jnp.asarray(seeds[place]))
        singles = [jax.tree.map(lambda leaf, i=i: jnp.asarray(leaf[i]), problems) for i in place]
        record = Record(record_of(self.flow.observables).observables, keep_params=False)
        flow = dataclasses.replace(self.flow, observables=record)
        run = flow_batch(singles, flow, keys=keys, execution=self.execution, progress=False)
        if any(result is Result.INTERRUPTED for result in run.results):
            raise KeyboardInterrupt
        return {
            name: np.asarray(array)[:number]
            for name, array in jax.device_get(self._report(run)).items()
        }

    def _report(self, run: Trajectory) -> dict:
        problems = jax.tree.map(jnp.asarray, run.problem)
        out = {
            "value": _objectives(problems, run.final),
            "code": jnp.asarray(run.code, jnp.int8),
            "num_steps": jnp.asarray(run.num_steps, jnp.int32),
            "trajectory": run.value,
        }
        assert self.execution.devices is not None
        platform = self.execution.devices[0].platform
        out |= _measured(problems, run.final, report=self.report, platform=platform)
        return out | {
            name: array
            for name, array in run.observables.items()
            if isinstance(array, jax.Array) and array.ndim == 2
        }
