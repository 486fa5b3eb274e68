"""The rows as one page that opens from disk and needs no network.

It is made from the JSON document and from nothing else.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from theory_checks.engine import page_figures, verdict_figures
from theory_checks.engine.claims import rank_of
from theory_checks.engine.counterexamples import MARGIN
from theory_checks.engine.files import write_json
from theory_checks.engine.numerals import anchor, entry, number, parameters, short, values, when
from theory_checks.engine.registry import Setting, Verdict
from theory_checks.engine.typesetting import font_face, mathml, words
from ufm._system.files import write_whole

PAGE = "report.html"
DOCUMENT = "report.json"
_RECORD_ROWS = 12  # longer records are for figures
_NEWS = (Verdict.FAILS, Verdict.ERROR, Verdict.REFUTED)
_SEARCHED = ("verdict", "statement", "hypotheses", "source")  # by the filter


# What the page calls a verdict, of one theorem and of several, in the order in which a reader wants
# to see them. The sign stands beside the word, never for it.
WORDS = {
    Verdict.REFUTED: (
        "refuted",
        "refuted",
        "≠",
        "a point has a lower value than the theorem says is possible; the point is in a file",
    ),
    Verdict.FAILS: (
        "fails",
        "fail",
        "✗",
        "what must hold is missed, nothing is claimed, or outside the hypotheses nothing is missed",
    ),
    Verdict.ERROR: (
        "not decided",
        "not decided",
        "?",
        "a solve did not converge or the check broke down: the theorem was not tried",
    ),
    Verdict.HOLDS: (
        "holds",
        "hold",
        "✓",
        "in every case inside the hypotheses and on their boundary all claims are within their "
        "tolerance, and in every case outside one is clearly missed",
    ),
    "outside": (
        "outside its regime",
        "outside their regime",
        "○",
        "the hypotheses are not met here, and the claim is missed, as it should be",
    ),
}


def write_document(folder: str | os.PathLike, document: Mapping[str, Any]) -> list[str]:
    """Write the page of a document that `as_document` made, and the document; returns the paths."""
    os.makedirs(folder, exist_ok=True)
    page, behind = os.path.join(os.fspath(folder), PAGE), os.path.join(os.fspath(folder), DOCUMENT)
    # before anything is written: a document that cannot be rendered leaves the old pair
    text = render(document, folder=folder)
    write_json(behind, document)
    write_whole(page, text)
    return [page, behind]


def _digests(folder: str | os.PathLike) -> dict[str, str]:
    """The hash of each counterexample in a folder, by name.

    One of another run may bear the name of one of these rows.
    """
    paths = sorted(Path(folder).glob("*.npz"))
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in paths if path.is_file()}


def render(document: Mapping[str, Any], *, folder: str | os.PathLike | None = None) -> str:
    """The page as text.

    `folder`: where it will lie; it links to the counterexamples and figures of its rows that are
    there.
    """
    formulas = {check["formula"]: typeset(check["formula"]) for check in document["checks"]}
    theorems = [_theorem(check, document, formulas) for check in document["checks"]]
    papers = [
        {
            "key": key,
            "title": title,
            "anchor": anchor("paper", key),
            "theorems": [t for t in theorems if t["paper"] == key],
        }
        for key, title in document["papers"].items()
    ]
    # a paper with a theorem that failed or was refuted comes first; the others keep their order
    order = list(WORDS)

    def weight(theorem):
        return order.index(theorem["verdict"]), theorem["check"]["as_expected"]

    papers.sort(key=lambda paper: min(map(weight, paper["theorems"]), default=(len(order),)))
    news = [t for t in theorems if t["verdict"] in _NEWS or t["check"]["remark"]]
    counts = {verdict: [t for t in theorems if t["verdict"] == verdict] for verdict in WORDS}
    template = _environment().get_template("report.html.jinja")
    return template.render(
        document=document,
        papers=[paper | {"counts": _counts(paper["theorems"])} for paper in papers],
        theorems=theorems,
        news=sorted(news, key=weight),
        counts=counts,
        words=WORDS,
        files={} if folder is None else _digests(folder),
        figures=page_figures.drawn(document, folder),
        settings=_settings(document["rows"]),
        seconds=sum(row["seconds"] for row in document["rows"]),
        font=font_face(" ".join(formulas.values())),
        document_name=DOCUMENT,
    )


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("theory_checks.engine"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "words": words,
        "number": number,
        "entry": entry,
        "error": short,
        "values": values,
        "parameters": parameters,
        "anchor": anchor,
        "when": when,
        "px": lambda x: f"{x:.1f}".removesuffix(".0"),
    }
    return environment


def typeset(formula: str) -> str:
    """A formula for the page.

    One that cannot be typeset is shown as it was written: a reader's own may use any macro.
    """
    try:
        return mathml(formula)
    except ValueError:
        return Markup("<code>{}</code>").format(formula)


def _started(document: Mapping[str, Any]) -> str:
    """How the command was typed that made the rows: the script, or Python with the module."""
    typed = (document.get("command") or "").split()
    return "ufm-checks" if typed[:1] == ["ufm-checks"] else "python -m theory_checks"


def _theorem(
    check: Mapping[str, Any], document: Mapping[str, Any], formulas: Mapping[str, str]
) -> dict[str, Any]:
    key = check["key"]
    rows = [row for row in document["rows"] if row["check"] == key]
    ok_outside = (
        all(row["setting"] == Setting.OUTSIDE for row in rows) and check["verdict"] == Verdict.HOLDS
    )
    binding = [claim for row in rows for claim in row["claims"] if claim["binding"]]
    cases = [_case(row, i) for i, row in enumerate(rows, start=1)]
    shown = _shown(cases)
    gaps = [row["certificate_gap"] for row in rows if row["certificate_gap"] is not None]
    started = _started(document)
    command = f"{started} run -k {key}" + (
        " --full" if any(row.get("full") for row in rows) else ""
    )
    return {
        "key": key,
        "paper": key.partition("/")[0],
        "name": key.partition("/")[2],
        "anchor": anchor("theorem", key),
        "check": check,
        "started": started,
        "formula": formulas[check["formula"]],
        "words": " ".join(
            (
                key,
                document["papers"][key.partition("/")[0]],
                *(check[part] for part in _SEARCHED),
                "proved" * check["proved"],
            )
        ).lower(),
        "verdict": "outside" if ok_outside else Verdict(check["verdict"]),
        "rows": cases,
        "shown": shown,
        "folded": [case for case in cases if case not in shown],
        "reasons": [(row["case"], reason) for row in rows for reason in row["reasons"]],
        "settings": {
            str(setting): sum(row["setting"] == setting for row in rows) for setting in Setting
        },
        "worst": max(binding, key=_use, default=None),
        "gap": max(gaps, default=None),
        "minima": _minima(rows),
        "seconds": sum(row["seconds"] for row in rows),
        "command": command,
        "errors": verdict_figures.errors(rows),
        "curves": verdict_figures.curves(rows),
    }


def _minima(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Of the minima that rows certify, how many are enclosed and how well.

    None where there are none, or nobody asked.
    """
    proofs = [proof for row in rows for proof in row["proofs"] or ()]
    widths = [proof["width"] for proof in proofs if proof["proved"]]
    return (
        {"all": len(proofs), "proved": len(widths), "widest": max(widths, default=None)}
        if proofs
        else None
    )


