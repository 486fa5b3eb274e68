"""The papers' figures for the page, drawn from the rows of its document.

What the rows do not allow is left out.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from theory_checks.engine import catalogue

# the folder beside the page in which the figures lie as files
FOLDER = "figures"
# CSS pixels for an inch of the printed figure: its text is then a little smaller than that of the
# page
_SCALE = 118


def drawn(
    document: Mapping[str, Any], folder: str | os.PathLike | None = None
) -> dict[str, list[dict[str, Any]]]:
    """The figures of each paper.

    Words, picture and size, the theorems shown, and the files of it that lie in `folder`.
    """
    # matplotlib takes a second to import
    if not set(document["papers"]) & set(catalogue.folders()):
        return {}
    from theory_checks.engine import figures

    found: dict[str, list[dict[str, Any]]] = {}
    sources = figures.by_case(document["rows"])
    for entry in figures.wanted():
        if entry.lacking(sources):
            continue
        data = entry.data(sources)
        theorems = list(dict.fromkeys(need.check for need in entry.needs))
        picture, width, height = figures.picture(entry, data)
        found.setdefault(theorems[0].partition("/")[0], []).append(
            {
                "key": entry.key,
                "caption": entry.description,
                "picture": Markup("data:image/svg+xml;base64,")
                + base64.b64encode(picture).decode("ascii"),
                "width": round(_SCALE * width),
                "height": round(_SCALE * height),
                "theorems": theorems,
                "files": []
                if folder is None
                else _files(Path(folder) / FOLDER, entry.stem, data.encoded()),
            }
        )
    return found


def _files(folder: Path, stem: str, data: bytes) -> list[str]:
    """Files of a figure; none where they are drawn from other numbers than these."""
    beside = folder / f"{stem}.npz"
    if not beside.is_file() or beside.read_bytes() != data:
        return []
    return [f"{FOLDER}/{path.name}" for path in sorted(folder.glob(f"{stem}.*"))]
