"""What is paid before the first answer.

Importing, compiling, and what the cache of compiled programs saves.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

from tests.benchmarks.harness import Row, Timing

# One problem solved twice in a new process: the difference of the two calls is compilation.
_SOLVE = """
import time, jax
jax.config.update("jax_enable_x64", True)
import ufm
labels, decay = ufm.one_hot([100] * 10), {"lambda_W": 5e-4, "lambda_H": 5e-4}
problem = ufm.Problem(labels, loss=ufm.CrossEntropy(), widths=(64,), **decay, bias="free")
for _ in range(2):
    began = time.perf_counter()
    jax.block_until_ready(ufm.minimise(problem, key=jax.random.key(0), progress=False).params)
    print(time.perf_counter() - began)
"""


def rows(*, repeats: int) -> list[Row]:
    """Each in new processes; ours is the row's name, the rival what the row compares it with."""
    result = []
    # `import ufm` alone loads nothing before a name is asked for
    if _runs("import torch"):
        result.append(
            Row(
                "python -c 'import ufm; ufm.minimise'",
                "python -c 'import torch'",
                _timed("import ufm; ufm.minimise", repeats),
                _timed("import torch", repeats),
            )
        )
    result.append(
        Row(
            "python -m theory_checks --help",
            "python -c 'import jax'",
            _module_help(repeats),
            _timed("import jax", repeats),
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        cache = {
            "JAX_COMPILATION_CACHE_DIR": folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        cold, warm = _solve({}, repeats)
        _solve(cache, 1)
        cached, _ = _solve(cache, repeats)
    notes = {"second call s": warm.wall}
    result.append(
        Row(
            "first minimise of a process, cache",
            "first minimise, no cache",
            cached,
            cold,
            notes=notes,
        )
    )
    result.append(Row("second minimise", "first minimise, no cache", warm, cold))
    return result


def _runs(code: str) -> bool:
    return (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode
        == 0
    )


def _timed(code: str, repeats: int) -> Timing:
    return _process([sys.executable, "-c", code], repeats)


def _module_help(repeats: int) -> Timing:
    return _process([sys.executable, "-m", "theory_checks", "--help"], repeats)


def _process(command: list[str], repeats: int) -> Timing:
    walls = []
    for _ in range(repeats):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        walls.append(time.perf_counter() - began)
    # the processor time of a child is not this process's: the wall stands for both
    return Timing(statistics.median(walls), statistics.median(walls))


def _solve(settings: dict[str, str], repeats: int) -> tuple[Timing, Timing]:
    """First and second call of a process, medians."""
    pairs = []
    for _ in range(repeats):
        done = subprocess.run(
            [sys.executable, "-c", _SOLVE],
            env=os.environ | settings,
            check=True,
            capture_output=True,
            text=True,
        )
        pairs.append([float(line) for line in done.stdout.split()])
    first, second = (statistics.median(times) for times in zip(*pairs, strict=True))
    return Timing(first, first), Timing(second, second)
