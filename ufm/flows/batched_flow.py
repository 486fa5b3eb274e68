"""`flow_batch`: many flows over seeds, λ, targets and masses, in lockstep blocks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from ufm._programs.outside import SWEEP, on_the_host
from ufm._system.progress import Progress
from ufm._validate import options_of, require_flag, require_instance
from ufm.batch.execution import Execution
from ufm.batch.executor import SAME, SHARED, Programs, devices_of, run_blocks, shared_out
from ufm.batch.stacked import lanes_of, shapes_of
from ufm.flows.batches import checked_batch
from ufm.flows.central_path import check_path, check_state
from ufm.flows.gradient_flow import velocity_of
from ufm.flows.integrate import integrate_block
from ufm.flows.options import Flow, Integration, checked_times, path_of, record_of
from ufm.flows.settings import checked_options, checked_settings
from ufm.flows.velocity import AbstractVelocity
from ufm.model import Params, Problem
from ufm.solution import Result, Trajectory
from ufm.solvers.descent import blank_rows

# Flows that step in lockstep. On a CPU one at a time is all overhead of small operations, and all
# at once wait for the slowest and leave the cache: of 1, 4, 8, 16, 32, 128 and 256 flows the best
# were 16 and 32. An accelerator wants them all.
_BLOCK_ON_CPU = 32
# Arrays of the size of a point that an integrator holds for each flow.
_VECTORS = 20
_PROGRAMS = Programs()


@on_the_host(SWEEP)
def flow_batch(
    problems: Problem | Sequence[Problem],
    flow: Flow,
    *,
    keys: Key[Array, " B"] | None = None,
    starts: Params | Sequence[Params] | None = None,
    execution: Execution | None = None,
    progress: bool | None = None,
) -> Trajectory:
    """Many flows in one call: over seeds, λ, targets, masses, anything but shapes.

    Each is the flow of `flow`, with steps of its own.

    Parameters
    ----------
    problems
        B problems of equal shapes, or one for all.
    flow
        A `Flow`: times, path, what is recorded and how exactly, the same for all.
    keys
        (B,), random starts, as from `jax.random.split`.
    starts
        Instead of them B points, or a `Params` whose leaves are stacked.
    execution
        An `Execution`. On a CPU blocks of at most 32 flows run in its threads; its `memory` is for
        what a block integrates and records, observables left out.
    progress
        As for `minimise`.

    Returns
    -------
    Trajectory
        Every leaf has a leading axis B: `results` tells how each flow ended, `run(i)` is one of
        them. There is no `polish`. Ctrl-C returns the flows that are finished; the others are NaN
        and INTERRUPTED, and their `final` is their start.

    Raises
    ------
    ValueError
        As `flow` does, and for problems of different shapes or numbers that disagree.
    """
    require_instance("flow", flow, Flow, "a ufm.flows.Flow")
    execution = options_of(Execution, execution, name="execution")
    require_flag("progress", progress, optional=True)
    times, path, record = checked_times(flow.ts), path_of(flow.path), record_of(flow.observables)
    problem, points, number = checked_batch(problems, keys, starts)
    first, _ = lanes_of((problem, points), 0)
    velocity = velocity_of(first, path)
    integration = options_of(Integration, flow.integration, name="Flow.integration")
    settings = checked_settings(first, integration)
    if path.name != "gradient":
        for i in range(number):
            one, point = lanes_of((problem, points), i)
            check_path(one, path.name)
            check_state(one, velocity, velocity.state_of(one, point))
    options = checked_options(integration, record)

    devices, on_cpu = devices_of(execution.devices)
    instants = jnp.asarray(times, first.dtype)
    work = _Work(problem, points, velocity, instants, settings, options, devices)
    share = -(-number // len(devices))
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(lanes_of(points, 0)))
    bytes_each = size * (_VECTORS + len(times) * record.keep_params)
    best = _BLOCK_ON_CPU if on_cpu else share
    block = min(execution.together(best, bytes_each), share) * len(devices)
    # several devices have all cores at work by themselves
    workers = execution.workers if on_cpu and len(devices) == 1 else 1
    saved, final, codes, steps = work.done(number, block, workers, progress)
    return Trajectory(
        problem=jax.device_put(problem),
        ts=jnp.broadcast_to(instants, (number, len(times))),
        value=saved["value"],
        params=saved["params"],
        observables=saved["observables"],
        final=final,
        code=codes,
        num_steps=steps,
    )


@dataclass(frozen=True)
class _Work:
    """Stacked problems and points, and what is the same for all of their flows."""

    problem: Problem
    points: Params
    velocity: AbstractVelocity
    instants: Array
    settings: Any
    options: Any
    devices: tuple[Any, ...]

    def done(self, number: int, block: int, workers: int, progress: bool | None) -> tuple:
        """All flows, in blocks.

        Parameters
        ----------
        number
            How many there are.
        block
            How many go together.
        workers
            Threads.
        progress
            As for `flow_batch`.

        Returns
        -------
        tuple
            What `integrate_block` gives; after Ctrl-C, of the flows that are left, their starts.
        """
        # the last block is filled up by repeating the last flow: all share one compilation
        blocks = [
            np.minimum(np.arange(at, at + block), number - 1) for at in range(0, number, block)
        ]
        outs: dict[int, tuple] = {}
        bar = Progress("flow_batch", total=number, show=progress)

        def keep(i: int, out: tuple) -> None:
            outs[i] = out
            bar.update(min(len(outs) * block, number))

        try:
            run_blocks(self._integrated, blocks, workers, keep)
        except KeyboardInterrupt:
            left = [i for i in range(len(blocks)) if i not in outs]
            outs |= {i: self._interrupted(blocks[i]) for i in left}
        finally:
            bar.close()
        in_order = (outs[i] for i in range(len(blocks)))
        stacked = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:number], *in_order)
        return jax.device_put(stacked)

    def _integrated(self, lanes: np.ndarray) -> tuple:
        chosen, start = lanes_of((self.problem, self.points), lanes)
        signature = (
            shapes_of((chosen, start, self.instants)),
            jax.tree.structure((self.velocity, self.settings)),
            self.options,
            self.devices,
        )
        program = integrate_block if len(self.devices) == 1 else _shared_block(self.devices)
        with _PROGRAMS.alone_at_first(signature), jax.default_device(self.devices[0]):
            return jax.device_get(
                program(chosen, self.velocity, start, self.instants, self.settings, self.options)
            )

    def _interrupted(self, lanes: np.ndarray) -> tuple:
        """Flows that stay at their start."""
        chosen, start = lanes_of((self.problem, self.points), lanes)
        rows = jax.eval_shape(
            lambda: integrate_block(
                chosen, self.velocity, start, self.instants, self.settings, self.options
            )[0]
        )
        codes = np.full(len(lanes), int(Result.INTERRUPTED))
        return blank_rows(rows), start, codes, np.zeros(len(lanes), int)


@functools.lru_cache(maxsize=16)
def _shared_block(devices: tuple[Any, ...]) -> Callable:
    """`integrate_block` on several devices.

    Each has its share of the lanes, in lockstep among themselves.
    """

    def program(chosen, velocity, start, instants, settings, options):
        """A block of flows shared out to the devices.

        Parameters
        ----------
        chosen, start
            Problems and starts, lanes first.
        velocity, instants, settings, options
            The same for all.

        Returns
        -------
        tuple
            What `integrate_block` gives.
        """
        block = functools.partial(integrate_block, options=options)
        return shared_out(block, devices, (SHARED, SAME, SHARED, SAME, SAME))(
            chosen, velocity, start, instants, settings
        )

    return jax.jit(program, static_argnames="options")
