"""The simplex for features in a ball and a classifier with decay."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.measure import EXACT, Point, solve
from theory_checks.engine.registry import Case, Record, Setting, check
from theory_checks.formulas.bounded import bounded_problem, simplex_claims
from theory_checks.formulas.roots import bisect

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE


def _problem(*, class_counts, width, radius, decay):
    return bounded_problem(
        class_counts, width=width, feature_radius=radius, lambda_W=2 * decay, domain="ball"
    )


def _case(name, setting, radius, decay, *, counts=(2,) * 5, width=6, **options) -> Case:
    parameters = {"class_counts": counts, "width": width, "radius": radius, "decay": decay}
    return Case(name, setting, parameters, build=_problem, **options)


def classifier_norm(num_classes: int, radius: float, decay: float) -> float:
    """r = ‖W‖_F, at which log(1 + (K − 1) e^{−cr}) + λ r² with c = ρ √K/(K − 1) is least."""
    K = num_classes
    c = radius * np.sqrt(K) / (K - 1)

    def slope(r):
        return 2 * decay * r - c * (K - 1) / (np.exp(np.minimum(c * r, 700)) + K - 1)

    return float(bisect(slope, 0.0, c / (2 * decay)))


def regime(case: Case) -> Setting:
    """Features in a ball, decay of the classifier, no bias, equal class counts, K <= d + 1."""
    p = case.parameters
    K = len(p["class_counts"])
    return Setting.all_of(len(set(p["class_counts"])) == 1, Setting.below(K, p["width"] + 1))


BALLS = (
    _case("ρ = 1, λ = 0.01", _INSIDE, 1.0, 0.01),
    _case("ρ = 3, λ = 0.001", _INSIDE, 3.0, 1e-3),
    _case("ρ = 0.5, λ = 0.2", _INSIDE, 0.5, 0.2),
    _case("ρ = 10, λ = 1e-5", _INSIDE, 10.0, 1e-5),
    _case("K = d + 1", _BOUNDARY, 1.0, 0.01, width=4, full=True),
    _case("K = d + 2", _OUTSIDE, 1.0, 0.01, width=3, full=True),
    _case("counts 4/2/2/1/1", _OUTSIDE, 1.0, 0.01, counts=(4, 2, 2, 1, 1)),
)


@check(
    key="graf2021/cross-entropy",
    formula=(
        r"\mathrm{CE}+\lambda\|W\|_F^2\ \ge\ \log\big(1+(K-1)e^{-\rho r\sqrt K/(K-1)}\big)"
        r"+\lambda r^2,\quad \|h\| = \rho,\ w_k = \tfrac{r}{\rho\sqrt K}\,\bar h_k"
    ),
    source="Graf et al. 2021, cross-entropy with decay of the classifier (recalled)",
    regime=regime,
    cases=BALLS,
)
def cross_entropy(case: Case):
    """Features in a ball go to its boundary as a simplex, and rows with decay to the same one, of a
    length that decay picks."""
    point, p = Point.of(solve(case)), case.parameters
    K, rho = len(p["class_counts"]), p["radius"]
    r = classifier_norm(K, rho, p["decay"])
    value = np.log1p((K - 1) * np.exp(-rho * r * np.sqrt(K) / (K - 1))) + p["decay"] * r**2
    yield point.value_claim(float(value))
    if p["width"] >= K - 1:
        yield point.certificate_claim()
    norm = float(np.linalg.norm(point.classifier))
    yield Record("norm", {"law": np.array([r]), "found": np.array([norm])})
    yield point.bracket_record(float(value), name="bound and found")
    yield from simplex_claims(point, rows=r / np.sqrt(K), features=rho, tolerance=EXACT)
