"""ReLU layers under squared error: structures of low complexity, a bound below all, and the decay
from which collapse is no better than zero."""

from __future__ import annotations

from collections.abc import Iterator

from ufm.optima.facts import Facts
from ufm.optima.hypotheses import Hypothesis
from ufm.optima.rectified import RectifiedScale, least_complexity, rectified_scale
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


def _unit(facts: Facts) -> float:
    # (nλ_H is the decay of features of one column a class)
    return float(facts.classes.masses[0]) ** (1 / (facts.M + 1))


def _scale(facts: Facts, complexity: float) -> RectifiedScale:
    return rectified_scale(complexity, strength=facts.Lambda * _unit(facts), depth=facts.M)


def _best(facts: Facts) -> RectifiedStructure:
    return next(s for s in rectified_structures(facts.K, facts.M) if s.realised)


def _candidate(facts: Facts) -> str:
    best, collapse = _best(facts), _scale(facts, float(facts.K))
    found = _scale(facts, best.complexity)
    said = f"has value {found.value:.12g}"
    if found.scale == 0:
        ends = f", {_TWO}" if facts.K == 2 else "; no structure known is better"
        return f"zero {said}{ends}"
    if best.complexity >= facts.K:
        ends = f", {_TWO}" if facts.K == 2 else "; not known to be the optimum"
        return f"collapse (orthogonal frames) {said}{ends}"
    rival = "collapse" if collapse.scale > 0 else "zero"
    return (
        f"{best.name} {said}, {found.value / collapse.value:.6g} of {rival}, and complexity "
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
    found = _scale(facts, least)
    zero = "zero attains it, and is the optimum"
    ends = "below every point that is known" if found.scale > 0 else zero
    return (
        f"no point is below {found.value:.12g}, as no complexity is below K^(2/(M+1)) = "
        f"{least:.6g}; {ends}"
    )


def _thresholds(facts: Facts) -> Iterator[Threshold]:
    best, kappas = _best(facts), {"deep neural collapse": float(facts.K)}
    if best.complexity < facts.K:
        kappas[best.name] = best.complexity
    for name, kappa in kappas.items():
        # Λ there is with n, and N Λ here is without
        found = rectified_scale(kappa, strength=1.0, depth=facts.M)
        yield Threshold(
            strength=facts.N / _unit(facts) * found.threshold,
            change=f"{name} is no better than zero",
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
