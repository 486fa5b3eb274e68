"""Timing two contestants turn by turn, and reporting it.

As a table, and JSON with what is needed to judge the numbers.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@dataclass(frozen=True)
class Timing:
    """Median seconds of one run, by the wall and by the processor.

    Their quotient is about 1 on one undisturbed thread.
    """

    wall: float
    cpu: float

    def times(self, factor: float) -> Timing:
        """Of so many runs, or of a share of one."""
        return Timing(self.wall * factor, self.cpu * factor)


@dataclass(frozen=True)
class Row:
    """One comparison. `required`: the least ratio rival / ours that was promised, or None.

    `notes`: whatever explains the times, printed under the table. `data`: what figures are drawn
    from, in the file alone.
    """

    name: str
    rival_name: str
    ours: Timing
    rival: Timing
    required: float | None = None
    notes: dict = field(default_factory=dict)
    data: dict = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Seconds of the rival over ours, by the wall."""
        return self.rival.wall / self.ours.wall

    @property
    def cpu_ratio(self) -> float:
        """The same in processor time, which other users of the machine disturb less."""
        return self.rival.cpu / self.ours.cpu

    @property
    def met(self) -> bool | None:
        return None if self.required is None else self.ratio >= self.required

    def as_dict(self) -> dict:
        return asdict(self) | {"ratio": self.ratio, "cpu_ratio": self.cpu_ratio, "met": self.met}


# Calls, and seconds of them, before a small solve of ours is what it stays: its first 64 of a kind
# are drafts.
_CALLS, _SETTLING = 66, 2.0


def time_turns(
    contestants: Sequence[Sequence[Callable[[], object]]], *, repeats: int
) -> list[Timing]:
    """Median time of one call of each contestant, a list of calls (one per seed).

    They take turns, so that a disturbance of the machine meets all of them. Every call runs before,
    untimed, and one of each contestant's as often as it takes to be what a loop of them is.
    """
    for calls in contestants:
        for call in calls:
            call()
        ends = time.perf_counter() + _SETTLING
        for _ in range(_CALLS):
            if time.perf_counter() > ends:
                break
            calls[0]()
    return median_turns(contestants, repeats=repeats)


def median_turns(
    contestants: Sequence[Sequence[Callable[[], object]]], *, repeats: int
) -> list[Timing]:
    """The same of calls that have run before."""
    samples: list[list[tuple[float, float]]] = [[] for _ in contestants]
    for _ in range(repeats):
        for seed_calls in zip(*contestants, strict=True):
            for times, call in zip(samples, seed_calls, strict=True):
                wall, cpu = time.perf_counter(), time.process_time()
                call()
                times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return [
        Timing(
            wall=statistics.median(w for w, _ in times), cpu=statistics.median(c for _, c in times)
        )
        for times in samples
    ]


def first_call(call: Callable[[], object]) -> float:
    """Seconds of a call that has to compile."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def environment(threads: dict[str, str]) -> dict:
    """Machine, versions and thread settings, without names of hosts or users."""
    ours = ("jax", "jaxlib", "numpy", "scipy", "equinox", "diffrax", "optax")
    packages = (*ours, "torch", "cvxpy", "pymanopt")
    return {
        "date": datetime.date.today().isoformat(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {name: number for name in packages if (number := _version(name)) is not None},
        "threads": {name: os.environ.get(name) for name in threads},
        "dtype": "float64",
    }


def number_of(environment: dict, environments: list[dict]) -> int:
    """Its place among those of a file, which takes it up where it is new.

    A file whose rows come from several runs says of each row in which environment it was measured.
    """
    if environment not in environments:
        environments.append(environment)
    return environments.index(environment)


def describe(environment: dict) -> str:
    """The environment in a few lines."""
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items())
    load = environment["load_average"]
    return (
        f"{environment['processor']}, {environment['cores']} cores, float64"
        f"{'' if load is None else f', load {load:.1f}'}\n"
        f"Python {environment['python']}, {versions}"
    )


def table(rows: Sequence[Row]) -> str:
    """One line a row: times in milliseconds, ratios rival / ours by wall and by processor time."""
    heads = ("ours", "rival", "ours ms", "rival ms", "ratio", "cpu ratio", "required", "met")
    lines: list[tuple[str, ...]] = [heads]
    for row in rows:
        required = "" if row.required is None else f"{row.required:g}"
        met = {None: "", True: "yes", False: "NO"}[row.met]
        times = (
            f"{1e3 * row.ours.wall:.3g}",
            f"{1e3 * row.rival.wall:.3g}",
            f"{row.ratio:.1f}",
            f"{row.cpu_ratio:.1f}",
        )
        lines.append((row.name, row.rival_name, *times, required, met))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(
            cell.ljust(w) if i < 2 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    notes = [
        f"{row.name}: " + ", ".join(f"{key} {_short(value)}" for key, value in row.notes.items())
        for row in rows
        if row.notes
    ]
    return "\n".join([*text, "", *notes])


def write_json(path: str, content: dict) -> None:
    """The file appears whole or not at all."""
    # imports NumPy, which reads its number of threads once
    from ufm._system.files import write_whole

    write_whole(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def _short(value) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_short, value)) + "]"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _version(package: str) -> str | None:
    """None for a rival that is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
