r"""`search`: the best known solution of a problem whose global optimum nobody knows, from many
starts of several kinds.

For M >= 2 the objective has local minima of every rank, the origin among them. Which one a descent
ends in is decided by its start, so there are random starts at several scales, starts of each low
rank, and starts at logits that the caller suspects; and as a direction that is in use is not given
up by any descent, nor one that is not taken up, directions are taken away from the best solutions
one at a time, and added where that is lower.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from ufm._programs.outside import SWEEP, on_the_host, refusal
from ufm._system.progress import Progress
from ufm._validate import (
    MOST_STARTS,
    is_traced,
    options_of,
    require,
    require_flag,
    require_instance,
    require_key,
    require_whole,
)
from ufm.analysis.best_known import (
    BestKnown,
    Pool,
    key_numbers,
    require_same_search,
    same_value,
)
from ufm.analysis.landscape import product_rank, product_spectrum
from ufm.analysis.rectified_search import search_on_kinks
from ufm.analysis.search_starts import (
    column_logits,
    random_kind,
    solved,
    start_from_logits,
    start_of,
)
from ufm.batch.execution import Execution
from ufm.batch.executor import Programs, devices_of, run_blocks
from ufm.batch.stacked import shapes_of
from ufm.model import Params, Problem, require_searchable
from ufm.solution import Solution
from ufm.solvers.directions import better_directions, has_directions
from ufm.solvers.work import multiply_adds

# Multiply-adds of the logits of problems whose starts are worked on in threads unless the user says
# so. Of shorter ones a solve is mostly Python, which threads do one at a time (K = 4, M = 2: half
# as long again, and twice the processor time). Longer ones may take more than a second for the
# thousand steps after which a solve looks up for Ctrl-C, which threads do not hear.
_SHORT, _LONG = 1_000, 33_000
# Arrays of the size of a point that a solver holds for each start.
_VECTORS = 16
_PROGRAMS = Programs()


@on_the_host(SWEEP)
def search(
    problem: Problem,
    *,
    key: PRNGKeyArray,
    starts: int = 32,
    logits: Mapping[str, Array | np.ndarray] | None = None,
    directions: bool = True,
    resume: BestKnown | None = None,
    execution: Execution | None = None,
    progress: bool | None = None,
) -> BestKnown:
    """The best solution known of a problem, from many starts; Newton's method from each.

    Parameters
    ----------
    problem
        With decay on every factor, nothing frozen, no anchor.
    key
        A `jax.random.key`.
    starts
        How many random starts; every second one has full rank, at 0.35 to 2 times the problem's
        natural scale, the others have rank 1, 2, … in turn. With one layer, vectors of bounded
        length and a loss of the exponential kind there are none of low rank, and every fourth is
        led to those lengths from lengths with logits up to 1.
    logits
        Name → (K, K) class logits, or (K, C), to start at as well.
    directions
        For M >= 2, take directions away from the best solution, weakest first, or take up further
        ones along the gradient of the loss, and keep what is lower, until nothing is.
    resume
        An earlier result of the same problem, key and `logits`, interrupted or not: its starts are
        not repeated, so that `starts` may be raised.
    execution
        An `Execution`: its threads work on a start each, on a CPU, or its devices do, in turn; at
        most `chunk` of them at a time, and as many as there is `memory` for. Unless given, one
        thread works on a tiny problem, which threads would be slower at, and on a large one, whose
        starts are to hear of Ctrl-C.
    progress
        As for `minimise`.

    Returns
    -------
    BestKnown
        Ctrl-C returns what was found, `finished` False; with ReLU layers, points that are not on
        their kinks yet are INTERRUPTED as they stand, and `resume` finishes them.

    Raises
    ------
    ValueError
        For λ = 0, frozen weights, an anchor, starts < 1, logits that do not fit, and with ReLU
        layers for logits, as they have many points with any, and an `execution`, as their descents
        are one program. For a `resume` of another problem, key or `logits`.
    KeyboardInterrupt
        On Ctrl-C before the first start has ended.

    Notes
    -----
    With ReLU layers (and decay alone) descents are those of `ufm.solvers.Smoothing`, 32 together,
    each of `starts` random ones beside one of few units before the last hidden layer (M >= 3), one
    near the structures of `ufm.laws.rectified_structures`, where these speak of the problem, one
    near sums of what such searches find on fewer classes (squared error, M >= 4), and four beside
    the best points so far, disturbed; the best are finished on their kinks.
    """
    require_instance("problem", problem, Problem)
    require_searchable(problem)
    if is_traced(problem):
        raise refusal("search", SWEEP)
    require_key("key", key)
    starts = require_whole("starts", starts, most=MOST_STARTS)
    require_flag("directions", directions)
    require_flag("progress", progress, optional=True)
    if logits is not None:
        require_instance("logits", logits, Mapping, "a dict from name to logits")
    logits = {} if logits is None else logits
    if problem.kinked:
        words = "`logits` must not be given for ReLU layers, which have many points with any"
        require(not logits, words, list(logits))
        words = "`execution` must not be given for ReLU layers, whose descents are one program"
        require(execution is None, words, execution)
    plan = [] if problem.kinked else _planned(problem, logits, starts)
    if resume is not None:
        require_same_search(problem, key, logits, resume)
    if problem.kinked:
        return search_on_kinks(problem, key, starts, resume, progress)
    execution = options_of(Execution, execution, name="execution")
    done = _ended(resume)
    pool = Pool(problem, [] if resume is None else list(resume.solutions))
    finished = True
    try:
        _run(problem, key, plan, done, pool, execution, progress)
        if directions and problem.depth >= 2 and problem.map.identity:
            _redirect(problem, pool)
    except KeyboardInterrupt:
        if not (done and pool.solutions):
            raise
        finished = False
    names, values, ranks, codes = zip(*done, strict=True)
    return BestKnown(
        problem,
        tuple(pool.solutions),
        names,
        np.array(values),
        np.array(ranks),
        np.array(codes),
        finished,
        key_numbers(key),
        {name: np.array(value) for name, value in logits.items()},
    )


def _ended(before: BestKnown | None) -> list[tuple[str, float, int, int]]:
    """The starts that an earlier search came to the end of."""
    if before is None:
        return []
    numbers = (before.values.tolist(), before.end_ranks.tolist(), before.codes.tolist())
    return list(zip(before.origins, *numbers, strict=True))


def _planned(problem: Problem, logits: Mapping[str, Any], starts: int) -> list[tuple[str, Any]]:
    """Name and kind of every start, those at given logits first; `ValueError` for ones that do
    not fit."""
    for name, value in logits.items():
        column_logits(problem, value, name=f"logits[{name!r}]")
    given = [(f"logits: {name}", value) for name, value in logits.items()]
    return given + [random_kind(problem, i) for i in range(starts)]


def _run(
    problem: Problem,
    key: PRNGKeyArray,
    plan: list[tuple[str, Any]],
    done: list[tuple[str, float, int, int]],
    pool: Pool,
    execution: Execution,
    progress: bool | None,
) -> None:
    """Go through the starts that are not `done` and add what they lead to there and to the pool.

    A start at a time, in threads. The lanes of a sweep would have one program for all of them,
    which takes several seconds to compile; once it is there, 32 starts took 0.9 to 1.9 times as
    long in it as one after the other, in one piece or in two (one layer, K = 10 and 20; M = 2 and
    3, K = 4 to 20).
    """
    workers, devices = _workers(problem, execution)
    parts = list(zip(range(len(done), len(plan)), itertools.cycle(devices)))
    ended: dict[int, Solution] = {}
    bar = Progress("search", total=len(plan), show=progress)

    def run(part: tuple[int, Any]) -> Solution:
        i, device = part
        program = shapes_of(problem), device
        with _PROGRAMS.alone_at_first(program), _on(device):
            start = start_of(problem, plan[i][1], key=jax.random.fold_in(key, i))
            return solved(problem, start)

    first = len(done)

    def keep(number: int, solution: Solution) -> None:
        # in the order of the plan, so that the same is found however many threads there are
        ended[first + number] = solution
        while (i := len(done)) in ended:
            solution = ended.pop(i)
            pool.add(solution)
            rank = product_rank(problem, solution.params)
            done.append((plan[i][0], float(solution.value), rank, int(solution.code)))
        if pool.solutions:
            bar.update(len(done) + len(ended), f"best {float(pool.solutions[0].value):.9g}")

    try:
        run_blocks(run, parts, workers, keep)
    finally:
        bar.close()
        # a start that ended before an earlier one is run again by `resume`, but not lost
        for solution in ended.values():
            pool.add(solution)


def _workers(problem: Problem, execution: Execution) -> tuple[int, tuple[Any, ...]]:
    """How many starts at a time, and on which devices in turn (None: where JAX puts them)."""
    given = execution.devices is not None
    devices, on_cpu = devices_of(execution.devices)
    if not on_cpu:
        workers = len(devices) if given else 1
    elif execution.threads is None and not given and not _SHORT <= multiply_adds(problem) <= _LONG:
        workers = 1
    else:
        workers = execution.workers
    size = problem.blocks.size * problem.dtype.itemsize
    workers = min(workers, execution.together(workers, _VECTORS * size))
    return workers, devices if given else (None,)


def _on(device: Any | None) -> contextlib.AbstractContextManager:
    return contextlib.nullcontext() if device is None else jax.default_device(device)


def _redirect(problem: Problem, pool: Pool) -> None:
    """Go on from the best solution with other directions until none leads to a better one."""
    improved = True
    while improved:
        best, improved = pool.solutions[0], False
        for start in _with_other_directions(problem, best):
            solution = solved(problem, start)
            pool.add(solution)
            if float(solution.value) < float(best.value) * (1 - same_value(problem)):
                improved = True
                break


def _with_other_directions(problem: Problem, best: Solution) -> Iterator[Params]:
    """With those that are lower at once, and without the weakest, one more each time."""
    further = better_directions(problem, best.params) if has_directions(problem) else None
    if further is not None:
        yield further
    U, s, Vt = product_spectrum(problem, best.params)
    root = np.sqrt(np.asarray(problem.labels.masses))
    for rank in range(product_rank(problem, best.params) - 1, 0, -1):
        shorter = (U[:, :rank] * s[None, :rank]) @ Vt[:rank] / root[None, :]
        # no noise: a direction that is exactly 0 in all factors stays 0, where it is a local
        # minimum
        start = start_from_logits(problem, shorter, key=jax.random.key(rank), noise=0.0)
        if best.params.bias is not None:
            start = Params(start.weights, start.features, best.params.bias)
        yield start
