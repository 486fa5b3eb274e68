"""What a run leaves behind: rows, counterexamples, the page, the figures.

And where there is no place for them.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from theory_checks.engine import files
from theory_checks.engine.document import as_document
from theory_checks.engine.registry import Paper
from theory_checks.engine.runner import Row, Run
from ufm._system.files import unwritable

# the rows of a run, where figures or page could not be made of them
KEPT = "rows.json"


@dataclasses.dataclass(frozen=True)
class Written:
    """What to say of it.

    Lines on what was written, complaints about figures that lack rows, and the rows as text where
    asked for.
    """

    lines: list[str]
    lacking: list[str]
    text: str = ""


def wanted(options: argparse.Namespace) -> bool:
    """Whether anything is written, so that a run without a reader still has a purpose."""
    return any(path is not None for path in (options.json, options.counterexamples, options.out))


def without_place(options: argparse.Namespace) -> str | None:
    """Make the folders of the output, before anything is run.

    What is wrong with one that cannot be made, or a place where no file can be written.
    """
    named = {"--out": options.out, "--counterexamples": options.counterexamples}
    # (the name of a file, or one that any file in the folder could have)
    places = {
        option: (folder, os.path.join(folder, f"{secrets.token_hex(8)}.tmp"))
        for option, folder in named.items()
        if folder is not None
    }
    if options.json is not None:
        places["--json"] = os.path.dirname(os.path.abspath(options.json)), options.json
    for option, (folder, file) in places.items():
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            return f"{option} {folder}: {error.strerror}"
        if fault := unwritable(file):
            return f"{option} {options.json if option == '--json' else folder}: {fault}"
    return None


def without_typesetting() -> str | None:
    """Why no page can be written here; None where one can."""
    try:
        from theory_checks.engine import html_report  # noqa: F401
    except ModuleNotFoundError as error:
        return f"a page needs the extra `ufm[report]`: there is no {error.name}"
    return None


def write_page(
    folder: str | os.PathLike, rows: Sequence[Row], document: Mapping[str, Any]
) -> list[str]:
    """Write the page of a document, the document and the counterexamples of its rows.

    Returns the paths, the page and its rows last.
    """
    from theory_checks.engine import html_report

    # the page last: it links to the files that are there
    return [
        *files.write_counterexamples(folder, rows),
        *html_report.write_document(folder, document),
    ]


def _asked_for(options: argparse.Namespace, rows: Sequence[Row]) -> Sequence[str]:
    """The figures to draw: of a run of a part, those that show something of it."""
    from theory_checks.engine import figures

    run = {row.check.key for row in rows}
    entries = figures.wanted(options.names)
    part = [entry for entry in entries if run & {need.check for need in entry.needs}]
    return [entry.key for entry in (part if options.pattern or options.absent else entries)]


def _drawn(
    options: argparse.Namespace, rows: Sequence[Row], document: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """Figures and page, as far as they were asked for; what to say of them and to complain of."""
    lines: list[str] = []
    lacking: list[str] = []
    if options.command in ("figures", "all"):
        from theory_checks.engine import page_figures
        from theory_checks.engine.figures import command

        folder = (
            options.out
            if options.command == "figures"
            else os.path.join(options.out, page_figures.FOLDER)
        )
        # from the document, as those of the page: the same numbers to the last bit, which is how
        # the page knows its files
        names = _asked_for(options, rows)
        told = ["figures: none shows anything of this part"]
        if names:
            told, lacking = command.draw(
                folder, document["rows"], names=names, formats=options.formats
            )
        lines += told
    if options.command in ("report", "all"):
        paths = write_page(options.out, rows, document)
        lines += [f"counterexample: {path}" for path in paths[:-2]] + [
            f"page: {paths[-2]}",
            f"rows: {paths[-1]}",
        ]
    return lines, lacking


def write(
    options: argparse.Namespace,
    rows: Sequence[Row],
    papers: Mapping[str, Paper | str],
    *,
    finished: bool,
    run: Run,
) -> Written:
    """Write all that was asked for."""
    lines, lacking = [], []
    document = as_document(rows, papers, finished=finished, command=options.typed, run=run)
    if options.json is not None:
        files.write_json(options.json, document)
        lines.append(f"rows: {options.json}")
    if options.counterexamples is not None:
        paths = files.write_counterexamples(options.counterexamples, rows)
        lines += [f"counterexample: {path}" for path in paths] or ["no counterexamples"]
    try:
        told, lacking = _drawn(options, rows, document)
    except BaseException:
        # what was solved outlives a fault in what is made of it
        kept = os.path.join(options.out, KEPT)
        files.write_json(kept, document)
        again = "go on with --from" if options.command != "all" else "go on with report --from"
        print(f"rows: {kept}; {again}", file=sys.stderr)
        raise
    lines += told
    return Written(lines, lacking, files.json_text(document) if options.format == "json" else "")
