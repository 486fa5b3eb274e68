r"""Garrod & Keating 2025, "The Persistence of Neural Collapse Despite Low-Rank Bias": the deep linear model with cross-entropy.

Their objective, $\frac{1}{Kn}\sum\ell + \frac\lambda2(\sum_{l=1}^L\|W_l\|^2 + \|H_1\|^2)$, is that of `ufm` with M = L and all λ equal. L
counts weight matrices, so that L = 1 is the plain model. Statements are cited by content.
"""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.counterexamples import MARGIN
from theory_checks.deep_points import (
    best_known,
    circle_value,
    entropy_case,
    etf_scale,
    etf_value,
    gradient_claim,
    pair_value,
    point_at,
    strength,
)
from theory_checks.measure import VALUE, Setup, contrast
from theory_checks.registry import Case, Claim, Record, Setting, check, paper

paper("garrod2024", "Garrod & Keating 2025, The Persistence of Neural Collapse Despite Low-Rank Bias (arXiv 2410.23169), linear")

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
_DECAYS = (0.005, 0.03)


def branch_regime(case: Case) -> Setting:
    """Equal class counts, no bias, every width at least K, decay below that at which the ETF branch ends."""
    s = Setup.of(case.problem)
    known = Setting.all_of(s.balanced, s.R >= s.K, s.bias is None)
    return known if known is _OUTSIDE else Setting.all_of(known, Setting.below(strength(s), ufm.etf_branch(case.problem).existence))


@check(
    key="garrod2024/etf-stationary",
    formula=(
        r"\lambda n^{1/(L+1)} = \frac{a^{(L-1)/(L+1)}}{K-1+e^a}\ \Rightarrow\ \nabla f = 0\ \text{at}\ "
        r"\bar Z = a\,(I_K-\tfrac1K\mathbf 1\mathbf 1^\top)"
    ),
    source="Garrod & Keating 2025, the critical points with the structure of neural collapse",
    regime=branch_regime,
    cases=(
        entropy_case(4, 1, 0.01, _INSIDE),
        entropy_case(4, 2, 0.01, _INSIDE, n=5),
        entropy_case(8, 3, 0.03, _INSIDE),
        entropy_case(8, 3, 1e-4, _INSIDE, note="weak decay"),
        entropy_case(3, 2, 0.2, _INSIDE, note="metastable"),
        entropy_case(4, 2, 0.01, _OUTSIDE, counts=(4, 2, 1, 1), note="unequal counts"),
    ),
)
def etf_stationary(case: Case):
    """Two scales make the ETF a critical point for small decay when L >= 2, one when L = 1; its value is in closed form."""
    problem, s = case.problem, Setup.of(case.problem)
    a = etf_scale(s)
    scales = {"the large scale": a}
    if s.balanced:
        branch = ufm.etf_branch(problem)
        yield Claim("large scale of ufm.etf_branch", branch.large, a, VALUE, scale=a)
        yield Claim("its value", branch.large_value, etf_value(a, s), VALUE, scale=etf_value(a, s))
        yield Claim("number of scales", 2 - np.isnan(branch.small), 2 if s.M >= 2 else 1, 1e-12)
        if s.M >= 2:
            scales["the small scale"] = branch.small
    for name, scale in scales.items():
        point = point_at(problem, scale * contrast(s.K))
        value = etf_value(scale, s)
        yield Claim(f"objective at {name}", float(ufm.objective(problem, point)), value, VALUE, scale=value)
        yield gradient_claim(name, problem, point)


def even_regime(case: Case) -> Setting:
    """Equal class counts, an even number of classes, no bias, every width at least K, decay at which pairs and circle have a scale."""
    s = Setup.of(case.problem)
    if Setting.all_of(s.balanced, s.K % 2 == 0, s.R >= s.K, s.bias is None) is not _INSIDE:
        return _OUTSIDE
    names = [candidate.name for candidate in ufm.deep_candidates(case.problem)]
    return Setting.all_of("pairs" in names, "circle" in names)


