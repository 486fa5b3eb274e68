"""The simplex ETF of deep cross-entropy against pairs, circles and the best known point."""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.counterexamples import MARGIN
from theory_checks.engine.measure import VALUE, Setup, value_at
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.formulas.deep_points import (
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
from theory_checks.formulas.frames import contrast

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
_DECAYS = (0.005, 0.03)
# strengths at which K = 5, L = 2 was tried: below 0.0016 pair and triple are no better than the
# ETF, above 0.14 nothing is better than zero
_TRIED = (0.002, 0.1)
# the map of the figures: few starts, because the search must only end no higher than the structures
# in closed form
MAP_DECAY, _MAP_STARTS = 0.01, 4
MAP_CHECKS = ("garrod2024/etf-not-optimal", "garrod2024/five-classes-two-layers")


def _beaten(K: int, M: int) -> bool:
    """Where the theorem says that the ETF is beaten."""
    return (K >= 4 and M >= 3) or (K >= 6 and M == 2)


def _map_cases() -> dict[str, tuple[Case, ...]]:
    """The cases of the map over K and M, by check: the one point that the theorem leaves out has a
    check of its own."""
    cases: dict[str, tuple[Case, ...]] = {check: () for check in MAP_CHECKS}
    for M in range(1, 6):
        for K in range(3, 11):
            five = (K, M) == (5, 2)
            setting = _INSIDE if five or _beaten(K, M) else _OUTSIDE
            cases[MAP_CHECKS[five]] += (
                entropy_case(K, M, MAP_DECAY, setting, full=True, starts=_MAP_STARTS, note="map"),
            )
    return cases


MAP = _map_cases()


def _branch(case: Case) -> ufm.laws.EtfBranch | None:
    """The ETF branch of equal classes without a bias behind widths of at least K; None of
    others."""
    s = Setup.of(case.problem)
    known = s.balanced and s.R >= s.K and s.bias is None
    return ufm.laws.etf_branch(case.problem) if known else None


def branch_regime(case: Case) -> Setting:
    """Equal class counts, no bias, every width at least K, decay below that at which the ETF branch
    ends."""
    branch = _branch(case)
    return _OUTSIDE if branch is None else Setting.below(branch.strength, branch.existence)


@check(
    key="garrod2024/etf-stationary",
    formula=(
        r"\lambda n^{1/(L+1)} = \frac{a^{(L-1)/(L+1)}}{K-1+e^a}\ \Rightarrow\ \nabla f = 0\ "
        r"\text{at}\ "
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
    """Two scales make the ETF a critical point for small decay when L >= 2, one when L = 1; its
    value is in closed form."""
    problem, s = case.problem, Setup.of(case.problem)
    a = etf_scale(s)
    scales = {"the large scale": a}
    if s.balanced:
        branch = ufm.laws.etf_branch(problem)
        yield Claim("large scale of ufm.laws.etf_branch", branch.large, a, VALUE, scale=a)
        yield Claim("its value", branch.large_value, etf_value(a, s), VALUE, scale=etf_value(a, s))
        yield Claim("number of scales", 2 - np.isnan(branch.small), 2 if s.M >= 2 else 1, 1e-12)
        if s.M >= 2:
            scales["the small scale"] = branch.small
    for name, scale in scales.items():
        point = point_at(problem, scale * contrast(s.K))
        value = etf_value(scale, s)
        yield Claim(
            f"objective at {name}",
            value_at(problem, point),
            value,
            VALUE,
            scale=value,
        )
        yield gradient_claim(name, problem, point)


def even_regime(case: Case) -> Setting:
    """Equal class counts, an even number of classes, no bias, every width at least K, decay at
    which pairs and circle have a scale."""
    s = Setup.of(case.problem)
    if Setting.all_of(s.balanced, s.K % 2 == 0, s.R >= s.K, s.bias is None) is not _INSIDE:
        return _OUTSIDE
    names = [candidate.name for candidate in ufm.laws.deep_candidates(case.problem)]
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
    """Pairs and circle at their best scale are critical points, and their values are in closed
    form."""
    problem, s = case.problem, Setup.of(case.problem)
    formulas = {"pairs": pair_value, "circle": circle_value, "pairs and a single class": None}
    for candidate in ufm.laws.deep_candidates(problem):
        if candidate.name in formulas:
            point, value = point_at(problem, candidate.logits), formulas[candidate.name]
            if value is not None:
                expected = value(candidate.blocks[0].scale, s)
                yield Claim(
                    f"value of {candidate.name}",
                    candidate.value,
                    expected,
                    VALUE,
                    scale=expected,
                    witness=True,
                )
            objective = value_at(problem, point)
            yield Claim(
                f"objective at {candidate.name}",
                objective,
                candidate.value,
                VALUE,
                scale=objective,
                witness=True,
            )
            yield gradient_claim(candidate.name, problem, point)


def beaten_regime(case: Case) -> Setting:
    """Equal class counts, no bias, every width at least K, K >= 4 and L >= 3, or K >= 6 and L = 2,
    decay below that from which on zero is better than every ETF."""
    s, branch = Setup.of(case.problem), _branch(case)
    if branch is None or not _beaten(s.K, s.M):
        return _OUTSIDE
    return Setting.below(branch.strength, branch.threshold)


@check(
    key="garrod2024/etf-not-optimal",
    formula=r"(K\ge4,\ L\ge3\ \text{or}\ K\ge6,\ L=2),\ \min_a f_a < f(0)\ \Rightarrow\ "
    r"\min f < \min_a f_a,\quad f_a = f\big(a\,(I_K-\tfrac1K\mathbf 1\mathbf 1^\top)\big)",
    source="Garrod & Keating 2025, Theorem 1; up to which decay is measured",
    regime=beaten_regime,
    cases=(
        *(entropy_case(K, M, lam, _INSIDE) for K, M in ((4, 3), (6, 2), (8, 3)) for lam in _DECAYS),
        *(
            entropy_case(K, M, lam, _INSIDE, full=True, starts=32)
            for K, M in ((5, 3), (6, 3), (8, 2), (4, 5), (5, 5), (6, 5), (8, 5))
            for lam in _DECAYS
        ),
        *MAP["garrod2024/etf-not-optimal"],
        entropy_case(4, 3, 0.15, _OUTSIDE, note="zero is best"),
        entropy_case(4, 1, 0.03, _OUTSIDE, note="one layer"),
        entropy_case(4, 2, 0.005, _OUTSIDE, note="nothing lower is known"),
        entropy_case(3, 2, 0.03, _OUTSIDE, note="nothing lower is known", full=True),
    ),
)
def etf_not_optimal(case: Case):
    """The ETF is not a global minimiser: a point of lower rank has a lower value, a structure in
    closed form among them."""
    yield from _beaten_claims(case)


def five_regime(case: Case) -> Setting:
    """Five equal classes, L = 2, no bias, every width at least 5, 0.002 <= λ n^{1/3} <= 0.1."""
    s = Setup.of(case.problem)
    low, high = _TRIED
    return Setting.all_of(
        s.balanced, s.bias is None, s.R >= s.K, (s.K, s.M) == (5, 2), low <= strength(s) <= high
    )


@check(
    key="garrod2024/five-classes-two-layers",
    formula=r"K=5,\ L=2,\ 0.002\le\lambda n^{1/3}\le 0.1\ \Rightarrow\ \min f < \min_a "
    r"f\big(a\,(I_K-\tfrac1K\mathbf 1\mathbf 1^\top)\big)",
    source="measured; Theorem 1 of Garrod & Keating 2025 leaves K = 5, L = 2 out",
    regime=five_regime,
    cases=(
        entropy_case(5, 2, 0.0025, _INSIDE, full=True),
        entropy_case(5, 2, 0.09, _INSIDE),
        *MAP["garrod2024/five-classes-two-layers"],
        entropy_case(4, 2, MAP_DECAY, _OUTSIDE, note="nothing lower is known"),
    ),
)
def five_classes_two_layers(case: Case):
    """The ETF is beaten for five classes and two layers too, by a pair and a triple of classes and
    by something lower still."""
    yield from _beaten_claims(case)


def _beaten_claims(case: Case):
    """A search and the structures in closed form against the ETF."""
    problem, s = case.problem, Setup.of(case.problem)
    # the least value of the branch: under strong decay that of zero
    found, etf = best_known(case), np.fmin(etf_value(etf_scale(s), s), np.log(s.K))
    candidates = ufm.laws.deep_candidates(problem)
    structure = candidates[0]
    for name, value in (
        ("best known point", found.value),
        ("best structure in closed form", structure.value),
    ):
        yield Claim(
            f"the ETF is beaten by the {name} (1: yes)",
            float(value < etf * (1 - MARGIN)),
            1.0,
            1e-12,
        )
    yield Claim("rank is below that of the ETF (1: yes)", float(found.rank < s.K - 1), 1.0, 1e-12)
    # the structure is feasible, so a search that ends above it has failed
    excess = max(0.0, found.value / structure.value - 1)
    yield Claim("best known value above the best structure", excess, 0.0, MARGIN, witness=True)
    at_best = value_at(problem, point_at(problem, structure.logits))
    yield Claim(
        "objective at the best structure",
        at_best,
        structure.value,
        VALUE,
        scale=structure.value,
        witness=True,
    )
    values = {candidate.name: candidate.value for candidate in candidates}
    columns = {
        "K": s.K,
        "M": s.M,
        "ETF": etf,
        "best known": found.value,
        "percent below": 100 * (1 - found.value / etf),
        "rank": found.rank,
        "closed form": structure.value,
        "its rank": structure.rank,
        "zero": values["zero"],
        "circle": values.get("circle", np.nan),
        "pairs": min(
            (value for name, value in values.items() if name.startswith("pairs")), default=np.nan
        ),
    }
    columns = {name: np.array([value], dtype=float) for name, value in columns.items()}
    yield Record(f"values; the best structure in closed form is {structure.name}", columns)
