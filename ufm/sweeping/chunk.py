"""One chunk of lanes that are minimised.

From problems and keys to arrays of numbers, compiled once for each shape, sharded over devices.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from ufm.batch.executor import SAME, SHARED, shared_out
from ufm.batch.fastest import fastest
from ufm.model import (
    Problem,
)
from ufm.solvers.draws import Drawn, draws_of_seeds
from ufm.solvers.lanes import layouts, minimise_lanes, place_lanes, start_lanes, widened
from ufm.solvers.narrowing import narrowed
from ufm.solvers.newton.lanes import LaneResults
from ufm.solvers.solver import AbstractSolver
from ufm.sweeping.looks import Arrays, measured
from ufm.sweeping.options import Report

# By itself XLA keeps to vectors of 256 bits, also on processors that have longer ones: a solve took
# a fourth longer.
_COMPILER = {"cpu": {"xla_cpu_prefer_vector_width": 512}}


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
