"""Dang et al. 2023: squared error, balanced classes, with the thresholds."""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.measure import (
    VALUE,
    Point,
    Setup,
    matrix_claim,
    projector_claims,
    solve,
    value_at,
)
from theory_checks.engine.registry import Case, Claim, Setting, check
from theory_checks.formulas.deep_points import gradient_claim, point_at
from theory_checks.formulas.frames import contrast
from theory_checks.formulas.squared_error import (
    Branch,
    as_balanced,
    branch,
    mean_strength,
    mean_value,
    metastable_end,
    threshold,
)
from theory_checks.papers.dang2023.geometry import (
    BOUNDARY,
    DEPTHS,
    INSIDE,
    OUTSIDE,
    case,
    frame_records,
    geometry_claims,
)


def balanced_cases(bias) -> tuple[Case, ...]:
    """Each depth well inside and at 0.999 of its threshold, unequal decay, the threshold of one
    layer, and beyond."""
    spread = {
        1: (2.0, 0.5),
        2: (2.0, 1.0, 0.5),
        3: (2.0, 0.5, 4.0, 0.25),
        6: (2.0, 1.0, 0.5, 1.0, 1.0, 2.0, 0.5),
    }
    inside = [
        case(f"M={M}, t=0.1, unequal decay", INSIDE, t=0.1, M=M, bias=bias, unequal=spread[M])
        for M in DEPTHS
    ]
    near = [
        case(f"M={M}, t=0.999 t_c", INSIDE, t=0.999 * threshold(M), M=M, bias=bias) for M in DEPTHS
    ]
    outside = [
        case(f"M={M}, t=1.001 t_c", OUTSIDE, t=1.001 * threshold(M), M=M, bias=bias) for M in DEPTHS
    ]
    return (*inside, *near, case("M=1, t=t_c", BOUNDARY, t=1.0, bias=bias), *outside)


def balanced_regime(case: Case) -> Setting:
    """Equal class counts, no bias, every width at least K, t < t_c."""
    s = Setup.of(case.problem)
    return Setting.all_of(
        s.balanced, s.bias is None, s.R >= s.K, Setting.below(mean_strength(s), threshold(s.M))
    )


ORTHOGONAL_IN_SPACE = case(
    "three classes in space", INSIDE, t=0.1, counts=(10, 10, 10), widths=(3,), full=True
)


@check(
    key="dang2023/mse-balanced",
    formula=(
        r"\bar H^\top\bar H = \tfrac{cs^{2M}}{(cs^{2M}+N\lambda_H)^2}I_K,\quad WW^\top = "
        r"cs^{2M}I_K,\quad W\bar H = \tfrac{cs^{2M}}{cs^{2M}+N\lambda_H}I_K"
    ),
    source="Dang et al. 2023, balanced data, squared error without bias, M >= 1 linear layers",
    regime=balanced_regime,
    cases=(
        *balanced_cases(None),
        ORTHOGONAL_IN_SPACE,
        case("M=1, t=1e-6", INSIDE, t=1e-6),
        case("unequal counts", OUTSIDE, t=0.1, counts=(20, 10, 6, 4), of=1),
        case("with a free bias", OUTSIDE, t=0.1, bias="free"),
    ),
)
def mse_balanced(case: Case):
    """Balanced classes, no bias: features collapse to their class means, and every layer is an
    orthogonal frame."""
    point, setup = Point.of(solve(case)), Setup.of(case.problem)
    equal = as_balanced(setup)
    predicted = branch(equal, clip=False)
    yield from point.witnesses()
    yield point.value_claim(mean_value(equal, predicted, setup.K))
    yield from geometry_claims(point, equal, predicted, np.diag)
    yield from frame_records(point)


def bottleneck_regime(case: Case) -> Setting:
    """Equal class counts, no bias, the narrowest width R below K, t < t_c."""
    s = Setup.of(case.problem)
    return Setting.all_of(
        s.balanced, s.bias is None, s.R < s.K, Setting.below(mean_strength(s), threshold(s.M))
    )


