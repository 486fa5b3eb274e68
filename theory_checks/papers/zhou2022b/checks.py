"""Label smoothing, focal loss and rescaled squared error on balanced classes."""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.measure import GEOMETRY, Point, Setup, solve
from theory_checks.engine.registry import Case, Claim, Setting, check
from theory_checks.formulas.cross_entropy import cost, etf_claims
from theory_checks.formulas.frames import contrast
from theory_checks.formulas.roots import bisect

_COUNTS = (5, 5, 5, 5)
_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE


def _problem(
    class_counts, *, widths, lambda_W, lambda_H, bias, smoothing=0.0, gamma=None, rescaled=None
):
    """Full columns; focal loss where γ is given, rescaled squared error where (length, weight)
    is."""
    if gamma is not None:
        loss = ufm.losses.Focal(gamma)
    else:
        loss = (
            ufm.CrossEntropy()
            if rescaled is None
            else ufm.losses.RescaledSquaredError(length=rescaled[0], weight=rescaled[1])
        )
    labels = ufm.labels.smoothed(class_counts, smoothing=smoothing)
    return ufm.Problem(
        labels, loss=loss, widths=widths, lambda_W=lambda_W, lambda_H=lambda_H, bias=bias
    )


def _case(
    name: str,
    setting: Setting,
    *,
    c0: float,
    bias: float | str | None = 0.1,
    counts=_COUNTS,
    d: int = 6,
    starts: int = 1,
    full=False,
    **loss,
) -> Case:
    """A case with K √(n λ_W λ_H) = c0, n the mean count."""
    lam = c0 / (len(counts) * (sum(counts) / len(counts)) ** 0.5)
    parameters = {
        "class_counts": counts,
        "widths": (d,),
        "lambda_W": 2 * lam,
        "lambda_H": lam / 2,
        "bias": bias,
        **loss,
    }
    return Case(name, setting, parameters, build=_problem, starts=starts, full=full)


def _balanced(case: Case) -> bool:
    """Equal class counts, as whole numbers: summed smoothed targets are equal up to rounding
    only."""
    return len(set(case.parameters["class_counts"])) == 1


def smoothing_regime(case: Case) -> Setting:
    """Equal class counts, one layer, d >= K − 1, K √(n λ_W λ_H) < 1 − s."""
    s = Setup.of(case.problem)
    return Setting.all_of(
        _balanced(case),
        s.M == 1,
        s.R >= s.K - 1,
        Setting.below(s.K * cost(s), 1 - case.parameters["smoothing"]),
    )


@check(
    key="zhou2022b/label-smoothing",
    formula=(
        r"W\bar H = aS,\quad a = \log\Big(\tfrac{1}{s/K+\sqrt{n\lambda_W\lambda_H}}-K+1\Big),\quad"
        r" L^* = \log(1+(K-1)e^{-a}) + \big(\tfrac sK+\sqrt{n\lambda_W\lambda_H}\big)(K-1)a"
    ),
    source="Zhou et al. 2022, label smoothing, global optimality; the scale a is derived",
    regime=smoothing_regime,
    cases=(
        _case("s=0.05, c0=0.01", _INSIDE, c0=0.01, smoothing=0.05),
        _case("s=0.3, c0=0.3, free bias, d=K-1", _INSIDE, c0=0.3, smoothing=0.3, bias="free", d=3),
        _case("s=0.3, c0=0.97 (1 − s)", _INSIDE, c0=0.97 * 0.7, smoothing=0.3),
        _case("s=0, cross-entropy", _INSIDE, c0=0.3, smoothing=0.0),
        _case("s=0.9", _INSIDE, c0=0.03, smoothing=0.9),
        _case("c0=1 − s", _BOUNDARY, c0=0.7, smoothing=0.3),
        _case("c0=1.03 (1 − s)", _OUTSIDE, c0=1.03 * 0.7, smoothing=0.3),
        _case("unequal counts", _OUTSIDE, c0=0.3, smoothing=0.3, counts=(8, 6, 4, 2)),
    ),
)
def label_smoothing(case: Case):
    """Label smoothing keeps the simplex ETF and makes it smaller, with a finite scale as the decay
    vanishes."""
    point, s = Point.of(solve(case)), Setup.of(case.problem)
    slope, K = case.parameters["smoothing"] / s.K + cost(s), s.K
    a = float(np.log(1 / slope - K + 1))
    yield point.certificate_claim()
    if _balanced(case):
        yield point.closed_form_claim()
    yield from etf_claims(point, s, a, float(np.log1p((K - 1) * np.exp(-a)) + slope * (K - 1) * a))


def _focal(a: float, K: int, gamma: float) -> float:
    """ψ(a): the loss at logits a S."""
    p = 1 / (1 + (K - 1) * np.exp(-a))
    return float(-((1 - p) ** gamma) * np.log(p))


def _push(p: float, gamma: float) -> float:
    """g(p) = −ψ'(a)."""
    return (1 - p) ** gamma * ((1 - p) - gamma * p * np.log(p))


def _focal_scale(K: int, c: float, gamma: float) -> float:
    """The largest root of g(p) = (K − 1) c as a margin, by bisection from the right; for K < 10 and
    γ <= 5 g has no inner peak."""
    # from below 1/K, so that beyond the threshold the formula shows that it has left its regime
    p = bisect(lambda p: (K - 1) * c - _push(p, gamma), 0.5 / K, 1.0)
    return float(np.log((K - 1) * p / (1 - p)))


def _focal_threshold(K: int, gamma: float) -> float:
    """K √(n λ_W λ_H) at which zero becomes unstable."""
    return K / (K - 1) * (1 - 1 / K) ** gamma * ((1 - 1 / K) + gamma * np.log(K) / K)


