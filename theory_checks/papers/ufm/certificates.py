r"""Certified optima of long-tailed cross-entropy, for which nobody has a closed form: how far the
duality gap closes, and when it does not.

Columns are collapsed here, one of mass n_k a class, because a tail of ratio 1000 has tens of
thousands of samples; that this changes no optimum is the check `ufm/collapsed-equals-full`.
"""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.claims import CERTIFICATE_CLAIM, Claim
from theory_checks.engine.measure import Point, solve
from theory_checks.engine.registry import Case, Setting, check

# The gap is first order in the gradient, of which the tail gets the least: a class of one sample in
# 14 000 answers to 1e-12 with 7e-9.
_GRADIENT, _GAP = 1e-13, 1e-10
# Largest class count for each ratio of a tail.
_LARGEST = {10: 100, 100: 500, 1000: 2000}


def _case(K, profile, ratio, *, bias=None, strength=0.3, d=None, full=False) -> Case:
    """A long tail. `strength`: the decay in multiples of that at which the two smallest classes
    merge, were there two of the least."""
    largest = _LARGEST[ratio]
    if profile == "exponential":
        counts = ufm.labels.exponential_counts(K, largest=largest, ratio=ratio)
    else:
        counts = ufm.labels.step_counts(
            K // 2, K - K // 2, majority=largest, minority=largest // ratio
        )
    lam = strength * float(np.sqrt(min(counts)) / sum(counts))
    d = K + 2 if d is None else d
    name = f"K={K}, {profile}, ratio {ratio}"
    name += "" if bias is None else ", free bias"
    name += "" if strength < 1 else ", tail collapsed"
    name += "" if d >= K else f", d={d}"
    parameters = {
        "class_counts": counts,
        "widths": (d,),
        "lambda_W": lam,
        "lambda_H": lam,
        "bias": bias,
        "loss": "CrossEntropy",
        "collapsed": True,
    }
    return Case(name, Setting.INSIDE if d >= K - 1 else Setting.OUTSIDE, parameters, full=full)


def certificate_regime(case: Case) -> Setting:
    """One linear layer, a loss convex in the logits, d >= K − 1 so that no rank is missing, one-hot
    labels with any class counts."""
    problem = case.problem
    return Setting.all_of(
        problem.depth == 1,
        problem.loss.convex,
        problem.feature_dim >= problem.labels.num_classes - 1,
    )


_CASES = (
    *(
        _case(K, profile, ratio, bias=bias, full=(K, bias) == (100, "free"))
        for K in (10, 100)
        for profile in ("exponential", "step")
        for ratio in _LARGEST
        for bias in (None, "free")
    ),
    *(
        _case(K, profile, 100, strength=3.0)
        for K in (10, 100)
        for profile in ("exponential", "step")
    ),
    _case(10, "exponential", 100, d=4),
    _case(10, "step", 100, d=8, bias="free", full=True),
    _case(100, "exponential", 100, d=20, full=True),
    _case(1000, "exponential", 100, d=1024, full=True),
)


@check(
    key="ufm/long-tail-certificates",
    formula=(
        r"\min_{W,H,b} = \max_u\,\Big\{-\sum_c\omega_c\,\ell^*(u_c;q_c)"
        r" : \big\|[\omega_cu_c/\sqrt{m_c}]_c\big\|_{op}\le\sqrt{\lambda_W\lambda_H}\Big\}"
    ),
    source="Fenchel duality for the nuclear norm; no paper has a closed form for these counts",
    regime=certificate_regime,
    cases=_CASES,
)
def long_tail_certificates(case: Case):
    """Long-tailed cross-entropy, however imbalanced, is solved to a closed duality gap: the point
    is the global optimum."""
    point = Point.of(solve(case, tolerance=_GRADIENT))
    certificate = ufm.certify(point.problem, point.params)
    # the name of a proof is for gaps that are one
    if case.setting is Setting.INSIDE:
        points = ((point.problem, point.params),)
        yield Claim(CERTIFICATE_CLAIM, float(certificate.gap), 0.0, _GAP, points=points)
        return
    yield Claim("duality gap", float(certificate.gap), 0.0, _GAP)
    # the gap of the convex problem is open here; what remains true is the bound, and that nothing
    # is called global
    wide = Case(
        case.id,
        Setting.INSIDE,
        {**case.parameters, "widths": (point.problem.labels.num_classes + 2,)},
    )
    lifted = Point.of(solve(wide, tolerance=_GRADIENT))
    optimum = ufm.certify(lifted.problem, lifted.params)
    points = ((lifted.problem, lifted.params),)
    yield Claim(
        "gap of the same problem with d = K + 2",
        float(optimum.gap),
        0.0,
        _GAP,
        witness=True,
        points=points,
    )
    above = max(0.0, float(certificate.lower_bound - optimum.value))
    yield Claim(
        "lower bound above the optimum for d = K + 2",
        above,
        0.0,
        _GAP,
        scale=float(optimum.value),
        witness=True,
    )
    below = max(0.0, float(optimum.lower_bound - certificate.value))
    yield Claim(
        "value below the optimum for d = K + 2",
        below,
        0.0,
        _GAP,
        scale=float(optimum.value),
        witness=True,
    )
    yield Claim("called global", float(certificate.closes(_GAP)), 0.0, 1e-9, witness=True)