@check(
    key="dang2023/mse-balanced-bottleneck",
    formula=(
        r"W\bar H = f\,\Pi,\quad WW^\top = cs^{2M}\Pi,\quad"
        r" \bar H^\top\bar H = \tfrac{cs^{2M}}{(cs^{2M}+N\lambda_H)^2}\Pi,\quad \Pi\in\mathcal "
        r"P_R(I_K)"
    ),
    source="Dang et al. 2023, balanced data, squared error without bias, R < K",
    regime=bottleneck_regime,
    cases=(
        case("M=1, d=2", INSIDE, t=0.1, widths=(2,)),
        case("M=1, d=1", INSIDE, t=0.5, widths=(1,), full=True),
        case("M=2, widths (8, 2)", INSIDE, t=0.2, M=2, widths=(8, 2)),
        *(
            case(f"M=2, widths (8, 2), t={x:g} t_c", to, t=x * threshold(2), M=2, widths=(8, 2))
            for to, x in ((INSIDE, 0.999), (OUTSIDE, 1.001))
        ),
        case("M=3, widths (2, 8, 8)", INSIDE, t=0.2, M=3, widths=(2, 8, 8), full=True),
        case("M=1, d=2, t=1.001", OUTSIDE, t=1.001, widths=(2,)),
        case("M=1, d=2, unequal counts", OUTSIDE, t=0.1, counts=(20, 10, 6, 4), of=1, widths=(2,)),
    ),
)
def mse_balanced_bottleneck(case: Case):
    """Balanced classes, no bias, narrowest width R < K: the logits are a multiple of a best rank-R
    approximation of the identity."""
    point, setup = Point.of(solve(case)), Setup.of(case.problem)
    equal = as_balanced(setup)
    predicted = branch(equal, clip=False)
    yield point.closed_form_claim()
    yield point.value_claim(mean_value(equal, predicted, setup.R))
    yield from _projector_geometry(point, equal, predicted)


def _projector_geometry(point: Point, setup: Setup, predicted: Branch, *, null=None):
    """The geometry of R < K: everything is a multiple of one projector, which the theorem leaves
    open."""
    f, p2 = predicted.fraction[0], predicted.p2[0]
    gain = p2 + setup.N * setup.lambda_H
    yield point.collapse_claim()
    yield from projector_claims("W H̄", point.linear_logits, factor=f, rank=setup.R, null=null)
    projector = point.linear_logits / f
    yield matrix_claim(
        "W Wᵀ is its multiple", point.classifier @ point.classifier.T, p2 * projector, size=1.0
    )
    yield matrix_claim(
        "H̄ᵀ H̄ is its multiple",
        point.class_means.T @ point.class_means,
        p2 / gain**2 * projector,
        size=1.0,
    )
    yield matrix_claim(
        "self-duality",
        point.classifier,
        gain * point.class_means.T,
        size=1.0,
        like=np.sqrt(abs(p2)),
    )


def bias_regime(case: Case) -> Setting:
    """Equal class counts, a free (unpenalised) bias, every width at least K − 1, t < t_c."""
    s = Setup.of(case.problem)
    return Setting.all_of(
        s.balanced,
        s.bias == "free",
        s.R >= s.K - 1,
        Setting.below(mean_strength(s), threshold(s.M)),
    )


SIMPLEX_IN_SPACE = case("M=1, d=K-1", INSIDE, t=0.1, widths=(3,), bias="free")


@check(
    key="dang2023/mse-balanced-bias",
    formula=r"b = \tfrac1K\mathbf 1,\quad \bar H^\top\bar H\propto WW^\top\propto W\bar H\propto "
    r"I_K-\tfrac1K\mathbf 1\mathbf 1^\top",
    source="Dang et al. 2023, balanced data, squared error with last-layer bias",
    regime=bias_regime,
    cases=(
        *balanced_cases("free"),
        SIMPLEX_IN_SPACE,
        case("unequal counts", OUTSIDE, t=0.1, counts=(20, 10, 6, 4), of=1, bias="free"),
        case("a penalised bias, λ_b=1", OUTSIDE, t=0.1, bias=1.0, full=True),
    ),
)
def mse_balanced_bias(case: Case):
    """Balanced classes with a free bias: a simplex ETF in every layer, zero global mean, and bias
    exactly 1/K whatever λ and M."""
    point, setup = Point.of(solve(case)), Setup.of(case.problem)
    equal = as_balanced(setup)
    predicted = branch(equal, clip=False)
    yield from point.witnesses()
    yield from _bias_claims(point, equal, predicted, directions=setup.K - 1)
    yield from geometry_claims(
        point, equal, predicted, lambda values: values[0] * contrast(setup.K)
    )
    yield from frame_records(point)


def _bias_claims(point: Point, setup: Setup, predicted: Branch, *, directions: int):
    """What a free bias does: it takes the mean direction off, and K − 1 contrasts are left."""
    kept, left = directions, setup.K - 1 - directions
    yield point.value_claim((kept * predicted.value_terms[0] + left) / (2 * setup.K))
    yield point.bias_claim(np.full(setup.K, 1 / setup.K))
    size = np.sqrt(point.feature_size())
    yield matrix_claim(
        "global mean of the features",
        point.features.mean(axis=1),
        np.zeros(point.features.shape[0]),
        size=size,
    )


