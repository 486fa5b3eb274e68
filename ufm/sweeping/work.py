"""Who works on the chunks of a sweep.

Threads of this process, other processes over its store, or those of a `jax.distributed` job.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable

import jax
import numpy as np

from ufm._system.progress import Progress
from ufm.batch.executor import run_blocks
from ufm.sweeping.looks import Arrays
from ufm.sweeping.store import Store

# Seconds between looks at chunks that other processes are working on.
_POLL = 0.2


class Work:
    """Chunks to be done. `run`: chunk number → its results.

    `lanes`: how many lanes each chunk has.
    """

    def __init__(
        self,
        run: Callable[[int], Arrays],
        lanes: list[int],
        *,
        store: Store | None,
        threads: int,
        progress: bool | None,
    ):
        self.run, self.lanes, self.store, self.threads = run, lanes, store, threads
        self.results: dict[int, Arrays] = {}
        self.interrupted = False
        self.bar = Progress("sweep", total=sum(lanes), show=progress)
        self.began = time.monotonic()
        self.found = 0

    def finish(self) -> dict[int, Arrays]:
        """Do what is left to do; after Ctrl-C, fewer chunks and `interrupted`."""
        mine = range(jax.process_index(), len(self.lanes), jax.process_count())
        try:
            if self.store is not None:
                for chunk in mine:
                    self._keep(chunk, self.store.read(chunk))
            self.found = sum(self.lanes[chunk] for chunk in self.results)
            while left := [chunk for chunk in mine if chunk not in self.results]:
                before = len(self.results)
                run_blocks(
                    self._do,
                    left,
                    self.threads,
                    lambda i, arrays, to=left: self._keep(to[i], arrays),
                )
                if len(self.results) == before:
                    time.sleep(_POLL)
        except KeyboardInterrupt:
            self.interrupted = True
            # the others would wait for ever for this process's part
            if jax.process_count() > 1:
                raise
        finally:
            self.bar.close()
        if jax.process_count() > 1:
            self.results = _exchanged(self.results)
        return self.results

    def _do(self, chunk: int) -> Arrays | None:
        """The results of a chunk; None for one that somebody else is working on."""
        if self.store is None:
            return self.run(chunk)
        with self.store.claim(chunk) as free:
            if free:
                arrays = self.run(chunk)
                self.store.write(chunk, arrays)
                return arrays
        return self.store.read(chunk)

    def _keep(self, chunk: int, arrays: Arrays | None) -> None:
        if arrays is None or chunk in self.results:
            return
        self.results[chunk] = arrays
        done = sum(self.lanes[c] for c in self.results)
        rate = (done - self.found) / max(time.monotonic() - self.began, 1e-9)
        self.bar.update(done, f"{rate:.3g} a second" if self.found < done else "")


def _exchanged(results: dict[int, Arrays]) -> dict[int, Arrays]:
    """The results of all processes of a `jax.distributed` job."""
    from jax.experimental import multihost_utils

    payload = np.frombuffer(pickle.dumps(results), np.uint8)
    sizes = np.ravel(multihost_utils.process_allgather(np.asarray([payload.size])))
    padded = np.zeros(sizes.max(), np.uint8)
    padded[: payload.size] = payload
    everything = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(sizes), -1)
    merged: dict[int, Arrays] = {}
    for row, size in zip(everything, sizes, strict=True):
        merged |= pickle.loads(row[:size].tobytes())
    return merged