@check(
    key="garrod2024/low-rank-structures",
    formula=(
        r"\bar Z = \beta\,I_{K/2}\otimes\begin{pmatrix}1&-1\\-1&1\end{pmatrix},\quad"
        r" \bar Z = \beta X^\top X,\ X\in\mathbb R^{2\times K}"
    ),
    source="Garrod & Keating 2025, the construction of low rank and the points on a circle",
    regime=even_regime,
    cases=(
        entropy_case(6, 1, 0.01, _INSIDE),
        entropy_case(6, 2, 0.01, _INSIDE, n=3),
        entropy_case(8, 3, 0.03, _INSIDE),
        entropy_case(10, 2, 2.0**-10, _INSIDE, n=5, note="as in Figure 1"),
        entropy_case(5, 2, 0.01, _OUTSIDE, note="odd, with one class alone"),
    ),
)
def low_rank_structures(case: Case):
    """Pairs and circle at their best scale are critical points, and their values are in closed form."""
    problem, s = case.problem, Setup.of(case.problem)
    formulas = {"pairs": pair_value, "circle": circle_value, "pairs and a single class": None}
    for candidate in ufm.deep_candidates(problem):
        if candidate.name in formulas:
            point, value = point_at(problem, candidate.logits), formulas[candidate.name]
            if value is not None:
                expected = value(candidate.blocks[0].scale, s)
                yield Claim(f"value of {candidate.name}", candidate.value, expected, VALUE, scale=expected, witness=True)
            objective = float(ufm.objective(problem, point))
            yield Claim(f"objective at {candidate.name}", objective, candidate.value, VALUE, scale=objective, witness=True)
            yield gradient_claim(candidate.name, problem, point)


def beaten_regime(case: Case) -> Setting:
    """Equal class counts, no bias, every width at least K, K >= 4 and L >= 3, or K >= 6 and L = 2."""
    s = Setup.of(case.problem)
    return Setting.all_of(s.balanced, s.bias is None, s.R >= s.K, (s.K >= 4 and s.M >= 3) or (s.K >= 6 and s.M == 2))


@check(
    key="garrod2024/etf-not-optimal",
    formula=r"K\ge4,\ L\ge3\ \text{or}\ K\ge6,\ L=2\ \Rightarrow\ \min f < \min_a f\big(a\,(I_K-\tfrac1K\mathbf 1\mathbf 1^\top)\big)",
    source="Garrod & Keating 2025, Theorem 1",
    regime=beaten_regime,
    cases=(
        *(entropy_case(K, M, lam, _INSIDE) for K, M in ((4, 3), (6, 2), (8, 3)) for lam in _DECAYS),
        *(
            entropy_case(K, M, lam, _INSIDE, full=True, starts=32)
            for K, M in ((5, 3), (6, 3), (8, 2), (4, 5), (5, 5), (6, 5), (8, 5))
            for lam in _DECAYS
        ),
        entropy_case(4, 1, 0.03, _OUTSIDE, note="one layer"),
        entropy_case(4, 2, 0.005, _OUTSIDE, note="nothing lower is known"),
        entropy_case(3, 2, 0.03, _OUTSIDE, note="nothing lower is known"),
    ),
)
def etf_not_optimal(case: Case):
    """The ETF is not a global minimiser: a point of lower rank has a lower value, a structure in closed form among them."""
    problem, s = case.problem, Setup.of(case.problem)
    found, etf = best_known(case), etf_value(etf_scale(s), s)
    structure = ufm.deep_candidates(problem)[0]
    for name, value in (("best known point", found.value), ("best structure in closed form", structure.value)):
        yield Claim(f"the ETF is beaten by the {name} (1: yes)", float(value < etf * (1 - MARGIN)), 1.0, 1e-12)
    yield Claim("rank is below that of the ETF (1: yes)", float(found.rank < s.K - 1), 1.0, 1e-12)
    # the structure is feasible, so a search that ends above it has failed
    excess = max(0.0, found.value / structure.value - 1)
    yield Claim("best known value above the best structure", excess, 0.0, MARGIN, witness=True)
    at_best = float(ufm.objective(problem, point_at(problem, structure.logits)))
    yield Claim("objective at the best structure", at_best, structure.value, VALUE, scale=structure.value, witness=True)
    columns = {
        "ETF": np.array([etf]),
        "best known": np.array([found.value]),
        "percent below": np.array([100 * (1 - found.value / etf)]),
        "rank": np.array([found.rank]),
        "closed form": np.array([structure.value]),
        "its rank": np.array([structure.rank]),
    }
    yield Record(f"values; the best structure in closed form is {structure.name}", columns)
