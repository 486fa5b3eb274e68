r"""Fisher, Meng, Papyan 2024: two limits of the optimal features of a given classifier, λ → 1 and s
→ 0.

The limits are named in the paper's terms and their rates derived here. Objective and formulas are
in `formulas.py`, the features for all λ and s in `fixed.py`.
"""

from __future__ import annotations

import numpy as np

from theory_checks.engine.measure import GEOMETRY
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.papers.fisher2024 import formulas
from theory_checks.papers.fisher2024.fixed import (
    fitted,
    fixed_case,
    fixed_problem,
    relative_claim,
    scales,
    usual_setting,
)

_DERIVED = "derived here from the optimal features of Fisher, Meng & Papyan 2024"
_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE

# Two columns give the first order in 1 − λ; a third one removes the second, so 1e-4 of the width of
# the layer leaves 1e-8 of its size.
_LAYER_STEP = 1e-4
# Where the laws for s → 0 are tried: they are off by O(s log(1/s)) in relation, and the features
# are known to 1e-16/s.
_SMALL = 1e-8


def layer_regime(case: Case) -> Setting:
    """Cross-entropy without bias, the classifier a simplex ETF, 1 − λ far below s, the width of the
    boundary layer."""
    _, _, s = scales(case.problem)
    step = 1 - float(case.problem.labels.targets[0, 1])
    return Setting.all_of(usual_setting(case.problem), Setting.below(step / s, 10 * _LAYER_STEP))


def _layer(s: float, step: float = _LAYER_STEP) -> tuple[float, ...]:
    """λ = 1 and two next to it."""
    return tuple(1 - step * s * k for k in range(3))


@check(
    key="fisher2024/towards-one-class",
    formula=r"\lim_{\lambda\to1}h^\lambda_{ij}=h_i,\quad "
    r"\tfrac{dz}{d\lambda}\big|_{\lambda=1}=(\mathrm{diag}\,p-pp^\top+sI)^{-1}(e_i-e_j)",
    source=_DERIVED,
    regime=layer_regime,
    cases=(
        fixed_case("K=3, s=0.1", _INSIDE, K=3, lam=_layer(0.1), s=0.1),
        fixed_case("K=4, s=1e-3", _INSIDE, K=4, lam=_layer(1e-3), s=1e-3, m=2.0, full=True),
        fixed_case("K=2", _INSIDE, K=2, lam=_layer(1e-2), s=1e-2, full=True),
        fixed_case("K=10", _INSIDE, K=10, lam=_layer(1e-2), s=1e-2, full=True),
        fixed_case("1 − λ a tenth of s", _OUTSIDE, K=3, lam=_layer(0.1, 0.1), s=0.1),
    ),
)
def towards_one_class(case: Case):
    """As λ → 1 the mixture joins the class continuously, with a slope 1/s: a layer of width s.
    Extrapolated from two λ near 1."""
    _, _, Z = fitted(case.problem)
    K, _, s = scales(case.problem)
    step = 1 - float(case.problem.labels.targets[0, 1])
    xi = float(formulas.same_class_gap(K, s))
    z_1 = xi * (np.eye(K)[0] - 1 / K)
    p = formulas.softmax(z_1[:, None])[:, 0]
    slope = np.linalg.solve(
        np.diag(p) - np.outer(p, p) + s * np.eye(K), np.eye(K)[1] - np.eye(K)[0]
    )
    yield relative_claim("logits at λ = 1", Z[:, 0], z_1)
    yield relative_claim("logits as λ → 1", 2 * Z[:, 1] - Z[:, 2], z_1, GEOMETRY)
    # the features are known to 1e-16/s, over the step that is 1e-12/s of the slope
    yield relative_claim(
        "slope as λ → 1", (4 * Z[:, 1] - 3 * Z[:, 0] - Z[:, 2]) / (2 * step), slope, 1e-6
    )


