"""Distillation by labels: soft ones, a temperature, and both at once."""

from __future__ import annotations

from typing import Any

import numpy as np

import ufm
from theory_checks.engine.measure import EXACT, Point, precision, solve
from theory_checks.engine.registry import Case, Claim, Setting, check
from theory_checks.formulas.frames import contrast
from theory_checks.formulas.roots import bisect
from theory_checks.formulas.vanishing import vanishing

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE


def student(class_counts, *, dim, lambda_W, lambda_H, soft, share, temperature, bias=None):
    """Full columns: share α of the hard label, the rest of the teacher's softened `soft` (K, K)."""
    hard = np.asarray(ufm.one_hot(class_counts).targets)
    given, T = soft @ hard, temperature
    target = (share * hard + (1 - share) * T * given) / (share + (1 - share) * T)
    cool = ufm.losses.AdjustedCrossEntropy(multiplicative=np.full(len(hard), 1 / T))
    if T == 1:
        loss = ufm.CrossEntropy()
    else:
        parts, weights = (ufm.CrossEntropy(), cool), (share, (1 - share) * T**2)
        kept = [i for i in range(2) if weights[i] > 0]
        loss = ufm.losses.Sum(tuple(parts[i] for i in kept), tuple(float(weights[i]) for i in kept))
    return ufm.Problem(
        ufm.soft(target),
        loss=loss,
        widths=(dim,),
        lambda_W=lambda_W,
        lambda_H=lambda_H,
        bias=bias,
    )


def softened(logits: np.ndarray, T: float) -> np.ndarray:
    """softmax(z/T) of columns."""
    powers = np.exp((logits - logits.max(axis=0)) / T)
    return powers / powers.sum(axis=0)


def _teacher(case: Case) -> np.ndarray:
    """Logits of the teacher (K, K): of the case, or a P."""
    given = case.options["teacher"]
    K = len(case.parameters["class_counts"])
    return given * contrast(K) if np.ndim(given) == 0 else np.asarray(given, dtype=np.float64)


_UNEVEN = ((3.0, 0, 0, 0), (0.5, 2.0, 0, 0), (0, 0, 1.0, 0), (0, 0, 0, 2.5))


def _case(
    name,
    setting,
    *,
    share,
    T,
    teacher: Any = 4.0,
    c0=0.3,
    counts=(3,) * 4,
    dim=4,
    bias=None,
    full=False,
):
    """c0: K √(n λ_W λ_H)."""
    K, n = len(counts), sum(counts) / len(counts)
    lam = c0 / (K * n**0.5)
    logits = teacher * contrast(K) if np.ndim(teacher) == 0 else np.array(teacher)
    parameters = {
        "class_counts": counts,
        "dim": dim,
        "lambda_W": 2 * lam,
        "lambda_H": lam / 2,
        "soft": softened(logits, T),
        "share": share,
        "temperature": T,
        "bias": bias,
    }
    options = {"teacher": teacher, "c": c0 / K}
    return Case(name, setting, parameters, build=student, options=options, full=full)


def student_scale(K: int, c: float, share: float, T: float, teacher: float) -> float:
    """a with α p(a) + (1 − α) T [p(a/T) − p(a_t/T)] = c, p(x) = 1/(K − 1 + eˣ)."""

    def wrong(x):
        return 1 / (K - 1 + np.exp(x))

    def excess(a):
        pull = share * wrong(a) + (1 - share) * T * (wrong(a / T) - wrong(teacher / T))
        return c - pull

    return float(bisect(excess, -50.0, 200.0))


def pull_at_zero(K: int, share: float, T: float, teacher: float) -> float:
    """c from which on nothing is learned."""
    return share / K + (1 - share) * T * (1 / K - 1 / (K - 1 + np.exp(teacher / T)))


def regime(case: Case) -> Setting:
    """Equal counts, a teacher with logits a_t P, d >= K − 1, √(n λ_W λ_H) below what pulls at
    zero."""
    p, o = case.parameters, case.options
    K, T, share = len(p["class_counts"]), p["temperature"], p["share"]
    if np.ndim(o["teacher"]):
        return _OUTSIDE
    threshold = pull_at_zero(K, share, T, o["teacher"])
    return Setting.all_of(
        len(set(p["class_counts"])) == 1,
        p["dim"] >= K - 1,
        Setting.below(o["c"], threshold),
    )


@check(
    key="wang2023/soft-labels",
    formula=(
        r"Z = aP,\quad \alpha\,p(a) + (1-\alpha)T\,[p(\tfrac aT) - p(\tfrac{a_t}T)] = "
        r"\sqrt{n\lambda_W\lambda_H},\quad p(x) = \tfrac1{K-1+e^x}"
    ),
    source="derived",
    regime=regime,
    cases=(
        _case("α=0.4, T=1", _INSIDE, share=0.4, T=1.0),
        _case("α=0, T=4", _INSIDE, share=0.0, T=4.0),
        _case("α=0.4, T=4: a sum of two losses", _INSIDE, share=0.4, T=4.0),
        _case(
            "α=0.4, T=4, free bias, d=K-1", _INSIDE, share=0.4, T=4.0, bias="free", dim=3, full=True
        ),
        _case(
            "α=0, T=1, where it is zero", _BOUNDARY, share=0.0, T=1.0, c0=1 - 4 / (3 + np.exp(4.0))
        ),
        _case(
            "α=0.4, T=4, where it is zero",
            _BOUNDARY,
            share=0.4,
            T=4.0,
            c0=0.4 + 2.4 * (1 - 4 / (3 + np.e)),
        ),
        _case("a teacher that is no ETF", _OUTSIDE, share=0.4, T=1.0, teacher=_UNEVEN),
        _case("unequal counts", _OUTSIDE, share=0.4, T=4.0, counts=(6, 3, 2, 1)),
    ),
)
def soft_labels(case: Case):
    """A student of a collapsed teacher is collapsed, of a size that hard labels, soft ones and the
    temperature fix: its dark knowledge is label smoothing."""
    point, p, o = Point.of(solve(case)), case.parameters, case.options
    K, T, share = len(p["class_counts"]), p["temperature"], p["share"]
    yield point.certificate_claim()
    logits = point.logits - point.logits.mean(axis=0)
    size = float(np.mean(np.diag(_teacher(case)))) * K / (K - 1)
    a = student_scale(K, o["c"], share, T, size)
    hard = np.repeat(np.eye(K), p["class_counts"], axis=1)
    yield Claim("logits", logits, a * contrast(K) @ hard, precision(case))
    if case.setting is _BOUNDARY:
        n, end = len(hard[0]) / K, pull_at_zero(K, share, T, size)

        def of_load(c: float):
            lam = c / n**0.5
            return student(**{**p, "lambda_W": 2 * lam, "lambda_H": lam / 2})

        found = vanishing(of_load, 0.3 * end, 2 * end)
        yield Claim("√(n λ_W λ_H) at which it vanishes", found, end, EXACT, scale=end)
    # where it vanishes it is known to the root of what a minimum is known to
    tolerance = precision(case)
    yield Claim("scale", projected(logits, hard), a, tolerance, scale=max(1.0, a))


def projected(logits: np.ndarray, hard: np.ndarray) -> float:
    """The multiple of P that is nearest to the logits."""
    wanted = contrast(len(logits)) @ hard
    return float(np.sum(wanted * logits) / np.sum(wanted**2))
