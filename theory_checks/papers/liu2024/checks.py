"""Imbalanced squared error with a free bias: geometry and minority collapse."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.measure import GEOMETRY, Point, Setup, matrix_claim, solve
from theory_checks.engine.registry import Case, Claim, Setting, check
from theory_checks.formulas.squared_error import missing, threshold

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE
_TAIL, _STEP = (20, 10, 6, 4), (15, 15, 5, 5)
# deep problems have local minima; one number a depth, because another one is another compilation
_STARTS = {1: 1, 2: 64, 3: 64}


def centred_labels(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular triples of Ŷ, the K − 1 nonzero ones, largest first: left (K, K−1), μ (K−1,), right
    (K, K−1)."""
    K, N = len(counts), counts.sum()
    left, sigma, right = np.linalg.svd((np.eye(K) - counts[:, None] / N) * np.sqrt(counts))
    return left[:, :-1], sigma[:-1] ** 2, right[:-1].T


def loads(setup: Setup, mu) -> np.ndarray:
    """t_j = b/μ_j with b = M N (N λ_1…λ_M λ_H)^{1/M}."""
    product = float(np.prod(setup.lambda_W)) * setup.lambda_H
    return setup.M * setup.N * (setup.N * product) ** (1 / setup.M) / np.asarray(mu)


def _case(
    name: str,
    setting: Setting,
    *,
    t: float,
    mass=None,
    M: int = 1,
    counts=_TAIL,
    bias: float | str | None = "free",
    d: int = 8,
    spread=(2.0, 0.5),
    full=False,
) -> Case:
    """A case on which the direction of this mass μ (the smallest unless given) has load t; λ_W /
    λ_H as in `spread` for one layer."""
    N = sum(counts)
    mass = centred_labels(np.asarray(counts, float))[1][-1] if mass is None else mass
    lam = ((t * mass / (M * N)) ** M / N) ** (1 / (M + 1))
    decays = spread if M == 1 else (1.0,) * (M + 1)
    parameters = {
        "class_counts": counts,
        "widths": (d,) * M,
        "lambda_W": tuple(lam * a for a in decays[:-1]),
        "lambda_H": lam * decays[-1],
    }
    return Case(name, setting, {**parameters, "bias": bias}, starts=_STARTS[M], full=full)


def geometry_regime(case: Case) -> Setting:
    """A free bias, any class counts, every width at least K − 1, no direction exactly at its
    threshold unless M = 1."""
    s = Setup.of(case.problem)
    at = [
        t
        for t in loads(s, centred_labels(s.counts)[1])
        if Setting.below(t, threshold(s.M)) is _BOUNDARY
    ]
    return Setting.all_of(
        s.bias == "free", s.R >= s.K - 1, _INSIDE if not at else _BOUNDARY if s.M == 1 else _OUTSIDE
    )


@check(
    key="liu2024/geometry",
    formula=(
        r"b = \tfrac nN,\quad \textstyle\sum_kn_k\bar h_k = 0,\quad W\bar HD^{1/2} = "
        r"U\,\mathrm{diag}(f_j\sqrt{\mu_j})V^\top,\quad"
        r" WW^\top = U\,\mathrm{diag}(p_j^2)U^\top"
    ),
    source="Liu 2024, geometry of the global minimisers; the fractions are derived",
    regime=geometry_regime,
    cases=(
        _case("counts 20/10/6/4, t=0.1", _INSIDE, t=0.1),
        _case("counts 20/10/6/4, smallest direction at 0.97", _INSIDE, t=0.97),
        _case("counts 20/10/6/4, smallest direction at 1.03", _INSIDE, t=1.03),
        _case("counts 15/15/5/5, d=K-1", _INSIDE, t=0.1, counts=_STEP, d=3),
        _case("equal counts", _INSIDE, t=0.3, counts=(10, 10, 10, 10)),
        _case("all directions collapsed", _INSIDE, t=9.0),
        _case("smallest direction at its threshold", _BOUNDARY, t=1.0),
        *(
            _case(f"M={M}, t=0.2 t_c", _INSIDE, t=0.2 * threshold(M), M=M, full=M == 3)
            for M in (2, 3)
        ),
        _case("M=2, smallest direction at 1.03 t_c", _INSIDE, t=1.03 * threshold(2), M=2),
        _case("no bias", _OUTSIDE, t=0.1, bias=None),
    ),
)
def geometry(case: Case):
    """The bias is the class frequencies, features are centred, rows and columns align with the
    singular vectors of the centred labels."""
    point, s = Point.of(solve(case)), Setup.of(case.problem)
    left, mu, right = centred_labels(s.counts)
    fraction, p2, terms = np.zeros(len(mu)), np.zeros(len(mu)), np.ones(len(mu))
    for j, t in enumerate(loads(s, mu)):
        if t < threshold(s.M):
            u = missing(float(t), s.M)
            fraction[j], p2[j], terms[j] = (
                1 - u,
                s.N * s.lambda_H * (1 - u) / u,
                u + t * ((1 - u) / u) ** (1 / s.M),
            )
    yield from point.witnesses()
    yield point.value_claim(float(mu @ terms) / (2 * s.N))
    yield point.collapse_claim()
    if s.bias is not None:
        yield point.bias_claim(s.counts / s.N)
    mean = point.class_means @ s.counts / s.N
    yield matrix_claim(
        "global mean of the features", mean, np.zeros_like(mean), size=np.sqrt(point.feature_size())
    )
    bare = right / np.sqrt(s.counts)[:, None]
    gain = p2 / (p2 + s.N * s.lambda_H) ** 2
    yield Claim("W H̄", point.linear_logits, (left * (np.sqrt(mu) * fraction)) @ bare.T, GEOMETRY)
    yield point.weight_gram_claim((left * p2) @ left.T)
    yield point.feature_gram_claim((bare * (mu * gain)) @ bare.T)


