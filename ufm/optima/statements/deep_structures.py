"""Balanced cross-entropy behind several layers.

Candidates in closed form, and the decay from which they are no better than zero.
"""

from __future__ import annotations

from collections.abc import Iterator

from ufm.optima.deep_blocks import deep_hypotheses
from ufm.optima.deep_cross_entropy import candidates_of
from ufm.optima.etf_branch import etf_scale_problem
from ufm.optima.facts import Facts
from ufm.optima.hypotheses import Hypothesis
from ufm.optima.statement import Statement, Threshold, ThresholdRule, whatever_decay

# The best direct sum is found by dynamic programming over classes and rank, which takes seconds
# beyond.
_MANY = 40
_SOURCE = "Garrod & Keating 2025 for ETF, pairs and circle; direct sums derived here"


def _deep(facts: Facts) -> Iterator[Hypothesis]:
    yield Hypothesis("depth", facts.M >= 2, "M >= 2", f"M={facts.M}", 3)
    yield from deep_hypotheses(facts)


def _with_etf(facts: Facts) -> Iterator[Hypothesis]:
    yield from whatever_decay(_deep(facts))
    wide = min(facts.widths) >= facts.K - 1
    yield Hypothesis(
        "room for the ETF", wide, "every width >= K - 1", f"widths={facts.widths}, K={facts.K}"
    )


def _says(facts: Facts) -> str:
    if facts.K > _MANY:
        return (
            "simplices, circles and their direct sums; upper bounds, and not known to be the "
            "optimum"
        )
    best = candidates_of(facts)[0]
    return (
        f"the best of the structures in closed form: {best}; an upper bound, and not known to be "
        f"the optimum"
    )


def _find(facts: Facts) -> Iterator[Threshold]:
    scale, n = etf_scale_problem(facts), float(facts.classes.masses[0])
    # Λ n^{1/(M+1)} there is N Λ here
    unit = facts.N / n ** (1 / (facts.M + 1))
    yield Threshold(
        strength=unit * scale.threshold,
        change="the simplex ETF is no better than zero",
        source=_SOURCE,
        of_optimum=False,
    )
    yield Threshold(
        strength=unit * scale.existence,
        change="no simplex ETF is stationary",
        source=_SOURCE,
        of_optimum=False,
    )


CANDIDATES = Statement(
    kind="candidate",
    name="structures of low rank",
    source=_SOURCE,
    call="ufm.laws.deep_candidates(problem)",
    accepts=_deep,
    says=_says,
)
ETF = ThresholdRule(name="deep simplex ETF", accepts=_with_etf, find=_find)
STATEMENTS = (CANDIDATES,)
THRESHOLDS = (ETF,)
