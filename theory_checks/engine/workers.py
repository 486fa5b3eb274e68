"""Checks on several processes.

Each runs whole checks, and the parent yields the rows as they are done.

A process keeps to one paper as long as that has checks left, because they share compiled programs;
then it begins the largest paper that nobody has begun, and at the end it helps with what is left.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from theory_checks.engine import runner
from theory_checks.engine.registry import Case, Check, Registry, Verdict
from theory_checks.engine.runner import OnCase, Row
from ufm._programs.jit import compiles_quickly
from ufm._system.interrupts import interrupts_later

# more processes than this are never faster: each starts for two seconds and compiles its own
# programs, and the longest check remains
_MOST_JOBS = 8
# seconds after which a caller is told again how far it is
_TICK = 1.0


def default_jobs() -> int:
    """How many processes to use: the cores that this process may use, 8 at most.

    1 on a GPU, which processes would have to share.
    """
    import jax

    if jax.default_backend() != "cpu":
        return 1
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return min(cores, _MOST_JOBS)


def run(
    checks: Iterable[Check],
    *,
    jobs: int,
    configure: Callable[[], Any],
    loader: Callable[[], Registry],
    full: bool = False,
    prove: bool = False,
    on_case: OnCase | None = None,
) -> Generator[Row, None, None]:
    """Yield one row a case in the order in which they are done, as `runner.run` does, from `jobs`
    >= 1 processes.

    `configure` and `loader` must be importable by name: a process calls the first before its first
    array, and finds the checks by their keys in the registry that the second returns. `on_case` is
    told of the case that began last, and again while it lasts. A process that dies makes its case
    an `error`, and another one takes the rest. When the caller stops, all processes are ended.

    Raises `ValueError` for `jobs` below 1, `RuntimeError` when a process cannot start.
    """
    if jobs < 1:
        raise ValueError(f"`jobs` must be >= 1; got {jobs}")
    queue = _Queue(checks, full=full)
    pool: list[_Worker] = []
    try:
        start = functools.partial(_Worker.started, configure, loader, prove=prove)
        # (a row that was received when Ctrl-C came would be lost before anybody has it)
        with interrupts_later() as interrupts:
            for _ in range(min(jobs, len(queue))):
                pool.append(start())
            yield from _collect(pool, queue, on_case, start, interrupts)
    finally:
        for worker in pool:
            worker.process.terminate()
        for worker in pool:
            worker.ended()


def _collect(
    pool: list[_Worker],
    queue: _Queue,
    on_case: OnCase | None,
    start: Callable[[], _Worker],
    interrupts: list,
) -> Generator[Row, None, None]:
    done, total = 0, queue.num_cases
    latest: tuple[Check, Case] | None = None
    while done < total:
        if on_case is not None and latest is not None:
            on_case(done, total, *latest)
        ready = wait([worker.connection for worker in pool], timeout=_TICK)
        if interrupts:
            # what is done and on its way is not lost
            yield from _drained(pool)
            return
        for worker in [worker for worker in pool if worker.connection in ready]:
            try:
                answer = worker.connection.recv()
            # end of file, or reset where a message was cut short
            except (EOFError, OSError):
                status = worker.ended()
                pool.remove(worker)
                if not worker.ready:
                    raise RuntimeError(
                        f"a process for checks could not start: it ended with status {status}"
                    ) from None
                if worker.check is not None and worker.cases:
                    done += 1
                    yield worker.lost(status)
                    queue.put_back(worker.check, worker.cases)
                    if len(queue):
                        pool.append(start())
                continue
            if answer is None:
                worker.ready = True
            else:
                done += 1
                yield worker.row(answer)
            if not worker.cases and len(queue):
                worker.take(*queue.next(worker.check))
            if worker.check is not None and worker.cases:
                latest = worker.check, worker.cases[0]


def _drained(pool: list[_Worker]) -> Iterator[Row]:
    """Rows that processes have sent and nobody has received."""
    for worker in pool:
        with contextlib.suppress(EOFError, OSError):
            while worker.cases and worker.connection.poll():
                if (answer := worker.connection.recv()) is not None:
                    yield worker.row(answer)


class _Queue:
    """The checks that nobody has taken, by paper."""

    def __init__(self, checks: Iterable[Check], *, full: bool):
        self.papers: dict[str, list[tuple[Check, list[Case]]]] = {}
        self.begun: set[str] = set()
        for check in checks:
            if cases := list(check.selected(full=full)):
                self.papers.setdefault(check.paper, []).append((check, cases))
        self.num_cases = sum(map(self._size, self.papers))

    def __len__(self) -> int:
        return sum(map(len, self.papers.values()))

    def _size(self, paper: str) -> int:
        return sum(len(cases) for _, cases in self.papers[paper])

    def next(self, last: Check | None) -> tuple[Check, list[Case]]:
        """What to do after the check `last`.

        The same paper, else the largest one not begun, else the one with most left.
        """
        left = [paper for paper, checks in self.papers.items() if checks]
        if last is not None and last.paper in left:
            paper = last.paper
        else:
            paper = max(left, key=lambda p: (p not in self.begun, self._size(p)))
        self.begun.add(paper)
        return self.papers[paper].pop(0)

    def put_back(self, check: Check, cases: list[Case]) -> None:
        """Cases of a check that a process did not reach."""
        if cases:
            self.papers[check.paper].insert(0, (check, cases))


@dataclasses.dataclass(eq=False)
class _Worker:
    """A process, and the check it works on.

    `cases` are those without a row yet, the first of which is running.
    """

    process: Any
    connection: Connection
    ready: bool = False
    check: Check | None = None
    cases: list[Case] = dataclasses.field(default_factory=list)

    @classmethod
    def started(
        cls, configure: Callable[[], Any], loader: Callable[[], Registry], *, prove: bool
    ) -> _Worker:
        """A new process, spawned: a fork of a process with JAX's threads may hang."""
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(there, configure, loader, prove), daemon=True)
        with _environment(), _interrupts_blocked():
            process.start()
        # else the end of the process would not end the connection
        there.close()
        return cls(process, here)

    def take(self, check: Check, cases: list[Case]) -> None:
        """Let the process run these cases."""
        self.check, self.cases = check, cases
        # a process that died meanwhile is found at the next receive
        with contextlib.suppress(OSError):
            self.connection.send((check.key, [case.id for case in cases]))

    def row(self, plain: dict[str, Any]) -> Row:
        """The row of the running case."""
        assert self.check is not None
        return Row(self.check, self.cases.pop(0), **plain)

    def lost(self, status: int | None) -> Row:
        """The row of the running case after the process died."""
        message = f"the process of this case ended with status {status}"
        settings = {**runner.measured_with(), "seed": self.cases[0].seed}
        return self.row(
            {
                "claims": (),
                "seconds": 0.0,
                "verdict": Verdict.ERROR,
                "settings": settings,
                "message": message,
            }
        )

    def ended(self) -> int | None:
        """Wait for the end, enforce it if it does not come, and return the exit status."""
        self.connection.close()
        self.process.join(timeout=5)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        return self.process.exitcode


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """The environment that a new process inherits.

    Threads of its own would fight with the other processes, on a GPU each would take three quarters
    of the memory, and most of what it does is compiling.
    """
    flags = [os.environ.get("XLA_FLAGS", ""), "--xla_cpu_multi_thread_eigen=false"]
    # XLA ends a process that is given a flag that it does not know
    if compiles_quickly():
        flags.append("--xla_cpu_use_fusion_emitters=false")
    changed = {
        "OPENBLAS_NUM_THREADS": "1",
        "XLA_FLAGS": " ".join(flags).strip(),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A process started now never sees Ctrl-C, which a terminal sends to all of them.

    The parent alone answers it, also one that comes now, and ends the others.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # (which lets signals through where it starts its own process)
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(
    connection: Connection,
    configure: Callable[[], Any],
    loader: Callable[[], Registry],
    prove: bool,
) -> None:
    """A process: run what the parent asks for until there is no parent."""
    import jax

    # Python answers between two steps, not amid a write: half an entry in the cache of compiled
    # programs would stay there for ever
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    # … and an entry that another process is just writing is compiled here once more
    warnings.filterwarnings("ignore", message="Error reading persistent compilation cache")
    configure()
    checks = loader().checks
    settings = runner.measured_in_float64()
    paper = None
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        connection.send(None)
        while True:
            key, ids = connection.recv()
            check = checks[key]
            # programs hold memory maps, of which a process may have 65 530; other papers have other
            # shapes
            if paper not in (None, check.paper):
                jax.clear_caches()
            paper = check.paper
            by_id = {case.id: case for case in check.cases}
            for name in ids:
                connection.send(runner.run_case(check, by_id[name], settings, prove=prove).plain())
