"""Nonnegative features under cross-entropy: the global optimum and the thresholds of collapse."""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.measure import GEOMETRY, Point, matrix_claim, solve
from theory_checks.engine.registry import Case, Claim, Record, Setting, check

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE
_LONG, _STEP = (20, 10, 6, 4), (9, 9, 3, 3, 3)
# A class whose features are this small in the units of margin one is gone; just inside its
# threshold it is a thousand times larger.
_GONE = 1e-6

_DOMAINS = {"nonnegative": ufm.domains.Nonnegative(), "real": ufm.domains.Real()}


def _problem(*, class_counts, width, lambda_W, lambda_H, bias=None, features="nonnegative"):
    labels = ufm.one_hot(class_counts)
    loss = ufm.CrossEntropy()
    return ufm.Problem(
        labels,
        loss=loss,
        widths=(width,),
        lambda_W=lambda_W,
        lambda_H=lambda_H,
        bias=bias,
        features=_DOMAINS[features],
    )


def strength(counts, k: int) -> float:
    """The √(λ_W λ_H) at which class k vanishes: n_k = N² λ_W λ_H K/(K − 1)."""
    K = len(counts)
    return float(np.sqrt(counts[k] * (K - 1) / K) / sum(counts))


def _case(
    name,
    setting,
    *,
    counts=_LONG,
    lam,
    spread=1.0,
    width=8,
    bias=None,
    features="nonnegative",
    starts=12,
    full=False,
):
    parameters = {
        "class_counts": counts,
        "width": width,
        "lambda_W": lam * spread,
        "lambda_H": lam / spread,
        "bias": bias,
        "features": features,
    }
    return Case(name, setting, parameters, build=_problem, starts=starts, full=full)


def regime(case: Case) -> Setting:
    """Nonnegative features, no bias, one linear layer, d >= K, any class counts."""
    p = case.parameters
    return Setting.all_of(
        p["features"] == "nonnegative", p["bias"] is None, p["width"] >= len(p["class_counts"])
    )


def boundary_regime(case: Case) -> Setting:
    """Nonnegative features, no bias, one linear layer, d >= K; on the boundary where a class is
    exactly at its threshold."""
    p = case.parameters
    counts, lam = p["class_counts"], np.sqrt(p["lambda_W"] * p["lambda_H"])
    settings = [Setting.below(lam, strength(counts, k)) for k in range(len(counts))]
    return Setting.all_of(regime(case), _BOUNDARY if _BOUNDARY in settings else True)


def margins(case: Case) -> np.ndarray:
    """M_k = log((K − 1)(√(K n_k/(K − 1)) / (N √(λ_W λ_H)) − 1))_+, (K,)."""
    p = case.parameters
    n = np.asarray(p["class_counts"], dtype=float)
    K = len(n)
    inside = (K - 1) * (
        np.sqrt(K * n / (K - 1)) / (n.sum() * np.sqrt(p["lambda_W"] * p["lambda_H"])) - 1
    )
    return np.log(np.maximum(inside, 1.0))


