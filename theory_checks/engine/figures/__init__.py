"""The papers' figures and ours, drawn from rows of a run and from nothing else.

`python -m theory_checks figures`.

Beside every figure lies a data file from which `redraw` makes it again. To add a figure: a check
that yields a `Record` with its numbers, and a function in the module `figures` of its paper,
decorated with `@figure(key, Need(check, cases, records))`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from theory_checks.engine.figures.captions import latex
from theory_checks.engine.figures.data import Data, by_case
from theory_checks.engine.figures.registry import Entry, load, needed, wanted
from theory_checks.engine.figures.style import FORMATS, applied, encoded
from theory_checks.engine.runner import Row
from ufm._system.files import write_whole

__all__ = [
    "FORMATS",
    "by_case",
    "checked_formats",
    "load",
    "make",
    "needed",
    "picture",
    "redraw",
    "wanted",
]


def make(
    names: Iterable[str] = (),
    *,
    out: str | os.PathLike,
    rows: Iterable[Row | Mapping[str, Any]],
    formats: Sequence[str] = ("pdf", "png"),
) -> tuple[list[str], dict[str, list[str]]]:
    """Draw figures from the rows of a run into the folder `out`, each beside its data.

    `names`: papers ("dang2023") or figures ("dang2023/frames"), all unless given. `rows`: of a run,
    or those in its JSON file. `formats`: of `FORMATS`. Returns the paths written, and for each
    figure that could not be drawn what its rows lack.

    Raises `ValueError` for a name or format that does not exist.
    """
    entries, formats, sources = wanted(names), checked_formats(formats), by_case(rows)
    written: list[str] = []
    lacking: dict[str, list[str]] = {}
    for entry in entries:
        if missing := entry.lacking(sources):
            lacking[entry.key] = missing
            continue
        data = entry.data(sources)
        written += _write(entry, data, os.fspath(out), formats)
        written.append(os.path.join(os.fspath(out), f"{entry.stem}.npz"))
        write_whole(written[-1], data.encoded())
    return written, lacking


def redraw(
    path: str | os.PathLike, *, out: str | os.PathLike, formats: Sequence[str] = ("pdf", "png")
) -> list[str]:
    """Draw a figure again from the data file beside it, into the folder `out`.

    Returns the paths written.

    Raises `ValueError` for a file that holds no figure's data, for a figure that does not exist and
    for unknown formats.
    """
    data, formats = Data.load(path), checked_formats(formats)
    (entry,) = wanted([data.figure])
    return _write(entry, data, os.fspath(out), formats)


def picture(entry: Entry, data: Data) -> tuple[bytes, float, float]:
    """A figure as an SVG, and its width and height in inches."""
    with applied():
        drawn = entry.draw(data)
        width, height = drawn.get_size_inches()
        return (
            encoded(drawn, "svg", title=entry.key, caption=entry.caption),
            float(width),
            float(height),
        )


def checked_formats(formats: Sequence[str]) -> tuple[str, ...]:
    """The formats, each once; `ValueError` for an unknown one or none."""
    chosen = tuple(dict.fromkeys(formats))
    if not chosen or not set(chosen) <= set(FORMATS):
        raise ValueError(
            f"`formats` must be among {', '.join(FORMATS)}; got {', '.join(chosen) or 'none'}"
        )
    return chosen


def _write(entry: Entry, data: Data, folder: str, formats: tuple[str, ...]) -> list[str]:
    """The files of a figure: its formats, and its caption with what its symbols stand for."""
    captions = {
        "txt": f"{entry.description}\n",
        "tex": f"\\caption{{{latex(entry.description)}}}\n",
    }
    for kind, caption in captions.items():
        write_whole(os.path.join(folder, f"{entry.stem}.{kind}"), caption)
    paths = [os.path.join(folder, f"{entry.stem}.{kind}") for kind in formats]
    with applied():
        drawn = entry.draw(data)
        for path, kind in zip(paths, formats, strict=True):
            write_whole(path, encoded(drawn, kind, title=entry.key, caption=entry.caption))
    return [*paths, *(os.path.join(folder, f"{entry.stem}.{kind}") for kind in captions)]