def bias_bottleneck_regime(case: Case) -> Setting:
    """Equal class counts, a free bias, the narrowest width R below K − 1, t < t_c."""
    s = Setup.of(case.problem)
    return Setting.all_of(
        s.balanced, s.bias == "free", s.R < s.K - 1, Setting.below(mean_strength(s), threshold(s.M))
    )


@check(
    key="dang2023/mse-balanced-bias-bottleneck",
    formula=r"b = \tfrac1K\mathbf 1,\quad W\bar H = f\,\Pi,\quad \Pi\mathbf 1 = 0,\ "
    r"\mathrm{rank}\,\Pi = R",
    source="Dang et al. 2023, balanced data, squared error with last-layer bias, R < K − 1",
    regime=bias_bottleneck_regime,
    cases=(
        case("M=1, d=2", INSIDE, t=0.1, widths=(2,), bias="free"),
        case("M=2, widths (8, 2)", INSIDE, t=0.2, M=2, widths=(8, 2), bias="free"),
        case("M=1, d=2, t=1.001", OUTSIDE, t=1.001, widths=(2,), bias="free"),
        case(
            "M=1, d=2, unequal counts",
            OUTSIDE,
            t=0.1,
            counts=(20, 10, 6, 4),
            of=1,
            widths=(2,),
            bias="free",
        ),
    ),
)
def mse_balanced_bias_bottleneck(case: Case):
    """Balanced classes, free bias, R < K − 1: the logits are a multiple of a rank-R projector
    orthogonal to the all-ones vector."""
    point, setup = Point.of(solve(case)), Setup.of(case.problem)
    equal = as_balanced(setup)
    predicted = branch(equal, clip=False)
    yield point.closed_form_claim()
    yield from _bias_claims(point, equal, predicted, directions=setup.R)
    yield from _projector_geometry(point, equal, predicted, null=np.ones(setup.K))


# how far above 1/2 a start is on another level: rounding is far below, L_1 far above
_ABOVE = 1e-6

# thresholds
# ----------------------------------------------------------------------


def collapse_regime(case: Case) -> Setting:
    """Equal class counts, no bias or a free one, t > t_c (at t = t_c zero is the only optimum for
    one layer)."""
    s = Setup.of(case.problem)
    return Setting.all_of(
        s.balanced, s.bias in (None, "free"), Setting.above(mean_strength(s), threshold(s.M))
    )


@check(
    key="dang2023/collapse-threshold",
    formula=r"t = \tfrac bn > \tfrac{(M-1)^{(M-1)/M}}{M}\ \Rightarrow\ W_m = 0,\ H = 0,\ L^* = "
    r"\tfrac12\ \text{or}\ \tfrac{K-1}{2K}",
    source="Dang et al. 2023, balanced data, squared error, the case of large regularisation",
    regime=collapse_regime,
    cases=(
        *(
            case(
                f"M={M}, {bias or 'no'} bias, t=1.001 t_c",
                INSIDE,
                t=1.001 * threshold(M),
                M=M,
                bias=bias,
            )
            for M in DEPTHS
            for bias in (None, "free")
        ),
        *(case(f"M={M}, no bias, t=3 t_c", INSIDE, t=3 * threshold(M), M=M) for M in DEPTHS),
        case("M=1, no bias, t=t_c", BOUNDARY, t=1.0),
        case("M=1, free bias, t=t_c", BOUNDARY, t=1.0, bias="free"),
        *(
            case(
                f"M={M}, {bias or 'no'} bias, t=0.999 t_c",
                OUTSIDE,
                t=0.999 * threshold(M),
                M=M,
                bias=bias,
            )
            for M in DEPTHS
            for bias in (None, "free")
        ),
    ),
)
def collapse_threshold(case: Case):
    """Beyond t_c = (M−1)^{(M−1)/M}/M only zero is optimal: all factors and features vanish, and
    only a bias is left."""
    point, setup = Point.of(solve(case)), Setup.of(case.problem)
    free = setup.bias == "free"
    yield from point.witnesses()
    yield point.value_claim((setup.K - 1) / (2 * setup.K) if free else 0.5)
    yield point.logits_claim(np.full((setup.K, setup.K), 1 / setup.K if free else 0.0))
    yield point.weight_gram_claim(np.zeros((setup.K, setup.K)))
    yield point.feature_gram_claim(np.zeros((setup.K, setup.K)))


