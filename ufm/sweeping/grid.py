"""What is swept: a grid, or a list of points."""

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

from ufm._validate import LONGEST_LIST, Shown, require, require_instance, require_whole
from ufm.labels import Labels, with_offsets
from ufm.model import Problem

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


def describe(grid: Grid) -> dict[str, dict]:
    """Coordinates as JSON.

    Per name its dimension and its values, numbers and words as they are, anything else as text.
    """
    coordinates = {}
    for name, values in grid.values.items():
        plain = all(isinstance(v, str | numbers.Real | np.number) for v in values)
        alike = plain and len({isinstance(v, str) for v in values}) == 1
        shown = (
            [v if isinstance(v, str | bool) else np.asarray(v).item() for v in values]
            if alike
            else [_text(v) for v in values]
        )
        coordinates[name] = {"dim": grid.along[name], "values": shown, "text": not alike}
    return coordinates


def _text(value) -> str:
    if isinstance(value, np.ndarray | jax.Array):
        value = value.tolist()
    return type(value).__name__ if isinstance(value, Problem) else str(value)
