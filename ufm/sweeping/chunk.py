"""One chunk of lanes.

From problems and keys to arrays of numbers, compiled once for each shape, sharded over devices.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from ufm.batch.execution import Execution
from ufm.batch.executor import SAME, SHARED, shared_out
from ufm.batch.fastest import fastest
from ufm.batch.layout import over_lanes
from ufm.certificates.bound import certify
from ufm.flows import Flow, Record, flow_batch
from ufm.flows.options import record_of
from ufm.metrics import measure_params
from ufm.model import (
    Params,
    Problem,
    objective,
    require_certifiable,
    require_decay,
)
from ufm.solution import Result, Trajectory
from ufm.solvers import minimise
from ufm.solvers.draws import Drawn, draws_of_seeds
from ufm.solvers.lanes import layouts, minimise_lanes, place_lanes, start_lanes, widened
from ufm.solvers.narrowing import narrowed
from ufm.solvers.newton.lanes import LaneResults
from ufm.solvers.solver import AbstractSolver
from ufm.sweeping.options import Report

Arrays = dict[str, np.ndarray]

# By itself XLA keeps to vectors of 256 bits, also on processors that have longer ones: a solve took
# a fourth longer.
_COMPILER = {"cpu": {"xla_cpu_prefer_vector_width": 512}}


def certifiable(problems: Problem) -> bool:
    """Whether `certify` has a bound for stacked problems, by what it says where it is traced."""

    def ask(problem: Problem) -> int:
        require_certifiable(problem)
        return 0

    try:
        require_decay(problems, "a certificate")
        jax.eval_shape(jax.vmap(ask), problems)
    except ValueError:
        return False
    return True


def measured(problems: Problem, params: Params, *, report: Report, platform: str) -> dict:
    """Certificates, metrics and whatever is kept, of stacked problems and points.

    Parameters
    ----------
    problems, params
        Stacked.
    report
        What is asked for.
    platform
        "cpu" or another, for the layout of lanes.

    Returns
    -------
    dict
        Name → array with a leading axis of lanes.
    """

    numbers = functools.partial(_numbers, report=report)
    kept = jax.vmap(functools.partial(_kept, report=report))(problems, params)
    return over_lanes(numbers, problems, params, platform=platform) | kept


def _numbers(problem: Problem, params: Params, *, report: Report) -> dict:
    """Certificate and metrics of one point."""
    out = {}
    if report.certificates:
        certificate = certify(problem, params)
        out |= {"lower_bound": certificate.lower_bound, "gap": certificate.gap}
    if report.metrics:
        metrics = measure_params(problem, params)
        out |= {name: getattr(metrics, name) for name in report.metrics}
    return out


def _kept(problem: Problem, params: Params, *, report: Report) -> dict:
    """The factors of one point and its logits, where they are kept."""
    out = {}
    if "params" in report.keep:
        out |= {f"weights_{i}": W for i, W in enumerate(params.weights)}
        out["features"] = params.features
        out |= {} if params.bias is None else {"bias": params.bias}
    if "logits" in report.keep:
        out["logits"] = problem.logits(params)
        # (under a name that nobody sweeps, as `bias` may be)
        zero = jnp.zeros(problem.labels.num_classes, problem.dtype)
        out["logits_bias"] = zero if params.bias is None else params.bias
    return out


_measured = functools.partial(jax.jit, static_argnames=("report", "platform"))(measured)
_objectives = jax.jit(jax.vmap(objective))


def _start(problems: Problem, key: PRNGKeyArray, seeds, *, solver: AbstractSolver):
    return start_lanes(
        problems, jax.vmap(lambda seed: jax.random.fold_in(key, seed))(seeds), solver=solver
    )


def _solve(
    small: Problem,
    flats,
    tolerance,
    number,
    *,
    solver: AbstractSolver,
    platform: str,
    abreast: int,
) -> LaneResults:
    # `number` (1,) is the share of this device
    return minimise_lanes(
        small,
        flats,
        tolerance,
        number[0],
        solver=solver,
        platform=platform,
        abreast=abreast,
    )


def _finish(
    problems: Problem, small: Problem, found: LaneResults, *, report: Report, platform: str
) -> dict:
    return {
        "value": found.value,
        "grad_norm": found.grad_norm,
        "code": found.code.astype(jnp.int8),
        "num_steps": found.num_steps.astype(jnp.int32),
        "num_evaluations": found.num_evaluations.astype(jnp.int32),
    } | measured(problems, widened(problems, small, found.flat), report=report, platform=platform)


# The parts of a chunk. Each is compiled as a simple program, and what does not depend on the report
# once for all reports.


def _starting(devices: tuple[Any, ...], solver: AbstractSolver):
    return _program(_start, devices, (SHARED, SAME, SHARED), solver=solver)


def _placing(devices: tuple[Any, ...], solver: AbstractSolver):
    return _program(place_lanes, devices, (SHARED, SHARED), solver=solver)


def _solving(devices: tuple[Any, ...], solver: AbstractSolver, abreast: int):
    platform = devices[0].platform
    return _program(
        _solve,
        devices,
        (SHARED, SHARED, SAME, SHARED),
        solver=solver,
        platform=platform,
        abreast=abreast,
    )


def _finishing(devices: tuple[Any, ...], report: Report):
    platform = devices[0].platform
    return _program(_finish, devices, (SHARED, SHARED, SHARED), report=report, platform=platform)


@functools.lru_cache(maxsize=96)
def _program(part: Callable, devices: tuple[Any, ...], specs, **fixed):
    """A part, compiled; on more than one device, each has its share of the lanes."""
    part = functools.partial(part, **fixed)
    part = part if len(devices) == 1 else shared_out(part, devices, specs)
    return jax.jit(part, compiler_options=_COMPILER.get(devices[0].platform))


@dataclass(frozen=True)
class MinimiseChunk:
    """Minimisation of chunks.

    `one`: a problem of their shapes. `seeds`: all that their lanes have, ascending. `width`: lanes
    that every call is compiled for, a multiple of the number of devices.
    """

    key: PRNGKeyArray
    one: Problem
    seeds: np.ndarray
    solver: AbstractSolver
    tolerance: float
    report: Report
    devices: tuple[Any, ...]
    width: int

    def __call__(self, problems: Problem, seeds: np.ndarray) -> Arrays:
        """The results of up to `width` lanes; of none, it only compiles."""
        number, parts = len(seeds), len(self.devices)
        share = self.width // parts
        place = np.minimum(np.arange(self.width), max(number - 1, 0))
        seeds = (self.seeds[:1] if number == 0 else seeds)[place]
        counts = np.clip(number - share * np.arange(parts), 0, share)
        problems = jax.tree.map(lambda leaf: np.asarray(leaf)[place], problems)
        finish = _finishing(self.devices, self.report)
        with jax.default_device(self.devices[0]):
            small, flats = jax.block_until_ready(self._started(problems, seeds))
            tolerance = np.asarray(self.tolerance, flats.dtype)

            def solved(abreast: int) -> LaneResults:
                solve = _solving(self.devices, self.solver, abreast)
                return jax.block_until_ready(solve(small, flats, tolerance, counts))

            found = solved(self._abreast(small, solved, number))
            out = finish(problems, small, found)
            return {name: np.asarray(array)[:number] for name, array in jax.device_get(out).items()}

    @functools.cached_property
    def _draws(self) -> Drawn | None:
        """What is random in the starts, each drawn once, where the seeds are few."""
        return draws_of_seeds(narrowed(self.one, self.solver), self.key, self.seeds)

    def _started(self, problems: Problem, seeds: np.ndarray) -> tuple[Problem, jax.Array]:
        """The problems as they are solved, and their starts."""
        if self._draws is None:
            return _starting(self.devices, self.solver)(problems, self.key, seeds)
        where = np.searchsorted(self.seeds, seeds)
        draws = jax.tree.map(lambda leaf: leaf[where], self._draws)
        return _placing(self.devices, self.solver)(problems, draws)

    def _abreast(self, small: Problem, solved: Callable[[int], LaneResults], number: int) -> int:
        """The layout of the lanes, from shapes alone, or where there are several by trying them.

        Of no lanes they are only compiled.
        """
        one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), small)
        ways = layouts(one, self.solver, self.devices[0].platform)
        if number == 0:
            for way in ways[1:]:
                solved(way)
            return ways[0]
        leaves, structure = jax.tree.flatten(one)
        kind = (self.devices, self.solver, self.width, structure, tuple(x.shape for x in leaves))
        return fastest(ways, solved, kind=kind)


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
        return out | _kept(problem, found.params, report=self.report)

    def _looked_at(self, problem: Problem, params: Params) -> dict:
        """Certificate and metrics, of a point that diverged those of nothing."""
        if all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(params)):
            return _numbers(problem, params, report=self.report)
        bounds = {"lower_bound": -np.inf, "gap": np.inf} if self.report.certificates else {}
        numbers = bounds | dict.fromkeys(self.report.metrics, np.nan)
        return {name: np.asarray(number, problem.dtype) for name, number in numbers.items()}


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
