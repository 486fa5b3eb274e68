"""Who works on stacked lanes: several devices, or several threads of one."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, TypeVar

import jax
import numpy as np

from ufm._validate import MOST_THREADS, float_dtype, require, require_instance, require_whole

# How an argument is held: a share of its leading axis on each device, or all of it on every one.
SHARED, SAME = jax.sharding.PartitionSpec("lanes"), jax.sharding.PartitionSpec()

Block = TypeVar("Block")
Done = TypeVar("Done")


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


def run_blocks(
    run: Callable[[Block], Done],
    blocks: Sequence[Block],
    workers: int,
    keep: Callable[[int, Done], None],
) -> None:
    """The one loop over blocks of problems, in threads where there are several workers.

    Parameters
    ----------
    run
        From a block to anything, in any thread (see `Programs` for what must be compiled).
    blocks
        What is to be done.
    workers
        Threads that run at a time.
    keep
        Is told the number of a block and what `run` made of it, by the thread that called, in the
        order in which they end. What threads are at when Ctrl-C or an error comes is kept too; it
        may be told twice of one block then.
    """
    workers = threads_like_this(min(workers, len(blocks)))
    if workers <= 1:
        for number, block in enumerate(blocks):
            keep(number, run(block))
        return
    with ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(run, block): number for number, block in enumerate(blocks)}
        try:
            for future in as_completed(futures):
                keep(futures[future], future.result())
                # (what is kept elsewhere needs no place here)
                del futures[future]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            for future, number in futures.items():
                if not future.cancelled() and future.exception() is None:
                    keep(number, future.result())
            raise


class Programs:
    """Who compiles what threads share: the first that needs it, while the others wait."""

    def __init__(self):
        self._locks: dict[Hashable, threading.Lock] = {}
        self._compiled: set[Hashable] = set()

    @contextlib.contextmanager
    def alone_at_first(self, program: Hashable) -> Iterator[bool]:
        """A context of one thread until it has been left once, then of any number of them.

        Parameters
        ----------
        program
            What it compiles. (A wrong memory of that costs time only.)

        Yields
        ------
        bool
            Whether the program is still to be compiled.
        """
        if program not in self._compiled:
            # (`setdefault` is atomic)
            with self._locks.setdefault(program, threading.Lock()):
                if program not in self._compiled:
                    yield True
                    self._compiled.add(program)
                    return
        yield False


def worker_count(threads: int | None, *, name: str = "threads") -> int:
    """Threads that the user wants, or as many as there are cores for this process."""
    if threads is not None:
        return require_whole(name, threads, most=MOST_THREADS)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_like_this(wanted: int) -> int:
    """`wanted`, or 1 where another thread would have another dtype.

    `with jax.enable_x64():` and the like hold for one thread only.
    """
    if wanted <= 1:
        return wanted
    with ThreadPoolExecutor(1) as pool:
        return wanted if pool.submit(float_dtype).result() == float_dtype() else 1
