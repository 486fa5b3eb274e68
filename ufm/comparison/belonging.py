"""Whether a predicted optimum is that of the problem that was solved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from ufm._validate import Shown, require
from ufm.model import Problem
from ufm.optima.optimum import Optimum

# Numbers of one problem in a finer precision agree to so many roundings of that of the solution.
_ROUNDINGS = 16
# Longer words say their kind only.
_CHARACTERS = 80


def require_belongs(optimum: Optimum, problem: Problem) -> None:
    """`ValueError` for a prediction for another problem, naming what is another.

    One that differs in λ alone has lower and higher points than that optimum, and each of them
    would be called a refutation or no optimum.

    Parameters
    ----------
    optimum
        Of `closed_form`; one that was made by hand is known by its shapes alone.
    problem
        That of the solution.
    """
    words = "`optimum` must belong to the solution's problem, which has "
    K, C = problem.labels.num_classes, problem.labels.num_columns
    depth = len(optimum.factor_singular_values) - 1
    columns, classes = len(optimum.column_index), len(optimum.logits)
    require(columns == C, f"{words}{C} columns", columns)
    require(classes == K, f"{words}K = {K}", classes)
    require(depth == problem.depth, f"{words}M = {problem.depth}", depth)
    if optimum.problem is None or optimum.problem is problem:
        return
    # (numbers of a coarser problem are other numbers here, with another optimum)
    rtol = _ROUNDINGS * float(np.finfo(problem.dtype).eps)
    pairs = zip(_parts(problem), _parts(optimum.problem), strict=True)
    for (name, mine), (_, other) in pairs:
        if not _equal(mine, other, rtol):
            which, mine, other = _told(mine, other, rtol)
            require(False, f"{words}{name}{which} {_said(mine)}", _said(other))


def _parts(problem: Problem) -> Iterator[tuple[str, Any]]:
    """What the optimum depends on, with the names of the arguments."""
    labels = problem.labels
    yield "loss", problem.loss.canonical()
    yield "masses", np.asarray(labels.masses)
    yield "targets", np.asarray(labels.targets)
    yield "column weights", np.asarray(labels.column_weights)
    yield "widths", problem.widths
    yield "lambda_W", np.asarray(problem.lambda_W)
    yield "lambda_H", np.asarray(problem.lambda_H)
    yield "bias", problem.bias
    yield "lambda_b", problem.lambda_b
    yield "features", problem.features.canonical()
    yield "classifier", problem.classifier.canonical()
    yield "map", problem.map
    yield "anchor", problem.anchor
    yield "beta", problem.beta
    yield "fixed_weights", problem.fixed_weights


def _equal(mine, other, rtol: float) -> bool:
    """Whether two trees are one but for rounding, a number standing for as many equal ones."""
    if jax.tree.structure(mine) != jax.tree.structure(other):
        return False
    pairs = zip(jax.tree.leaves(mine), jax.tree.leaves(other), strict=True)
    return all(a == b if isinstance(a, str) else _close(a, b, rtol) for a, b in pairs)


def _close(mine, other, rtol: float) -> bool:
    shapes = np.shape(mine), np.shape(other)
    alike = shapes[0] == shapes[1] or () in shapes
    return alike and np.allclose(mine, other, rtol=rtol, atol=0)


def _told(mine, other, rtol: float) -> tuple[str, Any, Any]:
    """Two parts that differ, or of arrays of one shape the first entries that do, and which."""
    arrays = isinstance(mine, np.ndarray | jax.Array) and isinstance(other, np.ndarray | jax.Array)
    if not arrays or mine.shape != other.shape:
        return "", mine, other
    differs = ~np.isclose(mine, other, rtol=rtol, atol=0)
    first = tuple(int(i) for i in np.argwhere(differs)[0])
    which = f"[{', '.join(map(str, first))}]" if first else ""
    return which, mine[first], other[first]


def _said(value) -> str:
    """Words of one line, or what kind of thing it is."""
    text = str(value)
    return text if "\n" not in text and len(text) <= _CHARACTERS else str(Shown(value))
