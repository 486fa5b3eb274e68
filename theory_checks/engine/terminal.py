"""What a terminal shows.

A line a theorem, and at the end once more whatever does not simply hold, with its numbers.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Iterable, Mapping

from theory_checks.engine.registry import Check, Paper, Record, Setting, Verdict
from theory_checks.engine.runner import Row, Run
from theory_checks.engine.summary import (
    Theorem,
    by_theorem,
    ends,
    evidence,
    labelled,
    percent,
    proved,
    told_again,
    totals,
    unproved,
)

# columns of a pipe, which has no width of its own
WIDTH = 120
# longer records are for figures and fill no terminal
PRINTED = 12
# what else is said of one theorem at the end stays for `-v`
_SAID = 3

_COLOURS = {
    Verdict.HOLDS: "32",
    Verdict.REFUTED: "1;35",
    Verdict.FAILS: "1;31",
    Verdict.ERROR: "1;33",
}
_HEADINGS = ("theorem", "cases", "worst claim", "of tol.", "gap", "statement")


@dataclasses.dataclass(frozen=True)
class Look:
    """Columns of the screen, whether it shows colours, and what is shown beside a line a theorem.

    `verbose`: a line a case, whole statements, all that did not hold. `records`: the numbers of
    figures. `prove`: whether verdicts say that they are proved.
    """

    width: int = WIDTH
    colour: bool = False
    verbose: bool = False
    records: bool = False
    prove: bool = False

    def painted(self, text: str, code: str) -> str:
        """The text in this colour of a terminal."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text


def tables(rows: Iterable[Row], papers: Mapping[str, Paper | str], look: Look | None = None) -> str:
    """All that is shown of rows that are done: a table a paper and the closing words."""
    look, rows = look or Look(), list(rows)
    layout = Layout.of((row.check for row in rows), look)
    lines = layout.heading()
    for key in dict.fromkeys(row.paper for row in rows):
        lines += layout.paper(str(papers.get(key, key)), [row for row in rows if row.paper == key])
    return "\n".join([*lines, *closing(rows, look)])


