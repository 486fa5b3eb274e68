"""Softmax codes, and self-duality at finite temperature."""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.measure import GEOMETRY, Point, solve
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.formulas.bounded import bounded_problem, self_dual_claim
from theory_checks.formulas.frames import largest_margin

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
# An inverse temperature that stands for infinity: of seven vectors in three dimensions features are
# 1e-12 from their rows there.
_COLD = 30.0


def _problem(*, num_classes, width, beta):
    return bounded_problem(
        (2,) * num_classes, width=width, feature_radius=beta, classifier_radius=1.0
    )


def _case(name, setting, K, width, beta, **options) -> Case:
    parameters = {"num_classes": K, "width": width, "beta": beta}
    return Case(name, setting, parameters, build=_problem, **options)


def _code(case: Case) -> ufm.frames.Code | None:
    """The sharp code of so many vectors: a simplex, a polygon, an orthoplex."""
    number, dim = case.parameters["num_classes"], case.parameters["width"]
    if number <= dim + 1:
        return ufm.frames.simplex(number - 1)
    if dim == 2:
        return ufm.frames.polygon(number)
    return ufm.frames.orthoplex(dim) if number == 2 * dim else None


def code_regime(case: Case) -> Setting:
    """Spheres, equal class counts; K <= d + 1, d = 2 or K = 2 d, where the softmax code is a sharp
    code."""
    return Setting.all_of(_code(case) is not None)


# one code at a high, a moderate and a low temperature
SEVEN = (
    _case("K = 7, d = 3, β = 1", _OUTSIDE, 7, 3, 1.0),
    _case("K = 7, d = 3", _OUTSIDE, 7, 3, 10.0),
    _case("K = 7, d = 3, β = 30", _OUTSIDE, 7, 3, _COLD, full=True),
)


@check(
    key="jiang2023/softmax-codes",
    formula=(
        r"\max_W\rho(W):\quad \tfrac K{K-1}\ (K\le d+1),\quad 1-\cos\tfrac{2\pi}K\ (d=2),\quad"
        r" 1\ (K=2d)"
    ),
    source="Jiang et al. 2023, GNC1 and GNC2 (recalled); at finite temperature ours",
    regime=code_regime,
    cases=(
        _case("K = 5, d = 6", _INSIDE, 5, 6, 10.0),
        _case("orthoplex, K = 6, d = 3", _INSIDE, 6, 3, 10.0),
        _case("orthoplex, K = 6, d = 3, β = 1", _INSIDE, 6, 3, 1.0),
        _case("polygon, K = 7", _INSIDE, 7, 2, 10.0, full=True),
        *SEVEN,
    ),
)
def softmax_codes(case: Case):
    """Where a sharp code is the softmax code, starts end at it at every temperature: rows have the
    largest one-vs-rest margin, and features collapse."""
    point, p = Point.of(solve(case)), case.parameters
    rho = largest_margin(p["num_classes"], p["width"])
    yield Claim(
        "one-vs-rest margin", ufm.frames.one_vs_rest_margin(point.classifier), rho, GEOMETRY
    )
    yield point.collapse_claim()
    code = _code(case)
    if code is not None:
        gaps = np.exp(p["beta"] * (code.inner_products - 1))
        yield point.value_claim(float(np.log1p(code.multiplicities @ gaps)), name="loss")
    if p["num_classes"] <= p["width"] + 1:
        yield point.certificate_claim()
    rows, features = point.classifier.T, point.class_means / p["beta"]
    if len(rows) == 3:
        columns = {
            f"{x}{i}": part[i] for x, part in (("w", rows), ("h", features)) for i in (0, 1, 2)
        }
        yield Record("rows and features", columns)


def dual_regime(case: Case) -> Setting:
    """Spheres, equal class counts; a sharp code, or a temperature that stands for 0."""
    return Setting.all_of(_code(case) is not None or case.parameters["beta"] >= _COLD)


@check(
    key="jiang2023/self-duality",
    formula=r"w_k = \bar h_k/\beta",
    source="Jiang et al. 2023, GNC3 as the temperature goes to 0 (recalled); where it fails, ours",
    regime=dual_regime,
    cases=(
        _case("K = 5, d = 6", _INSIDE, 5, 6, 1.0),
        _case("orthoplex, K = 6, d = 3", _INSIDE, 6, 3, 5.0),
        _case("polygon, K = 7", _INSIDE, 7, 2, 5.0, full=True),
        _case("K = 7, d = 3, β = 30", _INSIDE, 7, 3, _COLD),
        # the distances are 1.3e-3 and 2.0e-5 there, at gradients of 1e-15: not a lack of
        # convergence
        _case("K = 7, d = 3, β = 5", _OUTSIDE, 7, 3, 5.0),
        _case("K = 7, d = 3, β = 10", _OUTSIDE, 7, 3, 10.0),
    ),
)
def self_duality(case: Case):
    """Features lie along their rows at sharp codes, and elsewhere only as the temperature goes to
    0."""
    point = Point.of(solve(case))
    yield self_dual_claim(point)
    yield point.collapse_claim()
