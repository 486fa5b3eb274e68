"""Dang et al. 2023: squared error, unequal class counts, no bias."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.measure import GEOMETRY, Point, Setup, matrix_claim, solve
from theory_checks.engine.registry import Case, Claim, Setting, check
from theory_checks.formulas.squared_error import branch, mean_value, strengths, threshold
from theory_checks.papers.dang2023.geometry import (
    BOUNDARY,
    DEPTHS,
    INSIDE,
    OUTSIDE,
    case,
    frame_records,
    geometry_claims,
)


def imbalanced_regime(case: Case) -> Setting:
    """Any class counts, no bias, every width at least K, no class exactly at the threshold unless M
    = 1."""
    s = Setup.of(case.problem)
    at = [t for t in strengths(s) if Setting.below(t, threshold(s.M)) is Setting.BOUNDARY]
    return Setting.all_of(
        s.bias is None,
        s.R >= s.K,
        Setting.INSIDE if not at else Setting.BOUNDARY if s.M == 1 else Setting.OUTSIDE,
    )


def gof_claims(case: Case):
    """The general orthogonal frame: each class by its own root, zero for a class beyond its
    threshold."""
    point, setup = Point.of(solve(case)), Setup.of(case.problem)
    predicted = branch(setup, clip=True)
    yield from point.witnesses()
    yield point.value_claim(mean_value(setup, predicted, setup.K))
    yield from geometry_claims(point, setup, predicted, np.diag)
    yield from frame_records(point)


LONG, TIED, STEEP = (20, 10, 6, 4), (20, 10, 5, 5), (28, 8, 3, 1)


GENERAL_IN_SPACE = case(
    "counts 20/8/3 in space", INSIDE, t=0.1, counts=(20, 8, 3), widths=(3,), full=True
)


@check(
    key="dang2023/mse-imbalanced",
    formula=(
        r"s_k^2 = \big(\sqrt{n_k\lambda_H/\lambda_W}-N\lambda_H\big)_+,\quad WW^\top = "
        r"\mathrm{diag}(s_k^2),\quad"
        r" w_k = \sqrt{n_k\lambda_H/\lambda_W}\,\bar h_k"
    ),
    source="Dang et al. 2023, imbalanced data, squared error, M = 1",
    regime=imbalanced_regime,
    cases=(
        case("counts 20/10/6/4, t_K=0.1", INSIDE, t=0.1, counts=LONG, unequal=(2.0, 0.5)),
        GENERAL_IN_SPACE,
        case("counts 20/10/5/5, t_K=0.999", INSIDE, t=0.999, counts=TIED),
        case("equal counts", INSIDE, t=0.3),
        case("counts 28/8/3/1, three classes at zero", INSIDE, t=9.0, counts=STEEP),
        case("counts 20/10/6/4, t_K=1.001", INSIDE, t=1.001, counts=LONG),
        case("counts 20/10/6/4, all at zero", INSIDE, t=6.0, counts=LONG),
        case("counts 20/10/6/4, t_K=t_c", BOUNDARY, t=1.0, counts=LONG),
        case("free bias", OUTSIDE, t=0.1, counts=LONG, bias="free"),
    ),
)
def mse_imbalanced(case: Case):
    """Unequal class counts, one layer, no bias: a general orthogonal frame with lengths set by the
    class counts."""
    yield from gof_claims(case)


@check(
    key="dang2023/mse-imbalanced-deep",
    formula=r"\tfrac{b}{n_k} = \tfrac{Mx_k^{M-1}}{(1+x_k^M)^2},\quad cs_k^{2M} = "
    r"N\lambda_Hx_k^M,\quad WW^\top = \mathrm{diag}(cs_k^{2M})",
    source="Dang et al. 2023, imbalanced data, squared error, M = 2 and M >= 3",
    regime=imbalanced_regime,
    cases=(
        *(
            case(f"M={M}, counts 20/10/6/4, t_K=0.1", INSIDE, t=0.1, M=M, counts=LONG)
            for M in (2, 3, 6)
        ),
        *(
            case(
                f"M={M}, counts 20/10/5/5, t_K=0.999 t_c",
                INSIDE,
                t=0.999 * threshold(M),
                M=M,
                counts=TIED,
            )
            for M in (2, 3, 6)
        ),
        *(
            case(
                f"M={M}, counts 20/10/5/5, t_K=1.001 t_c",
                INSIDE,
                t=1.001 * threshold(M),
                M=M,
                counts=TIED,
            )
            for M in (2, 3, 6)
        ),
        case("M=3, unequal decay", INSIDE, t=0.1, M=3, counts=LONG, unequal=(2.0, 0.5, 4.0, 0.25)),
        case("M=2, free bias", OUTSIDE, t=0.1, M=2, counts=LONG, bias="free"),
    ),
)
def mse_imbalanced_deep(case: Case):
    """Unequal class counts, M >= 2 layers, no bias: a general orthogonal frame in every layer; past
    its threshold a class is zero."""
    yield from gof_claims(case)


def minority_regime(case: Case) -> Setting:
    """No bias, every width at least K, the smallest class at or below its threshold n_K <= b/t_c
    and every other class above its own."""
    s = Setup.of(case.problem)
    t, t_c = strengths(s), threshold(s.M)
    return Setting.all_of(
        s.bias is None,
        s.R >= s.K,
        *(Setting.below(x, t_c) for x in t[:-1]),
        Setting.above(t[-1], t_c),
    )


@check(
    key="dang2023/minority-collapse",
    formula=r"n_k \le M^2N\,(N\lambda_1\cdots\lambda_M\lambda_H)^{1/M}/(M-1)^{(M-1)/M}\ "
    r"\Rightarrow\ w_k = 0,\ \bar h_k = 0",
    source="Dang et al. 2023, imbalanced data, squared error: minority collapse",
    regime=minority_regime,
    cases=(
        *(
            case(
                f"M={M}, counts 20/10/6/4, t_K=1.001 t_c",
                INSIDE,
                t=1.001 * threshold(M),
                M=M,
                counts=LONG,
            )
            for M in DEPTHS
        ),
        case("M=1, t_K=t_c", BOUNDARY, t=1.0, counts=LONG),
        *(
            case(
                f"M={M}, counts 20/10/6/4, t_K=0.999 t_c",
                OUTSIDE,
                t=0.999 * threshold(M),
                M=M,
                counts=LONG,
            )
            for M in DEPTHS
        ),
    ),
)
def minority_collapse(case: Case):
    """A class smaller than b/t_c (one layer: N² λ_W λ_H) disappears exactly: its features, its
    classifier and its logits are zero."""
    point, setup = Point.of(solve(case)), Setup.of(case.problem)
    smallest = point.class_index == setup.K - 1
    yield from point.witnesses()
    # squares, as in the Grams: at the threshold of one layer the lengths themselves are only known
    # to the cube root of the gradient
    for name, lengths in (
        ("classifier", np.sum(point.classifier**2, axis=1)),
        ("class mean", np.sum(point.class_means**2, axis=0)),
    ):
        yield Claim(
            f"{name} of the smallest class, squared length",
            lengths[-1],
            0.0,
            GEOMETRY,
            scale=float(lengths.max()),
        )
    yield Claim(
        "logits of the smallest class",
        point.logits[:, smallest],
        np.zeros((setup.K, smallest.sum())),
        GEOMETRY,
    )
    # the classes that survive in these cases have at least a tenth of their logit
    survivors = np.sum(np.linalg.svd(point.linear_logits, compute_uv=False) > 0.1)
    yield Claim("classes that survive", survivors, setup.K - 1, GEOMETRY)


def imbalanced_bottleneck_regime(case: Case) -> Setting:
    """No bias, the narrowest width R below K, the R largest classes above their thresholds."""
    s = Setup.of(case.problem)
    kept = [Setting.below(t, threshold(s.M)) for t in strengths(s)[: s.R]]
    return Setting.all_of(s.bias is None, s.R < s.K, bool(np.all(np.diff(s.counts) <= 0)), *kept)


@check(
    key="dang2023/mse-imbalanced-bottleneck",
    formula=(
        r"L^* = \tfrac1{2N}\Big[\sum_{k\le R}n_kg(x_k)+\sum_{k>R}n_k\Big],\quad"
        r" WW^\top = \mathrm{diag}(cs_1^{2M},\dots,cs_R^{2M},0,\dots,0)"
    ),
    source="Dang et al. 2023, imbalanced data, squared error, R < K",
    regime=imbalanced_bottleneck_regime,
    cases=(
        case("M=1, d=2", INSIDE, t=0.2, counts=LONG, widths=(2,)),
        case("M=2, widths (8, 2)", INSIDE, t=0.2, M=2, counts=LONG, widths=(8, 2)),
        *(
            case(
                f"M={M}, d=2, t_R=0.999 t_c",
                INSIDE,
                t=0.999 * threshold(M) * 10 / 4,
                M=M,
                counts=LONG,
                widths=(2,) * M,
            )
            for M in DEPTHS
        ),
        case("M=1, d=2, a tie at the cut", INSIDE, t=0.2, counts=(20, 8, 8, 4), widths=(2,)),
        case("M=1, d=2, free bias", OUTSIDE, t=0.2, counts=LONG, widths=(2,), bias="free"),
    ),
)
def mse_imbalanced_bottleneck(case: Case):
    """Unequal class counts, no bias, narrowest width R < K: the R largest classes are kept as if
    alone, the others are zero."""
    point, setup = Point.of(solve(case)), Setup.of(case.problem)
    predicted = branch(setup, clip=True)
    kept = np.arange(setup.K) < setup.R
    yield point.closed_form_claim()
    yield point.value_claim(mean_value(setup, predicted, setup.R))
    yield point.collapse_claim()
    # spectra of the Grams, not the matrices: with a tie at the cut any rotation inside the tied
    # block is optimal
    for name, gram, diagonal in (
        ("W Wᵀ", point.classifier @ point.classifier.T, predicted.p2),
        (
            "H̄ᵀ H̄",
            point.class_means.T @ point.class_means,
            predicted.p2 / (predicted.p2 + setup.N * setup.lambda_H) ** 2,
        ),
        ("W H̄", point.linear_logits, predicted.fraction),
    ):
        yield matrix_claim(
            f"spectrum of {name}",
            np.linalg.eigvalsh((gram + gram.T) / 2),
            np.sort(np.where(kept, diagonal, 0.0)),
            size=1.0,
        )
        if setup.counts[setup.R - 1] > setup.counts[setup.R]:
            yield matrix_claim(name, gram, np.diag(np.where(kept, diagonal, 0.0)), size=1.0)
