"""Hong & Ling 2023: block structure, and the decay at which minority classes merge, vanish, and
everything does."""

from __future__ import annotations

import itertools

import numpy as np

from theory_checks.engine.claims import Claim, worst_of
from theory_checks.engine.measure import GEOMETRY, Point, Setup, matrix_claim, solve
from theory_checks.engine.registry import Case, Setting, check, one_hot_problem
from theory_checks.formulas.roots import bisect

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE
_STEP, _THREE = (6, 6, 6, 2, 2), (9, 6, 6, 2, 2)
_BLOCKS = (0, 1, 2), (3, 4)


def _problem(class_counts, *, l, bias=None, collapsed=True):  # noqa: E741 - the paper's name
    """λ_W = 10 l, λ_H = l/10, d = K + 1."""
    options = {"bias": bias, "loss": "CrossEntropy", "collapsed": collapsed}
    return one_hot_problem(
        class_counts, widths=(len(class_counts) + 1,), lambda_W=10 * l, lambda_H=l / 10, **options
    )


def _case(
    name: str,
    setting: Setting,
    *,
    counts=_STEP,
    l: float,  # noqa: E741
    blocks=_BLOCKS,
    factors=(1.0,),
    full=False,
    **parameters,
) -> Case:
    """`blocks`: the clusters as the check takes them; `factors`: by which the counts grow in the
    limit of many samples."""
    parameters = {"class_counts": counts, "l": l, **parameters}
    return Case(
        name,
        setting,
        parameters,
        build=_problem,
        options={"blocks": blocks, "factors": factors},
        full=full,
    )


def strength(setup: Setup) -> float:
    """N √(λ_W λ_H)."""
    return setup.N * float(np.sqrt(setup.lambda_W[0] * setup.lambda_H))


def clusters(setup: Setup) -> list[np.ndarray]:
    """The classes of each count."""
    return [np.flatnonzero(setup.counts == n) for n in np.unique(setup.counts)[::-1]]


# structure
# ----------------------------------------------------------------------


def block_regime(case: Case) -> Setting:
    """The clusters named by the case consist of classes of equal counts; any bias."""
    counts = Setup.of(case.problem).counts
    return Setting.all_of(
        *(len(set(counts[list(block)].tolist())) == 1 for block in case.options["blocks"])
    )


@check(
    key="hong2023/block-structure",
    formula=r"\bar Z_{AA} = aI+bJ,\quad \bar Z_{AB} = d\,\mathbf 1\mathbf 1^\top,\quad "
    r"\mathrm{NC1}",
    source="Hong & Ling 2023, within-class collapse and block structure",
    regime=block_regime,
    cases=(
        _case("full columns", _INSIDE, l=0.02, collapsed=False),
        _case("weak decay", _INSIDE, l=1e-4, full=True),
        _case("minority collapsed", _INSIDE, l=0.07),
        _case("free bias", _INSIDE, l=0.02, bias="free", full=True),
        _case("penalised bias", _INSIDE, l=0.02, bias=0.01, full=True),
        _case("three clusters", _INSIDE, counts=_THREE, l=0.02, blocks=((0,), (1, 2), (3, 4))),
        _case("unequal counts in a cluster", _OUTSIDE, counts=_THREE, l=0.02),
    ),
)
def block_structure(case: Case):
    """Classes of the same count are interchangeable: logits are block matrices, and features equal
    their class mean."""
    point, s = Point.of(solve(case)), Setup.of(case.problem)
    yield point.certificate_claim()
    if len(clusters(s)) == 2 and s.bias is None:
        yield point.closed_form_claim()
    yield point.collapse_claim()
    Z = (
        point.linear_logits
        if point.params.bias is None
        else point.linear_logits + np.asarray(point.params.bias)[:, None]
    )
    structured = np.empty_like(Z)
    blocks = [list(block) for block in case.options["blocks"]]
    for rows in blocks:
        for columns in blocks:
            part = Z[np.ix_(rows, columns)]
            if rows != columns:
                structured[np.ix_(rows, columns)] = part.mean()
                continue
            k = len(rows)
            off = (part.sum() - np.trace(part)) / max(k * (k - 1), 1)
            structured[np.ix_(rows, columns)] = off + (np.trace(part) / k - off) * np.eye(k)
    yield Claim(
        "logits are the nearest block matrix",
        Z,
        structured,
        GEOMETRY,
        scale=max(1.0, float(np.abs(Z).max())),
    )


# collapses
# ----------------------------------------------------------------------


