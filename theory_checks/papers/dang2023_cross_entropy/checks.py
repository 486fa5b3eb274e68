"""The simplex ETF under deep cross-entropy against the best known point of a search."""

from __future__ import annotations

import functools

import numpy as np

import ufm
from theory_checks.engine.counterexamples import MARGIN, Refutation
from theory_checks.engine.measure import GEOMETRY, VALUE, Point, Setup, value_at
from theory_checks.engine.registry import Case, Claim, Setting, Verdict, check
from theory_checks.formulas.deep_points import (
    best_known,
    entropy_case,
    etf_scale,
    etf_value,
    gradient_claim,
    point_at,
    strength,
)
from theory_checks.formulas.etf_bound import etf_floor
from theory_checks.formulas.frames import contrast

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE


def etf_regime(case: Case) -> Setting:
    """Equal class counts, every width at least K, no bias or a penalised one, decay below that at
    which zero logits beat the ETF."""
    s = Setup.of(case.problem)
    known = Setting.all_of(s.balanced, s.R >= s.K, s.bias in (None, "penalised"))
    return (
        known
        if known is _OUTSIDE
        else Setting.all_of(
            known, Setting.below(strength(s), ufm.laws.etf_branch(case.problem).threshold)
        )
    )


@check(
    key="dang2023_cross_entropy/etf-is-optimal",
    formula=(
        r"W_M\cdots W_1\propto\bar H^\top,\quad"
        r" \bar H^\top\bar H\propto W_M\cdots W_1\bar H\propto I_K-\tfrac1K\mathbf 1\mathbf "
        r"1^\top,\quad b = 0"
    ),
    source="Dang et al. 2023, balanced data, cross-entropy with last-layer bias, as quoted by "
    "Garrod & Keating 2025",
    regime=etf_regime,
    expected=Verdict.REFUTED,
    cases=(
        entropy_case(8, 1, 0.03, _INSIDE, n=3, starts=1, full=True),
        entropy_case(4, 1, 0.01, _INSIDE, starts=1, bias=0.1, note="bias", full=True),
        entropy_case(2, 2, 0.03, _INSIDE, full=True),
        entropy_case(3, 2, 0.03, _INSIDE, full=True),
        entropy_case(4, 2, 0.005, _INSIDE),
        entropy_case(4, 2, 0.03, _INSIDE),
        entropy_case(5, 2, 0.005, _INSIDE, full=True),
        entropy_case(6, 2, 0.03, _INSIDE, bias=0.1, note="bias", full=True),
        entropy_case(8, 3, 0.03, _INSIDE),
        entropy_case(3, 3, 0.03, _INSIDE, full=True),
        entropy_case(3, 5, 0.005, _INSIDE, full=True),
        entropy_case(4, 5, 0.005, _INSIDE, full=True),
        entropy_case(8, 5, 0.005, _INSIDE, full=True),
        entropy_case(4, 1, 0.01, _OUTSIDE, counts=(4, 2, 1, 1), starts=1, note="unequal counts"),
        entropy_case(4, 2, 0.01, _OUTSIDE, counts=(4, 2, 1, 1), note="unequal counts"),
    ),
)
def etf_is_optimal(case: Case):
    """At every global optimum the product of the layers and the features are simplex ETFs, whatever
    the depth.

    Refuted for M >= 2 by points of lower value: for K = 4 it depends on λ, for K = 5, 6, 8 all
    cases tried are lower. M = 1 holds with a certificate. For K = 2, 3 nothing lower was found.
    """
    problem, found = case.problem, best_known(case)
    point, s = Point.of(found.best), Setup.of(case.problem)
    a = etf_scale(s)
    claimed = etf_value(a, s)
    if s.balanced:
        yield Claim(
            "scale of ufm.laws.etf_branch",
            ufm.laws.etf_branch(problem).large,
            a,
            VALUE,
            scale=a,
            witness=True,
        )
        etf = point_at(problem, a * contrast(s.K))
        # a theorem is refuted at the point that it names, not at some other ETF
        yield Claim(
            "objective at the ETF",
            value_at(problem, etf),
            claimed,
            VALUE,
            scale=claimed,
            witness=True,
        )
        yield gradient_claim("the ETF", problem, etf, witness=True)
    if s.M == 1:
        yield point.certificate_claim()
    yield point.value_claim(claimed, name="value" if s.M == 1 else "best known value")
    logits = np.asarray(point.logits) - point.logits.mean(axis=0)
    yield Claim("logits", _spectrum(logits), _spectrum(a * contrast(s.K)), GEOMETRY, scale=a)
    # with equal counts, which is where it refutes anything
    least = functools.partial(etf_floor, s.K, s.lambda_W.tolist(), s.lambda_H, float(s.counts[0]))
    lower = Refutation.at(
        f"a point of rank {found.rank}", claimed, problem, found.best.params, least=least
    )
    yield point.plain_claim(lower.value)
    if s.balanced and point.value < claimed * (1 - MARGIN):
        yield lower


def _spectrum(matrix: np.ndarray) -> np.ndarray:
    """Singular values and diagonal: an ETF is fixed by them, whatever the order of the classes."""
    return np.concatenate([np.linalg.svd(matrix)[1], np.sort(np.diag(matrix))])
