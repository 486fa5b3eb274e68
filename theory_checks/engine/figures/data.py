"""What a figure is drawn from.

The records of some cases, taken from the rows of a run, and kept beside the figure in a `.npz`
file.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from theory_checks.engine.registry import Case
from theory_checks.engine.runner import Row
from ufm._system.files import read_sealed, write_sealed

Columns = Mapping[str, np.ndarray]
_SEPARATOR = " | "


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """One case: its parameters and its records, by name."""

    check: str
    case: str
    parameters: Mapping[str, Any]
    records: Mapping[str, Columns]

    @classmethod
    def of(cls, row: Row | Mapping[str, Any]) -> Source:
        """From a row of a run, or from a row of the JSON file of one."""
        if isinstance(row, Row):
            records = {
                r.name: {name: np.asarray(column) for name, column in r.columns.items()}
                for r in row.records
            }
            return cls(row.check.key, row.case.id, _plain_ones(row.case.parameters), records)
        # null stands for what is not a number
        records = {
            r["name"]: {
                name: np.array(column, dtype=float) for name, column in r["columns"].items()
            }
            for r in row["records"]
        }
        return cls(row["check"], row["case"], _plain_ones(row["parameters"]), records)

    def record(self, name: str) -> Columns:
        """The record whose name begins with `name`."""
        return self.records[self.full_name(name)]

    def has(self, name: str) -> bool:
        """Whether there is a record whose name begins with `name`."""
        return any(full.startswith(name) for full in self.records)

    def full_name(self, name: str) -> str:
        """The name that begins with `name`."""
        return next(full for full in self.records if full.startswith(name))


@dataclasses.dataclass(frozen=True, eq=False)
class Need:
    """Cases of a check of which a figure shows some records.

    `check`: its key; `records`: how the names of the records begin.
    """

    check: str
    cases: tuple[Case, ...]
    records: tuple[str, ...]

    def missing(self, sources: Mapping[tuple[str, str], Source]) -> list[str]:
        """What of it the sources lack."""
        lacking = []
        for case in self.cases:
            found = sources.get((self.check, case.id))
            lacking += [
                f"{self.check}, {case.id}: {r}"
                for r in self.records
                if found is None or not found.has(r)
            ]
        return lacking

    def taken(self, sources: Mapping[tuple[str, str], Source]) -> list[Source]:
        """Its cases, with the records that are wanted and no others."""
        found = [sources[self.check, case.id] for case in self.cases]
        return [
            dataclasses.replace(
                s,
                records={name: c for name, c in s.records.items() if name.startswith(self.records)},
            )
            for s in found
        ]


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """All that one figure shows, and what it says of it."""

    figure: str
    caption: str
    sources: tuple[Source, ...]

    def one(self, check: str, case: Case) -> Source:
        """The source of this case."""
        return next(
            source for source in self.sources if (source.check, source.case) == (check, case.id)
        )

    def of(self, *checks: str) -> list[Source]:
        """The sources of these checks."""
        return [source for source in self.sources if source.check in checks]

    def encoded(self) -> bytes:
        """The bytes of a sealed `.npz` file.

        An array "check | case | record | column" for each column, and "about", which is JSON.
        """
        arrays: dict[str, Any] = {
            _SEPARATOR.join((source.check, source.case, record, name)): column
            for source in self.sources
            for record, columns in source.records.items()
            for name, column in columns.items()
        }
        cases = [
            {"check": s.check, "case": s.case, "parameters": s.parameters} for s in self.sources
        ]
        about = {"figure": self.figure, "caption": self.caption, "cases": cases}
        buffer = io.BytesIO()
        write_sealed(buffer, about, arrays, compress=True)
        return buffer.getvalue()

    @classmethod
    def load(cls, path) -> Data:
        """Read a file that was written beside a figure.

        `ValueError` for any other or changed file.
        """
        try:
            about, arrays = read_sealed(path)
        except ValueError as error:
            raise ValueError(
                f"`path` must be a data file written beside a figure ({error}); got {path}"
            ) from error
        if not isinstance(about, dict) or about.keys() != {"figure", "caption", "cases"}:
            raise ValueError(f"`path` must be a data file written beside a figure; got {path}")
        records: dict[tuple[str, str], dict[str, dict[str, np.ndarray]]] = {}
        for name, array in arrays.items():
            check, case, record, column = name.split(_SEPARATOR)
            records.setdefault((check, case), {}).setdefault(record, {})[column] = array
        sources = [
            Source(c["check"], c["case"], c["parameters"], records[c["check"], c["case"]])
            for c in about["cases"]
        ]
        return cls(about["figure"], about["caption"], tuple(sources))


def by_case(rows: Iterable[Row | Mapping[str, Any]]) -> dict[tuple[str, str], Source]:
    """The sources of rows, by check and case."""
    return {(source.check, source.case): source for source in map(Source.of, rows)}


def _plain_ones(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that a file can hold.

    Numbers, words and sequences of them, but no functions.
    """
    plain = {}
    for name, value in parameters.items():
        array = np.asarray(value)
        if value is None or array.dtype.kind in "biufU":
            plain[name] = array.tolist()
    return plain
