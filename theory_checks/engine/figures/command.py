"""`python -m theory_checks figures`: what it checks before anything is run, and what it does with the rows."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from theory_checks.engine import figures
from theory_checks.engine.runner import Row


def problem_with(options: argparse.Namespace) -> str | None:
    """What is wrong with the names or the formats, None if nothing is."""
    try:
        options.names = tuple(options.names)
        figures.wanted(options.names)
        options.formats = figures.checked_formats([name.strip() for name in options.format.split(",")])
    except ValueError as error:
        return str(error)
    return None


def draw(options: argparse.Namespace, rows: Iterable[Row | Mapping[str, Any]]) -> bool:
    """Draw what the rows allow, print what was written and complain of what they lack; returns whether nothing is lacking."""
    written, lacking = figures.make(options.names, out=options.out, rows=rows, formats=options.formats)
    print("\n".join(["figures:", *(f"  {path}" for path in written)] if written else ["no figures"]))
    for key, missing in lacking.items():
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        print(f"{key} is not drawn: the rows lack {missing[0]}{more}", file=sys.stderr)
    return not lacking


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
