"""`sweep`: thousands of problems in one call, batched, on all cores and devices, kept on disk as
they come; `open_sweep` reads them."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from ufm._validate import options_of, require, require_flag, require_key, require_path
from ufm.batch.execution import Execution
from ufm.batch.executor import Programs
from ufm.flows import Flow
from ufm.model import Problem
from ufm.solution import Result
from ufm.solvers.solver import AbstractSolver
from ufm.sweeping.dataset import counted, dataset_of
from ufm.sweeping.definition import planned, require_probed
from ufm.sweeping.grid import grid_of
from ufm.sweeping.looks import Arrays
from ufm.sweeping.options import Minimisation, Report, method_of
from ufm.sweeping.plan import Plan, plan_of
from ufm.sweeping.store import Store
from ufm.sweeping.work import Work

if TYPE_CHECKING:
    import xarray


def sweep(
    make: Callable[..., Problem] | Problem | Sequence[Problem],
    over: Mapping[str, Iterable] | Sequence[Mapping[str, Any]],
    *,
    key: PRNGKeyArray,
    method: AbstractSolver | Minimisation | Flow | None = None,
    report: Report | None = None,
    store: str | os.PathLike | None = None,
    execution: Execution | None = None,
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
    method
        What is done at each point: minimised by `minimise`'s own choice of a solver, unless given;
        by this solver; a `Minimisation` with a solver and a tolerance; or a `Flow`, followed to its
        times.
    report
        A `Report`: certificates (given wherever there can be one), metrics, and what is kept.
    store
        A folder that keeps each chunk once it is done, whole or not at all; see the notes.
    execution
        An `Execution`: threads (chunks at a time on a CPU that is one device), devices, each with
        its share of a chunk, and memory; a chunk is as many lanes as that allows, at most `chunk`
        of them.
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
        For what cannot be swept, a swept name that the dataset has for what it reports, what
        `make`, `minimise` and `flow_batch` refuse, a store of another sweep, and a file of a store
        that holds anything but the results of its own lanes, to the last bit.

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

    With `Newton`, a one-layer problem is solved with no more dimensions than are of use, as by
    `minimise`. On a CPU, small ones are solved by the lanes of `ufm/solvers/newton/lanes.py`,
    of which each has the steps of `Newton`, up to rounding; up to 32 of a shape one by one unless
    `execution` has a `chunk`, as programs for many take seconds to compile.
    """
    began = time.monotonic()
    build, grid = grid_of(make, over)
    require_key("key", key)
    require_flag("progress", progress, optional=True)
    if store is not None:
        store = require_path("store", store)
    plan = plan_of(
        build,
        grid,
        key,
        method=method_of(method),
        report=options_of(Report, report, name="report"),
        execution=options_of(Execution, execution, name="execution"),
    )
    # (what else tells of a name than who makes problems of it?)
    manifest: dict[str, Any] = plan.manifest() | {"long_names": getattr(make, "long_names", {})}
    kept = None if store is None else Store.enter(store, manifest)
    if kept is not None:
        require_probed(kept, manifest["probe"])
        plan = dataclasses.replace(plan, sizes=tuple(kept.manifest["sizes"]))
        assert planned(plan.groups, plan.chunks) == kept.manifest["plan"], (
            "equal definitions with equal sizes have equal chunks"
        )
    work = Work(
        _runner(plan, plan.runners()),
        [len(places) for _, places in plan.chunks],
        store=kept,
        threads=plan.workers,
        progress=progress,
    )
    results = work.finish()
    data = dataset_of(manifest, results, Result.INTERRUPTED)
    data = data.assign_attrs(threads=plan.workers, stored=work.found)
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
    plan: Plan, runners: Sequence[Callable[[Problem, np.ndarray], Arrays]]
) -> Callable[[int], Arrays]:
    """From the number of a chunk to its results, its lanes and its seconds.

    Each group is compiled once, by the first thread.
    """
    groups, chunks, seeds = plan.groups, plan.chunks, plan.grid.seeds()
    programs = Programs()

    def part(g: int, places) -> Problem:
        return jax.tree.map(lambda leaf: leaf[groups[g].which[places]], groups[g].problems)

    def run(number: int) -> Arrays:
        g, places = chunks[number]
        with programs.alone_at_first(g) as first:
            if first:
                runners[g](part(g, places[:1]), seeds[:0])
        began = time.monotonic()
        lanes = groups[g].lanes[places]
        arrays = runners[g](part(g, places), seeds[lanes])
        return arrays | {"lane": lanes, "seconds": np.asarray(time.monotonic() - began)}

    return run
