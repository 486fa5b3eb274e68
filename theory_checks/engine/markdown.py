"""The same tables for a page that understands Markdown: a README, or the summary of a job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from theory_checks.engine.registry import Check, Paper, Verdict
from theory_checks.engine.runner import Row, Run
from theory_checks.engine.summary import (
    Theorem,
    by_theorem,
    ends,
    evidence,
    percent,
    proved,
    told_again,
    totals,
    unproved,
)
from theory_checks.engine.terminal import measured_with

_HEADING = (
    "verdict",
    "theorem",
    "statement",
    "cases",
    "worst claim",
    "of its tolerance",
    "certificate gap",
)


def paper(title: str, rows: list[Row]) -> list[str]:
    """The table of a paper."""
    lines = [f"### {_safe(title)}", "", _line(_HEADING), _line("---" for _ in _HEADING)]
    for theorem in by_theorem(rows):
        worst, gap = theorem.worst, theorem.gap
        verdict = theorem.label(
            str(theorem.verdict) if theorem.verdict is Verdict.HOLDS else f"**{theorem.verdict}**"
        )
        share = "" if worst is None or theorem.verdict is Verdict.REFUTED else percent(worst.share)
        cells = (
            verdict,
            f"`{theorem.check.name}`",
            theorem.check.statement,
            len(theorem.rows),
            theorem.deciding,
            share,
        )
        lines.append(_line((*cells, "" if gap is None else f"{gap:.1e}")))
    return [*lines, ""]


def closing(rows: Iterable[Row], *, run: Run | None = None) -> list[str]:
    """What does not simply hold, refutations first, and the totals."""
    theorems = by_theorem(rows)
    lines = [f"**{totals(theorems)}**", "", *_proofs(theorems)]
    for theorem in told_again(theorems):
        lines += _news(theorem)
    told = ([run.times()] if run is not None else []) + (
        [measured_with(theorems[0].rows[0])] if theorems else []
    )
    return [*lines, *told]


def _proofs(theorems: list[Theorem]) -> list[str]:
    rows = [row for theorem in theorems for row in theorem.rows]
    lines = [
        f"- not proved: `{row.check.key}`, {_safe(row.case.id)}: {_safe(reason)}"
        for row in rows
        for reason in unproved(row)
    ]
    return [proved(rows), "", *lines, *([""] if lines else [])] if proved(rows) else []


def _news(theorem: Theorem) -> list[str]:
    lines = [f"- **{theorem.verdict}** `{theorem.check.key}`: {_safe(theorem.check.statement)}"]
    lines += [f"  - {theorem.remark}"] if theorem.remark else []
    lines += [
        f"  - {_safe(row.case.id)}: {_safe(r.name)} has value {r.value:.12g}, below "
        f"{r.claimed:.12g}{ends(r)}"
        for row, r in theorem.refutations
    ]
    lines += [
        f"  - {_safe(row.case.id)}: {_safe(reason)}"
        for row in theorem.rows
        for reason in evidence(row)
    ]
    return [*lines, ""]


def table_of_papers(checks: Iterable[Check], papers: Mapping[str, Paper | str]) -> str:
    """The papers, their checks and what a full run says of them: the table of the README."""
    by_paper: dict[str, list[Check]] = {}
    for check in checks:
        by_paper.setdefault(check.paper, []).append(check)
    lines = ["| paper | checks | status |", "| --- | --- | --- |"]
    for key, found in by_paper.items():
        names = ", ".join(f"`{check.name}`" for check in found)
        others = [
            f"`{check.name}` {check.expected}"
            for check in found
            if check.expected is not Verdict.HOLDS
        ]
        lines.append(f"| {papers.get(key, key)} | {key}: {names} | {', '.join(others) or 'hold'} |")
    return "\n".join(lines)


def _line(cells: Iterable) -> str:
    return f"| {' | '.join(_safe(str(cell)) for cell in cells)} |"


def _safe(text: str) -> str:
    """Text that no table or tag is made of; code between backticks stays code."""
    return text.replace("|", "\\|").replace("<", "&lt;")
