"""The geometry of the report's small figures; a template draws them.

Every number comes from the rows as the JSON file has them.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

EPS = float(np.finfo(np.float64).eps)
# errors below are drawn at the left end: an exact zero has no logarithm
_FLOOR = 1e-18
_CEILING = 1e2
# in CSS pixels: the narrowest phone shows a figure at its full size
WIDTH = 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 14, 8, 34
_ROW = 17
_CURVE_HEIGHT = 190
# the law that belongs to a measured column, by name; u_0 belongs to law_0
_LAWS = {"measured": ("law", "limit")}
_MAX_MARKS = 15


@dataclasses.dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    at: float
    label: str
    power: str = ""


@dataclasses.dataclass(frozen=True)
class Errors:
    """Errors of the claims of a theorem, one line a case, on a logarithmic axis.

    `required`: (x, y) of the claims that must hold, `missed`: of those that an outside case must
    miss, `tolerances`: (x, y).
    """

    height: float
    ticks: tuple[Tick, ...]
    lines: tuple[Tick, ...]
    eps: float
    required: tuple[tuple[float, float], ...]
    missed: tuple[tuple[float, float], ...]
    tolerances: tuple[tuple[float, float], ...]
    description: str
    width: float = WIDTH
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP

    @property
    def bottom(self) -> float:
        """Height of the axis."""
        return self.height - _BOTTOM


@dataclasses.dataclass(frozen=True)
class Curve:
    """One measured quantity (points) and the law for it (a line through `path`), where there is
    one."""

    name: str
    path: str
    points: tuple[tuple[float, float], ...]


@dataclasses.dataclass(frozen=True)
class Curves:
    """A trajectory of one case, measured and predicted."""

    case: str
    title: str
    abscissa: str
    curves: tuple[Curve, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    description: str
    width: float = WIDTH
    height: float = _CURVE_HEIGHT
    left: float = _LEFT + 12
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = _CURVE_HEIGHT - _BOTTOM


def errors(rows: Sequence[Mapping[str, Any]]) -> Errors | None:
    """The figure of one theorem's rows, or None where nothing was claimed.

    Lines are numbered as the rows are, from 1.
    """
    required, missed, tolerances, lines = [], [], [], []
    claimed = [claim for row in rows for claim in row["claims"]]
    if not claimed:
        return None
    values = (
        [_clipped(claim["error"]) for claim in claimed]
        + [claim["tolerance"] for claim in claimed]
        + [EPS]
    )
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))

    # tolerances are above the machine precision, so there is more than one decade
    across = functools.partial(_onto_log, low=low, high=high, start=_LEFT, end=WIDTH - _RIGHT)

    for i, row in enumerate(rows):
        y = _TOP + _ROW * (i + 0.5)
        lines.append(Tick(y, str(i + 1)))
        tolerances += [
            (across(tolerance), y)
            for tolerance in sorted({claim["tolerance"] for claim in row["claims"]})
        ]
        for claim in row["claims"]:
            (required if claim["binding"] else missed).append((across(_clipped(claim["error"])), y))
    return Errors(
        height=_TOP + _ROW * len(rows) + _BOTTOM,
        ticks=tuple(
            Tick(across(10.0**k), "10", _power(k))
            for k in range(low, high + 1)[:: _stride(high - low)]
        ),
        lines=tuple(lines),
        eps=across(EPS),
        required=tuple(dict.fromkeys(required)),
        missed=tuple(dict.fromkeys(missed)),
        tolerances=tuple(dict.fromkeys(tolerances)),
        description=_description(claimed, len(rows)),
    )


def _description(claimed: Sequence[Mapping[str, Any]], cases: int) -> str:
    binding = [claim for claim in claimed if claim["binding"]]
    numbers = [claim["error"] for claim in binding if claim["error"] is not None]
    over = sum(not claim["holds"] for claim in binding)
    parts = [
        f"Errors on a logarithmic axis, one line for each of {cases} cases: {len(binding)} "
        f"claims that must hold"
    ]
    parts += [f"the largest error {max(numbers):.1e}"] if numbers else []
    parts += (
        [f"{len(binding) - len(numbers)} errors not a number"]
        if len(numbers) < len(binding)
        else []
    )
    parts += [
        f"{over} over the tolerance",
        f"{len(claimed) - len(binding)} claims that need not hold",
    ]
    return ", ".join(parts) + "."


def _clipped(error: float | None) -> float:
    return _CEILING if error is None else min(max(error, _FLOOR), _CEILING)


def _stride(decades: int) -> int:
    return max(1, math.ceil(decades / 6))


def _power(k: int) -> str:
    return str(k).replace("-", "−")


def curves(rows: Sequence[Mapping[str, Any]]) -> Curves | None:
    """The first trajectory that has a law beside it, of the first case inside the hypotheses that
    recorded one; else None."""
    for row in sorted(rows, key=lambda row: row["setting"] == "outside"):
        for record in row["records"]:
            columns = {
                name: np.asarray(column, dtype=np.float64)
                for name, column in record["columns"].items()
            }
            pairs = _pairs(columns)
            if pairs and len(next(iter(columns.values()))) > 2:
                return _curves(row["case"], record["name"], columns, pairs)
    return None


def _pairs(columns: Mapping[str, np.ndarray]) -> list[tuple[str, str]]:
    """Measured and predicted columns; the first column is the abscissa."""
    names = list(columns)[1:]
    found = []
    for name in names:
        stem, _, index = name.rpartition("_")
        laws = (f"law_{index}",) if stem and stem != "law" else _LAWS.get(name, ())
        found += [(name, law) for law in laws if law in columns]
    return found


def _curves(
    case: str, title: str, columns: Mapping[str, np.ndarray], pairs: list[tuple[str, str]]
) -> Curves:
    abscissa, x = next(iter(columns.items()))
    shown = np.concatenate([columns[name] for pair in pairs for name in pair])
    # a logarithmic time begins after 0
    across, x_ticks = _axis(x[1:] if x[0] == 0 else x, Curves.left, Curves.right)
    up, y_ticks = _axis(shown, Curves.bottom, Curves.top)
    drawn = []
    # points at equal distances on the page: a trajectory has most of its times where little happens
    places = np.array([across(t) for t in x])
    wanted = np.linspace(np.nanmin(places), np.nanmax(places), _MAX_MARKS)
    marks = sorted({int(np.nanargmin(np.abs(places - place))) for place in wanted})
    for measured, law in pairs:
        points = [(across(x[i]), up(columns[measured][i])) for i in marks]
        line = [(across(t), up(v)) for t, v in zip(x, columns[law], strict=True)]
        path = "M" + " L".join(f"{a:.1f} {b:.1f}" for a, b in line if math.isfinite(a + b))
        drawn.append(Curve(measured, path, tuple(p for p in points if math.isfinite(sum(p)))))
    worst = max(
        float(np.nanmax(np.abs(columns[measured] - columns[law]))) for measured, law in pairs
    )
    law = "limit" if any(law == "limit" for _, law in pairs) else "law"
    description = (
        f"{title} over {abscissa} from {x[0]:.3g} to {x[-1]:.3g}, case {case}: measured points "
        f"and the {law} as a line, "
        f"{len(pairs)} in all; they differ by at most {worst:.1e}."
    )
    return Curves(case, title, abscissa, tuple(drawn), x_ticks, y_ticks, description)


def _axis(
    values: np.ndarray, start: float, end: float
) -> tuple[Callable[[float], float], tuple[Tick, ...]]:
    """A map onto the page and its ticks.

    Logarithmic where all values are positive and span more than three decades.
    """
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    if high > 1e3 * low > 0:
        at = functools.partial(
            _onto_log, low=math.log10(low), high=math.log10(high), start=start, end=end
        )
        inside = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
        return at, tuple(
            Tick(at(10.0**k), "10", _power(k)) for k in inside[:: _stride(len(inside))]
        )
    low = min(low, 0.0)
    high = high if high > low else low + 1.0
    at = functools.partial(_onto, low=low, high=high, start=start, end=end)
    step = 10.0 ** math.floor(math.log10((high - low) / 2))
    step *= next(
        factor for factor in (5, 2, 1) if (high - low) / (factor * step) >= 2 or factor == 1
    )
    places = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return at, tuple(Tick(at(k * step), f"{k * step:.6g}".replace("-", "−")) for k in places)


def _onto(value: float, *, low: float, high: float, start: float, end: float) -> float:
    return start + (value - low) / (high - low) * (end - start)


def _onto_log(value: float, **axis: float) -> float:
    return _onto(math.log10(value), **axis) if value > 0 else math.nan
