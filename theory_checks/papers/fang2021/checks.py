"""Bounded factors: the simplex ETF of balanced classes, and minority collapse at a finite ratio."""

from __future__ import annotations

import dataclasses

import numpy as np

import ufm
from theory_checks.engine.measure import GEOMETRY, Point, matrix_claim, solve
from theory_checks.engine.registry import Case, Claim, Setting, check
from theory_checks.formulas.frames import contrast
from theory_checks.formulas.roots import bisect

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE
# Relative gradient norm of a solve where the bounds are no smaller than 1, and the least share of
# it that rounding leaves.
_GRADIENT, _LEAST = 1e-12, 1e-2


def layer_peeled_problem(class_counts, *, width, weight_energy, feature_energy) -> ufm.Problem:
    """The model as it stands: two budgets; full columns."""
    counts = np.asarray(class_counts)
    labels = ufm.one_hot(counts)
    per_class = 1 / counts[np.asarray(labels.class_index)]
    K = len(counts)
    return ufm.Problem(
        labels,
        loss=ufm.CrossEntropy(),
        widths=(width,),
        lambda_W=0.0,
        lambda_H=0.0,
        classifier=ufm.domains.Budget(K * weight_energy),
        features=ufm.domains.Budget(K * feature_energy, per_class),
    )


@dataclasses.dataclass(frozen=True)
class Peeled:
    """A solution: the point, its multiplier ν, and the energies that it reaches."""

    point: Point
    multiplier: float
    weight_energy: float
    feature_energy: float

    @classmethod
    def of(cls, case: Case) -> Peeled:
        """That of a case.

        Within tight bounds the loss bends by the bound, so that the gradient of a point of the same
        accuracy is smaller by as much.
        """
        p = case.parameters
        share = float(np.clip(np.sqrt(p["weight_energy"] * p["feature_energy"]), _LEAST, 1.0))
        point = Point.of(solve(case, tolerance=share * _GRADIENT))
        K, labels = len(point.classifier), point.problem.labels
        per_class = 1 / np.asarray(labels.class_counts)[point.class_index]
        weights = float(np.sum(point.classifier**2)) / K
        features = float(per_class @ np.sum(point.features**2, axis=0)) / K
        # at a stationary point −⟨V, Z⟩ is a multiplier times the energy, for either factor
        V = _probabilities(point.logits) - np.asarray(labels.targets)
        steep = -float(np.sum(V * point.logits)) / labels.num_samples
        return cls(point, steep / (K * np.sqrt(weights * features)), weights, features)


def _probabilities(logits: np.ndarray) -> np.ndarray:
    P = np.exp(logits - logits.max(axis=0))
    return P / P.sum(axis=0)


@dataclasses.dataclass(frozen=True)
class Merging:
    """The solution at which two groups of classes have ratio R = R_0: τ, class-level logits (K, K),
    mean loss."""

    bound: float
    logits: np.ndarray
    loss: float


def merging(k_A: int, k_B: int, R: float) -> Merging:
    """The explicit solution of the introduction; g by bisection of d = −s R p_min."""
    K = k_A + k_B

    def at(g: float) -> tuple[float, tuple[float, ...]]:
        p_maj = 1 / (k_A + k_B * np.exp(g))
        c = -k_B * g / K
        s = -c / p_maj
        p_min = np.sqrt((1 / K - k_A * p_maj**2) / k_B) / R
        # the two linear equations of the majority sample
        p_other = (1 / R - k_B * p_min) / k_A
        p_own = p_other + 1 - 1 / R
        a = np.log(p_own / p_other)
        d = (k_A * np.log(p_min / p_other) - a) / K
        return d + s * R * p_min, (a, c, d, s, p_own, 1 / (k_A * np.exp(-g) + k_B))

    # −a/K at g = 0, where all but the majority's own logit vanish, and rising with s
    g = float(bisect(lambda g: at(float(g))[0], 0.0, 60.0))
    a, c, d, s, p_own, p_same = at(g)[1]
    other = -(a + k_B * d) / k_A
    Z = np.full((K, K), -k_A * c / k_B)
    Z[:k_A, :k_A] = other + a * np.eye(k_A)
    Z[k_A:, :k_A], Z[:k_A, k_A:] = d, c
    loss = -(k_A * R * np.log(p_own) + k_B * np.log(p_same)) / (k_A * R + k_B)
    return Merging(bound=(k_A - 1) * a + s, logits=Z, loss=float(loss))


def _case(
    name: str,
    setting: Setting,
    counts,
    *,
    radius: float,
    width: int = 6,
    ratio: float = 1.0,
    full=False,
    **options,
) -> Case:
    """A case with √(E_W E_H) = `radius` and E_W/E_H = `ratio`²."""
    energies = {"weight_energy": radius * ratio, "feature_energy": radius / ratio}
    return Case(
        name,
        setting,
        {"class_counts": counts, "width": width, **energies},
        build=layer_peeled_problem,
        options=options,
        full=full,
    )


