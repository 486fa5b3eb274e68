"""The page "Theorems": what every check states, under which hypotheses, from the registry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from theory_checks.engine.catalogue import load
from theory_checks.engine.registry import Check

_HEAD = """# Theorems

{number} statements of {papers} papers, from the registry. `ufm-checks run -k KEY` checks one: from
random starts, inside its hypotheses, on their boundary and outside, where it must fail. The words
are ours unless quoted.
"""


def page(bibliography: Path) -> str:
    """The page, in Markdown for MyST, citing the entries that there are."""
    registry = load()
    keys = set(re.findall(r"^@\w+\{(\w+),", bibliography.read_text("utf-8"), re.MULTILINE))
    checks = registry.matching()
    papers = list(dict.fromkeys(check.paper for check in checks))
    head = _HEAD.format(number=len(checks), papers=len(papers))
    parts = [head]
    for paper in papers:
        parts.append(f"\n## {registry.papers[paper]}\n")
        if (key := paper.partition("_")[0]) in keys:
            parts.append(f"{{cite}}`{key}`\n")
        parts += [text for check in checks if check.paper == paper for text in _of(check)]
    return "\n".join(parts)


def _of(check: Check) -> Iterator[str]:
    yield f"### `{check.key}`\n"
    yield f"{check.statement}\n"
    if check.formula:
        yield f"```{{math}}\n{check.formula}\n```\n"
    yield f"- Hypotheses: {check.hypotheses}"
    yield f"- Source: {check.source}"
    settings = [str(case.setting) for case in check.cases]
    counted = ", ".join(f"{settings.count(s)} {s}" for s in dict.fromkeys(settings))
    yield f"- Cases: {counted}; expected: {check.expected}\n"