def minority_regime(case: Case) -> Setting:
    """At least two classes of the smallest count n_B, and N √(λ_W λ_H) > √n_B (at √n_B they
    coincide as well)."""
    s = Setup.of(case.problem)
    return Setting.all_of(
        len(clusters(s)[-1]) >= 2, Setting.above(strength(s), float(np.sqrt(s.counts.min())))
    )


_AT = 2**0.5 / 22  # √n_B / N of the step profile
_AT_THREE = 2**0.5 / 25
_FIVE, _SEVEN = (100,) * 5, (100,) * 7


@check(
    key="hong2023/minority-collapse",
    formula=r"\sqrt{\lambda_W\lambda_H}\ge\tfrac{\sqrt{n_B}}{N}\ \Rightarrow\ \bar h_k = \bar "
    r"h_{k'},\ w_k = w_{k'}\ (n_k = n_{k'} = n_B)",
    source="Hong & Ling 2023, minority collapse; the threshold for a general bias and other "
    "classes is derived",
    regime=minority_regime,
    cases=(
        _case("1.03 of the threshold", _INSIDE, l=1.03 * _AT),
        _case("1.03 of the threshold, free bias", _INSIDE, l=1.03 * _AT, bias="free"),
        _case("1.03 of the threshold, three clusters", _INSIDE, counts=_THREE, l=1.03 * _AT_THREE),
        _case(
            "1.03 of the threshold, three clusters, penalised bias",
            _INSIDE,
            counts=_THREE,
            l=1.03 * _AT_THREE,
            bias=0.1,
            full=True,
        ),
        _case("at the threshold", _BOUNDARY, l=_AT),
        _case("at the threshold, free bias", _BOUNDARY, l=_AT, bias="free"),
        # the paper's own runs: n_B = 100, l = .005 collapses from n_A = 433 on for three majority
        # classes, from 300 on for five
        _case(
            "paper: n_A=450, three of ten", _INSIDE, counts=(450,) * 3 + _SEVEN, l=0.005, full=True
        ),
        _case("paper: n_A=400, three of ten", _OUTSIDE, counts=(400,) * 3 + _SEVEN, l=0.005),
        _case("paper: n_A=300, five of ten", _BOUNDARY, counts=(300,) * 5 + _FIVE, l=0.005),
        # n_A = 500: from l = .00333 for five, from .004545 for three
        _case("paper: l=.0039, five of ten", _INSIDE, counts=(500,) * 5 + _FIVE, l=0.0039),
        _case("paper: l=.0033, five of ten", _OUTSIDE, counts=(500,) * 5 + _FIVE, l=0.0033),
        _case("paper: l=.0053, three of ten", _INSIDE, counts=(500,) * 3 + _SEVEN, l=0.0053),
        _case("paper: l=.0045, three of ten", _OUTSIDE, counts=(500,) * 3 + _SEVEN, l=0.0045),
        _case("0.97 of the threshold", _OUTSIDE, l=0.97 * _AT),
        _case("0.97 of the threshold, free bias", _OUTSIDE, l=0.97 * _AT, bias="free"),
        _case("0.97 of the threshold, three clusters", _OUTSIDE, counts=_THREE, l=0.97 * _AT_THREE),
    ),
)
def minority_collapse(case: Case):
    """Once the decay reaches √n_B/N the smallest classes are indistinguishable: one feature and one
    classifier for all of them."""
    point, s = Point.of(solve(case)), Setup.of(case.problem)
    minority = clusters(s)[-1]
    yield point.certificate_claim()
    if len(clusters(s)) == 2 and s.bias is None:
        yield point.closed_form_claim()
    columns, rows = point.linear_logits[:, minority], point.linear_logits[minority]
    scale = max(1.0, float(np.abs(point.linear_logits).max()))
    yield Claim(
        "logits of the minority classes",
        columns,
        np.broadcast_to(columns[:, :1], columns.shape),
        GEOMETRY,
        scale=scale,
    )
    yield Claim(
        "logits that name a minority class",
        rows,
        np.broadcast_to(rows[:1], rows.shape),
        GEOMETRY,
        scale=scale,
    )


def vanishing_decay(k_A: int, k_B: int, n_A: float, n_B: float) -> float:
    """l_2, beyond which minority features vanish: the two conditions of a point with c = d = e = 0,
    bisected in a (k_A >= 2)."""
    K, N = k_A + k_B, k_A * n_A + k_B * n_B

    def at(a: float) -> tuple[float, float]:
        weights = np.array([np.exp(a), k_A - 1.0, k_B * np.exp(a / k_A)])
        own, other, minority = weights / weights.sum()
        strength = np.sqrt(n_A) * (1 - own + other / (k_A - 1))
        return strength, n_A * minority**2 * K / k_B + n_B * k_A / K - strength**2

    return float(at(float(bisect(lambda a: at(float(a))[1], 0.0, 100.0)))[0]) / N


