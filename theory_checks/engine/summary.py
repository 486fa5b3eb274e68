"""What the rows of a theorem come to, for whatever shows them.

Its verdict, its worst claim, its gap, and what did not hold.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np

from theory_checks.engine.claims import NEGLIGIBLE
from theory_checks.engine.counterexamples import Refutation
from theory_checks.engine.registry import Check, Claim, Setting, Verdict
from theory_checks.engine.runner import Row

# in the order in which a reader wants to hear of them; of one theorem and of several
COUNTED = {
    Verdict.REFUTED: ("refuted", "refuted"),
    Verdict.FAILS: ("fails", "fail"),
    Verdict.ERROR: ("not decided", "not decided"),
    Verdict.HOLDS: ("holds", "hold"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Theorem:
    """A check and the rows of its cases."""

    check: Check
    rows: tuple[Row, ...]

    @functools.cached_property
    def verdict(self) -> Verdict:
        """The worst verdict of the cases: one that refutes refutes, whatever the others do."""
        return Verdict.worst(row.verdict for row in self.rows)

    @property
    def left_out(self) -> int:
        """How many cases of its check were not run."""
        return self.check.left_out + len(self.check.cases) - len(self.rows)

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the one that its check expects.

        Of a theorem that holds in some of its cases, another may be the one that refutes it.
        """
        held_so_far = self.verdict is Verdict.HOLDS and self.left_out > 0
        return self.verdict == self.check.expected or held_so_far

    @property
    def remark(self) -> str:
        """What is to be said of a verdict that is another than its check expects."""
        if not self.verdict.ok or self.verdict == self.check.expected:
            return ""
        if self.verdict is Verdict.REFUTED:
            return "nobody expected this: its check expects it to hold"
        left = f" of this run does; {self.left_out} left out" if self.left_out else " does"
        return f"its check expects it to be refuted, and no case{left}"

    @property
    def one_sided(self) -> bool:
        """Whether it holds in cases that lie on one side of its hypotheses."""
        settings = [row.case.setting for row in self.rows]
        return self.verdict is Verdict.HOLDS and not Setting.on_both_sides(settings)

    @property
    def worst(self) -> Claim | None:
        """The claim that uses most of its tolerance, among those that must hold.

        The first where none uses any.
        """
        found = (row.worst for row in self.rows)
        return max(
            (claim for claim in found if claim is not None), key=lambda c: c.rank, default=None
        )

    @property
    def gap(self) -> float | None:
        """The largest certified gap to the global optimum."""
        return max(
            (row.certificate_gap for row in self.rows if row.certificate_gap is not None),
            default=None,
        )

    @property
    def refutations(self) -> list[tuple[Row, Refutation]]:
        """The points that refute it, the lowest first."""
        found = [
            (row, r) for row in self.rows if row.verdict is Verdict.REFUTED for r in row.refutations
        ]
        return sorted(found, key=lambda pair: -pair[1].below)

    @functools.cached_property
    def proved(self) -> bool:
        """Whether the verdict rests on proofs.

        Of every case, or for a refutation of each that refutes.
        """
        deciding = [row for row in self.rows if row.verdict is self.verdict]
        return self.verdict.ok and all(row.proved for row in deciding)

    def label(self, verdict: str) -> str:
        """Its verdict in these words, and whether that is proved."""
        return labelled(verdict, self.proved)

    @property
    def deciding(self) -> str:
        """Name of the claim that decides: the worst that must hold, or what stands in its place."""
        if self.verdict is Verdict.REFUTED:
            return f"a value {self.refutations[0][1].below:.2%} lower".replace("%", " %")
        if message := next((row.message for row in self.rows if row.message), ""):
            return message.partition(":")[0]
        if self.verdict is Verdict.FAILS and (self.worst is None or self.worst.holds):
            return next(_lacking(row)[0] for row in self.rows if row.verdict is Verdict.FAILS)
        return "none must hold" if self.worst is None else self.worst.name


