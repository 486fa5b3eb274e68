"""`Plan`: a sweep before anything of it has run; what is done with which lanes, by whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from ufm._validate import options_of, require
from ufm._version import __version__
from ufm.batch.execution import Execution
from ufm.batch.executor import checked_devices, threads_like_this
from ufm.batch.stacked import lanes_of
from ufm.flows import Flow
from ufm.flows.options import Integration, checked_times, path_of, record_of
from ufm.model import Problem, require_decay, require_minimum, require_smooth
from ufm.solvers.directions import has_directions
from ufm.solvers.solver import AbstractSolver
from ufm.solvers.suitable import suitable_solver
from ufm.sweeping.chunk import MinimiseChunk
from ufm.sweeping.definition import definition, planned, probe
from ufm.sweeping.flow_chunk import FlowChunk
from ufm.sweeping.grid import Grid, describe
from ufm.sweeping.groups import Group, chunks_of, groups_of, said
from ufm.sweeping.lone_lanes import LoneLanes
from ufm.sweeping.looks import certifiable
from ufm.sweeping.options import Minimisation, Report
from ufm.sweeping.store import FORMAT
from ufm.tolerances import for_dtype, gradient_tolerance

# Lanes of a chunk: enough to fill the batch of the solver many times over, few enough to be lost
# without regret.
_CHUNK = 1024
# So many lanes are done one by one, in ten milliseconds or two each.
_FEW = 32
# Programs are for multiples of so many lanes.
_FEWEST = 16
# Seconds that a chunk should not take by much, at 1e9 multiply-adds a second and 500 products with
# the Hessian a lane.
_SECONDS = 4.0
# Arrays of the size of a point that a solver holds for each lane.
_VECTORS = 16
_ATTRIBUTES = ("ufm", "jax", "dtype", "backend", "devices", "method", "tolerance", "definition")


@dataclass(frozen=True)
class Plan:
    """A sweep, checked.

    `groups` of lanes of equal shapes, each with its solver (none for a flow), its report and the
    `sizes` of its chunks; `workers` threads.
    """

    grid: Grid
    groups: Sequence[Group]
    key: PRNGKeyArray
    flow: Flow | None
    solvers: Sequence[AbstractSolver]
    tolerance: float
    reports: Sequence[Report]
    execution: Execution
    workers: int
    sizes: tuple[int, ...]

    @cached_property
    def chunks(self) -> list[tuple[int, np.ndarray]]:
        """(group, places in it) of every chunk, in the order of the work."""
        return chunks_of(self.groups, self.sizes)

    @property
    def devices(self) -> tuple[Any, ...]:
        """What the lanes of a chunk are shared out to."""
        assert self.execution.devices is not None
        return tuple(self.execution.devices)

    def manifest(self) -> dict[str, Any]:
        """What a store says of the sweep that it keeps."""
        times = None if self.flow is None else checked_times(self.flow.ts)
        said = {} if self.flow is None else _said(self.flow)
        reports = [vars(report) for report in self.reports]
        method = "flow" if self.flow is not None else type(self.solvers[0]).__name__.lower()
        return {
            "format": FORMAT,
            "ufm": __version__,
            "jax": jax.__version__,
            "dtype": str(self.groups[0].problems.dtype),
            "backend": self.devices[0].platform,
            "devices": len(self.devices),
            "method": method,
            "tolerance": self.tolerance,
            "definition": definition(
                self.grid,
                self.groups,
                self.key,
                self.solvers,
                self.tolerance,
                times,
                said,
                reports,
            ),
            "dims": self.grid.dims,
            "shape": self.grid.shape,
            "coordinates": describe(self.grid),
            "ts": None if times is None else times.tolist(),
            "sizes": list(self.sizes),
            "plan": planned(self.groups, self.chunks),
            "probe": probe(self.groups),
            "attrs": _ATTRIBUTES,
        }

    def runners(self) -> list[MinimiseChunk | LoneLanes | FlowChunk]:
        """What turns the lanes of a chunk into numbers, for each group."""
        return [self._runner(g) for g in range(len(self.groups))]

    def _few(self, group: Group) -> bool:
        """Whether a loop over the lanes has ended before a program for all of them is compiled."""
        alone = len(self.devices) == 1 and self.devices[0].platform == "cpu"
        # (of deep products `minimise` goes on with other directions, and in single precision it may
        # end above the tolerance where lanes do not)
        return (
            alone
            and for_dtype(group.problems.dtype).verifies
            and self.execution.chunk is None
            and len(group.lanes) <= _FEW
            and not has_directions(group.one())
        )

    def _runner(self, g: int) -> MinimiseChunk | LoneLanes | FlowChunk:
        size, report, devices = self.sizes[g], self.reports[g], self.devices
        if self.flow is not None:
            # (every flow of a chunk at once, in blocks of its own)
            execution = replace(self.execution, chunk=None)
            return FlowChunk(self.key, self.flow, report, execution, size)
        group, solver = self.groups[g], self.solvers[g]
        if self._few(group):
            return LoneLanes(self.key, solver, self.tolerance, report)
        width = _width(size, _most(group, self.execution, self.workers), len(devices))
        seeds = np.unique(self.grid.seeds()[group.lanes])
        return MinimiseChunk(
            self.key, group.one(), seeds, solver, self.tolerance, report, devices, width
        )


def plan_of(
    build: Callable[..., Problem],
    grid: Grid,
    key: PRNGKeyArray,
    *,
    method: Minimisation | Flow,
    report: Report,
    execution: Execution,
) -> Plan:
    """The plan of checked arguments.

    Parameters
    ----------
    build, grid
        From `grid_of`.
    key
        Of the random starts.
    method, report, execution
        As for `sweep`.

    Returns
    -------
    Plan
        With the devices of this process where none were given.

    Raises
    ------
    ValueError
        For problems that the method or the report does not suit, for several dtypes, and for a
        swept name that the report has.
    """
    given = execution.devices
    devices = checked_devices(jax.local_devices() if given is None else given)
    execution = replace(execution, devices=devices)
    groups = groups_of(build, grid)
    flow = method if isinstance(method, Flow) else None
    solvers = [] if isinstance(method, Flow) else [_solver(group, grid, method) for group in groups]
    if flow is not None:
        for group in groups:
            _require_of_each(group, grid, require_smooth, "a flow")
            _require_of_each(group, grid, require_decay, "random starts of a flow")
    dtype = groups[0].problems.dtype
    require(
        all(group.problems.dtype == dtype for group in groups),
        "`make` must give problems of one dtype",
        [str(g.problems.dtype) for g in groups],
    )
    reports = [report.of(certifiable(group.problems)) for group in groups]
    watched = () if flow is None else record_of(flow.observables).observables or ()
    for name in grid.values:
        told = name in watched or any(one.has(name) for one in reports)
        require(not told, "names in `over` must not be those of what the lanes report", name)
    wanted = None if isinstance(method, Flow) else method.tolerance
    parallel = len(devices) == 1 and devices[0].platform == "cpu" and flow is None
    workers = threads_like_this(execution.workers) if parallel else 1
    return Plan(
        grid,
        groups,
        key,
        flow,
        solvers,
        gradient_tolerance(wanted, dtype, name="Minimisation.tolerance"),
        reports,
        execution,
        workers,
        tuple(_size(group, execution, workers) for group in groups),
    )


def _said(flow: Flow) -> dict[str, Any]:
    """All that the numbers of a flow depend on, beside its times."""
    path, record = path_of(flow.path), record_of(flow.observables)
    named = {"path": path.name, "rates": path.rates, "observables": record.observables}
    return named | vars(options_of(Integration, flow.integration, name="Flow.integration"))


def _solver(group: Group, grid: Grid, method: Minimisation) -> AbstractSolver:
    """The solver of a group, once it is known to suit all its problems."""
    _require_of_each(group, grid, require_minimum, "a minimiser")
    return suitable_solver(group.problems, method.solver)


def _require_of_each(
    group: Group, grid: Grid, requirement: Callable[[Problem, str], None], purpose: str
) -> None:
    """The requirement of all problems at once; of the first that lacks it the error has the
    place."""
    try:
        requirement(group.problems, purpose)
    except ValueError:
        for lane, which in zip(group.lanes.tolist(), group.which, strict=True):
            try:
                requirement(lanes_of(group.problems, which), purpose)
            except ValueError as error:
                raise ValueError(f"`make` fails at {said(grid.point(lane))}: {error}") from error
        raise


def _size(group: Group, execution: Execution, workers: int) -> int:
    """Lanes of a chunk: as many chunks as keep all workers busy to the end."""
    size = min(_most(group, execution, workers), len(group.lanes))
    rounds = -(-len(group.lanes) // (size * workers))
    return -(-len(group.lanes) // (rounds * workers))


def _width(size: int, most: int, parts: int) -> int:
    """Lanes that the program of a chunk is compiled for, the same for a few more or less.

    A program takes seconds to compile, and of lanes that are not there only the rest is worked on.
    """
    step = max(_FEWEST, 2 ** (size - 1).bit_length() // 8)
    return -(-max(size, min(-(-size // step) * step, most)) // parts) * parts


def _most(group: Group, execution: Execution, workers: int) -> int:
    """Lanes that memory and patience allow at a time."""
    problem = group.one()
    K, C = problem.labels.num_classes, problem.labels.num_columns
    point = (
        sum(rows * columns for rows, columns in problem.weight_shapes) + problem.feature_dim * C + K
    )
    leaves = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(problem))
    bytes_each = leaves + problem.dtype.itemsize * (_VECTORS * point + 8 * K * C)
    patience = _SECONDS * 1e9 / (500 * point * K)
    assert execution.devices is not None
    best = int(min(max(patience, 1), _CHUNK)) * len(execution.devices)
    return execution.together(best, bytes_each * workers)
