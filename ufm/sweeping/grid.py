"""What is swept: a grid or a list of points, and the stacked problems, grouped by shape, that they
stand for."""

from __future__ import annotations

import itertools
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from ufm._validate import LONGEST_LIST, Shown, float_dtype, require, require_instance, require_whole
from ufm.labels import Labels, with_offsets, written_out
from ufm.model import Problem, with_canonical_loss

SEED = "seed"
# Fields of a template problem that may be swept.
_FIELDS = ("lambda_W", "lambda_H", "lambda_b", "beta", "anchor", "targets", "masses", "offsets")


@dataclass(frozen=True)
class Grid:
    """Lanes in the order of the dataset: `dims` and `shape`.

    Per name, its values, the value of each lane (L,), and its dimension.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    values: dict[str, list]
    index: dict[str, np.ndarray]
    along: dict[str, str]

    @property
    def number(self) -> int:
        """L."""
        return int(np.prod(self.shape, dtype=int))

    def seeds(self) -> np.ndarray:
        """The seed of each lane (L,), 0 where none is swept."""
        if SEED not in self.values:
            return np.zeros(self.number, np.uint32)
        return np.asarray(self.values[SEED], np.uint32)[self.index[SEED]]

    def point(self, lane: int) -> dict[str, Any]:
        """What `make` is called with for a lane."""
        return {
            name: values[self.index[name][lane]]
            for name, values in self.values.items()
            if name != SEED
        }


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


def grid_of(make: Any, over: Any) -> tuple[Callable[..., Problem], Grid]:
    """The function that makes a problem, and the lanes.

    `ValueError` for whatever cannot be swept.
    """
    listed = isinstance(make, tuple | list)
    if listed:
        problems = len(make) >= 1 and all(isinstance(p, Problem) for p in make)
        require(problems, "`make` as a list must hold problems", Shown(make))
    known = listed or isinstance(make, Problem) or (callable(make) and not isinstance(make, type))
    require(known, "`make` must be a function, a problem or a list of problems", Shown(make))
    require_instance("over", over, (Mapping, tuple, list), "a dict of values, or a list of dicts")
    grid = (
        _points(over, make if listed else None)
        if not isinstance(over, Mapping)
        else _product(over, make if listed else None)
    )
    if listed or isinstance(make, Problem):
        strange = [name for name in grid.values if name not in (*_FIELDS, SEED, "problem")]
        require(
            not strange,
            f"`over` may name the fields of a problem, {', '.join(_FIELDS)}, or {SEED}",
            strange,
        )
    if listed:
        return lambda problem, **values: _replaced(problem, values), grid
    if isinstance(make, Problem):
        return lambda **values: _replaced(make, values), grid
    return cast(Callable[..., Problem], make), grid


def _product(over: Mapping, problems) -> Grid:
    values = {"problem": list(problems)} if problems is not None else {}
    for name, given in over.items():
        _check_name(name)
        require(
            name not in values, "`over` must not name the dimension of the list of problems", name
        )
        several = np.iterable(given) and not isinstance(given, str | bytes | Mapping)
        require(several, f"`over[{name!r}]` must be a sequence of values", Shown(given))
        # (one that never ends, too)
        values[name] = list(itertools.islice(given, LONGEST_LIST + 1))
        require(
            len(values[name]) >= 1, f"`over[{name!r}]` must hold at least one value", Shown(given)
        )
    require(len(values) >= 1, "`over` must name at least one quantity", over)
    shape = tuple(len(v) for v in values.values())
    require(
        math.prod(shape) <= LONGEST_LIST,
        f"`over` must have at most {LONGEST_LIST} lanes",
        math.prod(shape),
    )
    _check_seeds(values)
    places = np.unravel_index(np.arange(int(np.prod(shape, dtype=int))), shape)
    return Grid(
        tuple(values),
        shape,
        values,
        dict(zip(values, places, strict=True)),
        {name: name for name in values},
    )


def _points(over: Sequence, problems) -> Grid:
    require(
        problems is None,
        "`over` must be a dict when `make` is a list of problems",
        type(over).__name__,
    )
    require(
        len(over) >= 1 and all(isinstance(p, Mapping) for p in over),
        "`over` as a list must hold at least one dict, and dicts only",
        over,
    )
    names = tuple(over[0])
    for i, point in enumerate(over):
        require(
            set(point) == set(names),
            f"`over[{i}]` must have the names of `over[0]`, {', '.join(names)}",
            sorted(point),
        )
    require(len(names) >= 1, "`over[0]` must name at least one quantity", over[0])
    for name in names:
        _check_name(name)
    values = {name: [point[name] for point in over] for name in names}
    _check_seeds(values)
    each = np.arange(len(over))
    return Grid(
        ("point",), (len(over),), values, dict.fromkeys(names, each), dict.fromkeys(names, "point")
    )


def _check_name(name) -> None:
    require(
        isinstance(name, str) and name.isidentifier(), "names in `over` must be identifiers", name
    )
    require(
        name not in ("point", "t", "class", "column", "feature"),
        "names in `over` must not be those of other dimensions",
        name,
    )


def _check_seeds(values: dict[str, list]) -> None:
    for seed in values.get(SEED, ()):
        require_whole("over['seed']", seed, least=0, most=2**32 - 1)


def _replaced(problem: Problem, values: Mapping) -> Problem:
    """A template with other values in its fields."""
    for name in ("lambda_b", "beta", "anchor"):
        require(
            name not in values or getattr(problem, name) is not None,
            f"`over` may name {name} only where the problem has one",
            None,
        )
    new = {
        "bias" if name == "lambda_b" else name: value
        for name, value in values.items()
        if name not in ("targets", "masses", "offsets")
    }
    given = problem.labels
    labels = Labels(
        jnp.asarray(values.get("targets", given.targets)),
        jnp.asarray(values.get("masses", given.masses)),
        given.weights,
    )
    offsets = values.get("offsets", given.offsets)
    if offsets is not None:
        labels = with_offsets(labels, offsets)
    return problem.replace(labels=labels, **new)


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


def _made(make, point: Mapping) -> Problem:
    try:
        problem = make(**point)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`make` fails at {dict(point)}: {error}") from error
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


def describe(grid: Grid) -> dict[str, dict]:
    """Coordinates as JSON.

    Per name its dimension and its values, numbers and words as they are, anything else as text.
    """
    coordinates = {}
    for name, values in grid.values.items():
        plain = all(isinstance(v, str | numbers.Real | np.number) for v in values)
        alike = plain and len({isinstance(v, str) for v in values}) == 1
        Shown = (
            [v if isinstance(v, str | bool) else np.asarray(v).item() for v in values]
            if alike
            else [_text(v) for v in values]
        )
        coordinates[name] = {"dim": grid.along[name], "values": Shown, "text": not alike}
    return coordinates


def _text(value) -> str:
    if isinstance(value, np.ndarray | jax.Array):
        value = value.tolist()
    return type(value).__name__ if isinstance(value, Problem) else str(value)


def chunks_of(groups: Sequence[Group], sizes: Sequence[int]) -> list[tuple[int, np.ndarray]]:
    """(group, places in it) of every chunk, in the order of the work."""
    return [
        (g, np.arange(at, min(at + size, len(group.lanes))))
        for g, (group, size) in enumerate(zip(groups, sizes, strict=True))
        for at in itertools.islice(itertools.count(0, size), -(-len(group.lanes) // size))
    ]
