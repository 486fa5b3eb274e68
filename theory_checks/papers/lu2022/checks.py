"""The simplex among unit vectors, and second moments where there is no room for it."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.measure import Point, matrix_claim, solve
from theory_checks.engine.registry import Case, Setting, check
from theory_checks.formulas.bounded import bounded_problem, simplex_claims, simplex_loss

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE


def _problem(*, num_classes, width, beta):
    return bounded_problem(
        (2,) * num_classes, width=width, feature_radius=beta, classifier_radius=1.0
    )


def _case(name, setting, K, width, beta=1.0, **options) -> Case:
    parameters = {"num_classes": K, "width": width, "beta": beta}
    return Case(name, setting, parameters, build=_problem, **options)


def simplex_regime(case: Case) -> Setting:
    """Rows of length one and features of length β, K <= d + 1."""
    return Setting.below(case.parameters["num_classes"], case.parameters["width"] + 1)


@check(
    key="lu2022/simplex",
    formula=r"\min_{\|w\|=1,\ \|h\|=\beta} L = \log\big(1+(K-1)e^{-\beta K/(K-1)}\big)",
    source="Lu & Steinerberger 2022 at β = 1 (recalled); other β and the certificate ours",
    regime=simplex_regime,
    cases=(
        _case("K = 5, d = 6", _INSIDE, 5, 6),
        _case("K = 5, d = 6, β = 5", _INSIDE, 5, 6, 5.0),
        _case("K = d + 1 = 4", _BOUNDARY, 4, 3, full=True),
        _case("K = d + 3 = 6", _OUTSIDE, 6, 3),
        _case("K = d + 4 = 7", _OUTSIDE, 7, 3, full=True),
    ),
)
def simplex(case: Case):
    """Of vectors of these lengths the simplex minimises cross-entropy, as long as the dimension
    has room for it."""
    point, p = Point.of(solve(case)), case.parameters
    yield point.value_claim(simplex_loss(p["num_classes"], p["beta"]), name="loss")
    if case.setting is not _OUTSIDE:
        yield point.certificate_claim()
    yield from simplex_claims(point, rows=1.0, features=p["beta"])


def tight_regime(case: Case) -> Setting:
    """Unit vectors, in the cases whose optimum is known by theorem or by all starts: K >= 3 in the
    plane, a polygon, or K = 2 d, an orthoplex."""
    K, d, beta = (case.parameters[name] for name in ("num_classes", "width", "beta"))
    return Setting.all_of(beta == 1.0, (d == 2 and K >= 3) or 2 * d == K)


@check(
    key="lu2022/tight-frame",
    formula=r"\tfrac1K\sum_k w_kw_k^\top = \tfrac1d I",
    source="derived for codes; Lu & Steinerberger 2022 let K → ∞ with fixed d (recalled)",
    regime=tight_regime,
    cases=(
        _case("K = 6, d = 3", _INSIDE, 6, 3),
        _case("K = 7, d = 2", _INSIDE, 7, 2, full=True),
        _case("K = 5, d = 6", _OUTSIDE, 5, 6),
        _case("K = 7, d = 3, β = 10", _OUTSIDE, 7, 3, 10.0, full=True),
    ),
)
def tight_frame(case: Case):
    """Where there is no room for a simplex, and a code is optimal, its vectors spread over all
    directions alike: the frame potential is least."""
    point, p = Point.of(solve(case)), case.parameters
    d, W = p["width"], point.classifier
    yield matrix_claim("Wᵀ W/K", W.T @ W / len(W), np.eye(d) / d, size=1.0)
    yield point.collapse_claim()