def balanced_regime(case: Case) -> Setting:
    """Equal class counts and d >= K − 1; any bounds."""
    p = case.parameters
    K = len(p["class_counts"])
    return Setting.all_of(len(set(p["class_counts"])) == 1, p["width"] >= K - 1)


@check(
    key="fang2021/balanced-etf",
    formula=(
        r"WW^\top = E_W\tfrac{K}{K-1}(I-\tfrac1K\mathbf 1\mathbf 1^\top),\quad"
        r" \bar H^\top\bar H = E_H\tfrac{K}{K-1}(I-\tfrac1K\mathbf 1\mathbf 1^\top),\quad "
        r"W=\sqrt{E_W/E_H}\,\bar H^\top"
    ),
    source="Fang, He, Long & Su 2021, balanced layer-peeled model; multiplier derived",
    regime=balanced_regime,
    cases=(
        _case("√(E_W E_H) = 1", _INSIDE, (4,) * 5, radius=1.0),
        _case("E_W = 9 E_H", _INSIDE, (4,) * 5, radius=3.0, ratio=3.0),
        _case("tight bounds", _INSIDE, (4,) * 5, radius=1e-3),
        _case("d = K − 1", _INSIDE, (4,) * 5, radius=1.0, width=4, full=True),
        _case("counts 6/6/6/1/1", _OUTSIDE, (6, 6, 6, 1, 1), radius=1.0),
    ),
)
def balanced_etf(case: Case):
    """Balanced classes: classifier rows and features are the same simplex ETF, and both bounds are
    met with equality."""
    found, p = Peeled.of(case), case.parameters
    point, E_W, E_H = found.point, p["weight_energy"], p["feature_energy"]
    K = len(p["class_counts"])
    etf = K / (K - 1) * contrast(K)
    # what the other K − 1 classes weigh against a sample's own
    others = np.exp(-K / (K - 1) * np.sqrt(E_W * E_H))
    yield point.certificate_claim()
    yield point.collapse_claim()
    yield point.weight_gram_claim(E_W * etf)
    yield point.feature_gram_claim(E_H * etf)
    yield matrix_claim(
        "self-duality",
        point.classifier,
        np.sqrt(E_W / E_H) * point.class_means.T,
        size=1.0,
        like=np.sqrt(E_W),
    )
    yield Claim("E_W met", found.weight_energy, E_W, GEOMETRY, scale=E_W, witness=True)
    yield Claim("E_H met", found.feature_energy, E_H, GEOMETRY, scale=E_H, witness=True)
    yield Claim(
        "loss", point.value, np.log1p((K - 1) * others), GEOMETRY, scale=np.log1p((K - 1) * others)
    )
    multiplier = others / (1 + (K - 1) * others)
    yield Claim("multiplier ν", found.multiplier, multiplier, GEOMETRY, scale=multiplier)


def _groups(case: Case) -> tuple[int, int, float]:
    """k_A, k_B and R = n_A/n_B."""
    counts = case.parameters["class_counts"]
    k_A = counts.count(max(counts))
    assert set(counts[:k_A]) == {max(counts)}, "majority classes come first"
    return k_A, len(counts) - k_A, max(counts) / min(counts)


def _radius_at_merging(counts) -> float:
    """√(E_W E_H) whose R_0 is the ratio of these counts."""
    k_A = counts.count(max(counts))
    return merging(k_A, len(counts) - k_A, max(counts) / min(counts)).bound / len(counts)


def merged_regime(case: Case) -> Setting:
    """Two groups of equal classes, at least two in each, d >= K, and n_A/n_B >= R_0, that is √(E_W
    E_H) up to that of R_0 = n_A/n_B."""
    p = case.parameters
    k_A, k_B, R = _groups(case)
    grouped = min(k_A, k_B) >= 2 and len(set(p["class_counts"])) == 2 and p["width"] >= k_A + k_B
    radius = float(np.sqrt(p["weight_energy"] * p["feature_energy"]))
    return Setting.all_of(grouped, Setting.below(radius, merging(k_A, k_B, R).bound / (k_A + k_B)))


_SIX = (6, 6, 6, 1, 1)
_MANY = (20, 20, 20, 20, 20, 2, 2, 2, 2, 2)