def at_threshold_regime(case: Case) -> Setting:
    """Equal class counts, no bias, M >= 2 and t = t_c exactly."""
    s = Setup.of(case.problem)
    at = Setting.below(mean_strength(s), threshold(s.M)) is Setting.BOUNDARY
    return Setting.all_of(
        s.balanced, s.bias is None, s.M >= 2, Setting.BOUNDARY if at else Setting.OUTSIDE
    )


@check(
    key="dang2023/coexistence",
    formula=r"t = t_c:\quad W\bar H = \tfrac{M-1}{M}\Pi,\ \mathrm{rank}\,\Pi\le R,\quad L^* = "
    r"\tfrac12",
    source="Dang et al. 2023, balanced data, squared error, the case of equality",
    regime=at_threshold_regime,
    cases=(
        *(case(f"M={M}, t=t_c", BOUNDARY, t=threshold(M), M=M) for M in (2, 3, 6)),
        case("M=2, t=0.999 t_c", OUTSIDE, t=0.999 * threshold(2), M=2),
        case("M=3, t=1.001 t_c", OUTSIDE, t=1.001 * threshold(3), M=3),
    ),
)
def coexistence(case: Case):
    """At t = t_c, M >= 2, zero and every projector of rank up to R are optimal at once: the value
    is 1/2 on all of them."""
    solution, setup = solve(case), Setup.of(case.problem)
    point = Point.of(solution)
    values = converged_values(solution)
    yield point.closed_form_claim()
    yield point.value_claim(0.5)
    yield Claim("values of all starts", values, np.full(len(values), 0.5), VALUE, scale=0.5)
    # (starts end at zero: the other optima are evaluated, in directions of no class)
    basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(setup.K, setup.K)))
    for rank in range(1, min(setup.R, setup.K) + 1):
        projector = basis[:, :rank] @ basis[:, :rank].T
        params = point_at(case.problem, (setup.M - 1) / setup.M * projector)
        name = f"(M−1)/M Π of rank {rank}"
        yield Claim(f"value at {name}", value_at(case.problem, params), 0.5, VALUE, scale=0.5)
        yield gradient_claim(name, case.problem, params)


def converged_values(solution) -> np.ndarray:
    """Values of the starts that converged."""
    return np.asarray(solution.values)[np.asarray(solution.codes) == ufm.Result.CONVERGED]


def metastable_regime(case: Case) -> Setting:
    """Equal class counts, no bias, every width at least K, M >= 2, t_c < t < t_e."""
    s = Setup.of(case.problem)
    t = mean_strength(s)
    band = Setting.all_of(Setting.above(t, threshold(s.M)), Setting.below(t, metastable_end(s.M)))
    return Setting.all_of(s.balanced, s.bias is None, s.R >= s.K, s.M >= 2, band)


@check(
    key="dang2023/metastable-band",
    formula=r"t_c < t < t_e:\quad L_r = \tfrac{1}{2K}\big(r\,g(x) + K - r\big) > \tfrac12 = L^*",
    source="consequence of the scalar problem in Dang et al. 2023 (their code reports this branch "
    "as the optimum)",
    regime=metastable_regime,
    cases=(
        *(case(f"M={M}, t=1.001 t_c", INSIDE, t=1.001 * threshold(M), M=M) for M in (2, 3, 6)),
        # (numbers of their own, between which t_e is: 0.6495 and 0.8399)
        case("M=2, t=0.648", INSIDE, t=0.648, M=2),
        case("M=2, t=0.651", OUTSIDE, t=0.651, M=2),
        case("M=3, t=0.83", INSIDE, t=0.83, M=3),
        case("M=3, t=0.845", OUTSIDE, t=0.845, M=3),
        case("M=2, t=0.999 t_c", OUTSIDE, t=0.999 * threshold(2), M=2),
    ),
)
def metastable_band(case: Case):
    """Between t_c and t_e, M >= 2, nonzero states survive as local minima above the global one, a
    value for each rank r."""
    solution, setup = solve(case), Setup.of(case.problem)
    values = converged_values(solution)
    # (beyond t_e there is no level but that of zero)
    term = np.nan_to_num(branch(setup, clip=False).value_terms[0], nan=1.0)
    levels = (np.arange(setup.K + 1) * (term - 1) + setup.K) / (2 * setup.K)
    nearest = levels[np.argmin(np.abs(values[:, None] - levels[None, :]), axis=1)]
    left = np.any(values > 0.5 + _ABOVE)
    yield Point.of(solution).closed_form_claim()
    yield Point.of(solution).value_claim(0.5)
    yield Claim("every start ends on a level L_r", values, nearest, VALUE, scale=0.5)
    yield Claim("no start is left above the global minimum", float(not left), 0.0, VALUE)
