"""The figures by name.

A figure is a function from `Data` to a matplotlib figure, and the records that it needs.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterable, Mapping

from theory_checks.engine import catalogue
from theory_checks.engine.figures.data import Data, Need, Source
from theory_checks.engine.figures.style import Figure
from theory_checks.engine.registry import Case


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
    """A figure: `key` is "paper/what".

    The first paragraph of the docstring of `draw` is its caption.
    """

    key: str
    needs: tuple[Need, ...]
    draw: Callable[[Data], Figure]

    @property
    def paper(self) -> str:
        """The part of the key before the slash."""
        return self.key.partition("/")[0]

    @property
    def stem(self) -> str:
        """Its file name, without the ending."""
        return self.key.replace("/", "-")

    @property
    def caption(self) -> str:
        """What it shows."""
        return " ".join((self.draw.__doc__ or "").partition("\n\n")[0].split())

    @property
    def description(self) -> str:
        """The caption, and what else a reader needs to know."""
        return " ".join((self.draw.__doc__ or "").split())

    def lacking(self, sources: Mapping[tuple[str, str], Source]) -> list[str]:
        """What of its needs the sources lack."""
        return [line for need in self.needs for line in need.missing(sources)]

    def data(self, sources: Mapping[tuple[str, str], Source]) -> Data:
        """What it is drawn from."""
        return Data(
            self.key,
            self.caption,
            tuple(source for need in self.needs for source in need.taken(sources)),
        )


FIGURES: dict[str, Entry] = {}


def figure(key: str, *needs: Need):
    """Decorator: register a function from `Data` to a figure under `key`."""

    def register(draw: Callable[[Data], Figure]) -> Callable[[Data], Figure]:
        assert key not in FIGURES, f"{key} is registered twice"
        FIGURES[key] = Entry(key, needs, draw)
        return draw

    return register


def load() -> dict[str, Entry]:
    """All figures: those of each paper that has a module `figures`."""
    for key in catalogue.folders():
        if catalogue.FIGURES in catalogue.modules(key):
            importlib.import_module(f"{catalogue.PAPERS}.{key}.{catalogue.FIGURES}")
    return FIGURES


def wanted(names: Iterable[str] = ()) -> list[Entry]:
    """The figures of these papers or of these keys; all of them where there are no names.

    `ValueError` for a name of neither kind.
    """
    figures, names = load(), tuple(names)
    headings = dict.fromkeys(entry.paper for entry in figures.values())
    for name in names:
        if name not in headings and name not in figures:
            own = [key for key in figures if key.partition("/")[0] == name.partition("/")[0]]
            known = ", ".join(own or headings)
            none = ", which has no figure" * (name in catalogue.folders())
            raise ValueError(f"PAPER must be a paper or a figure among {known}; got {name!r}{none}")
    return [
        entry for key, entry in figures.items() if not names or key in names or entry.paper in names
    ]


def needed(names: Iterable[str] = ()) -> dict[str, set[Case]]:
    """The cases that have to run for these figures, by the key of their check."""
    cases: dict[str, set[Case]] = {}
    for entry in wanted(names):
        for need in entry.needs:
            cases.setdefault(need.check, set()).update(need.cases)
    return cases