@check(
    key="dang2024/global-optimum",
    formula=(
        r"W\bar h_k = M_k(e_k-\tfrac1K\mathbf 1),\quad \bar H^\top\bar H = "
        r"\mathrm{diag}\big(\sqrt{\tfrac{(K-1)\lambda_W}{K\lambda_Hn_k}}M_k\big),\quad "
        r"M_k=\log\Big((K-1)\Big(\tfrac{\sqrt{Kn_k/(K-1)}}{N\sqrt{\lambda_W\lambda_H}}-1\Big)\Big)_+"
    ),
    source="Dang et al. 2024, geometry for nonnegative features; value and constants derived "
    "from it",
    regime=boundary_regime,
    cases=(
        _case("balanced", _INSIDE, counts=(5, 5, 5), lam=0.02),
        _case("imbalanced", _INSIDE, lam=5e-3),
        _case("imbalanced, unequal λ", _INSIDE, lam=5e-3, spread=20.0),
        _case("imbalanced, d = K", _INSIDE, lam=5e-3, width=4, starts=32, full=True),
        _case("two classes", _INSIDE, counts=(9, 2), lam=0.02, full=True),
        _case("one class lost", _INSIDE, lam=1.1 * strength(_LONG, 3)),
        _case("three minority classes lost", _INSIDE, counts=_STEP, lam=1.1 * strength(_STEP, 4)),
        _case("all classes lost", _INSIDE, lam=1.1 * strength(_LONG, 0)),
        _case("the last class at its threshold", _BOUNDARY, lam=strength(_LONG, 3)),
        _case("the first class at its threshold", _BOUNDARY, lam=strength(_LONG, 0)),
        _case("d = 3 < K", _OUTSIDE, lam=5e-3, width=3),
        _case("free bias", _OUTSIDE, lam=5e-3, bias="free"),
        _case("features of any sign", _OUTSIDE, lam=5e-3, features="real"),
    ),
)
def global_optimum(case: Case):
    """With nonnegative features class means are orthogonal, logits a margin times a centred unit
    vector, and classes do not interact."""
    solution = solve(case)
    point, M = Point.of(solution), margins(case)
    p = case.parameters
    n = np.asarray(p["class_counts"], dtype=float)
    K, N, mu = len(n), n.sum(), np.sqrt(p["lambda_W"] * p["lambda_H"])
    value = np.sum(n / N * np.log1p((K - 1) * np.exp(-M)) + np.sqrt((K - 1) * n / K) * mu * M)
    contrast = np.eye(K) - 1 / K
    norms = np.sqrt((K - 1) / K * p["lambda_W"] / p["lambda_H"] / n) * M
    yield point.value_claim(float(value))
    yield point.logits_claim(contrast * M)
    yield point.feature_gram_claim(np.diag(norms))
    gains = np.sqrt(K / (K - 1) * p["lambda_H"] / p["lambda_W"] * n) * M
    yield point.weight_gram_claim((contrast * gains) @ contrast)
    # w_k is along K √n_k h_k − Σ_m √n_m h_m, which is zero times anything where a class is lost
    along = (
        np.sqrt(K / (K - 1) * p["lambda_H"] / p["lambda_W"])
        * contrast
        @ (np.sqrt(n)[:, None] * point.class_means.T)
    )
    size = np.sqrt(point.weight_size())
    yield matrix_claim("W = c (I − J/K) √n H̄ᵀ", point.classifier, along, size=size)
    yield point.collapse_claim()
    if p["width"] >= K:
        yield point.certificate_claim()
    if case.problem.features.constrained:
        lowest = min(0.0, float(point.features.min()))
        yield Claim("features below zero", lowest, 0.0, GEOMETRY, witness=True)
    found = np.sum(np.abs(np.asarray(solution.values) - value) <= 1e-9 * value, keepdims=True)
    yield Record("starts", {"all": np.array([case.starts]), "at the formula's value": found})


@check(
    key="dang2024/collapse-threshold",
    formula=r"\bar h_k = 0 \iff n_k \le N^2\lambda_W\lambda_H\tfrac{K}{K-1}",
    source="Dang et al. 2024; without the sign constraint the factor K/(K−1) is absent, so that "
    "classes live longer",
    regime=regime,
    cases=(
        # a lost class is a local minimum: of 32 starts on full columns 2 to 4 bring the smallest
        # class to life just inside its threshold
        *(
            _case(f"class {k + 1}, {side}", _INSIDE, lam=f * strength(_LONG, k), starts=32)
            for k in (0, 2, 3)
            for side, f in (("alive", 0.95), ("lost", 1.02))
        ),
        _case("balanced, alive", _INSIDE, counts=(5, 5, 5), lam=0.98 * strength((5, 5, 5), 0)),
        _case("balanced, lost", _INSIDE, counts=(5, 5, 5), lam=1.02 * strength((5, 5, 5), 0)),
        _case(
            "features of any sign",
            _OUTSIDE,
            counts=(5, 5, 5),
            lam=1.02 * strength((5, 5, 5), 0),
            features="real",
        ),
    ),
)
def collapse_threshold(case: Case):
    """A class has zero features exactly from its own threshold on, one factor K/(K − 1) before
    features of any sign give it up."""
    point = Point.of(solve(case))
    norms = np.sum(point.class_means**2, axis=0)
    p = case.parameters
    n = np.asarray(p["class_counts"], dtype=float)
    K = len(n)
    units = np.sqrt((K - 1) / K * p["lambda_W"] / p["lambda_H"] / n)
    lost = n <= n.sum() ** 2 * p["lambda_W"] * p["lambda_H"] * K / (K - 1)
    yield Claim(
        "classes with zero features",
        (norms / units < _GONE).astype(float),
        lost.astype(float),
        GEOMETRY,
    )
