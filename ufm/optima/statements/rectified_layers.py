"""ReLU layers under squared error: structures of low complexity, a bound below all, and the decay
from which collapse is no better than zero."""

from __future__ import annotations

from collections.abc import Iterator

from ufm.optima.facts import Facts
from ufm.optima.hypotheses import Hypothesis
from ufm.optima.rectified import least_complexity, rectified_scale
from ufm.optima.rectified_structures import (
    RectifiedStructure,
    rectified_hypotheses,
    rectified_structures,
)
from ufm.optima.statement import Statement, Threshold, ThresholdRule, whatever_decay

_MAPS = ("activated",)
_SOURCE = "derived here; triangular graphs are of Súkeník, Lampert & Mondelli 2024"
# (its text was not seen, so it is named and not cited for the constant)
_TWO = "which for two classes is the optimum by Súkeník, Mondelli & Lampert 2023 (recalled)"
_MANY = 1000


def _speaks(facts: Facts) -> Iterator[Hypothesis]:
    yield from rectified_hypotheses(facts)
    yield Hypothesis("classes", 2 <= facts.K <= _MANY, f"2 <= K <= {_MANY}", f"K={facts.K}")


def _wide(facts: Facts) -> Iterator[Hypothesis]:
    yield from _speaks(facts)
    # (a block of pairs of K classes may be a little wider)
    words, got = "every width >= K", f"widths={facts.widths}, K={facts.K}"
    yield Hypothesis("room for collapse", min(facts.widths) >= facts.K, words, got)


def _strength(facts: Facts) -> float:
    r"""Λ, with $n\lambda_H$ for the features of one column a class."""
    return facts.Lambda * float(facts.classes.masses[0]) ** (1 / (facts.M + 1))


def _best(facts: Facts) -> RectifiedStructure:
    return next(s for s in rectified_structures(facts.K, facts.M) if s.realised)


def _value(facts: Facts, complexity: float) -> float:
    return rectified_scale(complexity, strength=_strength(facts), depth=facts.M).value


def _candidate(facts: Facts) -> str:
    best, collapsed = _best(facts), _value(facts, float(facts.K))
    value = _value(facts, best.complexity)
    if best.complexity >= facts.K:
        ends = f", {_TWO}" if facts.K == 2 else "; not known to be the optimum"
        return f"collapse (orthogonal frames) has value {value:.12g}{ends}"
    return (
        f"{best.name} has value {value:.12g}, {value / collapsed:.6g} of collapse, and complexity "
        f"{best.complexity:.6g} of {facts.K}; an upper bound, and descent finds lower points"
    )


def _triple_speaks(facts: Facts) -> Iterator[Hypothesis]:
    yield from _wide(facts)
    yield Hypothesis("classes for the triple", facts.K >= 3, "K >= 3", f"K={facts.K}")
    yield Hypothesis("depth of the triple", facts.M >= 4, "M >= 4", f"M={facts.M}")


def _triple(facts: Facts) -> str:
    return (
        "deep neural collapse is not optimal at any decay at which it is better than zero: three "
        "classes on two nonnegative directions are cheaper, proved in exact fractions "
        "(ufm-checks run -k ours_relu/triple)"
    )


def _bound(facts: Facts) -> str:
    least = least_complexity(facts.K, facts.M)
    return (
        f"no point is below {_value(facts, least):.12g}, as no complexity is below "
        f"K^(2/(M+1)) = {least:.6g}; far below every point that is known"
    )


def _thresholds(facts: Facts) -> Iterator[Threshold]:
    n = float(facts.classes.masses[0])
    # Λ there is with n, and N Λ here is without
    unit = facts.N / n ** (1 / (facts.M + 1))

    def strength(complexity: float) -> float:
        return unit * rectified_scale(complexity, strength=1.0, depth=facts.M).threshold

    best = _best(facts)
    yield Threshold(
        strength=strength(float(facts.K)),
        change="deep neural collapse is no better than zero",
        source=_SOURCE,
        of_optimum=False,
    )
    if best.complexity < facts.K:
        yield Threshold(
            strength=strength(best.complexity),
            change=f"{best.name} is no better than zero",
            source=_SOURCE,
            of_optimum=False,
        )


STATEMENTS = (
    Statement(
        kind="candidate",
        name="structures of ReLU layers",
        source=_SOURCE,
        call="ufm.laws.rectified_structures(K, M)",
        accepts=_wide,
        says=_candidate,
        maps=_MAPS,
    ),
    Statement(
        kind="landscape",
        name="below deep neural collapse",
        source="derived here",
        call="ufm.laws.rectified_point(structure, lambda_W=…, lambda_H=…)",
        accepts=_triple_speaks,
        says=_triple,
        maps=_MAPS,
    ),
    Statement(
        kind="bound",
        name="complexity of ReLU layers",
        source="derived here",
        call="ufm.laws.least_complexity(K, M)",
        accepts=_speaks,
        says=_bound,
        maps=_MAPS,
    ),
)
THRESHOLDS = (
    ThresholdRule(
        name="deep neural collapse",
        accepts=lambda facts: whatever_decay(_wide(facts)),
        find=_thresholds,
        maps=_MAPS,
    ),
)