def by_theorem(rows: Iterable[Row]) -> list[Theorem]:
    """The rows by check, in the order in which the checks appear."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.check.key, []).append(row)
    return [Theorem(group[0].check, tuple(group)) for group in groups.values()]


def counts(theorems: Iterable[Theorem]) -> str:
    """How many theorems have which verdict, the news first."""
    found = [theorem.verdict for theorem in theorems]
    said = [
        f"{found.count(v)} {words[found.count(v) != 1]}"
        for v, words in COUNTED.items()
        if v in found
    ]
    return ", ".join(said) or "none tried"


def totals(theorems: list[Theorem]) -> str:
    """Numbers of theorems, of cases and of verdicts, and what is to be known of these."""
    cases = sum(len(theorem.rows) for theorem in theorems)
    asides = {
        "not as expected": sum(t.verdict.ok and not t.as_expected for t in theorems),
        "tried on one side of the hypotheses only": sum(t.one_sided for t in theorems),
    }
    told = "".join(f"; {n} {words}" for words, n in asides.items() if n)
    number = f"{_number(len(theorems), 'theorem')}, {_number(cases, 'case')}"
    return f"{number}: {counts(theorems)}{told}"


def told_again(theorems: Iterable[Theorem]) -> list[Theorem]:
    """What does not simply hold, refutations first, of them those that nobody expected."""
    found = [t for t in theorems if t.verdict is not Verdict.HOLDS or t.remark]
    order = list(COUNTED)
    return sorted(found, key=lambda t: (order.index(t.verdict), t.as_expected))


def _number(n: int, word: str) -> str:
    return f"{n} {word}{'' if n == 1 else 's'}"


def labelled(verdict: str, proved: bool) -> str:
    """A verdict, and whether it is proved."""
    return f"{verdict}, proved" if proved else str(verdict)


def ends(refutation: Refutation) -> str:
    """The two ends of a refutation that is proved."""
    return (
        f": proved, {refutation.upper!r} < {refutation.claimed_lower!r}"
        if refutation.proved
        else ""
    )


def proved(rows: Iterable[Row]) -> str:
    """How much of what could be proved is; empty where nobody asked."""
    asked = [row for row in rows if row.proofs is not None]
    if not asked:
        return ""
    certified = [row for row in asked if row.proofs]
    done = sum(all(proof.proved for proof in row.proofs or ()) for row in certified)
    widest = max(
        (proof.width for row in certified for proof in row.proofs or () if proof.proved),
        default=None,
    )
    said = f"proved: {done} of {_number(len(certified), 'certified case')}"
    if widest is not None:
        said += f", the widest enclosure {widest:.1e}"
    refutations = [r for row in asked if row.verdict is Verdict.REFUTED for r in row.refutations]
    return said + (
        f"; {sum(r.proved for r in refutations)} of {_number(len(refutations), 'refutation')}"
        if refutations
        else ""
    )


def unproved(row: Row) -> list[str]:
    """What of a case could not be proved, and why."""
    reasons = [
        proof.reason or f"its enclosure is {proof.width:.1e} wide"
        for proof in row.proofs or ()
        if not proof.proved
    ]
    reasons += [f"{r.name}: {r.reason}" for r in row.refutations if r.reason]
    # a claim may be of many points with one reason
    return list(dict.fromkeys(" ".join(reason.split()) for reason in reasons))


def percent(share: float) -> str:
    """A share of a tolerance: in percent up to the whole of it, beyond it as a multiple."""
    if share < NEGLIGIBLE:
        return "<0.1 %"
    if share <= 1:
        return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"
    return f"{share:.0f} ×" if share < 1000 else f"{share:.0e} ×"


def evidence(row: Row) -> list[str]:
    """Why a case did not end as it should, with its numbers; nothing where it did."""
    if row.verdict.ok:
        return []
    if row.message:
        # a line a reason, whatever the error's own words are
        return [" ".join(row.message.split())]
    if broken := [claim for claim in row.binding if not claim.holds]:
        return [_missed(claim) for claim in broken]
    return _lacking(row)[1]


def _lacking(row: Row) -> tuple[str, list[str]]:
    """What a case that fails lacks though every claim holds that must, in brief and with its
    numbers."""
    if higher := [r for r in row.refutations if not r.is_lower]:
        return "no lower value", [
            f"{r.name}: its value {r.value:.12g} is not below {r.claimed:.12g} by more than "
            f"rounding"
            for r in higher
        ]
    theorem = [claim for claim in row.claims if not claim.witness]
    if not theorem:
        witnesses = " of the theorem, of which a witness is no part" if row.claims else ""
        return "nothing is claimed", [f"nothing was claimed{witnesses}"]
    closest = max(theorem, key=lambda c: c.share)
    return "nothing is missed outside", [
        f"no claim of the theorem is clearly missed here, as one must be unless the hypotheses ask "
        f"too much; the largest error is {closest.error:.1e}, {closest.name}"
    ]


def _missed(claim: Claim) -> str:
    """A claim that must hold and does not: of an array, the entry that is off by most."""
    gaps = np.abs(claim.measured - claim.predicted)
    index = np.unravel_index(int(np.argmax(np.where(np.isnan(gaps), np.inf, gaps))), gaps.shape)
    where = f" at {', '.join(map(str, map(int, index)))}" if gaps.ndim else ""
    measured, predicted = claim.measured[index], claim.predicted[index]
    relative = "" if claim.scale == 1 else f" relative to {claim.scale:.3g}"
    return (
        f"{claim.name}{where}: measured {measured:.9g}, predicted {predicted:.9g};"
        f" error {claim.error:.3e}{relative}, tolerance {claim.tolerance:.0e}"
    )