def small_regime(case: Case) -> Setting:
    """Cross-entropy without bias, the classifier a simplex ETF, λ fixed in (0, 1), s → 0: here s <=
    1e-8."""
    _, _, s = scales(case.problem)
    return Setting.all_of(usual_setting(case.problem), Setting.below(s, 1.001 * _SMALL))


_INTERIOR = (0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 1.0)


DECADES = fixed_case("K=3", _INSIDE, K=3, lam=_INTERIOR, s=_SMALL)


@check(
    key="fisher2024/small-decay",
    formula=(
        r"u_i-u_j=\log\tfrac{\lambda}{1-\lambda}+s\Big[t\big(\tfrac "
        r"K2-1\big)\big(\tfrac1{1-\lambda}-\tfrac1\lambda\big)-"
        r"\tfrac{\mathrm{logit}\lambda}{2\lambda(1-\lambda)}\Big],\quad "
        r"u_i+u_j=Kt=2W_0\!\Big(\tfrac{K\sqrt{\lambda(1-\lambda)}}{2s}\Big),"
        r"\quad\xi=W_0(K/s)"
    ),
    source=_DERIVED,
    regime=small_regime,
    cases=(
        DECADES,
        fixed_case("K=4", _INSIDE, K=4, lam=_INTERIOR, s=_SMALL, m=3.0, full=True),
        fixed_case("K=10", _INSIDE, K=10, lam=_INTERIOR, s=_SMALL, full=True),
        fixed_case("s=0.01", _OUTSIDE, K=3, lam=_INTERIOR, s=0.01),
    ),
)
def small_decay(case: Case):
    """Channels for vanishing decay: width log λ/(1 − λ) whatever the decay, to order s log 1/s, and
    depth about twice the class's own gap.

    The depth is 2 W_0(K √(λ(1−λ))/(2s)) up to a relative error of order s, so it approaches 2
    log(1/s) at logarithmic speed only.
    """
    K, _, s = scales(case.problem)
    lam = np.array(_INTERIOR[:-1])
    logit = np.log(lam / (1 - lam))
    _, _, Z = fitted(case.problem)
    width, depth = Z[0, :-1] - Z[1, :-1], Z[0, :-1] + Z[1, :-1] - 2 * Z[2, :-1]
    predicted_depth, correction = formulas.small_decay(K, lam, s)
    yield Claim("p → q", formulas.softmax(Z), np.asarray(case.problem.labels.targets), 1e-6)
    yield Claim("width → log λ/(1 − λ)", width, logit, 5e-6)
    # relative truncation s t/λ (1e-7), relative rounding 1e-16/(s t)
    yield relative_claim("first order of the width", (width - logit) / s, correction, 5e-6)
    yield relative_claim("depth", depth, predicted_depth, GEOMETRY)
    yield relative_claim(
        "gap of one class", Z[0, -1] - Z[1, -1], formulas.lambert(np.log(K / s)), GEOMETRY
    )
    if case.setting is Setting.INSIDE:
        yield _decades(case, K)


def _decades(case: Case, K: int) -> Record:
    """Errors of the laws over decades of s, from which their rates are read: columns of λ = 0.7."""
    strengths = 10.0 ** -np.arange(1, 9)
    rows = []
    for s in strengths:
        _, _, Z = fitted(fixed_problem(K, mu=float(s) * K / (K - 1), lam=_INTERIOR))
        z, lam = Z[:, 4], _INTERIOR[4]
        depth, correction = formulas.small_decay(K, lam, float(s))
        width, logit = z[0] - z[1], np.log(lam / (1 - lam))
        own = Z[0, -1] - Z[1, -1]
        rows.append([width - logit, s * correction, z[0] + z[1] - 2 * z[2], depth, own])
    width_error, first_order, depth, depth_law, own = np.array(rows).T
    return Record(
        "decades of s",
        {
            "s": strengths,
            "width_error": width_error,
            "width_error_law": first_order,
            "depth": depth,
            "depth_law": depth_law,
            "own_gap": own,
            "own_gap_law": formulas.lambert(np.log(K / strengths)),
        },
    )
