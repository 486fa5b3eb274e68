"""`python -m tests.mutation [ROOM…]`: which single changes of the formulas do the tests not notice?

    python -m tests.mutation optima --sample 50 --seed 1    # fifty of them, at random
    python -m tests.mutation ufm/comparison/judging.py              # every one of a file
    python -m tests.mutation losses -k sign: --list         # what would be tried of one kind

A ROOM is a file, or a room of `ufm`; without one, those whose formulas must be right. A mutant (an
operator, a sign, a constant, a comparison, a dropped term or factor, sum for mean) is put into a
copy of the tree and judged by the tests that name its function, or a public function that uses it:
those of the mirrored test file first, `--budget` seconds of them. It is killed by a test that
fails, an import that fails or a time limit. Survivors are printed as they are found, and at the end
the score, of all that are not in `tests/mutation/equivalent.py`, where each has a sentence that
says why no test can kill it. Exit status 1 if any survived, 130 after Ctrl-C.

What was found is kept in `--state` and not tried again: a killed mutant until its function changes,
a survivor until its tests change too. Ctrl-C loses the mutant at hand. Prefix it with `nice`.

Why not mutmut or cosmic-ray? mutmut switches mutants on when a function is called, in forks of a
process that has run all tests: JAX has then compiled what it should mutate. cosmic-ray starts the
whole suite for each mutant. Neither drops a term, takes a hundredth of a constant or sums for a
mean. Here one process imports everything but `ufm` and is forked for each mutant, in 0.1 s in place
of 5; programs that a mutant leaves as they are come from JAX's cache.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from hashlib import sha256
from pathlib import Path

from tests.mutation.equivalent import REASONS
from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.selection import selected

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("optima", "losses", "certificates", "model", "metrics", "comparison")
_HEAVY = ("hypothesis", "pytest", "scipy.optimize", "scipy.linalg", "scipy.integrate", "xarray")
_HEAVY += ("jax", "equinox", "optax", "diffrax", "filelock", "matplotlib.pyplot")
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_MEMORY = 8 << 30


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python -m tests.mutation", description=__doc__.split("\n")[0]
    )
    add = top.add_argument
    add("rooms", metavar="ROOM", nargs="*", default=ROOMS, help="files, or rooms of ufm")
    add(
        "-k",
        dest="pattern",
        default="",
        metavar="WORDS",
        help="only mutants whose line has these words",
    )
    add("--sample", type=int, metavar="N", help="N mutants, at random")
    add("--seed", type=int, default=0, help="of the sample (default 0)")
    add(
        "--budget", type=float, default=120.0, metavar="S", help="of tests a mutant (default 120 s)"
    )
    add(
        "--state",
        default="mutation.jsonl",
        metavar="FILE",
        help="what was found (default %(default)s)",
    )
    add("--list", action="store_true", help="print the mutants and try none")
    return top


def main(argv: list[str] | None = None, *, root: Path = ROOT) -> int:
    """Run the command line on the tree at `root` and return its exit status."""
    options = parser().parse_args(argv)
    try:
        files = [file for room in options.rooms for file in _files(room, root)]
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    mutants = [m for f in files for m in mutants_of(str(f.relative_to(root)), f.read_bytes())]
    mutants = [mutant for mutant in mutants if options.pattern in str(mutant)]
    if options.sample is not None and options.sample < len(mutants):
        chosen = set(random.Random(options.seed).sample(range(len(mutants)), options.sample))
        mutants = [mutant for i, mutant in enumerate(mutants) if i in chosen]
    if options.list:
        print("\n".join(map(str, mutants)))
        return 0
    # a job in the background is deaf to Ctrl-C, and `kill` would leave the copy
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    state, found = _State(Path(options.state)), Counter()
    with (
        tempfile.TemporaryDirectory(prefix="mutation") as folder,
        contextlib.suppress(KeyboardInterrupt),
    ):
        judge = _Judge(root, Path(folder).resolve() / "tree", state, options.budget)
        for mutant in mutants:
            verdict = judge.verdict(mutant)
            found[verdict] += 1
            if verdict in ("survived", "untested"):
                some, all_of_them = state.found[mutant.key]["tests of"]
                part = "" if some == all_of_them else f", {some} of {all_of_them} tests tried"
                print(f"{verdict}: {mutant}{part}", flush=True)
            print(f"{found.total()} of {len(mutants)}", end="\r", file=sys.stderr, flush=True)
    killed, left = found["killed"] + found["time limit"], found["survived"] + found["untested"]
    counts = ", ".join(f"{number} {verdict}" for verdict, number in sorted(found.items()) if number)
    score = f"{100 * killed / (killed + left):.1f} %" if killed + left else "none"
    print(f"{found.total()} of {len(mutants)} mutants: {counts or 'none'}; score {score}")
    return 130 if found.total() < len(mutants) else 1 if left else 0


def _files(room: str, root: Path) -> list[Path]:
    for path in (root / room, root / "ufm" / room, root / "ufm" / f"{room}.py"):
        if path.is_file():
            return [path]
        if path.is_dir():
            return sorted(path.rglob("*.py"))
    raise ValueError(f"`ROOM` must be a file or a room of ufm; got {room}")


class _State:
    """What earlier runs found: by mutant, and seconds of tests."""

    def __init__(self, path: Path):
        self.path, self.found, self.seconds = path, {}, {}
        for line in path.read_text().splitlines() if path.exists() else ():
            self._take(json.loads(line))

    def _take(self, entry: dict) -> None:
        if "mutant" in entry:
            self.found[entry["mutant"]] = entry
        else:
            self.seconds[entry["tests"]] = entry["seconds"]

    def add(self, entry: dict) -> None:
        """Keep it, on disk too."""
        self._take(entry)
        with open(self.path, "a") as file:
            file.write(json.dumps(entry) + "\n")


class _Judge:
    """Tries mutants on a copy of the tree, of which the tree itself knows nothing."""

    def __init__(self, root: Path, copy: Path, state: _State, budget: float):
        self.copy, self.state, self.budget = copy, state, budget
        self.log, self.failing = f"{state.path.resolve()}.log", set()
        skip = shutil.ignore_patterns(".*", "__pycache__", "*.jsonl", "*.egg-info")
        shutil.copytree(root, copy, ignore=skip)
        for name in _THREADS:
            os.environ.setdefault(name, "1")
        os.environ |= {"MPLBACKEND": "agg", "PYTHONPATH": str(copy)}
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", f"{state.path.resolve()}.cache")
        os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        for name in _HEAVY:
            importlib.import_module(name)

    def verdict(self, mutant: Mutant) -> str:
        """killed, survived, untested, equivalent or "time limit"."""
        if mutant.change in REASONS:
            return "equivalent"
        known = self.state.found.get(mutant.key)
        if known and known["verdict"] in ("killed", "time limit"):
            return known["verdict"]
        wanted = selected(mutant.function, self.copy / mutant.path, self.copy)
        tests = self._affordable(wanted)
        texts = b"".join(
            (self.copy / f).read_bytes() for f in sorted({t.split("::")[0] for t in tests})
        )
        which = sha256(texts + " ".join(tests).encode()).hexdigest()[:16]
        if known and known["tests"] == which:
            return known["verdict"]
        verdict, by, began = "untested", None, time.monotonic()
        if tests:
            path = self.copy / mutant.path
            plain = path.read_bytes()
            for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
                compiled.unlink()
            path.write_bytes(mutant.applied(plain))
            try:
                verdict, by = self._tried(tests)
            finally:
                path.write_bytes(plain)
        seconds = round(time.monotonic() - began, 1)
        about = {"what": str(mutant), "verdict": verdict, "by": by, "seconds": seconds}
        self.state.add(
            {"mutant": mutant.key, "tests": which, "tests of": [len(tests), len(wanted)]} | about
        )
        return verdict

    def _tried(self, tests: list[str]) -> tuple[str, str | None]:
        limit = 30 + 3 * sum(self.state.seconds[test] for test in tests)
        status, report = self._forked(tests, limit=limit, writing=False)
        failed = next((test for test, (_, ok) in report.items() if not ok), None)
        if status in (-signal.SIGXCPU, -signal.SIGKILL):
            return "time limit", None
        return ("survived" if status == 0 else "killed"), failed

    def _affordable(self, tests: list[str]) -> list[str]:
        """Of the tests that pass without a mutant, the first that fit into the budget.

        Cheap ones first.
        """
        tried, total = set(self.state.seconds), 0.0
        for i, test in enumerate(tests):
            if total > self.budget:
                break
            # in their order: a new test that comes first is tried before old ones that fill it
            if test not in tried:
                part = [each for each in tests[i:] if each not in tried][:40]
                self._time(part)
                tried |= set(part)
            total += self.state.seconds.get(test, 0.0)
        chosen, total = [], 0.0
        for test in tests:
            seconds = self.state.seconds.get(test, self.budget + 1)
            if total + seconds <= self.budget:
                chosen.append(test)
                total += seconds
        return sorted(chosen, key=self.state.seconds.__getitem__)

    def _time(self, tests: list[str]) -> None:
        """Seconds of tests without a mutant, of those that pass."""
        _, report = self._forked(tests, limit=3600, writing=True)
        # what took long was compiled, for a mutant it is there
        slow = [test for test in tests if report.get(test, (0.0, False))[0] > 2]
        report |= self._forked(slow, limit=3600, writing=True)[1] if slow else {}
        for test in tests:
            seconds, ok = report.get(test, (0.0, False))
            if ok:
                self.state.add({"tests": test, "seconds": round(seconds, 2)})
            elif test not in self.failing:
                self.failing.add(test)
                print(f"fails without a mutant, see {self.log}: {test}", file=sys.stderr)

    def _forked(self, tests: list[str], *, limit: float, writing: bool) -> tuple[int, dict]:
        """Exit status of tests in a fork of this process.

        For each its seconds, and whether it passed.

        `limit`: of processor seconds, and of a tenth of those by the clock. `writing`: keep what is
        compiled, and go on after a failure.
        """
        with tempfile.NamedTemporaryFile("r+", suffix=".json") as out:
            child = os.fork()
            if child == 0:
                status = 3
                try:
                    os.setsid()
                    with open(self.log, "w") as log:
                        for stream in (1, 2):
                            os.dup2(log.fileno(), stream)
                    status = _run(self.copy, tests, out.name, limit=limit, writing=writing)
                except BaseException:
                    traceback.print_exc()
                finally:
                    sys.stdout.flush()
                    os._exit(status)
            status = _waited(child, 10 * limit)
            text = out.read()
        return status, json.loads(text) if text else {}


def _waited(child: int, limit: float) -> int:
    """The exit status of a child, which is ended with all that it started when the time is up."""
    end = time.monotonic() + limit
    try:
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.02)
    finally:
        # what it has started
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)


def _run(copy: Path, tests: list[str], out: str, *, limit: float, writing: bool) -> int:
    """The tests, in this process, which is the child."""
    os.chdir(copy)
    sys.path[:] = [str(copy), *(p for p in sys.path if Path(p or ".").resolve() != ROOT)]
    for name in [n for n in sys.modules if n.split(".")[0] in ("ufm", "tests", "theory_checks")]:
        del sys.modules[name]
    seconds = int(limit) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    sys.dont_write_bytecode = not writing
    import jax
    import pytest

    # a mutant's own programs are needed once
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0 if writing else 1e9)
    reports: dict[str, list] = {}

    class Reporter:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            entry = reports.setdefault(report.nodeid.split("[")[0], [0.0, True])
            entry[0] += report.duration
            entry[1] &= not report.failed
            with open(out, "w") as file:
                json.dump(reports, file)

    arguments = ["-n", "0", "-q", "-p", "no:cacheprovider", *([] if writing else ["-x"])]
    # the plugins have been imported before the fork
    arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return int(pytest.main([*arguments, *tests], plugins=[Reporter()]))


if __name__ == "__main__":
    sys.exit(main())
