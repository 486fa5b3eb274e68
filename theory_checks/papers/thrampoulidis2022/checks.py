"""Regularised cross-entropy on step profiles, and SELI as its limit."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.claims import Claim, worst_of
from theory_checks.engine.measure import GEOMETRY, Point, Setup, matrix_claim, solve
from theory_checks.engine.registry import Case, Setting, check, one_hot_problem
from theory_checks.formulas.frames import contrast, directions_apart

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE
_STEP, _TAIL = (6, 6, 6, 2, 2), (9, 6, 4, 2, 1)


def _problem(class_counts, *, decay, bias=None, collapsed=True):
    """`decay` is the paper's λ."""
    lam = decay / sum(class_counts)
    options = {"bias": bias, "loss": "CrossEntropy", "collapsed": collapsed}
    return one_hot_problem(
        class_counts, widths=(len(class_counts) + 1,), lambda_W=lam, lambda_H=lam, **options
    )


def _case(name: str, setting: Setting, *, decay: float, counts=_STEP, decays=(), **options) -> Case:
    parameters = {"class_counts": counts, "decay": decay, **options}
    return Case(name, setting, parameters, build=_problem, options={"decays": decays})


def encoded_norm(counts) -> float:
    """‖Ẑ‖, the spectral norm of the simplex-encoded label matrix."""
    S = contrast(len(counts))
    return float(np.sqrt(np.linalg.eigvalsh(S @ np.diag(np.asarray(counts, dtype=float)) @ S)[-1]))


# zero
# ----------------------------------------------------------------------


def zero_regime(case: Case) -> Setting:
    """No bias, any class counts, λ > ‖Ẑ‖ (at ‖Ẑ‖ as well)."""
    counts = case.parameters["class_counts"]
    return Setting.all_of(
        case.parameters.get("bias") is None,
        Setting.above(case.parameters["decay"], encoded_norm(counts)),
    )


@check(
    key="thrampoulidis2022/zero",
    formula=r"\lambda\ge\|\hat Z\|_2\ \Rightarrow\ W = 0,\ H = 0,\ L^* = \log K",
    source="derived: the spectral norm in the normalisation of Thrampoulidis et al. 2022",
    regime=zero_regime,
    cases=(
        _case("step, 1.03", _INSIDE, decay=1.03 * encoded_norm(_STEP)),
        _case(
            "step, 1.03, full columns", _INSIDE, decay=1.03 * encoded_norm(_STEP), collapsed=False
        ),
        _case("tail, 1.03", _INSIDE, counts=_TAIL, decay=1.03 * encoded_norm(_TAIL)),
        _case("tail, at the norm", _BOUNDARY, counts=_TAIL, decay=encoded_norm(_TAIL)),
        _case("step, 0.97", _OUTSIDE, decay=0.97 * encoded_norm(_STEP)),
        _case("tail, 0.97", _OUTSIDE, counts=_TAIL, decay=0.97 * encoded_norm(_TAIL)),
    ),
)
def zero(case: Case):
    """Without a bias everything vanishes from λ = ‖Ẑ‖ on, the spectral norm of the simplex-encoded
    labels."""
    point, s = Point.of(solve(case)), Setup.of(case.problem)
    nothing = np.zeros((s.K, s.K))
    yield point.certificate_claim()
    yield point.value_claim(float(np.log(s.K)))
    yield Claim("W H̄", point.linear_logits, nothing, GEOMETRY)
    yield point.weight_gram_claim(nothing)
    yield point.feature_gram_claim(nothing)


# the geometry
# ----------------------------------------------------------------------


def step_regime(case: Case) -> Setting:
    """Counts of two values, k_A >= 1 classes of n_A and k_B >= 1 of n_B, the larger ones first."""
    counts = np.asarray(case.parameters["class_counts"])
    return Setting.all_of(len(np.unique(counts)) == 2, bool(np.all(np.diff(counts) <= 0)))


def step_gram(counts, power: int) -> np.ndarray:
    """The closed form for a step profile: W Wᵀ for power 1, the Gram of class means for power
    −1."""
    counts = np.asarray(counts, dtype=float)
    n_A, n_B, K = counts.max(), counts.min(), len(counts)
    k_A = int(np.sum(counts == n_A))
    k_B = K - k_A
    root_A, root_B, su = (
        np.sqrt(n_A) ** power,
        np.sqrt(n_B) ** power,
        np.sqrt((k_B * n_A + k_A * n_B) / K) ** power,
    )
    gram = np.full((K, K), -su / K)
    gram[:k_A, :k_A] = root_A * (np.eye(k_A) - 1 / k_A) + su * k_B / (K * k_A)
    gram[k_A:, k_A:] = root_B * (np.eye(k_B) - 1 / k_B) + su * k_A / (K * k_B)
    return gram


def seli_grams(counts) -> tuple[np.ndarray, np.ndarray]:
    """(S D S)^{1/2} and its pseudo-inverse, from the singular vectors of S D^{1/2}."""
    left, sigma, _ = np.linalg.svd(contrast(len(counts)) * np.sqrt(np.asarray(counts, dtype=float)))
    kept, sigma = left[:, :-1], sigma[:-1]
    return (kept * sigma) @ kept.T, (kept / sigma) @ kept.T


