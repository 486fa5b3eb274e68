"""`Execution`: who works on many problems, and how many of them at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ufm._validate import require_whole
from ufm.batch.executor import checked_devices, worker_count

_MEMORY = 2**28


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Who works on many problems, and how many of them at a time.

    Parameters
    ----------
    threads
        Of a CPU that is one device; as many as there are cores for this process unless given.
    devices
        What the problems are shared out to; those of this process unless given (`flow_batch` takes
        the first of several CPUs).
    memory
        Bytes that the problems in flight may take, …
    chunk
        … of which at most so many are worked on together; what is fast unless given.

    Raises
    ------
    ValueError
        For numbers < 1, and devices that JAX does not have.
    """

    threads: int | None = None
    devices: Sequence[Any] | None = None
    memory: int = _MEMORY
    chunk: int | None = None

    def __post_init__(self):
        worker_count(self.threads, name="Execution.threads")
        if self.devices is not None:
            checked_devices(self.devices, name="Execution.devices")
        require_whole("Execution.memory", self.memory, most=2**63 - 1)
        if self.chunk is not None:
            require_whole("Execution.chunk", self.chunk)

    @property
    def workers(self) -> int:
        """Threads."""
        return worker_count(self.threads)

    def together(self, best: int, bytes_each: int) -> int:
        """How many problems are worked on together, `best` unless the user says otherwise.

        Parameters
        ----------
        best
            How many are fast.
        bytes_each
            What one of them takes.

        Returns
        -------
        int
            At least one.
        """
        chunk = best if self.chunk is None else self.chunk
        return max(min(chunk, self.memory // max(bytes_each, 1)), 1)
