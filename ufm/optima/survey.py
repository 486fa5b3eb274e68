"""All that theory says of a problem, in one list.

`theory`, and the thresholds that have a formula.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ufm._classes.module import Displayed
from ufm._programs.outside import on_the_host
from ufm.model import Problem
from ufm.optima.facts import Facts
from ufm.optima.form import AbstractForm
from ufm.optima.forms import known
from ufm.optima.hypotheses import Hypothesis, of_map
from ufm.optima.optimum import NoClosedForm
from ufm.optima.statement import KINDS, Statement, Threshold
from ufm.optima.statements import statements, threshold_rules
from ufm.optima.words import shown
from ufm.tolerances import caveat

# Thresholds this close, relatively, are one, with the words of the first.
_SAME = 1e-12


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of `Theory`.

    `kind` of statement, its `name`, what it `says` of the problem, its `source`, and the `call` for
    more.
    """

    kind: str
    name: str
    says: str
    source: str
    call: str


@dataclass(frozen=True, kw_only=True)
class Silent:
    """A statement that does not speak: `name`, and the hypotheses that fail."""

    kind: str
    name: str
    failing: tuple[Hypothesis, ...]


@dataclass(frozen=True, kw_only=True)
class Theory(Displayed):
    """What theory says of a problem.

    `about`: the problem in a line, and below it a dtype that verifies nothing; `entries`: what
    speaks; `silent`: what does not, and why.
    """

    about: str
    entries: tuple[Entry, ...]
    silent: tuple[Silent, ...]

    def of_kind(self, kind: str) -> tuple[Entry, ...]:
        """The entries of one kind.

        "optimum", "threshold", "bound", "landscape", "candidate", "limit" or "law".
        """
        return tuple(entry for entry in self.entries if entry.kind == kind)

    def __str__(self) -> str:
        lines = [self.about]
        for entry in self.entries:
            lines.append(f"{entry.kind:<9} {entry.name}: {entry.says}")
            lines.append(f"{'':<9} {entry.call}; {entry.source}")
        if not self.entries:
            lines.append(f"nothing is known; `.silent` says why, of {len(self.silent)} statements")
        return "\n".join(lines)


@on_the_host("it is NumPy: call it once a problem")
def theory(problem: Problem) -> Theory:
    """Every closed form, threshold, bound, candidate, limit and law that speaks about a problem,
    each with its source.

    Each statement has named hypotheses; those of which one fails are in `silent`, with what fails.
    Only thresholds that have a formula are listed: `thresholds` finds the others.

    Returns a `Theory`, which prints as a table. Raises nothing for a problem without theory: it has
    no entries.
    """
    facts = Facts.of(problem)
    found, _ = formula_thresholds(facts)
    told = [
        *(_of_form(form, facts) for form in known()),
        *(_of_threshold(threshold, facts) for threshold in of_width(found, facts)),
        *(_of_statement(statement, facts) for statement in statements()),
    ]
    entries = sorted(
        (each for each in told if isinstance(each, Entry)),
        key=lambda entry: KINDS.index(entry.kind),
    )
    silent = tuple(each for each in told if isinstance(each, Silent))
    about = f"{_about(facts)}{caveat(problem.dtype)}"
    return Theory(about=about, entries=tuple(entries), silent=silent)


def _of_form(form: AbstractForm, facts: Facts) -> Entry | Silent:
    failing = form.failing(facts)
    if failing:
        return Silent(kind="optimum", name=form.name, failing=failing)
    try:
        optimum = form.optimum(facts)
    except NoClosedForm as reason:
        # what only the solution can tell
        failing = (Hypothesis("solution", False, str(reason), ""),)
        return Silent(kind="optimum", name=form.name, failing=failing)
    many = "" if optimum.unique else " (one of many)"
    return Entry(
        kind="optimum",
        name=form.name,
        says=f"value {optimum.value:.12g}, {optimum.regime}{many}",
        source=optimum.source,
        call="ufm.closed_form(problem)",
    )


def _of_threshold(threshold: Threshold, facts: Facts) -> Entry:
    return Entry(
        kind="threshold",
        name="decay" if threshold.of_optimum else "decay, other stationary points",
        says=f"{threshold.change} from N Λ = {threshold.strength:.12g} on (it is "
        f"{facts.strength:g} here)",
        source=threshold.source,
        call="ufm.thresholds(problem)",
    )


