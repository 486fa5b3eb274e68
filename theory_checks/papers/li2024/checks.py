"""Pick-all-label: the simplex and the tag-wise average, and what unequal pairs do to both."""

from __future__ import annotations

import functools
import itertools

import numpy as np

import ufm
from theory_checks.engine.counterexamples import MARGIN, Refutation
from theory_checks.engine.measure import (
    EXACT,
    VALUE,
    Point,
    matrix_claim,
    precision,
    solve,
)
from theory_checks.engine.registry import Case, Claim, Record, Setting, Verdict, check
from theory_checks.formulas.etf_classifier import EtfClassifier
from theory_checks.formulas.frames import contrast
from theory_checks.formulas.roots import bisect
from theory_checks.formulas.vanishing import vanishing
from theory_checks.papers.li2024.formulas import (
    Scales,
    kappa,
    pick_all_problem,
    sets_of,
    vanishing_decay,
)

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE

# relative: how far `ufm.thresholds` bisects
_BISECTED = 1e-6


def _every(K: int, per_size) -> dict[tuple[int, ...], int]:
    """n_m samples for each set of size m."""
    return {S: n for m, n in per_size.items() for S in itertools.combinations(range(K), m)}


def _case(name, setting, K, per_size, *, load=0.3, dim=None, other=None, bias=None, full=False):
    """`load`: √(λ_W λ_H) over its threshold; `other`: counts of some sets that differ."""
    lam = load * Scales(K, per_size, 1.0, 1.0).threshold
    counts = {**_every(K, per_size), **(other or {})}
    parameters = {
        "num_classes": K,
        "counts": counts,
        "dim": K if dim is None else dim,
        "lambda_W": 3 * lam,
        "lambda_H": lam / 3,
        "bias": bias,
    }
    options = {"per_size": per_size}
    return Case(name, setting, parameters, build=pick_all_problem, options=options, full=full)


def _scales(case: Case) -> Scales:
    p = case.parameters
    return Scales(p["num_classes"], case.options["per_size"], p["lambda_W"], p["lambda_H"])


def regime(case: Case) -> Setting:
    """Equal counts of all sets of one size, d >= K − 1, no bias or a free one,
    Σ n_m C(K−2, m−1) > N² λ_W λ_H."""
    p, scales = case.parameters, _scales(case)
    return Setting.all_of(
        p["bias"] in (None, "free"),
        p["counts"] == _every(p["num_classes"], case.options["per_size"]),
        p["dim"] >= p["num_classes"] - 1,
        Setting.below(np.sqrt(p["lambda_W"] * p["lambda_H"]), scales.threshold),
    )


@check(
    key="li2024/tag-wise-average",
    formula=(
        r"WW^\top = SP,\quad z_S = g_m(\mathbf 1_S-\tfrac mK\mathbf 1),\quad h_S = \tfrac{g_m}{g_1}"
        r"\sum_{k\in S}h_k,\quad g_m(me^{g_m}+K-m) = \tfrac{KS}{N\lambda_H},\quad "
        r"\tfrac{\lambda_W}{\lambda_H}S^2 = \sum_m n_m\tbinom{K-2}{m-1}g_m^2"
    ),
    source="Li et al. 2024, multi-label collapse (recalled); the scales are derived",
    regime=regime,
    cases=(
        _case("K=4, singles and pairs", _INSIDE, 4, {1: 3, 2: 2}),
        _case("K=4, pairs alone, d=K-1", _INSIDE, 4, {2: 3}, dim=3, load=0.05),
        _case(
            "K=5, sizes 1 to 3, free bias", _INSIDE, 5, {1: 2, 2: 1, 3: 1}, bias="free", full=True
        ),
        _case("K=4, 0.98 of the threshold", _INSIDE, 4, {1: 3, 2: 2}, load=0.98),
        _case("K=4, one pair more often", _OUTSIDE, 4, {1: 3, 2: 2}, other={(0, 1): 9}),
        _case("K=4, d=K-2", _OUTSIDE, 4, {1: 3, 2: 2}, dim=2, full=True),
    ),
)
def tag_wise_average(case: Case):
    """With equal counts of all sets of one size the classifier is a simplex ETF, and the feature of
    a set is a multiple of the sum of its classes' features."""
    point, p = Point.of(solve(case)), case.parameters
    scales, factor = _scales(case), kappa(p["counts"])
    sets, numbers = sets_of(p["num_classes"], p["counts"])
    K, column = p["num_classes"], np.repeat(np.arange(len(sets)), numbers.astype(int))
    theirs = factor * point.value
    yield Claim("value", theirs, scales.value(), VALUE, scale=scales.value())
    if p["dim"] >= K - 1:
        yield point.certificate_claim()
    Z = scales.logits(sets)
    logits = point.logits - point.logits.mean(axis=0)
    yield Claim("logits", logits, Z[:, column], EXACT)
    S = scales.classifier()
    yield point.weight_gram_claim(S * contrast(K), tolerance=EXACT)
    if S == 0:
        return
    yield Claim(
        "NC1: features of a set are equal",
        *_columns(point.features, column),
        EXACT,
        scale=float(np.max(np.abs(point.features))),
    )
    first = {at: point.features[:, np.flatnonzero(column == i)[0]] for i, at in enumerate(sets)}
    if 1 in case.options["per_size"]:
        sums = np.stack([sum(first[(k,)] for k in labels) for labels in sets], axis=1)
        gains = np.array([scales.g(len(labels), S) / scales.g(1, S) for labels in sets])
        found = np.stack([first[labels] for labels in sets], axis=1)
        yield Claim(
            "tag-wise average", found, gains * sums, EXACT, scale=float(np.max(np.abs(found)))
        )


