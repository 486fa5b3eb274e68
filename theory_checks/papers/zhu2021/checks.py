"""Cross-entropy on balanced classes: the simplex ETF and the decay from which on it is zero."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.measure import Point, Setup, solve
from theory_checks.engine.registry import Case, Setting, check
from theory_checks.formulas.cross_entropy import cost, etf_claims

_COUNTS = (5, 5, 5, 5)
_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE


def _case(
    name: str,
    setting: Setting,
    *,
    c0: float,
    bias: float | str | None = 0.1,
    counts=_COUNTS,
    d: int = 6,
    ratio: float = 1.0,
    full=False,
) -> Case:
    """A case with K √(n λ_W λ_H) = c0, n the mean count; `ratio` is λ_W / λ_H."""
    lam = c0 / (len(counts) * (sum(counts) / len(counts)) ** 0.5)
    decay = {"lambda_W": lam * ratio**0.5, "lambda_H": lam / ratio**0.5}
    return Case(
        name,
        setting,
        {"class_counts": counts, "widths": (d,), "bias": bias, "loss": "CrossEntropy", **decay},
        full=full,
    )


def global_regime(case: Case) -> Setting:
    """Equal class counts, one layer, d >= K − 1, any bias, K √(n λ_W λ_H) < 1."""
    s = Setup.of(case.problem)
    return Setting.all_of(s.balanced, s.M == 1, s.R >= s.K - 1, Setting.below(s.K * cost(s), 1.0))


@check(
    key="zhu2021/global-minimisers",
    formula=(
        r"W\bar H = aS,\ a = \log\big(\tfrac1{\sqrt{n\lambda_W\lambda_H}}-K+1\big),"
        r"\quad WW^\top = \sqrt{\tfrac{n\lambda_H}{\lambda_W}}\,aS,\quad h_{k,i} = "
        r"\sqrt{\tfrac{\lambda_W}{n\lambda_H}}\,w_k,\quad b = 0"
    ),
    source="Zhu et al. 2021, global optimality; the scale a is derived",
    regime=global_regime,
    cases=(
        _case("penalised bias, c0=0.01", _INSIDE, c0=0.01, ratio=4.0),
        _case("penalised bias, c0=0.3", _INSIDE, c0=0.3),
        _case("penalised bias, c0=0.97", _INSIDE, c0=0.97, ratio=0.25),
        _case("strongly penalised bias", _INSIDE, c0=0.3, bias=100.0),
        _case("free bias, d=K-1", _INSIDE, c0=0.3, bias="free", d=3),
        _case("no bias", _INSIDE, c0=0.3, bias=None, full=True),
        _case("c0=1", _BOUNDARY, c0=1.0),
        _case("c0=1.03", _OUTSIDE, c0=1.03),
        _case("unequal counts", _OUTSIDE, c0=0.3, counts=(8, 6, 4, 2)),
    ),
)
def global_minimisers(case: Case):
    """Balanced classes, cross-entropy: features collapse to a simplex ETF, dual to the classifier,
    and the bias does nothing."""
    point, s = Point.of(solve(case)), Setup.of(case.problem)
    c, K = cost(s), s.K
    a = float(np.log(1 / c - K + 1))
    yield point.certificate_claim()
    if s.balanced:
        yield point.closed_form_claim()
    yield from etf_claims(point, s, a, float(np.log1p((K - 1) * np.exp(-a)) + c * (K - 1) * a))


def trivial_regime(case: Case) -> Setting:
    """Equal class counts, one layer, any d and bias, K √(n λ_W λ_H) > 1 (at 1 zero is the only
    optimum as well)."""
    s = Setup.of(case.problem)
    return Setting.all_of(s.balanced, s.M == 1, Setting.above(s.K * cost(s), 1.0))


@check(
    key="zhu2021/trivial-threshold",
    formula=r"K\sqrt{n\lambda_W\lambda_H}\ge 1\ \Rightarrow\ W = 0,\ H = 0,\ L^* = \log K",
    source="derived for the objective of Zhu et al. 2021, which gives no threshold",
    regime=trivial_regime,
    cases=(
        _case("c0=1.03", _INSIDE, c0=1.03),
        _case("c0=3, free bias, d=K-1", _INSIDE, c0=3.0, bias="free", d=3),
        _case("c0=1, free bias, d=K-1", _BOUNDARY, c0=1.0, bias="free", d=3),
        _case("c0=0.97", _OUTSIDE, c0=0.97),
        _case(
            "unequal counts, free bias, c0=1.03",
            _OUTSIDE,
            c0=1.03,
            counts=(8, 6, 4, 2),
            bias="free",
            d=3,
        ),
    ),
)
def trivial_threshold(case: Case):
    """Beyond K √(n λ_W λ_H) = 1 everything vanishes, whatever the bias."""
    point, s = Point.of(solve(case)), Setup.of(case.problem)
    yield point.certificate_claim()
    yield from etf_claims(point, s, 0.0, float(np.log(s.K)))