def minority_regime(case: Case) -> Setting:
    """A free bias, counts of two values n_A > n_B, the smaller one of at least two classes, every
    width at least K − 1, n_B < b/t_c < K n_A n_B/N (for M = 1 at n_B as well)."""
    s = Setup.of(case.problem)
    n_A, n_B, end = s.counts.max(), s.counts.min(), threshold(s.M)
    start = Setting.above(float(loads(s, n_B)), end)
    return Setting.all_of(
        s.bias == "free",
        len(np.unique(s.counts)) == 2,
        int(np.sum(s.counts == n_B)) >= 2,
        s.R >= s.K - 1,
        _OUTSIDE if s.M > 1 and start is _BOUNDARY else start,
        Setting.below(float(loads(s, s.K * n_A * n_B / s.N)), end) is _INSIDE,
    )


@check(
    key="liu2024/minority-collapse",
    formula=(
        r"n_B\le\tfrac b{t_c}<\mu = \tfrac{Kn_An_B}N\ \Rightarrow\ \bar h_k = \bar h_{k'},\ w_k = "
        r"w_{k'},\ \|z_k\| = f(\tfrac b\mu)\tfrac{n_A}N\sqrt{\tfrac{Kk_A}{k_B}} > 0\quad "
        r"(n_k = n_{k'} = n_B)"
    ),
    source="Liu 2024, collapse conditions; the threshold is derived",
    regime=minority_regime,
    cases=(
        *(
            _case(f"M={M}, 1.03 t_c", _INSIDE, t=1.03 * threshold(M), mass=5.0, M=M, counts=_STEP)
            for M in (1, 2)
        ),
        _case("M=1, at t_c", _BOUNDARY, t=1.0, mass=5.0, counts=_STEP),
        _case("M=1, all have vanished", _OUTSIDE, t=1.03, mass=7.5, counts=_STEP),
        *(
            _case(f"M={M}, 0.97 t_c", _OUTSIDE, t=0.97 * threshold(M), mass=5.0, M=M, counts=_STEP)
            for M in (1, 2)
        ),
    ),
)
def minority_collapse(case: Case):
    """The smaller classes of a step profile become indistinguishable at the threshold of their own
    count, before they vanish at that of the direction between the groups."""
    point, s = Point.of(solve(case)), Setup.of(case.problem)
    minority = np.flatnonzero(s.counts == s.counts.min())
    yield from point.witnesses()
    n_A, n_B, k_B = s.counts.max(), s.counts.min(), len(minority)
    k_A, between = s.K - k_B, s.K * n_A * n_B / s.N
    mu = centred_labels(s.counts)[1]
    expected = sorted([n_A] * (k_A - 1) + [n_B] * (k_B - 1) + [between], reverse=True)
    yield Claim("μ of a step profile", mu, expected, GEOMETRY, scale=float(mu.max()), witness=True)
    Z = point.linear_logits[:, minority]
    yield Claim("logits of the minority classes", Z, np.repeat(Z[:, :1], k_B, axis=1), GEOMETRY)
    fraction = 1 - missing(float(loads(s, between)), s.M)
    length = fraction * n_A * np.sqrt(s.K * k_A / k_B) / s.N
    yield Claim("their length", np.linalg.norm(Z, axis=0), np.full(k_B, length), GEOMETRY)
