"""Rows as one table a paper, and as a JSON file that is written whole or not at all."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import numpy as np

from theory_checks.engine.counterexamples import Refutation, file_name
from theory_checks.engine.registry import Check, Paper, Record, Setting, Verdict
from theory_checks.engine.runner import Row
from ufm._files import checked_json, sealed_json, write_whole

_HEADER = ("theorem", "cases (in/on/out)", "worst error", "of tolerance", "certificate gap", "verdict")
# Of the JSON file: a page made from rows of another would lack what that did not say.
FORMAT = 1
# Longer records are for figures and fill no terminal.
PRINTED = 12


def verdicts(rows: Iterable[Row]) -> dict[str, Verdict]:
    """The verdict of each check, by key."""
    by_key: dict[str, list[Verdict]] = {}
    for row in rows:
        by_key.setdefault(row.check.key, []).append(row.verdict)
    return {key: Verdict.worst(found) for key, found in by_key.items()}


def tables(rows: Iterable[Row], papers: Mapping[str, Paper | str]) -> str:
    """One table a paper, the failed cases below it, and a last line that counts the verdicts."""
    rows = list(rows)
    lines: list[str] = []
    for key in dict.fromkeys(row.paper for row in rows):
        lines += _paper_table(str(papers.get(key, key)), [row for row in rows if row.paper == key])
    found = list(verdicts(rows).values())
    counts = ", ".join(f"{found.count(v)} {v}" for v in Verdict if v in found or v is Verdict.HOLDS)
    settings = rows[0].settings if rows else {}
    lines.append(f"{len(found)} theorems, {len(rows)} cases, {sum(row.seconds for row in rows):.0f} s: {counts}")
    if settings:
        lines.append(
            f"{settings['dtype']} on {settings['device']}, jax {settings['versions']['jax']}, numpy {settings['versions']['numpy']}"
        )
    return "\n".join(lines)


def _paper_table(title: str, rows: list[Row]) -> list[str]:
    body = []
    for key in dict.fromkeys(row.check.key for row in rows):
        group = [row for row in rows if row.check.key == key]
        settings = [row.case.setting for row in group]
        counts = "/".join(str(settings.count(s)) for s in Setting)
        worst = max((row.worst for row in group if row.worst is not None), key=lambda c: c.error / c.tolerance, default=None)
        gap = max((row.certificate_gap for row in group if row.certificate_gap is not None), default=None)
        body.append(
            (
                group[0].theorem,
                f"{len(group)} ({counts})",
                "-" if worst is None else f"{worst.error:.1e}",
                "-" if worst is None else f"{worst.error / worst.tolerance:.2g}",
                "-" if gap is None else f"{gap:.1e}",
                str(Verdict.worst(row.verdict for row in group)),
            )
        )
    widths = [max(len(line[i]) for line in (_HEADER, *body)) for i in range(len(_HEADER))]

    def layout(line):
        return "  " + "  ".join(
            text.ljust(w) if i in (0, 5) else text.rjust(w) for i, (text, w) in enumerate(zip(line, widths, strict=True))
        )

    lines = [title, layout(_HEADER).rstrip(), "  " + "-" * (sum(widths) + 2 * (len(widths) - 1))]
    lines += [layout(line).rstrip() for line in body]
    for row in rows:
        if not row.verdict.ok:
            lines += _failure(row)
        if row.verdict is Verdict.REFUTED:
            lines += _refutations(row)
        for record in row.records:
            lines += _record(row, record)
    return [*lines, ""]


def _failure(row: Row) -> list[str]:
    title = f"  {row.verdict.upper()} {row.check.key}, case {row.case.id} ({row.case.setting} the hypotheses)"
    return [title, *(f"    {reason}" for reason in reasons(row))]


def reasons(row: Row) -> list[str]:
    """Why a case did not end as it should; nothing where it did."""
    if row.verdict.ok:
        return []
    if row.message:
        return [row.message]
    broken = [claim for claim in row.binding if not claim.holds]
    if broken:
        return [f"{claim.name}: error {claim.error:.3e}, tolerance {claim.tolerance:.0e}" for claim in broken]
    if row.refutations and row.case.setting is Setting.OUTSIDE:
        return ["a lower value outside the hypotheses refutes nothing"]
    if row.refutations:
        return [
            f"{r.name}: its value {r.value:.12g} is not below {r.claimed:.12g} by more than rounding"
            for r in row.refutations
            if not r.proven
        ]
    closest = max((claim.error for claim in row.claims if not claim.witness), default=0.0)
    return [f"no claim of the theorem is clearly violated here, as one must be (largest error {closest:.1e})"]


def _refutations(row: Row) -> list[str]:
    lines = []
    for r in row.refutations:
        below = f"{1 - r.value / r.claimed:.2%} below" if r.claimed > 0 else "below"
        lines.append(f"  REFUTED {row.check.key}, case {row.case.id}: {r.name} has value {r.value:.12g}, {below} {r.claimed:.12g}")
    return lines


def _record(row: Row, record: Record) -> list[str]:
    title = f"  {row.theorem}, {row.case.id}: {record.name}"
    longest = max((len(column) for column in record.columns.values()), default=0)
    if longest > PRINTED:
        return [f"{title} ({len(record.columns)} columns of up to {longest} numbers, in the JSON file)"]
    cells = [[name, *(f"{x:.0f}" if float(x).is_integer() else f"{x:.1e}" for x in column)] for name, column in record.columns.items()]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(text.rjust(w) for text, w in zip(line, widths, strict=True)) for line in cells]
    return [title, *(f"    {line}" for line in lines)]


def listing(checks: Iterable[Check]) -> str:
    """Key, number of cases and statement of each check."""
    checks = list(checks)
    width = max((len(check.key) for check in checks), default=0)
    lines = []
    for check in checks:
        slow = sum(case.full for case in check.cases)
        note = f" [{slow} only with --full]" if slow else ""
        lines.append(f"{check.key.ljust(width)}  {len(check.cases):3d} cases{note}  {check.statement}")
    return "\n".join(lines)


def table_of_papers(checks: Iterable[Check], papers: Mapping[str, Paper | str]) -> str:
    """The papers, their checks and what a full run says of them, as a table in Markdown: that of the README."""
    by_paper: dict[str, list[Check]] = {}
    for check in checks:
        by_paper.setdefault(check.paper, []).append(check)
    lines = ["| paper | checks | status |", "| --- | --- | --- |"]
    for key, found in by_paper.items():
        names = ", ".join(f"`{check.name}`" for check in found)
        others = [f"`{check.name}` {check.expected}" for check in found if check.expected is not Verdict.HOLDS]
        lines.append(f"| {papers.get(key, key)} | {key}: {names} | {', '.join(others) or 'hold'} |")
    return "\n".join(lines)


def as_document(
    rows: Iterable[Row], papers: Mapping[str, Paper | str], *, finished: bool = True, command: str | None = None
) -> dict[str, Any]:
    """The rows as plain JSON types. Numbers that are not finite become null. `command` is what was typed to get them."""
    rows = list(rows)
    checks = {row.check.key: row.check for row in rows}
    found = verdicts(rows)
    return {
        "format": FORMAT,
        "finished": finished,
        "command": command,
        "papers": {key: str(papers.get(key, key)) for key in dict.fromkeys(row.paper for row in rows)},
        "checks": [
            {
                "key": key,
                "statement": check.statement,
                "formula": check.formula,
                "hypotheses": check.hypotheses,
                "source": check.source,
                "verdict": str(found[key]),
            }
            for key, check in checks.items()
        ],
        "rows": [_row_document(row) for row in rows],
    }


def _row_document(row: Row) -> dict[str, Any]:
    binding = {id(claim) for claim in row.binding}
    return {
        "check": row.check.key,
        "paper": row.paper,
        "theorem": row.theorem,
        "case": row.case.id,
        "setting": str(row.case.setting),
        "parameters": _plain(dict(row.case.parameters)),
        "options": _plain(dict(row.case.options)),
        "starts": row.case.starts,
        "full": row.case.full,
        "claims": [
            {
                "name": claim.name,
                "measured": _plain(claim.measured),
                "predicted": _plain(claim.predicted),
                "error": _plain(claim.error),
                "tolerance": claim.tolerance,
                "scale": _plain(claim.scale),
                "witness": claim.witness,
                "binding": id(claim) in binding,
                "holds": claim.holds,
            }
            for claim in row.claims
        ],
        "records": [{"name": r.name, "columns": {name: _plain(np.asarray(c)) for name, c in r.columns.items()}} for r in row.records],
        "refutations": [
            {
                "name": r.name,
                "claimed": _plain(r.claimed),
                "value": _plain(r.value),
                "proven": r.proven,
                "file": _file_of(row, r),
                "sha256": sha256(r.as_npz()).hexdigest(),
            }
            for r in row.refutations
        ],
        "certificate_gap": _plain(row.certificate_gap),
        "seconds": row.seconds,
        "verdict": str(row.verdict),
        "message": row.message,
        "reasons": reasons(row),
        "settings": row.settings,
    }


def _plain(value):
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    # what else a case may hold, such as the function that makes its labels
    return getattr(value, "__name__", str(value))


def write_counterexamples(folder: str | os.PathLike, rows: Iterable[Row]) -> list[str]:
    """Write every proven refutation of `rows` to an `.npz` file in `folder`; returns the paths."""
    paths = []
    for row in rows:
        if row.verdict is Verdict.REFUTED:
            for refutation in row.refutations:
                path = os.path.join(os.fspath(folder), _file_of(row, refutation))
                assert path not in paths, f"two counterexamples of one name: {path}"
                write_whole(path, refutation.as_npz())
                paths.append(path)
    return paths


def _file_of(row: Row, refutation: Refutation) -> str:
    return file_name(row.check.key, row.case.id, refutation.name)


def write_json(path: str | os.PathLike, document: Mapping[str, Any]) -> None:
    """Write the document as a JSON file, sealed: `read_json` refuses it once it has been changed."""
    write_whole(path, json.dumps(sealed_json(document), indent=1, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """A document of `as_document` from the file of `write_json`; `ValueError` for any other or changed file."""
    with open(path, encoding="utf-8", errors="replace") as file:
        try:
            document = checked_json(file.read())
        except ValueError as error:
            raise ValueError(f"`path` must be a JSON file written by this command ({error}); got {os.fspath(path)!r}") from error
    if document.get("format") != FORMAT:
        raise ValueError(f"`path` must be a JSON file written by this version; got {os.fspath(path)!r}")
    return document