def _of_statement(statement: Statement, facts: Facts) -> Entry | Silent:
    failing = tuple(h for h in of_map(statement, facts) if not h.holds)
    if failing:
        return Silent(kind=statement.kind, name=statement.name, failing=failing)
    return Entry(
        kind=statement.kind,
        name=statement.name,
        says=statement.says(facts),
        source=statement.source,
        call=statement.call,
    )


def formula_thresholds(facts: Facts) -> tuple[tuple[Threshold, ...], int | None]:
    """The thresholds that have a formula, by strength, of a problem with room for its optimum.

    And the width with which its optimum is known to have no others, None where it may have some.
    """
    rules = [rule for rule in threshold_rules() if rule.holds(facts)]
    found = _merged(threshold for rule in rules for threshold in rule.find(facts))
    room = min((rule.room(facts) for rule in rules if rule.room is not None), default=None)
    if room is None:
        return tuple(sorted(found, key=lambda t: t.strength)), None
    # ranks below the first are counted by the drops, which must not miss one
    return with_ranks(found), room


def of_width(found: Iterable[Threshold], facts: Facts) -> tuple[Threshold, ...]:
    """Those that a problem has with its own width, of the thresholds that it has with room.

    Where the optimum of the convex problem has no room, one of width d has the rank d: with less it
    could spare a direction, and would be that of the convex problem. So what changes above rank d
    changes nothing here, and what falls from above d falls from d.
    """
    found, d, kept = tuple(found), min(facts.widths), []
    for threshold in found:
        if threshold.of_optimum:
            rank, drop = threshold.rank, threshold.drop
            least = rank if rank is not None else _most_rank(threshold, found, facts)
            if least >= d:
                continue
            if drop is not None and least + drop > d:
                threshold = replace(threshold, drop=None if rank is None else d - rank)
        kept.append(threshold)
    return tuple(kept)


def _most_rank(threshold: Threshold, found: tuple[Threshold, ...], facts: Facts) -> int:
    """What classes that have merged leave of the rank K − 1."""
    merged = (t.drop or 0 for t in found if t.of_optimum and t.strength <= threshold.strength)
    return facts.K - 1 - sum(merged)


def with_ranks(found: Iterable[Threshold]) -> tuple[Threshold, ...]:
    """Ranks filled in from zero upwards, as far down as every drop is known."""
    ranked, rank = [], None
    for threshold in sorted(found, key=lambda t: -t.strength):
        if threshold.of_optimum:
            if threshold.rank is None and rank is not None:
                threshold = replace(threshold, rank=rank)
            rank = (
                None
                if threshold.rank is None or threshold.drop is None
                else threshold.rank + threshold.drop
            )
        ranked.append(threshold)
    return tuple(reversed(ranked))


def _merged(found: Iterable[Threshold]) -> list[Threshold]:
    kept: list[Threshold] = []
    for threshold in found:
        alike = (t for t in kept if t.of_optimum and threshold.of_optimum)
        if not any(abs(t.strength - threshold.strength) <= _SAME * t.strength for t in alike):
            kept.append(threshold)
    return kept


def _labels(facts: Facts) -> str:
    """What labels are, and of how many samples."""
    pure = facts.one_hot or facts.smoothing is not None
    kind = "one-hot labels" if facts.one_hot else "soft labels"
    if not pure:
        kind += f", {facts.targets.shape[1]} columns of {len(facts.distinct.masses)} targets"
    if facts.K > 12:
        return f"{kind}, N = {facts.N:g}"
    if not (pure or facts.distributions):
        return kind
    # (smoothing moves mass between classes, and samples stay where they are)
    counts = facts.classes.masses if pure else facts.class_counts
    return f"{kind}, class counts {shown(counts)}"


def _about(facts: Facts) -> str:
    decays = f"λ = {shown(facts.decays)}"
    extra = [
        *[f"{facts.map} map"] * (facts.map != "linear"),
        facts.bias_words,
        *[facts.domain_words] * (not facts.unconstrained),
    ]
    extra += [*["an anchor"] * facts.anchored, *["fixed weights"] * facts.frozen]
    widths = f"widths {facts.widths}"
    return f"{facts.loss}, K = {facts.K}, {_labels(facts)}, {widths}, {decays}, {', '.join(extra)}"
