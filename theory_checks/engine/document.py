"""The rows as plain JSON types.

What the JSON file holds, and all that the page and the figures are made from.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import numpy as np

from theory_checks.engine.counterexamples import Refutation, file_name
from theory_checks.engine.registry import Paper
from theory_checks.engine.runner import Row, Run
from theory_checks.engine.summary import by_theorem, evidence, proved, unproved

# of the JSON file: a page made from rows of another would lack what that did not say
FORMAT = 4


def as_document(
    rows: Iterable[Row],
    papers: Mapping[str, Paper | str],
    *,
    finished: bool = True,
    command: str | None = None,
    run: Run | None = None,
) -> dict[str, Any]:
    """The rows as plain JSON types. Numbers that are not finite become null.

    `command` is what was typed to get them.
    """
    rows = list(rows)
    return {
        "format": FORMAT,
        "finished": finished,
        "command": command,
        "run": None if run is None else dataclasses.asdict(run),
        "papers": {
            key: str(papers.get(key, key)) for key in dict.fromkeys(row.paper for row in rows)
        },
        "checks": [
            {
                "key": theorem.check.key,
                "statement": theorem.check.statement,
                "formula": theorem.check.formula,
                "hypotheses": theorem.check.hypotheses,
                "source": theorem.check.source,
                "verdict": str(theorem.verdict),
                "proved": theorem.proved,
                "expected": str(theorem.check.expected),
                "as_expected": theorem.as_expected,
                "remark": theorem.remark,
                "one_sided": theorem.one_sided,
            }
            for theorem in by_theorem(rows)
        ],
        "proved": proved(rows),
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
        "parameters": plain(dict(row.case.parameters)),
        "options": plain(dict(row.case.options)),
        "starts": row.case.starts,
        "full": row.case.full,
        "claims": [
            {
                "name": claim.name,
                "measured": plain(claim.measured),
                "predicted": plain(claim.predicted),
                "error": plain(claim.error),
                "tolerance": claim.tolerance,
                "scale": plain(claim.scale),
                "witness": claim.witness,
                "binding": id(claim) in binding,
                "holds": claim.holds,
            }
            for claim in row.claims
        ],
        "records": [
            {
                "name": r.name,
                "columns": {name: plain(np.asarray(c)) for name, c in r.columns.items()},
            }
            for r in row.records
        ],
        "refutations": [
            {
                "name": r.name,
                "claimed": plain(r.claimed),
                "value": plain(r.value),
                "below": plain(r.below),
                "is_lower": r.is_lower,
                "upper": plain(r.upper),
                "claimed_lower": plain(r.claimed_lower),
                "proved": r.proved,
                "file": file_of(row, r),
                "sha256": sha256(r.as_npz()).hexdigest(),
            }
            for r in row.refutations
        ],
        "certificate_gap": plain(row.certificate_gap),
        "proofs": None
        if row.proofs is None
        else [plain(dataclasses.asdict(proof) | {"proved": proof.proved}) for proof in row.proofs],
        "unproved": unproved(row),
        "proved": row.proved,
        "seconds": row.seconds,
        "verdict": str(row.verdict),
        "message": row.message,
        "reasons": evidence(row),
        "settings": row.settings,
    }


def plain(value: Any) -> Any:
    """A value as plain JSON types; what is not finite is null, what is not data its name."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    # what else a case may hold, such as the function that makes its labels
    return getattr(value, "__name__", str(value))


def file_of(row: Row, refutation: Refutation) -> str:
    """Name of the file with the point of a refutation."""
    return file_name(row.check.key, row.case.id, refutation.name)