@check(
    key="fang2021/minority-collapse",
    formula=(
        r"n_A/n_B \ge R_0\ \Rightarrow\ w_k=w_{k'},\ \bar h_k=\bar h_{k'}\ (k,k'\ "
        r"\text{minority}),\quad"
        r" R_0(1-p_{own}+p_{other})=1,\ \nu = n_B/N\ \text{at}\ R_0"
    ),
    source="Fang, He, Long & Su 2021 for n_A/n_B → ∞; the finite threshold derived",
    regime=merged_regime,
    cases=(
        # there they are not only equal but zero
        _case(
            "half of the bound", _INSIDE, _SIX, radius=0.5 * _radius_at_merging(_SIX), vanish=True
        ),
        _case(
            "0.98 of the bound, E_W = 4 E_H",
            _INSIDE,
            _SIX,
            radius=0.98 * _radius_at_merging(_SIX),
            ratio=2.0,
        ),
        _case("at R_0", _BOUNDARY, _SIX, radius=_radius_at_merging(_SIX)),
        _case("at R_0, E_H = 9 E_W", _BOUNDARY, _SIX, radius=_radius_at_merging(_SIX), ratio=1 / 3),
        _case("1.02 of the bound", _OUTSIDE, _SIX, radius=1.02 * _radius_at_merging(_SIX)),
        _case("1.5 of the bound", _OUTSIDE, _SIX, radius=1.5 * _radius_at_merging(_SIX)),
        _case(
            "five and five classes, at R_0",
            _BOUNDARY,
            _MANY,
            radius=_radius_at_merging(_MANY),
            width=11,
            full=True,
        ),
        _case(
            "five and five classes, 1.02 of the bound",
            _OUTSIDE,
            _MANY,
            radius=1.02 * _radius_at_merging(_MANY),
            width=11,
            full=True,
        ),
        _case(
            "three and seven classes, R=107",
            _INSIDE,
            (107,) * 3 + (1,) * 7,
            radius=1.99,
            width=11,
            full=True,
        ),
    ),
)
def minority_collapse(case: Case):
    """From a finite imbalance R_0 on, all minority classes share one classifier row and one
    feature: the angle between them is 0."""
    found, p = Peeled.of(case), case.parameters
    point, (k_A, k_B, R) = found.point, _groups(case)
    E_W, E_H = p["weight_energy"], p["feature_energy"]
    yield point.certificate_claim()
    yield Claim("E_W met", found.weight_energy, E_W, GEOMETRY, scale=E_W, witness=True)
    yield Claim("E_H met", found.feature_energy, E_H, GEOMETRY, scale=E_H, witness=True)
    threshold = ufm.laws.minority_collapse_ratio(k_A, k_B, weight_energy=E_W, feature_energy=E_H)
    side = {_INSIDE: 1.0, _BOUNDARY: 0.0, _OUTSIDE: -1.0}[case.setting]
    ahead = 0.0 if abs(R / threshold - 1) <= 1e-8 else np.sign(R - threshold)
    yield Claim(
        "sign of n_A/n_B − R_0 by ufm.laws.minority_collapse_ratio",
        ahead,
        side,
        GEOMETRY,
        witness=True,
    )
    # stationarity along the majority contrasts, which holds on both sides of R_0
    probabilities = _probabilities(point.logits[:, :1])[:, 0]
    pull = R * (1 - probabilities[0] + probabilities[1])
    N_over_minority = sum(p["class_counts"]) / min(p["class_counts"])
    yield Claim(
        "R (1 − p_own + p_other) = ν N/n_B",
        pull,
        found.multiplier * N_over_minority,
        GEOMETRY,
        scale=pull,
        witness=True,
    )

    yield point.collapse_claim()
    gram, means = point.classifier @ point.classifier.T, point.class_means.T @ point.class_means
    for name, block, size in (
        ("classifier rows", gram[k_A:, k_A:], E_W),
        ("features", means[k_A:, k_A:], E_H),
    ):
        # squares, not lengths: at the threshold the minimum is quartic, and lengths go with a
        # higher root of the gradient
        apart = [block[0, 0] + block[i, i] - 2 * block[0, i] for i in range(1, k_B)]
        yield Claim(
            f"minority {name}: squared distances", apart, np.zeros(k_B - 1), GEOMETRY, scale=size
        )
        if case.options.get("vanish"):
            yield Claim(
                f"minority {name}: squared lengths",
                np.diag(block),
                np.zeros(k_B),
                GEOMETRY,
                scale=size,
            )
        else:
            cosines = block[0, 1:] / np.sqrt(block[0, 0] * np.diag(block)[1:])
            # what is wrong in the Gram weighs more for short vectors
            scale = max(1.0, size / block[0, 0])
            yield Claim(
                f"minority {name}: cosine of the angle",
                cosines,
                np.ones(k_B - 1),
                GEOMETRY,
                scale=scale,
            )
    if case.setting is _BOUNDARY:
        there = merging(k_A, k_B, R)
        yield Claim("ν N/n_B at R_0", found.multiplier * N_over_minority, 1.0, GEOMETRY)
        yield point.logits_claim(there.logits)
        yield Claim("loss at R_0", point.value, there.loss, GEOMETRY, scale=there.loss)
