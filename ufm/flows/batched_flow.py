"""`flow_batch`: many flows over seeds, λ, targets and masses, in lockstep blocks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from ufm._outside import SWEEP, on_the_host
from ufm._progress import Progress
from ufm._validate import (
    options_of,
    require,
    require_flag,
    require_instance,
    require_key,
    require_one_of,
)
from ufm.batch.execution import Execution
from ufm.batch.executor import (
    SAME,
    SHARED,
    Programs,
    devices_of,
    run_blocks,
    shared_out,
)
from ufm.batch.stacked import lanes_of, shapes_of, stack
from ufm.flows.central_path import check_path, check_state
from ufm.flows.gradient_flow import velocity_of
from ufm.flows.integrate import (
    blank_rows,
    checked_options,
    checked_settings,
    integrate_block,
)
from ufm.flows.options import Flow, Integration, checked_times, path_of, record_of
from ufm.model import Params, Problem, check_params, require_decay, require_smooth
from ufm.solution import Result, Trajectory
from ufm.solvers.start import random_start

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
    problem, points, number = _checked_batch(problems, keys, starts)
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
    share = -(-number // len(devices))
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(lanes_of(points, 0)))
    bytes_each = size * (_VECTORS + len(times) * record.keep_params)
    best = _BLOCK_ON_CPU if on_cpu else share
    block = min(execution.together(best, bytes_each), share) * len(devices)
    # the last block is filled up by repeating the last flow: all blocks share one compilation
    blocks = [np.minimum(np.arange(at, at + block), number - 1) for at in range(0, number, block)]
    instants = jnp.asarray(times, first.dtype)

    signature = (
        shapes_of((problem, points)),
        len(times),
        block,
        jax.tree.structure((velocity, settings)),
        options,
        devices,
    )
    outs: dict[int, tuple] = {}
    bar = Progress("flow_batch", total=number, show=progress)

    def run(lanes):
        chosen, start = lanes_of((problem, points), lanes)
        program = integrate_block if len(devices) == 1 else _shared_block(devices)
        with _PROGRAMS.alone_at_first(signature), jax.default_device(devices[0]):
            return jax.device_get(program(chosen, velocity, start, instants, settings, options))

    def keep(i, out):
        outs[i] = out
        bar.update(min(len(outs) * block, number))

    # several devices have all cores at work by themselves
    workers = execution.workers if on_cpu and len(devices) == 1 else 1
    try:
        run_blocks(run, blocks, workers, keep)
    except KeyboardInterrupt:
        rows = blank_rows(
            _shapes_of_rows(problem, points, blocks[0], velocity, instants, settings, options)
        )
        codes, steps = np.full(block, int(Result.INTERRUPTED)), np.zeros(block, int)
        for i, lanes in enumerate(blocks):
            outs.setdefault(i, (rows, lanes_of(points, lanes), codes, steps))
    finally:
        bar.close()
    saved, final, codes, steps = jax.tree.map(
        lambda *leaves: jnp.asarray(np.concatenate(leaves)[:number]),
        *(outs[i] for i in range(len(blocks))),
    )
    return Trajectory(
        problem=jax.tree.map(jnp.asarray, problem),
        ts=jnp.broadcast_to(instants, (number, len(times))),
        value=saved["value"],
        params=saved["params"],
        observables=saved["observables"],
        final=final,
        code=codes,
        num_steps=steps,
    )


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


def _shapes_of_rows(problem, points, lanes, *rest):
    """The rows of one block, as shapes."""
    chosen, start = lanes_of((problem, points), lanes)
    velocity, instants, settings, options = rest
    return jax.eval_shape(
        lambda: integrate_block(chosen, velocity, start, instants, settings, options)[0]
    )


def _checked_batch(problems, keys, starts) -> tuple[Problem, Params, int]:
    """Problems and points, each stacked on the host, and how many there are."""
    require_one_of(keys=keys, starts=starts)
    require_instance(
        "problems", problems, (Problem, tuple, list), "a ufm.Problem or a list of them"
    )
    singles = [problems] if isinstance(problems, Problem) else list(problems)
    require(len(singles) >= 1, "`problems` must hold at least one problem", singles)
    for i, problem in enumerate(singles):
        require_instance(f"problems[{i}]", problem, Problem)
        require_smooth(problem, "a flow")
    shapes = shapes_of(singles[0])
    for i, problem in enumerate(singles):
        require(
            shapes_of(problem) == shapes,
            f"`problems[{i}]` must have the shapes, loss and kind of bias of the first",
            problem,
        )
    if keys is not None:
        require_instance("keys", keys, jax.Array, "keys of shape (B,), as from jax.random.split")
        require_key("keys", keys, shape=(np.size(keys),))
        number = len(keys)
    elif isinstance(starts, Params):
        number = np.shape(starts.features)[0] if np.ndim(starts.features) == 3 else 0
    else:
        require_instance(
            "starts", starts, (tuple, list), "a list of ufm.Params, or one with stacked leaves"
        )
        for i, start in enumerate(starts):
            require_instance(f"starts[{i}]", start, Params)
        number = len(starts)
    require(
        number >= 1, "`keys` or `starts` must hold at least one, stacked on a leading axis", number
    )
    require(
        len(singles) in (1, number),
        f"`problems` must be one, or as many as there are starts, {number}",
        len(singles),
    )
    stacked = (
        stack(singles)
        if len(singles) == number
        else jax.tree.map(
            lambda leaf: np.broadcast_to(np.asarray(leaf), (number, *np.shape(leaf))), singles[0]
        )
    )
    if keys is not None:
        for problem in singles:
            require_decay(problem, "random starts; pass `starts`")
        points = jax.vmap(lambda problem, key: random_start(problem, key=key))(
            jax.tree.map(jnp.asarray, stacked), keys
        )
    else:
        points = starts if isinstance(starts, Params) else stack(starts)
    return stacked, _checked_points(singles[0], jax.device_get(points), number), number


def _checked_points(problem: Problem, points: Params, number: int) -> Params:
    """Stacked points: the first as `check_params` wants it, the others of its shapes, all
    finite."""
    check_params(problem, lanes_of(points, 0), name="starts[0]")
    for leaf in jax.tree.leaves(points):
        require(
            len(leaf) == number,
            f"`starts` must have {number} points on the leading axis of every leaf",
            np.shape(leaf),
        )
        require(np.all(np.isfinite(leaf)), "`starts` must be finite", "NaN or infinity")
    return points
