"""The checks that there are, without running any."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from theory_checks.engine import markdown
from theory_checks.engine.document import plain
from theory_checks.engine.registry import Check, Paper


def shown(checks: Iterable[Check], papers: Mapping[str, Paper], *, form: str) -> str:
    """The checks in one of the formats: plain, json or github."""
    if form == "github":
        return markdown.table_of_papers(checks, papers)
    return (
        json.dumps(as_document(checks, papers), indent=1, allow_nan=False)
        if form == "json"
        else lines(checks)
    )


def lines(checks: Iterable[Check]) -> str:
    """Key, number of cases and statement of each check."""
    checks = list(checks)
    width = max((len(check.key) for check in checks), default=0)
    told = []
    for check in checks:
        slow = sum(case.full for case in check.cases)
        note = f" [{slow} only with --full]" if slow else ""
        told.append(
            f"{check.key.ljust(width)}  {len(check.cases):3d} cases{note}  {check.statement}"
        )
    return "\n".join(told)


def as_document(checks: Iterable[Check], papers: Mapping[str, Paper]) -> list[dict]:
    """All that is known of the checks before they are run, as plain JSON types."""
    return [
        {
            "key": check.key,
            "paper": str(papers.get(check.paper, check.paper)),
            "arxiv": papers[check.paper].arxiv if check.paper in papers else None,
            "statement": check.statement,
            "formula": check.formula,
            "hypotheses": check.hypotheses,
            "source": check.source,
            "expected": str(check.expected),
            "cases": [
                {
                    "case": case.id,
                    "setting": str(case.setting),
                    "full": case.full,
                    "parameters": plain(dict(case.parameters)),
                }
                for case in check.cases
            ],
        }
        for check in checks
    ]
