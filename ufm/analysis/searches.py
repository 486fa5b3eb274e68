r"""`search`: the best known solution of a problem whose global optimum nobody knows, from many
starts of several kinds.

For M >= 2 the objective has local minima of every rank, the origin among them. Which one a descent
ends in is decided by its start, so there are random starts at several scales, starts of each low
rank, and starts at logits that the caller suspects; and as a direction that is in use is not given
up by any descent, directions are taken away from the best solutions one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from ufm._outside import SWEEP, on_the_host, refusal
from ufm._progress import Progress
from ufm._validate import (
    MOST_STARTS,
    is_traced,
    require,
    require_flag,
    require_instance,
    require_key,
    require_whole,
)
from ufm.analysis.kinked_blocks import class_groups, ranks_of_layers
from ufm.analysis.kinked_search import BATCH, Descents
from ufm.analysis.landscape import product_rank, product_spectrum
from ufm.analysis.search_starts import (
    check_free,
    column_logits,
    random_kind,
    solved,
    start_from_logits,
    start_of,
)
from ufm.model import Params, Problem
from ufm.solution import Solution
from ufm.solvers.continuation import require_rectified, solution_on_kinks
from ufm.solvers.coordinates import to_flat

# Values that agree to this, relatively, are one solution: converged ones agree to 1e-12.
_SAME_VALUE = 1e-9
_BESIDE_KINKS = 1e-5


@dataclass(frozen=True, eq=False)
class BestKnown:
    """What a search found.

    The best of it is an upper bound on the global minimum and not proved to be it.

    `best`: the solution of least value. `solutions`: all that were found, ascending, one a value.
    `ranks`: of the product of each. `origins` (S,): kind of every start; `values`, `end_ranks`,
    `codes` (S,): what each led to, truncations excluded. `finished`: False after Ctrl-C; pass the
    whole to `search(..., resume=)` then.
    """

    problem: Problem
    solutions: tuple[Solution, ...]
    origins: tuple[str, ...]
    values: np.ndarray
    end_ranks: np.ndarray
    codes: np.ndarray
    finished: bool

    @property
    def best(self) -> Solution:
        """The solution of least value."""
        return self.solutions[0]

    @property
    def value(self) -> float:
        """Its value."""
        return float(self.best.value)

    @property
    def rank(self) -> int:
        """Rank of its product of factors."""
        return self.ranks[0]

    @property
    def ranks(self) -> tuple[int, ...]:
        """Rank of the product of factors of every solution."""
        return tuple(product_rank(self.problem, solution.params) for solution in self.solutions)

    def __str__(self) -> str:
        ended = "" if self.finished else " (interrupted)"
        lines = [
            f"best known value {self.value:.12g}, rank {self.rank}, of {len(self.values)} "
            f"starts{ended}"
        ]
        # (descents of ReLU layers end beside their kinks)
        same = _BESIDE_KINKS if self.problem.kinked else _SAME_VALUE
        for solution, rank in zip(self.solutions, self.ranks, strict=True):
            value = float(solution.value)
            times = int(np.sum(np.abs(self.values - value) <= same * abs(value)))
            lines.append(
                f"  value {float(solution.value):.12g}, rank {rank}, reached {times} times"
            )
            if self.problem.kinked:
                lines[-1] += f", {_structure(self.problem, solution.params)}"
        return "\n".join(lines)


@on_the_host(SWEEP)
def search(
    problem: Problem,
    *,
    key: PRNGKeyArray,
    starts: int = 32,
    logits: Mapping[str, Array | np.ndarray] | None = None,
    truncate: bool = True,
    resume: BestKnown | None = None,
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
    truncate
        For M >= 2, take directions away from the best solution, weakest first, and keep what is
        lower, until nothing is.
    resume
        An earlier result of the same problem, key and `logits`, interrupted or not: its starts are
        not repeated, so that `starts` may be raised.
    progress
        As for `minimise`.

    Returns
    -------
    BestKnown
        Ctrl-C returns what was found, `finished` False.

    Raises
    ------
    ValueError
        For λ = 0, frozen weights, an anchor, starts < 1, logits that do not fit, and logits with
        ReLU layers, which have many points with any.
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
    check_free(problem)
    if is_traced(problem):
        raise refusal("search", SWEEP)
    require_key("key", key)
    starts = require_whole("starts", starts, most=MOST_STARTS)
    require_flag("truncate", truncate)
    require_flag("progress", progress, optional=True)
    if logits is not None:
        require_instance("logits", logits, Mapping, "a dict from name to logits")
    if resume is not None:
        require_instance("resume", resume, BestKnown)
    if problem.kinked:
        words = "`logits` must not be given for ReLU layers, which have many points with any"
        require(not logits, words, list(logits or {}))
        return _on_kinks(problem, key, starts, resume, progress)
    plan = [(f"logits: {name}", value) for name, value in (logits or {}).items()] + [
        random_kind(problem, i) for i in range(starts)
    ]
    for name, value in plan[: len(logits or {})]:
        column_logits(problem, value, name=f"logits[{name[len('logits: ') :]!r}]")
    done = (
        []
        if resume is None
        else list(zip(resume.origins, resume.values, resume.end_ranks, resume.codes, strict=True))
    )
    require(
        all(before[0] == name for before, (name, _) in zip(done, plan, strict=False)),
        "`resume` must have the same `logits`",
        len(done),
    )
    pool = _Pool(problem, [] if resume is None else list(resume.solutions))
    finished = True
    bar = Progress("search", total=len(plan), show=progress)
    try:
        for i in range(len(done), len(plan)):
            name, value = plan[i]
            solution = solved(problem, start_of(problem, value, key=jax.random.fold_in(key, i)))
            pool.add(solution)
            done.append(
                (
                    name,
                    float(solution.value),
                    product_rank(problem, solution.params),
                    int(solution.code),
                )
            )
            bar.update(i + 1, f"best {float(pool.solutions[0].value):.9g}")
        if truncate and problem.depth >= 2 and problem.map.identity:
            _truncate(problem, pool)
    except KeyboardInterrupt:
        if not pool.solutions:
            raise
        finished = False
    finally:
        bar.close()
    names, values, ranks, codes = zip(*done, strict=True)
    return BestKnown(
        problem,
        tuple(pool.solutions),
        names,
        np.array(values),
        np.array(ranks),
        np.array(codes),
        finished,
    )


def _on_kinks(
    problem: Problem, key: PRNGKeyArray, starts: int, resume: BestKnown | None, progress
) -> BestKnown:
    """A search of a model with ReLU layers, a batch of descents at a time."""
    require_rectified(problem, "a search of it")
    descents = Descents(problem, key, starts)
    plan, origins, values = list(descents.plan()), [], []
    if resume is not None:
        origins, values = list(resume.origins), list(resume.values)
        for solution in resume.solutions:
            flat = np.asarray(to_flat(problem, solution.params))
            descents.keep(float(solution.value), flat)
    finished, bar = True, Progress("search", total=len(plan), show=progress)
    try:
        for index in range(len(values) // BATCH, len(plan)):
            names, ends = descents.run(index, plan[index])
            origins += names
            values += ends.tolist()
            bar.update(index + 1, f"best {descents.found[0][0]:.9g}")
    except KeyboardInterrupt:
        if not descents.found:
            raise
        finished = False
    finally:
        bar.close()
    pool = _Pool(problem, [])
    for params, kinks in descents.finished():
        pool.add(solution_on_kinks(problem, params, kinks))
    # (a descent ends beside its kinks: neither its rank nor its result is looked at)
    unknown = np.full(len(values), -1)
    return BestKnown(
        problem, tuple(pool.solutions), tuple(origins), np.array(values), unknown, unknown, finished
    )


def _structure(problem: Problem, params: Params) -> str:
    """What a point of a model with ReLU layers looks like."""
    sizes = " + ".join(str(len(group)) for group in class_groups(problem, params))
    layers = " ".join(map(str, ranks_of_layers(problem, params)))
    return f"groups of {sizes}, ranks {layers}"


class _Pool:
    """Solutions found so far, ascending, one a value."""

    def __init__(self, problem: Problem, solutions: list[Solution]):
        self.problem, self.solutions = problem, solutions

    def add(self, solution: Solution) -> None:
        value = float(solution.value)
        if not np.isfinite(value):
            return
        twins = [
            i
            for i, old in enumerate(self.solutions)
            if abs(float(old.value) - value) <= _SAME_VALUE * abs(value)
        ]
        if twins and float(self.solutions[twins[0]].grad_norm) <= float(solution.grad_norm):
            return
        self.solutions = [old for i, old in enumerate(self.solutions) if i not in twins]
        self.solutions.append(solution)
        self.solutions.sort(key=lambda s: float(s.value))


def _truncate(problem: Problem, pool: _Pool) -> None:
    """Without its j weakest directions, j = 1, 2, …, is the best solution on the way to a better
    one? Repeat until it is not."""
    improved = True
    while improved:
        improved = False
        best = pool.solutions[0]
        U, s, Vt = product_spectrum(problem, best.params)
        root = np.sqrt(np.asarray(problem.labels.masses))
        for rank in range(product_rank(problem, best.params) - 1, 0, -1):
            shorter = (U[:, :rank] * s[None, :rank]) @ Vt[:rank] / root[None, :]
            # no noise: a direction that is exactly 0 in all factors stays 0, where it is a local
            # minimum
            start = start_from_logits(problem, shorter, key=jax.random.key(rank), noise=0.0)
            if best.params.bias is not None:
                start = Params(start.weights, start.features, best.params.bias)
            solution = solved(problem, start)
            pool.add(solution)
            if float(solution.value) < float(best.value) * (1 - _SAME_VALUE):
                improved = True
                break
