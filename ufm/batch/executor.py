"""Who works on stacked lanes: several devices, or several threads of one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from ufm._progress import Progress
from ufm._validate import MOST_THREADS, float_dtype, require, require_instance, require_whole

# How an argument is held: a share of its leading axis on each device, or all of it on every one.
SHARED, SAME = jax.sharding.PartitionSpec("lanes"), jax.sharding.PartitionSpec()


def shared_out(function: Callable, devices: Sequence[Any], specs: tuple) -> Callable:
    """A function of arguments on several devices, whose results are all SHARED.

    No word passes between the devices.

    Parameters
    ----------
    function
        Of arrays with a leading axis of lanes.
    devices
        Which share the lanes out.
    specs
        How each argument is held.

    Returns
    -------
    Callable
        The function, mapped.
    """
    mesh = jax.sharding.Mesh(np.asarray(devices), ("lanes",))
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=SHARED, check_vma=False)


def devices_of(devices: Sequence[Any] | None) -> tuple[tuple[Any, ...], bool]:
    """The devices to use, and whether they are CPUs."""
    if devices is None:
        devices = jax.local_devices()
        # its threads have all cores at work, and a second device would be another compilation
        devices = devices[:1] if devices[0].platform == "cpu" else devices
    devices = checked_devices(devices)
    return devices, devices[0].platform == "cpu"


def checked_devices(devices: Sequence[Any], *, name: str = "devices") -> tuple[Any, ...]:
    """The devices that a user gave.

    `ValueError` unless they are devices of JAX, and at least one.
    """
    require_instance(name, devices, (tuple, list), "a list of devices, as of jax.devices()")
    for i, device in enumerate(devices):
        require_instance(f"{name}[{i}]", device, jax.Device, "a device, as of jax.devices()")
    require(len(devices) >= 1, f"`{name}` must hold at least one", devices)
    return tuple(devices)


def run_blocks(run, blocks, workers: int, bar: Progress, *, compiled: bool) -> list:
    """What `run` makes of the blocks, in their order.

    Parameters
    ----------
    run
        From a block to anything.
    blocks
        Each a range of whole numbers.
    workers
        Threads that run at a time.
    bar
        Is told how far it is, and closed.
    compiled
        Whether the program is there already; else the first block runs alone, as threads would all
        compile it.

    Returns
    -------
    list
        Fewer of them after Ctrl-C.
    """
    outs = []
    workers = threads_like_this(workers)
    pool = ThreadPoolExecutor(workers)
    try:
        # the first block alone where it must be compiled: threads would all compile it
        alone = len(blocks) if workers == 1 else 0 if compiled else 1
        futures = []
        for i, lanes in enumerate(blocks):
            if i == alone:
                futures = [pool.submit(run, rest) for rest in blocks[alone:]]
            outs.append(run(lanes) if i < alone else futures[i - alone].result())
            bar.update(int(lanes[-1]) + 1)
    except KeyboardInterrupt:
        pass
    finally:
        pool.shutdown(cancel_futures=True)
        bar.close()
    return outs


def worker_count(threads: int | None, *, name: str = "threads") -> int:
    """Threads that the user wants, or as many as there are cores for this process."""
    if threads is not None:
        return require_whole(name, threads, most=MOST_THREADS)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_like_this(wanted: int) -> int:
    """`wanted`, or 1 where another thread would have another dtype.

    `with jax.enable_x64():` and the like hold for one thread only.
    """
    if wanted == 1:
        return 1
    with ThreadPoolExecutor(1) as pool:
        return wanted if pool.submit(float_dtype).result() == float_dtype() else 1
