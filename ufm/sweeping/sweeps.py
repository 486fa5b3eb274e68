"""`sweep`: thousands of problems in one call, batched, on all cores and devices, kept on disk as
they come; `open_sweep` reads them."""

from __future__ import annotations

import inspect
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from ufm._validate import (
    require,
    require_choice,
    require_flag,
    require_instance,
    require_key,
    require_path,
    require_whole,
)
from ufm._version import __version__
from ufm.batch.executor import checked_devices, threads_like_this, worker_count
from ufm.flows import flow_batch
from ufm.flows.integrate import checked_times
from ufm.model import Problem, require_decay, require_minimum, require_smooth
from ufm.solution import Result
from ufm.solvers.loop import suitable_solver
from ufm.solvers.solver import AbstractSolver
from ufm.sweeping.chunk import KEEP, Arrays, Flow, Minimise, Report, certifiable, scalar_metrics
from ufm.sweeping.dataset import counted, dataset_of
from ufm.sweeping.definition import definition, planned, probe, require_probed
from ufm.sweeping.grid import Group, chunks_of, describe, grid_of, groups_of
from ufm.sweeping.store import FORMAT, Store
from ufm.sweeping.work import Work
from ufm.tolerances import gradient_tolerance

if TYPE_CHECKING:
    import xarray

# Lanes of a chunk: enough to fill the batch of the solver many times over, few enough to be lost
# without regret.
_CHUNK = 1024
# Seconds that a chunk should not take by much, at 1e9 multiply-adds a second and 500 products with
# the Hessian a lane.
_SECONDS = 4.0
# Arrays of the size of a point that a solver holds for each lane.
_VECTORS = 16
_FLOW_OPTIONS = frozenset(inspect.signature(flow_batch).parameters) - {
    "problems",
    "ts",
    "keys",
    "starts",
    "keep_params",
    "threads",
    "devices",
    "progress",
}
_ATTRIBUTES = ("ufm", "jax", "dtype", "backend", "devices", "method", "tolerance", "definition")


