"""What a SPEC.toml sweeps: grids and points, their ranges, and the checks of their values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ufm.command_line.settings import checks_for
from ufm.command_line.ties import RATIO, ratio_of
from ufm.command_line.values import LARGEST_SEED, LONGEST, is_number, require, seed_of, whole


def swept_of(table, shared: Mapping[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """What is swept, as `sweep` takes it, and its names."""
    checks = _checks_of_swept(shared)
    if isinstance(table, list):
        require(
            table and all(isinstance(row, dict) and set(row) == set(table[0]) for row in table),
            "sweep",
            "points of equal names",
            table,
        )
        points = [
            {name: _swept(name, v, f"sweep[{i}].{name}", checks) for name, v in row.items()}
            for i, row in enumerate(table)
        ]
        return points, tuple(points[0])
    require(table, "sweep", "a table with at least one name", table)
    return {name: _dimension(name, values, checks) for name, values in table.items()}, tuple(table)


def _checks_of_swept(shared: Mapping[str, Any]) -> dict[str, Callable[[Any, str], Any]]:
    """What may be swept, and the check of each of its values."""
    checks = checks_for(shared.get("loss"))
    counts_of, own = checks["class_counts"], {"seed": seed_of, RATIO: ratio_of}
    if shared.get("columns", "collapsed") == "collapsed":
        # floats are swept without compiling anew; counts of full columns are shapes
        checks = checks | {
            "class_counts": lambda value, key: tuple(map(float, counts_of(value, key)))
        }
    # (named first, and no parameter of a loss takes their place)
    return own | checks | own


def _dimension(name: str, values, checks: Mapping[str, Callable]) -> list:
    """The values of one dimension of a grid."""
    if isinstance(values, dict) and "from" in values:
        values = range_of(values, f"sweep.{name}", seeds=name == "seed")
    require(
        isinstance(values, list) and values,
        f"sweep.{name}",
        "a list of values, or { from, to, points, scale }",
        values,
    )
    return [_swept(name, value, f"sweep.{name}[{i}]", checks) for i, value in enumerate(values)]


def _swept(name: str, value, key: str, checks: Mapping[str, Callable]):
    """A checked value of what is swept, which stands at `key` of the file."""
    require(name in checks, "sweep", f"over {', '.join(checks)}", name)
    return checks[name](value, key)


def range_of(table: Mapping[str, Any], key: str, *, seeds: bool = False) -> list:
    """The values of { from, to, points, scale }.

    Parameters
    ----------
    table
        As it stands in the file.
    key
        Where it stands, for messages.
    seeds
        Whether they are whole numbers from end to end.

    Returns
    -------
    list
        Both ends exactly as they were given.

    Raises
    ------
    ValueError
        Naming key and value.
    """
    names = {"from", "to"} if seeds else {"from", "to", "points", "scale"}
    require(set(table) <= names, key, f"made of {', '.join(sorted(names))}", dict(table))
    require("to" in table, f"{key}.to", "given", None)
    first, last = table["from"], table["to"]
    if seeds:
        whole(first, f"{key}.from", least=0, most=LARGEST_SEED)
        whole(last, f"{key}.to", least=first, most=min(first + LONGEST, LARGEST_SEED))
        return list(range(first, last + 1))
    scale, points = table.get("scale", "linear"), table.get("points", 0)
    require(is_number(first), f"{key}.from", "a number", first)
    require(is_number(last), f"{key}.to", "a number", last)
    whole(points, f"{key}.points", least=2, most=LONGEST)
    require(scale in ("linear", "log"), f"{key}.scale", '"linear" or "log"', scale)
    shares = [i / (points - 1) for i in range(1, points - 1)]
    if scale == "linear":
        inner = [float(first + share * (last - first)) for share in shares]
    else:
        require(min(first, last) > 0, key, "positive at both ends for a log scale", dict(table))
        inner = [
            math.exp((1 - share) * math.log(first) + share * math.log(last)) for share in shares
        ]
    # the ends exactly as they were given
    return [float(first), *inner, float(last)]
