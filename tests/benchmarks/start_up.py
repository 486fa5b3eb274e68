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


# What a script's author waits for, stage by stage; scipy's script does the first two.
_COLD = """
import time
began = time.perf_counter()
def lap():
    global began
    now = time.perf_counter()
    print(now - began)
    began = now
import jax
jax.config.update("jax_enable_x64", True)
import ufm
decay = {"lambda_W": 1e-3, "lambda_H": 1e-3}
def problem(K, d):
    labels = ufm.one_hot([100] * K, collapsed=True)
    return ufm.Problem(labels, loss=ufm.CrossEntropy(), widths=(d,), **decay)
def solve(K, d):
    return ufm.minimise(problem(K, d), key=jax.random.key(0), progress=False)
solution = solve(4, 8)
assert solution.result == ufm.Result.CONVERGED
lap()
assert ufm.certify(solution.problem, solution.params).closes(1e-9)
lap()
ufm.measure(solution)
lap()
solve(5, 8)
lap()
solve(4, 9)
lap()
"""
_STAGES = ("import and minimise", "certify", "measure", "a new K", "a new d")
_COLD_RIVAL = """
import numpy as np
from tests.benchmarks.long_tail_rival import LongTailCrossEntropy, lbfgs
rival = LongTailCrossEntropy((100,) * 4, 8, 1e-3)
x0 = 0.1 * np.random.default_rng(0).standard_normal(64)
# as far as it comes; ours is at 1e-13
assert rival.gap(lbfgs(rival, x0, 200).x) < 1e-7
"""
# The user's settings must not make a cold process warm.
_NO_CACHE = {"JAX_ENABLE_COMPILATION_CACHE": "false"}


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
        cold, warm = _solve(_NO_CACHE, repeats)
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
    result.append(cold_row(repeats))
    return result


def cold_row(repeats: int) -> Row:
    """The first certified answer of a process, nothing cached, beside scipy's script.

    They take turns. The times of stages are ours, the interpreter's own start left out.
    """
    ours, theirs, stages = [], [], []
    for _ in range(repeats):
        laps = _printed(_COLD, _NO_CACHE)
        stages.append(laps)
        # what scipy's script does too: import, solve, prove
        ours.append(laps[0] + laps[1])
        began = time.perf_counter()
        _printed(_COLD_RIVAL, {})
        theirs.append(time.perf_counter() - began)
    medians = [statistics.median(times) for times in zip(*stages, strict=True)]
    notes = {f"{name} s": seconds for name, seconds in zip(_STAGES, medians, strict=True)}
    first, rival = statistics.median(ours), statistics.median(theirs)
    return Row(
        "first certified answer of a process",
        "scipy L-BFGS-B, a process",
        Timing(first, first),
        Timing(rival, rival),
        notes=notes,
    )


def _printed(script: str, settings: dict[str, str]) -> list[float]:
    """The numbers that a script prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | settings,
        check=True,
        capture_output=True,
        text=True,
    )
    return [float(line) for line in done.stdout.split()]


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
    pairs = [_printed(_SOLVE, settings) for _ in range(repeats)]
    first, second = (statistics.median(times) for times in zip(*pairs, strict=True))
    return Timing(first, first), Timing(second, second)