def zero_regime(case: Case) -> Setting:
    """Equal counts of all sets of one size, no bias, Σ n_m C(K−2, m−1) <= N² λ_W λ_H."""
    p, scales = case.parameters, _scales(case)
    return Setting.all_of(
        p["bias"] is None,
        p["counts"] == _every(p["num_classes"], case.options["per_size"]),
        Setting.above(np.sqrt(p["lambda_W"] * p["lambda_H"]), scales.threshold),
    )


@check(
    key="li2024/zero",
    formula=r"\sum_m n_m\tbinom{K-2}{m-1} \le N^2\lambda_W\lambda_H\ \Leftrightarrow\ WH = 0",
    source="derived",
    regime=zero_regime,
    cases=(
        _case("1.02 of the threshold", _INSIDE, 4, {1: 3, 2: 2}, load=1.02),
        _case("at the threshold", _BOUNDARY, 4, {1: 3, 2: 2}, load=1.0),
        _case("0.98 of the threshold", _OUTSIDE, 4, {1: 3, 2: 2}, load=0.98),
    ),
)
def zero(case: Case):
    """Strong decay makes all zero, from a threshold on that counts how many sets tell two classes
    apart."""
    point, scales = Point.of(solve(case)), _scales(case)
    yield point.certificate_claim()
    yield Claim("logits", point.logits, np.zeros_like(point.logits), precision(case))
    size = scales.threshold
    measured = vanishing(lambda lam: _at(case, lam), size / 3, 3 * size)
    yield Claim("threshold by bisection", measured, size, EXACT, scale=size, witness=True)
    if case.setting is _INSIDE:
        # the library knows no formula for these labels: it bisects certified ranks
        found = ufm.thresholds(case.problem, progress=False).entries[-1].strength
        found *= kappa(case.parameters["counts"]) / scales.N
        yield Claim("ufm.thresholds", found, size, _BISECTED, scale=size, witness=True)


def _at(case: Case, lam: float) -> ufm.Problem:
    """The problem with both decays equal."""
    return pick_all_problem(**{**case.parameters, "lambda_W": lam, "lambda_H": lam})