@dataclasses.dataclass(frozen=True)
class Layout:
    """Widths of the columns, the same for all papers of a run, so that a table can be printed
    before the next is known."""

    look: Look
    name: int
    claim: int
    gap: str

    @classmethod
    def of(cls, checks: Iterable[Check], look: Look) -> Layout:
        """The layout of a run of these checks."""
        longest = max((len(check.name) for check in checks), default=0)
        name = max(len(_HEADINGS[0]), min(longest, max(look.width // 4, 16)))
        return cls(
            look,
            name,
            max(len(_HEADINGS[2]), min(22, look.width // 5)),
            "  " if look.width >= 100 else " ",
        )

    def heading(self) -> list[str]:
        """The names of the columns."""
        return [self.look.painted(self._line("verdict", *_HEADINGS), "2")]

    def paper(self, title: str, rows: list[Row]) -> list[str]:
        """The table of a paper: its title and a line a theorem."""
        lines = [self.look.painted(_cut(title, self.look.width), "1")]
        for theorem in by_theorem(rows):
            lines += self._theorem(theorem)
        return lines

    def _theorem(self, theorem: Theorem) -> list[str]:
        refuted, worst = theorem.verdict is Verdict.REFUTED, theorem.worst
        share = "-" if refuted or worst is None else percent(worst.share)
        line = self._line(
            theorem.label(_shout(theorem.verdict)),
            theorem.check.name,
            str(len(theorem.rows)),
            theorem.deciding,
            share,
            _small(theorem.gap),
            theorem.check.statement,
        )
        lines = [
            line.replace(
                _shout(theorem.verdict),
                self.look.painted(_shout(theorem.verdict), _COLOURS[theorem.verdict]),
                1,
            )
        ]
        if self.look.verbose:
            lines += [f"{'':10}{theorem.check.statement}", f"{'':10}if: {theorem.check.hypotheses}"]
            lines += [self._case(row) for row in theorem.rows]
        if self.look.records:
            lines += [
                line
                for row in theorem.rows
                for record in row.records
                for line in _record(row, record)
            ]
        return lines

    def _case(self, row: Row) -> str:
        worst = row.worst
        share, name = ("-", "") if worst is None else (percent(worst.share), worst.name)
        said = labelled(row.verdict, row.proved)
        told = f"{share:>8}{self.gap}{_small(row.certificate_gap):>5}{self.gap}{row.seconds:6.1f} s"
        case = f"{row.case.id}: {name}" if name else row.case.id
        return f"{'':10}{said:<{self._verdict + 1}}{row.case.setting:<9}{told}{self.gap}{case}"

    @property
    def _verdict(self) -> int:
        return 15 if self.look.prove else 7

    def _line(
        self, verdict: str, name: str, cases: str, claim: str, share: str, gap: str, statement: str
    ) -> str:
        columns = (
            f"  {verdict:<{self._verdict}}",
            _padded(_cut(name, self.name), self.name),
            f"{cases:>5}",
            _padded(_cut(claim, self.claim), self.claim),
            f"{share:>7}",
            f"{gap:>5}",
        )
        start = self.gap.join(columns)
        left = self.look.width - _width(start) - len(self.gap)
        return f"{start}{self.gap}{_cut(statement, left)}".rstrip()


def closing(
    rows: Iterable[Row], look: Look, *, run: Run | None = None, hints: Iterable[str] = ()
) -> list[str]:
    """The last lines: what does not simply hold, refutations first, then the totals, what it was
    measured with, and how to go on."""
    theorems = by_theorem(rows)
    lines = [""]
    for theorem in told_again(theorems):
        lines += _news(theorem, look)
    lines += [""] if len(lines) > 1 else []
    lines.append(look.painted(totals(theorems), "1"))
    lines += _proofs(theorems)
    if run is not None:
        lines.append(run.times())
    if theorems:
        lines.append(measured_with(theorems[0].rows[0]))
    return [*lines, *hints]


def measured_with(row: Row) -> str:
    """What a row was measured with."""
    versions = row.settings["versions"]
    told = ", ".join(f"{name} {versions[name]}" for name in ("ufm", "jax", "numpy", "python"))
    return f"{row.settings['dtype']} on {row.settings['device']}; {told}"


def _proofs(theorems: list[Theorem]) -> list[str]:
    """How much is proved, and every case that is not."""
    rows = [row for theorem in theorems for row in theorem.rows]
    lines = [
        f"  not proved: {row.check.key}: {row.case.id}: {reason}"
        for row in rows
        for reason in unproved(row)
    ]
    return [*filter(None, [proved(rows)]), *lines]


def _news(theorem: Theorem, look: Look) -> list[str]:
    title = look.painted(_shout(theorem.verdict), _COLOURS[theorem.verdict])
    lines = [f"{title} {theorem.check.key}: {theorem.check.statement}"]
    lines += [f"  {theorem.remark}"] if theorem.remark else []
    said = [
        f"  {row.case.id}: {r.name} has value {r.value:.12g}, {r.below:.2%}".replace("%", " %")
        + f" below {r.claimed:.12g}, which the theorem calls the least{ends(r)}"
        for row, r in theorem.refutations
    ]
    for row in theorem.rows:
        on = row.case.setting is Setting.BOUNDARY
        where = f"{'on the boundary of' if on else row.case.setting} the hypotheses"
        said += [f"  {row.case.id} ({where}): {reason}" for reason in evidence(row)]
    shown = said if look.verbose else said[:_SAID]
    lines += shown
    if len(said) > len(shown):
        lines.append(f"  and {len(said) - len(shown)} more: -v")
    return lines


def _record(row: Row, record: Record) -> list[str]:
    title = f"{'':10}{row.case.id}: {record.name}"
    longest = max((len(column) for column in record.columns.values()), default=0)
    if longest > PRINTED:
        return [f"{title} ({len(record.columns)} columns of up to {longest} numbers: --json FILE)"]
    cells = [
        [name, *(f"{x:.0f}" if float(x).is_integer() else f"{x:.1e}" for x in column)]
        for name, column in record.columns.items()
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(text.rjust(w) for text, w in zip(line, widths, strict=True)) for line in cells
    ]
    return [title, *(f"{'':12}{line}" for line in lines)]


def _shout(verdict: Verdict) -> str:
    return str(verdict) if verdict is Verdict.HOLDS else verdict.upper()


def _small(number: float | None) -> str:
    return "-" if number is None else "0" if number == 0 else f"{number:.0e}"


def _width(text: str) -> int:
    """Columns that a terminal gives to a text: an accent has none of its own."""
    return sum(not unicodedata.combining(letter) for letter in text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _cut(text: str, width: int) -> str:
    """The text, or as much of it as there is room for and an ellipsis."""
    if _width(text) <= width:
        return text
    kept = ""
    for letter in text:
        if _width(kept + letter) >= width:
            break
        kept += letter
    return f"{kept.rstrip()}…" if width > 0 else ""