def vanishing_regime(case: Case) -> Setting:
    """Two clusters, no bias, √(λ_W λ_H) > l_2 (at l_2 as well)."""
    s = Setup.of(case.problem)
    groups = clusters(s)
    if len(groups) != 2 or s.bias is not None:
        return _OUTSIDE
    l_2 = vanishing_decay(len(groups[0]), len(groups[1]), s.counts.max(), s.counts.min())
    return Setting.above(strength(s) / s.N, l_2)


_SECOND = vanishing_decay(3, 2, 6.0, 2.0)  # 0.080632


@check(
    key="hong2023/minority-features-vanish",
    formula=(
        r"1-(p_{own}-p_{other}) = \tfrac{Nl_2}{\sqrt{n_A}},\ n_A(1-q_A)^2\tfrac "
        r"K{k_B}+\tfrac{n_Bk_A}K = (Nl_2)^2;\quad"
        r" \sqrt{\lambda_W\lambda_H}\ge l_2\ \Rightarrow\ \bar h_k = 0\ (k\in B)"
    ),
    source="derived from the convex form of Hong & Ling 2023",
    regime=vanishing_regime,
    cases=(
        _case("1.03 of the threshold", _INSIDE, l=1.03 * _SECOND),
        _case(
            "1.03 of the threshold, (4, 1, 10, 2)",
            _INSIDE,
            counts=(10, 10, 10, 10, 2),
            l=1.03 * vanishing_decay(4, 1, 10.0, 2.0),
        ),
        _case("at the threshold", _BOUNDARY, l=_SECOND),
        _case("0.97 of the threshold", _OUTSIDE, l=0.97 * _SECOND),
        _case(
            "0.97 of the threshold, (4, 1, 10, 2)",
            _OUTSIDE,
            counts=(10, 10, 10, 10, 2),
            l=0.97 * vanishing_decay(4, 1, 10.0, 2.0),
        ),
        _case("a second pair of majority classes", _OUTSIDE, counts=(9, 9, 4, 2, 2), l=1.03 * _AT),
    ),
)
def minority_features_vanish(case: Case):
    """At a second, larger decay the minority features are not only equal but zero, while the
    majority is still told apart."""
    point, s = Point.of(solve(case)), Setup.of(case.problem)
    groups = clusters(s)
    yield point.certificate_claim()
    if len(groups) == 2:
        yield point.closed_form_claim()
    columns, means = point.linear_logits[:, groups[-1]], point.class_means[:, groups[-1]]
    yield Claim("logits of the minority classes", columns, np.zeros_like(columns), GEOMETRY)
    yield matrix_claim(
        "Gram of the minority features",
        means.T @ means,
        np.zeros((len(groups[-1]),) * 2),
        size=point.feature_size(),
    )


def zero_bound(setup: Setup) -> float:
    """The least N √(λ_W λ_H) with a zero product: √λ_max of S D S without a bias, of D − nnᵀ/N with
    a free one."""
    n, K = setup.counts, setup.K
    if setup.bias == "free":
        return float(np.sqrt(np.linalg.eigvalsh(np.diag(n) - np.outer(n, n) / setup.N)[-1]))
    S = np.eye(K) - 1 / K
    return float(np.sqrt(np.linalg.eigvalsh(S @ np.diag(n) @ S)[-1]))


def zero_regime(case: Case) -> Setting:
    """No bias or a free one, any class counts, N √(λ_W λ_H) > ‖S D^{1/2}‖ or √λ_max(D − nnᵀ/N)
    (with equality as well)."""
    s = Setup.of(case.problem)
    return Setting.all_of(s.bias in (None, "free"), Setting.above(strength(s), zero_bound(s)))


_ZERO = {
    (counts, bias): zero_bound(Setup(np.array(counts, float), (6,), np.ones(1), 1.0, 0.0, bias))
    / sum(counts)
    for counts in (_STEP, _THREE)
    for bias in (None, "free")
}


