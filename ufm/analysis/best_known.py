"""What a search has found: solutions, one a value, and where its starts led."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from ufm._classes.module import Displayed
from ufm._validate import require, require_instance
from ufm.analysis.kinked_blocks import class_groups, ranks_of_layers
from ufm.analysis.landscape import product_rank
from ufm.model import Params, Problem
from ufm.solution import Solution
from ufm.solvers.resuming import same_problem
from ufm.tolerances import caveat, for_dtype

# Values that agree to this, relatively, are one solution, or to what the dtype can: converged ones
# agree to 1e-12 in float64.
_SAME_VALUE = 1e-9
_BESIDE_KINKS = 1e-5


@dataclass(frozen=True, eq=False)
class BestKnown(Displayed):
    """What a search found.

    The best of it is an upper bound on the global minimum and not proved to be it.

    `best`: the solution of least value. `solutions`: all that were found, ascending, one a value.
    `ranks`: of the product of each. `origins` (S,): kind of every start; `values`, `end_ranks`,
    `codes` (S,): what each led to, truncations excluded. `finished`: False after Ctrl-C; pass the
    whole to `search(..., resume=)` then. `key`: implementation and numbers of the key that it was
    asked for with; `logits`: those, by name.
    """

    problem: Problem
    solutions: tuple[Solution, ...]
    origins: tuple[str, ...]
    values: np.ndarray
    end_ranks: np.ndarray
    codes: np.ndarray
    finished: bool
    key: tuple[str, tuple[int, ...]]
    logits: Mapping[str, np.ndarray]

    @property
    def best(self) -> Solution:
        """The solution of least value."""
        return self.solutions[0]

    @property
    def params(self) -> Params:
        """Its point."""
        return self.best.params

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
        same = same_value(self.problem)
        same = max(same, _BESIDE_KINKS) if self.problem.kinked else same
        for solution, rank in zip(self.solutions, self.ranks, strict=True):
            value = float(solution.value)
            times = int(np.sum(np.abs(self.values - value) <= same * abs(value)))
            lines.append(
                f"  value {float(solution.value):.12g}, rank {rank}, reached {times} times"
            )
            if self.problem.kinked:
                lines[-1] += f", {_structure(self.problem, solution.params)}"
        return "\n".join(lines) + caveat(self.problem.dtype)


def same_value(problem: Problem) -> float:
    """To what, relatively, values of one solution agree."""
    return max(_SAME_VALUE, for_dtype(problem.dtype).value)


def key_numbers(key: PRNGKeyArray) -> tuple[str, tuple[int, ...]]:
    """Implementation and numbers of a key, which tell it from every other one."""
    return str(jax.random.key_impl(key)), tuple(np.asarray(jax.random.key_data(key)).tolist())


def require_same_search(
    problem: Problem, key: PRNGKeyArray, logits: Mapping[str, Any], resume: BestKnown
) -> None:
    """What is found goes on from an earlier search of the same problem, key and logits alone.

    Parameters
    ----------
    problem, key, logits
        What is searched, as `search` takes it.
    resume
        What the earlier search found.

    Raises
    ------
    ValueError
        For what another problem, key or other logits led to.
    """
    require_instance("resume", resume, BestKnown)
    words = "`resume` must be the result of a search of the same problem"
    require(same_problem(problem, resume.problem), words, "that of another problem")
    words = "`resume` must be the result of a search with the same `key`"
    require(key_numbers(key) == resume.key, words, "that of another key")
    same = list(logits) == list(resume.logits) and all(
        np.array_equal(value, resume.logits[name]) for name, value in logits.items()
    )
    words = "`resume` must be the result of a search with the same `logits`"
    require(same, words, f"that with {list(resume.logits) or 'none'}")


def _structure(problem: Problem, params: Params) -> str:
    """What a point of a model with ReLU layers looks like."""
    sizes = " + ".join(str(len(group)) for group in class_groups(problem, params))
    layers = " ".join(map(str, ranks_of_layers(problem, params)))
    return f"groups of {sizes}, ranks {layers}"


class Pool:
    """Solutions found so far, ascending, one a value."""

    def __init__(self, problem: Problem, solutions: list[Solution]):
        self.problem, self.solutions = problem, solutions

    def add(self, solution: Solution) -> None:
        """Take in a solution, in the place of what it has the value of."""
        value = float(solution.value)
        if not np.isfinite(value):
            return
        twins = [
            i
            for i, old in enumerate(self.solutions)
            if abs(float(old.value) - value) <= same_value(self.problem) * abs(value)
        ]
        if twins and float(self.solutions[twins[0]].grad_norm) <= float(solution.grad_norm):
            return
        others = [old for i, old in enumerate(self.solutions) if i not in twins]
        # (at once, as Ctrl-C may come between two statements)
        self.solutions = sorted([*others, solution], key=lambda s: float(s.value))
