"""`python -m theory_checks figures`.

What it checks before anything is run, and what it does with the rows.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from theory_checks.engine import figures
from theory_checks.engine.runner import Row


def problem_with(options: argparse.Namespace) -> str | None:
    """What is wrong with the names or the formats, None if nothing is."""
    try:
        options.names = tuple(options.names)
        figures.wanted(options.names)
        options.formats = figures.checked_formats(
            [name.strip() for name in options.format.split(",")]
        )
    except ValueError as error:
        return str(error)
    return None


def draw(
    folder: str,
    rows: Iterable[Row | Mapping[str, Any]],
    *,
    names: Sequence[str],
    formats: Sequence[str],
) -> tuple[list[str], list[str]]:
    """Draw what the rows allow into `folder`; what to say of it, and what to complain of."""
    os.makedirs(folder, exist_ok=True)
    written, lacking = figures.make(names, out=folder, rows=rows, formats=formats)
    complaints = []
    for key, missing in lacking.items():
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        complaints.append(f"{key} is not drawn: the rows lack {missing[0]}{more}")
    drawn = sum(path.endswith(".npz") for path in written)
    return [
        f"figures: {drawn} in {folder}, each as {', '.join(formats)}, with its data as npz"
    ], complaints


def redraw(options: argparse.Namespace) -> int:
    """Draw one figure again from its data file; returns the exit status."""
    try:
        os.makedirs(options.out, exist_ok=True)
        written = figures.redraw(options.source, out=options.out, formats=options.formats)
    except (OSError, ValueError) as error:
        print(f"--from {options.source}: {error}", file=sys.stderr)
        return 2
    print("\n".join(["figures:", *(f"  {path}" for path in written)]))
    return 0