def sweep(
    make: Callable[..., Problem] | Problem | Sequence[Problem],
    over: Mapping[str, Sequence] | Sequence[Mapping[str, Any]],
    *,
    key: PRNGKeyArray,
    solver: AbstractSolver | None = None,
    tolerance: float | None = None,
    ts=None,
    flow: Mapping[str, Any] | None = None,
    certificates: bool | None = None,
    metrics: Sequence[str] = ("nc1_trace_ratio", "nc2_etf_features", "nc3_self_duality"),
    keep: Sequence[str] = (),
    store: str | os.PathLike | None = None,
    memory: int = 2**28,
    chunk: int | None = None,
    devices: Sequence[Any] | None = None,
    threads: int | None = None,
    progress: bool | None = None,
) -> xarray.Dataset:
    """Minimise, or flow, every problem of a grid.

    Over λ, counts, β, smoothing, seeds, and over K, d, depth or losses.

    Parameters
    ----------
    make
        A function from the swept names, as keyword arguments, to a `Problem`; or a problem, of
        which `over` may name the fields lambda_W, lambda_H, lambda_b, beta, anchor, targets, masses
        and offsets; or a list of problems, one more dimension, "problem", in front.
    over
        A dict from name to values, a grid; or a list of dicts of equal names, whose one dimension
        is "point". "seed" (whole numbers >= 0) is the random start and not passed to `make`: the
        lane with seed s starts from `jax.random.fold_in(key, s)`, 0 where no seed is swept.
    key
        A `jax.random.key`.
    solver, tolerance
        As for `minimise`.
    ts
        (T,), flow to these times instead, …
    flow
        … with these options of `flow_batch` (rtol, path, observables, …).
    certificates
        None gives them wherever there can be one.
    metrics
        Those of `Metrics` that are one number.
    keep
        "params", "logits".
    store
        A folder that keeps each chunk once it is done, whole or not at all; see the notes.
    memory
        Bytes that the lanes in flight may take; a chunk is as many lanes as that allows, …
    chunk
        … at most so many.
    devices
        Those of this process unless given, each with its share of a chunk.
    threads
        Chunks at a time on a CPU that is one device; the number of cores unless given.
    progress
        As for `minimise`.

    Returns
    -------
    xarray.Dataset
        With the swept names as dimensions: `value`, `code` (a `Result` each), `num_steps`,
        `grad_norm`, `num_evaluations`, `lower_bound` and `gap` (NaN where there is no certificate),
        metrics, whatever is kept (NaN beyond a lane's own shape); for a flow `trajectory` (the
        objective at `t`) and scalar observables. A lane that fails says so in `code`; the others do
        not notice. attrs: `complete`, `done`, `stored` (done before, by earlier calls), `failed`,
        `seconds`, versions. After Ctrl-C `complete` is 0 and the lanes left are INTERRUPTED.

    Raises
    ------
    ValueError
        For what cannot be swept, what `make`, `minimise` and `flow_batch` refuse, a store of
        another sweep, and a file of a store that holds anything but the results of its own lanes,
        to the last bit.

    Notes
    -----
    Floats and arrays of numbers are traced, in one call of `make`, where it can be; everything else
    (whole numbers, words, losses, None) is passed as it is, and problems of equal shapes are solved
    together.

    A lane ends where its start leads: a deep product may keep the wrong directions there, which
    `minimise` goes on from, so sweep several seeds and take the least value.

    The same call over a store again goes on where it was stopped, however it was (the definition
    must be the same, to the last bit, and so must ufm's version and the dtype; the chunks stay
    those of the first call). Any number of processes may make the same call over one store: they
    share the chunks, and each returns the whole. So a scheduler's job array needs the same script
    in every job and a shared folder with file locks; jobs may end early or come late. Under
    `jax.distributed` the processes split the chunks and exchange the results at the end.

    With `Newton`, a one-layer problem with decay alone is solved at d = min(K, C): its optima have
    no larger rank. On a CPU, small ones are solved by the lanes of `ufm/solvers/newton/lanes.py`,
    of which each has the steps of `Newton`, up to rounding.
    """
    began = time.monotonic()
    build, grid = grid_of(make, over)
    metrics, keep = _chosen("metrics", metrics, scalar_metrics()), _chosen("keep", keep, KEEP)
    require_key("key", key)
    require_flag("certificates", certificates, optional=True)
    require_flag("progress", progress, optional=True)
    if store is not None:
        store = require_path("store", store)
    if flow is not None:
        require_instance("flow", flow, Mapping, "a dict of options of ufm.flows.flow_batch")
    require(flow is None or ts is not None, "`flow` needs `ts`", flow)
    if solver is not None:
        require_instance("solver", solver, AbstractSolver, "a solver such as ufm.solvers.Newton()")
    alone = ts is None or (solver is None and tolerance is None)
    require(
        alone, "`ts` makes it a flow, which has no `solver` and no `tolerance`", solver or tolerance
    )
    memory = require_whole("memory", memory, most=2**63 - 1)
    if chunk is not None:
        chunk = require_whole("chunk", chunk)
    workers = worker_count(threads)
    devices = checked_devices(jax.local_devices() if devices is None else devices)
    times = None if ts is None else checked_times(ts)

    groups = groups_of(build, grid)
    if ts is None:
        solvers = [_checked_solver(group, solver) for group in groups]
    else:
        solvers = []
        for group in groups:
            _check_flow(group, flow or {})
    dtype = groups[0].problems.dtype
    require(
        all(group.problems.dtype == dtype for group in groups),
        "`make` must give problems of one dtype",
        [str(g.problems.dtype) for g in groups],
    )
    tolerance = gradient_tolerance(tolerance, dtype)
    on_cpu = devices[0].platform == "cpu"
    parallel = len(devices) == 1 and on_cpu and ts is None
    workers = threads_like_this(workers) if parallel else 1
    sizes = [_size(group, chunk, memory, workers, len(devices)) for group in groups]
    reports = [_report(group, certificates, metrics, keep) for group in groups]
    method = "flow" if ts is not None else type(solvers[0]).__name__.lower()
    chunks = chunks_of(groups, sizes)
    manifest = {
        "format": FORMAT,
        "ufm": __version__,
        "jax": jax.__version__,
        "dtype": str(dtype),
        "backend": devices[0].platform,
        "devices": len(devices),
        "method": method,
        "tolerance": tolerance,
        "definition": definition(
            grid,
            groups,
            key,
            solvers,
            tolerance,
            times,
            dict(flow or {}),
            [vars(report) for report in reports],
        ),
        "dims": grid.dims,
        "shape": grid.shape,
        "coordinates": describe(grid),
        "ts": None if times is None else times.tolist(),
        "sizes": sizes,
        "plan": planned(groups, chunks),
        "probe": probe(groups),
        "attrs": _ATTRIBUTES,
    }
    kept = None if store is None else Store.enter(store, manifest)
    if kept is not None:
        require_probed(kept, manifest["probe"])
        sizes = kept.manifest["sizes"]
        chunks = chunks_of(groups, sizes)
        assert planned(groups, chunks) == kept.manifest["plan"], (
            "equal definitions with equal sizes have equal chunks"
        )

    runners = [
        Flow(key, times, dict(flow or {}), reports[g], threads, devices, sizes[g])
        if times is not None
        else Minimise(
            key,
            solvers[g],
            tolerance,
            reports[g],
            devices,
            -(-sizes[g] // len(devices)) * len(devices),
        )
        for g in range(len(groups))
    ]
    work = Work(
        _runner(groups, runners, chunks, grid.seeds()),
        [len(p) for _, p in chunks],
        store=kept,
        threads=workers,
        progress=progress,
    )
    results = work.finish()
    data = dataset_of(manifest, results, Result.INTERRUPTED)
    data = data.assign_attrs(threads=workers, stored=work.found)
    return counted(data, seconds=time.monotonic() - began)


def open_sweep(path: str | os.PathLike, *, partial: bool = False) -> xarray.Dataset:
    """What a sweep has left in its store, as the dataset that `sweep` returned.

    `path`: the folder that was its `store`. `partial`: read a sweep that has not finished too; the
    lanes that are not there are NaN, with the code RUNNING. attrs as of `sweep`, with `seconds`
    summed over chunks.

    Raises `ValueError` where there is no store, one of another format, one that has not finished
    unless `partial`, and a file that holds anything but the results of its own lanes.
    """
    require_flag("partial", partial)
    store = Store.open(require_path("path", path), name="path")
    number = len(store.manifest["plan"])
    results = {
        chunk: arrays for chunk in range(number) if (arrays := store.read(chunk)) is not None
    }
    require(
        len(results) == number or partial,
        f"`partial` must be True for a sweep that has not finished: {len(results)} of {number} "
        f"chunks are there",
        partial,
    )
    seconds = float(sum(arrays["seconds"] for arrays in results.values()))
    return counted(dataset_of(store.manifest, results, Result.RUNNING), seconds=seconds)


def _runner(
    groups: Sequence[Group], runners: Sequence[Minimise | Flow], chunks, seeds: np.ndarray
) -> Callable[[int], Arrays]:
    """From the number of a chunk to its results, its lanes and its seconds.

    Each group is compiled once, by the first thread.
    """
    locks, compiled = [threading.Lock() for _ in groups], set()

    def part(g: int, places) -> Problem:
        return jax.tree.map(lambda leaf: leaf[groups[g].which[places]], groups[g].problems)

    def run(number: int) -> Arrays:
        g, places = chunks[number]
        with locks[g]:
            if g not in compiled:
                runners[g](part(g, places[:1]), seeds[:0])
                compiled.add(g)
        began = time.monotonic()
        lanes = groups[g].lanes[places]
        arrays = runners[g](part(g, places), seeds[lanes])
        return arrays | {"lane": lanes, "seconds": np.asarray(time.monotonic() - began)}

    return run


def _chosen(name: str, given: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Names that a user chose; `ValueError` for one that is not known."""
    require_instance(name, given, (tuple, list), f"a list of names, among {', '.join(known)}")
    for i, word in enumerate(given):
        require_choice(f"{name}[{i}]", word, known)
    return tuple(given)


def _checked_solver(group: Group, solver: AbstractSolver | None) -> AbstractSolver:
    """The solver of a group, once it is known to suit all its problems."""
    problems = group.problems
    require_minimum(problems, "a minimiser")
    return suitable_solver(problems, solver)


def _check_flow(group: Group, options: Mapping[str, Any]) -> None:
    require_smooth(group.problems, "a flow")
    require_decay(group.problems, "random starts of a flow")
    require(
        set(options) <= _FLOW_OPTIONS,
        f"`flow` may hold {', '.join(sorted(_FLOW_OPTIONS))}",
        sorted(set(options) - _FLOW_OPTIONS),
    )


def _report(
    group: Group, certificates: bool | None, metrics: tuple[str, ...], keep: tuple[str, ...]
) -> Report:
    possible = certifiable(group.problems)
    require(
        possible or not certificates,
        "`certificates` must not be True for problems without one (see ufm.certify)",
        certificates,
    )
    return Report(possible if certificates is None else certificates, metrics, keep)


def _size(group: Group, chunk: int | None, memory: int, workers: int, devices: int) -> int:
    """Lanes of a chunk.

    What memory and patience allow, and as many chunks as keep all workers busy to the end.
    """
    problem = group.one()
    K, C = problem.labels.num_classes, problem.labels.num_columns
    point = (
        sum(rows * columns for rows, columns in problem.weight_shapes) + problem.feature_dim * C + K
    )
    leaves = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(problem))
    bytes_each = leaves + problem.dtype.itemsize * (_VECTORS * point + 8 * K * C)
    most = memory // (bytes_each * workers)
    if chunk is None:
        patience = _SECONDS * 1e9 / (500 * point * K)
        chunk = int(min(max(patience, 1), _CHUNK)) * devices
    size = max(min(most, chunk, len(group.lanes)), 1)
    rounds = -(-len(group.lanes) // (size * workers))
    return -(-len(group.lanes) // (rounds * workers))