def _use(claim: Mapping[str, Any]) -> float:
    """How much of its tolerance a claim uses, beyond rounding.

    An error that is not a number uses more than all of it.
    """
    return math.inf if claim["error"] is None else rank_of(claim["error"] / claim["tolerance"])


def _case(row: Mapping[str, Any], index: int) -> dict[str, Any]:
    outside = row["setting"] == Setting.OUTSIDE
    verdict = "outside" if outside and row["verdict"] == Verdict.HOLDS else Verdict(row["verdict"])
    binding = [claim for claim in row["claims"] if claim["binding"]]
    others = [claim for claim in row["claims"] if not claim["binding"]]
    # outside the hypotheses what decides is the claim that is missed; elsewhere, or when a witness
    # fails, the worst that must hold
    missed = outside and others and all(claim["holds"] for claim in binding)
    return {
        "row": row,
        "index": index,
        "verdict": verdict,
        "deciding": _refuting(row) or max(others if missed else binding, key=_use, default=None),
        "records": [
            record
            for record in row["records"]
            if 0 < len(next(iter(record["columns"].values()), ())) <= _RECORD_ROWS
        ],
    }


def _shown(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cases that are not folded.

    The worst that must hold, those on the boundary, and all that say something else than "holds".
    """
    # outside the hypotheses only witnesses must hold, which say nothing of the theorem
    worst = max(cases, key=lambda case: (case["row"]["setting"] != Setting.OUTSIDE, _worst(case)))
    return [
        c
        for c in cases
        if c is worst or c["verdict"] in _NEWS or c["row"]["setting"] == Setting.BOUNDARY
    ]


def _worst(case: Mapping[str, Any]) -> float:
    return max((_use(claim) for claim in case["row"]["claims"] if claim["binding"]), default=-1.0)


def _refuting(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The lowest point that refutes the theorem, in the form of a claim.

    Nothing but rounding is forgiven.
    """
    if row["verdict"] != Verdict.REFUTED:
        return None
    lowest = min(row["refutations"], key=lambda r: r["value"])
    below = (
        (lowest["claimed"] - lowest["value"]) / abs(lowest["claimed"])
        if lowest["claimed"]
        else None
    )
    return {
        "name": f"value of {lowest['name']}",
        "measured": lowest["value"],
        "predicted": lowest["claimed"],
        "error": below,
        "tolerance": MARGIN,
    }


def _counts(theorems: Sequence[Mapping[str, Any]]) -> dict:
    found = [theorem["verdict"] for theorem in theorems]
    return {verdict: found.count(verdict) for verdict in WORDS if verdict in found}


def _settings(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What the rows were measured with, every distinct answer of them."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        settings = row["settings"]
        flat = {
            key: settings[key] for key in ("dtype", "device", "seed") if key in settings
        } | settings.get("versions", {})
        for key, value in flat.items():
            found.setdefault(key, {})[str(value)] = None
    return {key: ", ".join(sorted(answers)) for key, answers in found.items()}