@check(
    key="hong2023/everything-vanishes",
    formula=r"N\sqrt{\lambda_W\lambda_H}\ge\sqrt{\lambda_{\max}(D-\tfrac1Nnn^\top)}\ \Rightarrow\ "
    r"WH = 0,\ b = \log\tfrac nN",
    source="derived from the convex form of Hong & Ling 2023",
    regime=zero_regime,
    cases=(
        *(
            _case(
                f"{where} of the threshold, {name}, {bias or 'no'} bias",
                setting,
                counts=counts,
                l=where * _ZERO[counts, bias],
                bias=bias,
            )
            for setting, where in ((_INSIDE, 1.03), (_OUTSIDE, 0.999))
            for name, counts in (("two clusters", _STEP), ("three clusters", _THREE))
            for bias in (None, "free")
        ),
        *(
            _case(
                f"at the threshold, {name}, {bias or 'no'} bias",
                _BOUNDARY,
                counts=counts,
                l=_ZERO[counts, bias],
                bias=bias,
            )
            for name, counts in (("two clusters", _STEP), ("three clusters", _THREE))
            for bias in (None, "free")
        ),
    ),
)
def everything_vanishes(case: Case):
    """Beyond the spectral norm of the gradient at zero there is nothing but the bias, which is the
    log of the class frequencies."""
    point, s = Point.of(solve(case)), Setup.of(case.problem)
    frequencies = s.counts / s.N
    yield point.certificate_claim()
    yield point.value_claim(
        float(np.log(s.K) if s.bias is None else -frequencies @ np.log(frequencies))
    )
    yield Claim("W H̄", point.linear_logits, np.zeros((s.K, s.K)), GEOMETRY)
    if s.bias == "free":
        bias = np.asarray(point.params.bias)
        yield Claim(
            "centred bias",
            bias - bias.mean(),
            np.log(frequencies) - np.log(frequencies).mean(),
            GEOMETRY,
        )


# the limit of many samples
# ----------------------------------------------------------------------


def limit_regime(case: Case) -> Setting:
    """No bias, three or more classes, unequal counts that all grow by the same factors of at most
    100, by 10⁴ in all, N √(λ_W λ_H) fixed and below a tenth of √n_B at the start."""
    factors, s = case.options["factors"], Setup.of(case.problem)
    slowly = all(later <= 100 * earlier for earlier, later in itertools.pairwise(factors))
    return Setting.all_of(
        s.bias is None,
        s.K >= 3 and not s.balanced,
        slowly and factors[-1] >= 1e4 * factors[0],
        strength(s) < np.sqrt(factors[0] * s.counts.min()) / 10,
    )


@check(
    key="hong2023/many-samples",
    formula=r"n_k\to c\,n_k,\ c\le100,\ N\sqrt{\lambda_W\lambda_H}\ \text{fixed}:\quad "
    r"\tfrac12\Delta < \Delta' < \Delta,\ "
    r"\Delta = \max_{k\ne k'}\big|\cos\angle(z_k,z_{k'})+\tfrac1{K-1}\big|",
    source="measured; Hong & Ling 2023 have the limit of many samples, Δ → 0",
    regime=limit_regime,
    cases=(
        _case("(3, 2, 6, 2)", _INSIDE, l=0.02, factors=(1e2, 1e4, 1e6)),
        _case(
            "(4, 1, 10, 2)", _INSIDE, counts=(10, 10, 10, 10, 2), l=0.01, factors=(1e2, 1e4, 1e6)
        ),
        _case("6/6/6/2/1", _INSIDE, counts=(6, 6, 6, 2, 1), l=0.04, factors=(1e2, 1e4, 1e6)),
        _case("minority collapsed at the start", _OUTSIDE, l=0.07, factors=(1.0, 1e2, 1e4)),
    ),
)
def many_samples(case: Case):
    """With ever more samples the logits come closer to the simplex ETF despite the imbalance, but a
    hundred times as many take off less than half of the distance."""
    excess, gaps = [], []
    counts, decay = case.parameters["class_counts"], case.parameters["l"]
    for factor in case.options["factors"]:
        parameters = {"class_counts": tuple(factor * n for n in counts), "l": decay / factor}
        point = Point.of(solve(Case(case.id, case.setting, parameters, build=_problem)))
        gaps.append(point.certificate_claim())
        Z = point.linear_logits
        cosines = (Z.T @ Z) / np.outer(np.linalg.norm(Z, axis=0), np.linalg.norm(Z, axis=0))
        off = cosines[~np.eye(len(Z), dtype=bool)]
        excess.append(float(np.abs(off + 1 / (len(Z) - 1)).max()))
    yield worst_of(gaps)
    shares = np.divide(excess[1:], excess[:-1])
    ones = np.ones(len(shares))
    yield Claim("the largest distance to −1/(K−1) falls", shares < 1, ones, GEOMETRY)
    yield Claim("by less than half", shares > 0.5, ones, GEOMETRY)