def focal_regime(case: Case) -> Setting:
    """Equal class counts, one layer, d >= K − 1, K √(n λ_W λ_H) below the value at which zero
    becomes unstable."""
    s = Setup.of(case.problem)
    return Setting.all_of(
        _balanced(case),
        s.M == 1,
        s.R >= s.K - 1,
        Setting.below(s.K * cost(s), _focal_threshold(s.K, case.parameters["gamma"])),
    )


@check(
    key="zhou2022b/focal",
    formula=(
        r"W\bar H = aS,\quad (1-p)^\gamma\,[(1-p)-\gamma p\log p] = "
        r"(K-1)\sqrt{n\lambda_W\lambda_H},\quad p = \tfrac{1}{1+(K-1)e^{-a}}"
    ),
    source="Zhou et al. 2022, focal loss, global optimality; scale and threshold are derived",
    regime=focal_regime,
    cases=(
        *(_case(f"γ={g:g}, c0=0.3", _INSIDE, c0=0.3, gamma=g, starts=4) for g in (0.5, 1.0, 3.0)),
        _case("γ=3, weak decay", _INSIDE, c0=0.003, gamma=3.0, starts=4),
        _case(
            "γ=2, 0.999 of the threshold",
            _INSIDE,
            c0=0.999 * _focal_threshold(4, 2.0),
            gamma=2.0,
            starts=4,
        ),
        _case("γ=0, cross-entropy", _INSIDE, c0=0.3, gamma=0.0, starts=4),
        _case(
            "γ=3, free bias, d=K-1",
            _INSIDE,
            c0=0.3,
            gamma=3.0,
            bias="free",
            d=3,
            starts=4,
            full=True,
        ),
        _case(
            "γ=2, 1.001 of the threshold",
            _OUTSIDE,
            c0=1.001 * _focal_threshold(4, 2.0),
            gamma=2.0,
            starts=4,
        ),
        _case("γ=2, unequal counts", _OUTSIDE, c0=0.3, gamma=2.0, counts=(8, 6, 4, 2), starts=4),
    ),
)
def focal(case: Case):
    """Focal loss has the same simplex ETF, of a size that solves a scalar equation, although it is
    not convex."""
    point, s = Point.of(solve(case)), Setup.of(case.problem)
    gamma, c, K = case.parameters["gamma"], cost(s), s.K
    a = _focal_scale(K, c, gamma)
    if _balanced(case):
        yield point.closed_form_claim()
    claims = etf_claims(point, s, a, _focal(a, K, gamma) + (K - 1) * c * a)
    # no certificate stands beside this value, so it does not bear the name of those that have one
    yield from (
        Claim("value of the scalar problem", c.measured, c.predicted, c.tolerance, c.scale)
        if c.name == "value"
        else c
        for c in claims
    )


# what zero is divided by
_TINY = float(np.finfo(float).tiny)
# K √(n λ_W λ_H) from which on all is zero: 4 · 15/8
_RESCALED = {"bias": "free", "rescaled": (3.0, 5.0)}


def rescaled_regime(case: Case) -> Setting:
    """Equal class counts, one layer, d >= K − 1, a free bias, √(n λ_W λ_H) < kM/(k + K − 1), from
    where on all is zero."""
    s, (length, weight) = Setup.of(case.problem), case.parameters["rescaled"]
    decay = Setting.below(cost(s), weight * length / (weight + s.K - 1))
    return Setting.all_of(
        _balanced(case), s.M == 1, s.R >= s.K - 1, s.bias == "free", decay is _INSIDE
    )


@check(
    key="zhou2022b/rescaled-squared-error",
    formula=r"WW^\top\propto\bar H^\top\bar H\propto W\bar H\propto S",
    source="Zhou et al. 2022, squared error rescaled by (M, k), geometry of the global minimisers; "
    "up to which decay is derived",
    regime=rescaled_regime,
    cases=(
        _case("M=3, k=5", _INSIDE, c0=0.3, bias="free", rescaled=(3.0, 5.0)),
        _case("M=15, k=1", _INSIDE, c0=0.3, bias="free", rescaled=(15.0, 1.0)),
        _case("M=1, k=20, weak decay", _INSIDE, c0=0.01, bias="free", rescaled=(1.0, 20.0)),
        _case("M=3, k=5, 0.97 of the threshold", _INSIDE, c0=0.97 * 7.5, **_RESCALED),
        _case("M=3, k=5, 1.03 of the threshold", _OUTSIDE, c0=1.03 * 7.5, **_RESCALED),
        _case("M=3, k=5, no bias", _OUTSIDE, c0=0.03, bias=None, rescaled=(3.0, 5.0)),
        _case(
            "M=3, k=5, unequal counts",
            _OUTSIDE,
            c0=0.03,
            bias="free",
            rescaled=(3.0, 5.0),
            counts=(8, 6, 4, 2),
        ),
    ),
)
def rescaled_squared_error(case: Case):
    """Squared error with a longer target and a heavier true class has the same simplex ETF, with a
    free bias."""
    point, s = Point.of(solve(case)), Setup.of(case.problem)
    direction = contrast(s.K) / np.sqrt(s.K - 1)
    yield point.certificate_claim()
    yield point.collapse_claim()
    kept = float(np.abs(point.linear_logits).max()) > GEOMETRY * case.parameters["rescaled"][0]
    yield Claim("W H̄ is not zero (1: yes)", float(kept), 1.0, GEOMETRY)
    for name, matrix in (
        ("W Wᵀ", point.classifier @ point.classifier.T),
        ("H̄ᵀ H̄", point.class_means.T @ point.class_means),
        ("W H̄", point.linear_logits),
    ):
        size = max(float(np.linalg.norm(matrix)), _TINY)
        yield Claim(f"direction of {name}", matrix / size, direction, GEOMETRY)
