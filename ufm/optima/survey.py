"""All that theory says of a problem, in one list.

`theory`, and the thresholds that have a formula.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ufm._outside import on_the_host
from ufm.model import Problem
from ufm.optima.facts import Facts, shown
from ufm.optima.forms import known
from ufm.optima.hypotheses import Hypothesis, of_map
from ufm.optima.optimum import NoClosedForm
from ufm.optima.statement import KINDS, Threshold
from ufm.optima.statements import statements, threshold_rules

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
class Theory:
    """What theory says of a problem.

    `about`: the problem in a line; `entries`: what speaks; `silent`: what does not, and why.
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
    entries, silent = [], []
    for form in known():
        failing = form.failing(facts)
        if failing:
            silent.append(Silent(kind="optimum", name=form.name, failing=failing))
            continue
        try:
            optimum = form.optimum(facts)
        except NoClosedForm as reason:
            # what only the solution can tell
            failing = (Hypothesis("solution", False, str(reason), ""),)
            silent.append(Silent(kind="optimum", name=form.name, failing=failing))
            continue
        says = (
            f"value {optimum.value:.12g}, "
            f"{optimum.regime}{'' if optimum.unique else ' (one of many)'}"
        )
        entries.append(
            Entry(
                kind="optimum",
                name=form.name,
                says=says,
                source=optimum.source,
                call="ufm.closed_form(problem)",
            )
        )
    found, _ = formula_thresholds(facts)
    for threshold in found:
        name = "decay" if threshold.of_optimum else "decay, other stationary points"
        says = (
            f"{threshold.change} from N Λ = {threshold.strength:.12g} on (it is "
            f"{facts.strength:g} here)"
        )
        call = "ufm.thresholds(problem)"
        entries.append(
            Entry(kind="threshold", name=name, says=says, source=threshold.source, call=call)
        )
    for statement in statements():
        failing = tuple(
            hypothesis for hypothesis in of_map(statement, facts) if not hypothesis.holds
        )
        if failing:
            silent.append(Silent(kind=statement.kind, name=statement.name, failing=failing))
        else:
            says = statement.says(facts)
            entries.append(
                Entry(
                    kind=statement.kind,
                    name=statement.name,
                    says=says,
                    source=statement.source,
                    call=statement.call,
                )
            )
    entries.sort(key=lambda entry: KINDS.index(entry.kind))
    return Theory(about=_about(facts), entries=tuple(entries), silent=tuple(silent))


def formula_thresholds(facts: Facts) -> tuple[tuple[Threshold, ...], bool]:
    """The thresholds that have a formula, by strength, and whether the optimum is known to have no
    others."""
    rules = [rule for rule in threshold_rules() if rule.holds(facts)]
    found = _merged(threshold for rule in rules for threshold in rule.find(facts))
    complete = any(rule.complete for rule in rules)
    # ranks below the first are counted by the drops, which must not miss one
    return with_ranks(found) if complete else tuple(
        sorted(found, key=lambda t: t.strength)
    ), complete


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


def _about(facts: Facts) -> str:
    labels = "one-hot" if facts.one_hot else "soft"
    counts = f"class counts {shown(facts.class_counts)}" if facts.K <= 12 else f"N = {facts.N:g}"
    decays = f"λ = {shown(facts.decays)}"
    extra = [
        *[f"{facts.map} map"] * (facts.map != "linear"),
        facts.bias_words,
        *[facts.domain_words] * (not facts.unconstrained),
    ]
    extra += [*["an anchor"] * facts.anchored, *["fixed weights"] * facts.frozen]
    widths = f"widths {facts.widths}"
    return (
        f"{facts.loss}, K = {facts.K}, {labels} labels, {counts}, {widths}, {decays}, "
        f"{', '.join(extra)}"
    )
