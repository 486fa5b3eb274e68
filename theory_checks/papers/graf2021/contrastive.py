"""The supervised contrastive loss on a sphere: the simplex for equal counts."""

from __future__ import annotations

import functools

import numpy as np

from theory_checks.engine.measure import EXACT, Point, solve
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.formulas.contrastive import (
    contrastive_case,
    embedded,
    of_samples,
    written_claim,
)
from theory_checks.formulas.frames import contrast

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE
_case = functools.partial(contrastive_case, kind="sphere", starts=4)


def regime(case: Case) -> Setting:
    """Equal counts n >= 2, unit features or features in the unit ball, K <= d + 1."""
    counts, d = case.parameters["class_counts"], case.parameters["dim"]
    return Setting.all_of(
        len(set(counts)) == 1, min(counts) >= 2, Setting.below(len(counts), d + 1)
    )


CONTRASTIVE = (
    _case("3 classes of 3", _INSIDE, (3, 3, 3), 4),
    _case("3 classes of 3, τ=1/2", _INSIDE, (3, 3, 3), 4, temperature=0.5),
    _case("3 classes of 3, in a ball", _INSIDE, (3, 3, 3), 4, kind="ball", full=True),
    _case("K=d+1", _BOUNDARY, (3, 3, 3), 2),
    _case("counts 4/3/2: no ETF", _OUTSIDE, (4, 3, 2), 4),
    _case("K=d+2", _OUTSIDE, (3, 3, 3, 3), 2, full=True),
)


@check(
    key="graf2021/supervised-contrastive",
    formula=(
        r"\mathcal L\ \ge\ N\log\big(n-1+(N-n)e^{-K/((K-1)\tau)}\big),\quad \text{equality iff } "
        r"h_i^\top h_j = 1 \text{ or } -\tfrac1{K-1}"
    ),
    source="Graf et al. 2021, the supervised contrastive loss (recalled)",
    regime=regime,
    cases=CONTRASTIVE,
)
def supervised_contrastive(case: Case):
    """With equal counts the supervised contrastive loss makes a simplex of collapsed classes.

    With others the minimum, certified over all Grams, has unequal angles.
    """
    point, p = Point.of(solve(case)), case.parameters
    counts, tau = p["class_counts"], p["temperature"]
    K, N, n = len(counts), sum(counts), sum(counts) / len(counts)
    yield written_claim(case, point)
    if p["dim"] >= K - 1:
        yield point.certificate_claim()
    bound = float(np.log(n - 1 + (N - n) * np.exp(-K / ((K - 1) * tau))))
    yield point.value_claim(bound, name="the bound over N")
    X = embedded(point.problem, point.params)
    wanted = of_samples(counts, contrast(K) * K / (K - 1))
    yield Claim("Gram of all samples", X.T @ X, wanted, EXACT)
    first = np.cumsum([0, *counts[:-1]])
    cosines = (X.T @ X)[np.ix_(first, first)][np.triu_indices(K, 1)]
    yield Record("cosines", {"found": cosines, "law": np.array([-1 / (K - 1)])})
    yield point.bracket_record(bound, name="bound and found")