def _columns(features: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features, and the mean of their set in place of each."""
    means = np.stack([features[:, column == i].mean(axis=1) for i in range(column[-1] + 1)], axis=1)
    return features, means[:, column]


# balanced singles
# ----------------------------------------------------------------------

_SINGLES = 100
# the range of λ, in units of their mean loss, over which the angles were looked at
_WEAK, _STRONG = 1e-5, 1e-3


def _pairs(
    name, setting, *, common=5, first=5, lam=_STRONG, singles=(_SINGLES,) * 5, dim=5, full=False
):
    """Five classes, `first` samples of the pair {0, 1} and `common` of every other pair."""
    counts: dict[tuple[int, ...], int] = {(k,): n for k, n in enumerate(singles)}
    counts |= dict.fromkeys(itertools.combinations(range(5), 2), common)
    counts[0, 1] = first
    decay = {"lambda_W": lam, "lambda_H": lam}
    parameters = {"num_classes": 5, "counts": counts, "dim": dim, "collapsed": True, **decay}
    return Case(name, setting, parameters, build=pick_all_problem, full=full)


def singles_regime(case: Case) -> Setting:
    """Equally many samples of every class alone, d >= K − 1, no bias, decay below that from which
    on all is zero."""
    p, K = case.parameters, case.parameters["num_classes"]
    singles = {n for S, n in p["counts"].items() if len(S) == 1}
    decay = Setting.below(np.sqrt(p["lambda_W"] * p["lambda_H"]), vanishing_decay(K, p["counts"]))
    return Setting.all_of(
        len(singles) == 1, p["dim"] >= K - 1, p.get("bias") is None, decay is _INSIDE
    )


def angles(features: np.ndarray, sets) -> np.ndarray:
    """Degrees between h_S and the sum of its classes' features, of every pair."""
    single = {S[0]: features[:, i] for i, S in enumerate(sets) if len(S) == 1}
    found = []
    for i, S in enumerate(sets):
        if len(S) == 2:
            both, h = single[S[0]] + single[S[1]], features[:, i]
            off = h / np.linalg.norm(h) - both / np.linalg.norm(both)
            found.append(2 * np.arcsin(np.linalg.norm(off) / 2))
    return np.degrees(np.array(found))


def _row_lengths(case: Case, first: float) -> float:
    """‖w_0‖² − ‖w_2‖², relative, with another count of the pair {0, 1}."""
    p = case.parameters
    counts = {**p["counts"], (0, 1): first}
    problem = pick_all_problem(**{**p, "counts": counts})
    # (weak decay tells counts apart by little: the root is as far off as the gradient times that)
    found = ufm.minimise(problem, key=case.key, progress=False, tolerance=1e-14)
    lengths = np.sum(np.asarray(found.params.classifier) ** 2, axis=1)
    return float((lengths[0] - lengths[2]) / lengths[0])


SINGLES = (
    _pairs("pairs balanced", _INSIDE),
    _pairs("pair {0, 1} a hundred times as often, λ=1e-3", _INSIDE, first=500),
    _pairs(
        "pair {0, 1} a hundred times as often, λ=1e-5", _INSIDE, first=500, lam=_WEAK, full=True
    ),
    _pairs("pair {0, 1} twice as often", _INSIDE, first=10, full=True),
    _pairs("singles unbalanced", _OUTSIDE, singles=(400, 100, 100, 100, 50)),
)


@check(
    key="li2024/balanced-singles",
    formula=(
        r"n_{\{1\}} = \dots = n_{\{K\}}\ \Rightarrow\ WW^\top\propto P,\quad "
        r"h_{\{i,j\}}\parallel h_i+h_j"
    ),
    source="Li et al. 2024, multi-label collapse with imbalanced pairs (recalled)",
    regime=singles_regime,
    expected=Verdict.REFUTED,
    cases=SINGLES,
)
def balanced_singles(case: Case):
    """Equal counts of the single labels suffice for a simplex ETF and for tag-wise averages.

    Refuted: with one pair more frequent the optimum is neither, and no ETF classifier reaches its
    value. It becomes both exactly where the pairs are balanced too.
    """
    point, p = Point.of(solve(case)), case.parameters
    K, (sets, _) = p["num_classes"], sets_of(p["num_classes"], p["counts"])
    etf = EtfClassifier.of(case.problem)
    claimed = etf.value()
    yield point.certificate_claim()
    yield point.value_claim(claimed, name="least value of an ETF")
    gram = point.classifier @ point.classifier.T
    yield matrix_claim(
        "W Wᵀ is an ETF",
        gram,
        np.trace(gram) / (K - 1) * contrast(K),
        size=point.weight_size(),
        tolerance=EXACT,
    )
    found = angles(point.features, sets)
    yield Claim("degrees off the tag-wise average", found, np.zeros(len(found)), EXACT)
    pairs = np.array([S for S in sets if len(S) == 2])
    yield Record("angles", {"i": pairs[:, 0], "j": pairs[:, 1], "degrees": found})
    yield point.bracket_record(claimed, name="ETF and found")
    lower = Refutation.at(
        "the minimum",
        claimed,
        case.problem,
        point.params,
        least=functools.partial(EtfClassifier.least, etf),
    )
    yield point.plain_claim(lower.value)
    if case.setting is _INSIDE and point.value < claimed * (1 - MARGIN):
        root = bisect(lambda first: _row_lengths(case, float(first)), 0.5, 60.0, steps=46)
        common = p["counts"][2, 3]
        yield Claim(
            "count of the pair at which rows are equal",
            float(root),
            common,
            EXACT,
            scale=common,
            witness=True,
        )
        yield lower
