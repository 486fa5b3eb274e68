"""Outputs in a ball, and features and rows in balls."""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.measure import Point, solve
from theory_checks.engine.registry import Case, Setting, check
from theory_checks.formulas.bounded import bounded_problem, simplex_claims, simplex_loss
from theory_checks.formulas.frames import contrast

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE
_BALANCED, _UNEVEN = (2,) * 5, (4, 2, 2, 1, 1)


def _outputs(*, class_counts, radius, stretch=1.0):
    """Outputs in a ball, after a map that stretches one of them."""
    K = len(class_counts)
    last = np.diag([stretch] + [1.0] * (K - 1))
    return ufm.Problem(
        ufm.one_hot(class_counts),
        loss=ufm.CrossEntropy(),
        widths=(K,),
        lambda_W=0.0,
        lambda_H=0.0,
        features=ufm.domains.Ball(radius),
        fixed_weights=(last,),
    )


def _case(name, setting, radius, counts=_BALANCED, **parameters) -> Case:
    parameters |= {"class_counts": counts, "radius": radius}
    return Case(name, setting, parameters, build=_outputs)


def output_regime(case: Case) -> Setting:
    """Outputs in a ball, any class counts, no other map behind them."""
    return Setting.all_of(case.parameters.get("stretch", 1.0) == 1.0)


@check(
    key="ewojtowytsch2022/outputs",
    formula=(
        r"\min_{\|z\|\le R}\mathrm{CE}(z,e_k):\quad z = R\sqrt{\tfrac K{K-1}}"
        r"\,(e_k-\tfrac1K\mathbf 1)"
    ),
    source="E & Wojtowytsch 2022, outputs in a ball (recalled)",
    regime=output_regime,
    cases=(
        _case("R = 1", _INSIDE, 1.0),
        _case("R = 20", _INSIDE, 20.0),
        _case("R = 3, counts 4/2/2/1/1", _INSIDE, 3.0, _UNEVEN),
        _case("one output stretched by 1.5", _OUTSIDE, 3.0, stretch=1.5),
    ),
)
def outputs(case: Case):
    """Outputs in a ball are the vertices of a regular simplex, whatever the class counts."""
    point, p = Point.of(solve(case)), case.parameters
    K = len(p["class_counts"])
    size = p["radius"] * np.sqrt(K / (K - 1))
    # (each class has β K/(K − 1) = R √(K/(K − 1)), whatever its share)
    yield point.value_claim(simplex_loss(K, size * (K - 1) / K), name="loss")
    yield point.certificate_claim()
    yield point.logits_claim(size * contrast(K))
    yield point.collapse_claim()


def _both(*, class_counts, width, radius, classifier_radius):
    return bounded_problem(
        class_counts,
        width=width,
        feature_radius=radius,
        classifier_radius=classifier_radius,
        domain="ball",
    )


def _pair(name, setting, radius, rows=1.0, *, counts=_BALANCED, width=6, full=False) -> Case:
    parameters = {"class_counts": counts, "width": width}
    parameters |= {"radius": radius, "classifier_radius": rows}
    return Case(name, setting, parameters, build=_both, full=full)


def features_regime(case: Case) -> Setting:
    """Features and classifier rows in balls, equal class counts, K <= d + 1."""
    p = case.parameters
    K = len(p["class_counts"])
    return Setting.all_of(len(set(p["class_counts"])) == 1, Setting.below(K, p["width"] + 1))


@check(
    key="ewojtowytsch2022/features",
    formula=(
        r"\min_{\|h\|\le R,\ \|w\|\le r} L = \log\big(1+(K-1)e^{-rRK/(K-1)}\big),\quad "
        r"\|h\| = R,\ \|w\| = r"
    ),
    source="E & Wojtowytsch 2022, features behind a bounded last layer (recalled); balls of rows "
    "ours",
    regime=features_regime,
    cases=(
        _pair("r = R = 1", _INSIDE, 1.0),
        _pair("r = 0.5, R = 20", _INSIDE, 20.0, 0.5),
        _pair("K = d + 1", _BOUNDARY, 2.0, width=4, full=True),
        _pair("K = d + 2", _OUTSIDE, 2.0, width=3, full=True),
        _pair("counts 4/2/2/1/1", _OUTSIDE, 2.0, counts=_UNEVEN),
    ),
)
def features(case: Case):
    """Features and rows in balls go to their boundaries and form one simplex."""
    point, p = Point.of(solve(case)), case.parameters
    K, R, r = len(p["class_counts"]), p["radius"], p["classifier_radius"]
    yield point.value_claim(simplex_loss(K, r * R), name="loss")
    if p["width"] >= K - 1:
        yield point.certificate_claim()
    yield from simplex_claims(point, rows=r, features=R)
