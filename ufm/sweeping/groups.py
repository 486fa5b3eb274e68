"""The stacked problems that a grid stands for, grouped by shape."""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ufm._validate import float_dtype, require
from ufm.labels import written_out
from ufm.model import Problem, with_canonical_loss
from ufm.sweeping.grid import SEED, Grid


@dataclass(frozen=True)
class Group:
    """Lanes of equal shapes.

    `problems` stacked on the host (U, …), and for each of `lanes` (n,), ascending, which of them it
    solves.
    """

    problems: Problem
    which: np.ndarray
    lanes: np.ndarray

    def one(self) -> Problem:
        """The first problem."""
        return jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), self.problems)


def groups_of(make: Callable[..., Problem], grid: Grid) -> list[Group]:
    """Every problem of the grid, stacked with those of its shapes."""
    names = [name for name in grid.values if name != SEED]
    arrays = {
        name: array for name in names if (array := _as_array(name, grid.values[name])) is not None
    }
    # the lanes that differ in their seed only share a problem
    table = (
        np.stack([grid.index[name] for name in names]) if names else np.zeros((1, grid.number), int)
    )
    unique, which = np.unique(table, axis=1, return_inverse=True)
    index = dict(zip(names, unique, strict=True)) if names else {}
    _check_ends(make, grid, arrays)

    stacks: list[tuple[Problem, np.ndarray]] = []
    static = [name for name in names if name not in arrays]
    kinds = (
        np.unique(np.stack([index[name] for name in static]), axis=1, return_inverse=True)[
            1
        ].ravel()
        if static
        else None
    )
    for kind in range(1 if kinds is None else kinds.max() + 1):
        rows = np.arange(unique.shape[1]) if kinds is None else np.flatnonzero(kinds == kind)
        fixed = {name: grid.values[name][index[name][rows[0]]] for name in static}
        stacks += _stacked(
            make,
            fixed,
            {name: array[index[name][rows]] for name, array in arrays.items()},
            grid,
            index,
            rows,
        )

    groups: dict[Any, list[tuple[Problem, np.ndarray]]] = {}
    for problems, rows in stacks:
        shapes = (
            jax.tree.structure(problems),
            tuple(np.shape(leaf)[1:] for leaf in jax.tree.leaves(problems)),
        )
        groups.setdefault(shapes, []).append((problems, rows))
    return [_grouped(parts, which.ravel()) for parts in groups.values()]


def _grouped(parts: list[tuple[Problem, np.ndarray]], which: np.ndarray) -> Group:
    rows = np.concatenate([rows for _, rows in parts])
    problems = jax.tree.map(
        lambda *leaves: np.concatenate(leaves), *(problems for problems, _ in parts)
    )
    place = np.full(which.max() + 1, -1)
    place[rows] = np.arange(len(rows))
    lanes = np.flatnonzero(place[which] >= 0)
    # the simplest loss of the same values has a certificate where a disguised one has none
    return Group(with_canonical_loss(problems), place[which[lanes]], lanes)


def _as_array(name: str, values: list) -> np.ndarray | None:
    """Values that can be traced, stacked: floats, or arrays of numbers of one shape.

    None for the others, which `make` gets as they are.
    """
    if all(isinstance(v, numbers.Real | np.number) and not isinstance(v, bool) for v in values):
        if not any(isinstance(v, float | np.floating) for v in values):
            return None
    else:
        if any(
            np.ndim(v) == 0 and not hasattr(v, "dtype")
            for v in values
            if not isinstance(v, list | tuple)
        ):
            return None
        try:
            arrays = [np.asarray(v) for v in values]
        except ValueError:
            return None
        if len({a.shape for a in arrays}) != 1 or any(a.dtype.kind not in "iuf" for a in arrays):
            return None
    array = np.asarray(values, float_dtype())
    # (an array may be offsets, of which −∞ drops a class)
    allowed = np.isfinite(array) | (np.isneginf(array) & (array.ndim > 1))
    require(np.all(allowed), f"`over[{name!r}]` must be finite", values)
    return array


def _check_ends(make, grid: Grid, arrays: Mapping[str, np.ndarray]) -> None:
    """Call `make` as a user would where each traced value is smallest and largest, and wherever it
    is infinite.

    While being traced a value cannot be checked.
    """
    lanes = {0}
    for name, array in arrays.items():
        flat = array.reshape(len(array), -1)
        infinite = np.flatnonzero(~np.isfinite(flat).all(axis=1))
        for value in (np.argmin(flat.min(axis=1)), np.argmax(flat.max(axis=1)), *infinite):
            lanes.add(int(np.argmax(grid.index[name] == value)))
    for lane in sorted(lanes):
        _made(make, grid.point(lane))


def said(point: Mapping) -> str:
    """Swept values on one line, numbers of NumPy as those of Python."""
    plain = {name: v.item() if isinstance(v, np.generic) else v for name, v in point.items()}
    return " ".join(str(plain).split())


def _made(make, point: Mapping) -> Problem:
    try:
        problem = make(**point)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`make` fails at {said(point)}: {error}") from error
    require(
        isinstance(problem, Problem), "`make` must return a ufm.Problem", type(problem).__name__
    )
    # lanes are stacked as matrices, and those of all lanes alike
    labels = written_out(problem.labels)
    return problem if labels is problem.labels else problem.replace(labels=labels)


def _stacked(make, fixed, traced, grid: Grid, index, rows) -> list[tuple[Problem, np.ndarray]]:
    """The problems of some rows, in one call of `make` where it can be traced, else in one call a
    row."""
    if traced and len(rows) > 1:
        try:
            problems = jax.vmap(lambda values: make(**fixed, **values))(
                jax.tree.map(jnp.asarray, traced)
            )
        except Exception:
            # whatever is wrong with it will be raised again, unwrapped, by the calls below; else it
            # only cannot be traced
            pass
        else:
            return [(jax.device_get(problems), rows)]
    singles = []
    for row in rows:
        point = {name: grid.values[name][index[name][row]] for name in (*fixed, *traced)}
        problem = jax.device_get(_made(make, point))
        singles.append(
            (jax.tree.map(lambda leaf: np.asarray(leaf)[None], problem), np.asarray([row]))
        )
    return singles


def chunks_of(groups: Sequence[Group], sizes: Sequence[int]) -> list[tuple[int, np.ndarray]]:
    """(group, places in it) of every chunk, in the order of the work."""
    return [
        (g, np.arange(at, min(at + size, len(group.lanes))))
        for g, (group, size) in enumerate(zip(groups, sizes, strict=True))
        for at in itertools.islice(itertools.count(0, size), -(-len(group.lanes) // size))
    ]