@check(
    key="thrampoulidis2022/step-grams",
    formula=(
        r"\|w_A\|^2 = \sqrt{n_A}(1-\tfrac1{k_A})+\tfrac{s_uk_B}{Kk_A},\ w_A^\top w_B = "
        r"-\tfrac{s_u}K,\quad s_u^2 = \tfrac{k_Bn_A+k_An_B}K,\ \text{means with } \sqrt "
        r"n\to\tfrac1{\sqrt n}"
    ),
    source="Thrampoulidis et al. 2022, SELI for step-imbalanced counts; class level derived",
    regime=step_regime,
    cases=(
        _case("(3, 2, 6, 2)", _INSIDE, decay=0.1),
        _case("(1, 4, 50, 2)", _INSIDE, counts=(50, 2, 2, 2, 2), decay=0.1),
        _case("(4, 1, 1000, 1)", _INSIDE, counts=(1000, 1000, 1000, 1000, 1), decay=0.1),
        _case("a tail", _OUTSIDE, counts=_TAIL, decay=0.1),
    ),
)
def step_grams(case: Case):
    """For a step profile the SELI Grams have one length a group of equal counts, one angle in each
    group of several classes and one between the groups, in closed form."""
    counts = case.parameters["class_counts"]
    classifier, means = seli_grams(counts)
    yield matrix_claim("(S D S)^{1/2}", classifier, step_gram(counts, 1), size=1.0)
    yield matrix_claim("its pseudo-inverse", means, step_gram(counts, -1), size=1.0)


# the limit
# ----------------------------------------------------------------------

# distance times log(1/λ) at λ = 1e-12; it is 0.51 at 1e-3 and 0.59 in the limit, which no decay in
# use comes near
_RATES = {_STEP: 0.56}


def limit_regime(case: Case) -> Setting:
    """No bias, unequal counts, decays that span at least a factor of 1000 and end at λ/N <=
    1e-5."""
    decays, counts = case.options["decays"], case.parameters["class_counts"]
    vanishing = max(decays) / min(decays) >= 1e3 and min(decays) / sum(counts) <= 1e-5
    return Setting.all_of(case.parameters.get("bias") is None, len(set(counts)) > 1, vanishing)


@check(
    key="thrampoulidis2022/seli-limit",
    formula=(
        r"\lambda\to0:\ \tfrac{Z}{\|Z\|}\to\tfrac{S}{\|S\|},\ WW^\top\propto(SDS)^{1/2},\ \bar "
        r"H^\top\bar H\propto(SDS)^{-1/2},"
        r"\quad \text{like } \tfrac{1}{\log(1/\lambda)}"
    ),
    source="Thrampoulidis et al. 2022, the limit of vanishing ridge; the rate is derived",
    regime=limit_regime,
    cases=(
        _case("(3, 2, 6, 2)", _INSIDE, decay=22e-3, decays=(22e-2, 22e-3, 22e-4, 22e-5)),
        _case("a tail", _INSIDE, counts=_TAIL, decay=22e-3, decays=(22e-2, 22e-3, 22e-4, 22e-5)),
        _case("decay that does not vanish", _OUTSIDE, decay=1.0, decays=(2.2, 1.9, 1.6, 1.3)),
    ),
)
def seli_limit(case: Case):
    """As the decay vanishes the geometry tends to SELI, but like 1/log(1/λ): no decay in use is
    close to it."""
    counts = case.parameters["class_counts"]
    targets = {
        "logits": contrast(len(counts)),
        "W Wᵀ": seli_grams(counts)[0],
        "H̄ᵀ H̄": seli_grams(counts)[1],
    }
    distances: dict[str, list[float]] = {name: [] for name in targets}
    gaps, decays = [], np.asarray(case.options["decays"])
    for decay in decays:
        point = Point.of(
            solve(Case(case.id, case.setting, {**case.parameters, "decay": decay}, build=_problem))
        )
        gaps.append(point.certificate_claim())
        matrices = (
            point.linear_logits,
            point.classifier @ point.classifier.T,
            point.class_means.T @ point.class_means,
        )
        for name, matrix in zip(targets, matrices, strict=True):
            distances[name].append(directions_apart(matrix, targets[name]))
    yield worst_of(gaps)
    logs = np.log(sum(counts) / decays)
    ones = np.ones(len(decays) - 1)
    for name, values in distances.items():
        yield Claim(f"{name}: the distance to SELI falls", np.diff(values) < 0, ones, GEOMETRY)
        # the product with log(1/λ) settles instead of falling: the approach is logarithmic and not
        # a power of λ
        rates = np.asarray(values) * logs
        yield Claim(
            f"{name}: distance times log(1/λ) settles",
            abs(rates[-1] / rates[-2] - 1) < 0.1,
            1.0,
            GEOMETRY,
        )
    if counts in _RATES:
        rate = distances["logits"][-1] * logs[-1]
        yield Claim(
            "the rate is within a tenth of 0.56",
            abs(rate / _RATES[counts] - 1) < 0.1,
            1.0,
            GEOMETRY,
        )
