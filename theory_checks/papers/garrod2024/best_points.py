"""Points of deep cross-entropy that searches found below every structure in closed form."""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.counterexamples import MARGIN
from theory_checks.engine.measure import GEOMETRY, VALUE, Setup, value_at
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.formulas.deep_points import (
    best_known,
    entropy_case,
    gradient_claim,
    point_at,
)
from theory_checks.papers.garrod2024.points import (
    Point,
    antiprism,
    canonical,
    entries,
    load,
    pairs_beside_one,
)

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
_POINTS = {(point.K, point.M, point.lam): point for point in load()}
# K and M with a point below the closed forms, up to which decay
_LOWER = {(5, 2): 0.03, (7, 2): 0.01, (8, 3): 0.03}
_QUICK = {(5, 2, 0.01), (7, 2, 0.01), (8, 3, 0.01), (7, 2, 0.03)}
# of full runs, which search these ten problems again: a fifth to nine tenths of all starts end at
# the points that are saved, but for a few in a hundred at the antiprism
_SEARCHED, _STARTS = 0.01, 4000


def _lower(point: Point) -> bool:
    return point.lam <= _LOWER.get((point.K, point.M), 0.0)


def _case(point: Point, *, full: bool, starts: int = 0) -> Case:
    setting = _INSIDE if _lower(point) else _OUTSIDE
    note = f"{starts} starts" if starts else ""
    return entropy_case(
        point.K, point.M, point.lam, setting, full=full, starts=max(starts, 1), note=note
    )


def regime(case: Case) -> Setting:
    """One of (K, M) = (5, 2), (7, 2), (8, 3); equal classes, no bias, every width K, all decays of
    .003, .01 and .03, for (7, 2) not the last."""
    s = Setup.of(case.problem)
    return Setting.all_of(s.balanced, s.bias is None, _lower(_POINTS[s.K, s.M, s.lambda_H]))


@check(
    key="garrod2024/best-points",
    formula=r"F(\text{point}) < \min_{\text{direct sums of simplices and circles}} F,\quad"
    r" \nabla F(\text{point}) = 0",
    source="ours: found by ufm.search and saved; of their paper only the objective",
    regime=regime,
    cases=(
        *(_case(p, full=key not in _QUICK) for key, p in _POINTS.items()),
        *(_case(p, full=True, starts=_STARTS) for p in _POINTS.values() if p.lam == _SEARCHED),
    ),
)
def best_points(case: Case):
    """The best points that searches of deep cross-entropy found for five and seven classes behind
    two matrices and eight behind three lie below every direct sum of simplices and circles: pairs
    beside a class that is coupled to all of them, and a square antiprism.

    For the other pairs of K = 4 … 8 and M = 2, 3 the best that was found is such a sum. Nothing is
    claimed to be optimal; a full run searches again, and fails where it ends lower.
    """
    problem, s = case.problem, Setup.of(case.problem)
    point = _POINTS[s.K, s.M, s.lambda_H]
    params = point_at(problem, point.logits)
    value = value_at(problem, params)
    yield Claim("value", value, point.value, VALUE, scale=value, witness=True)
    yield gradient_claim("the point", problem, params, witness=True)
    structures = ufm.laws.deep_candidates(problem)
    lower = value < structures[0].value * (1 - MARGIN)
    yield Claim("lower than every structure (1: yes)", float(lower), 1.0, VALUE)
    # (a structure is feasible, so a search that ends above one has failed)
    excess = max(0.0, value / structures[0].value - 1)
    yield Claim("above the best structure", excess, 0.0, MARGIN, witness=True)
    if lower:
        size = float(np.max(np.abs(point.logits)))
        expected = canonical(_built(point))
        yield Claim("logits up to order", point.logits, expected, GEOMETRY, scale=size)
    if case.starts > 1:
        missed = max(0.0, 1 - best_known(case).value / value)
        yield Claim("a search ends lower, relative", missed, 0.0, MARGIN, witness=True)
    values, counts = zip(*entries(point.logits), strict=True)
    yield Record(
        f"entries of the logits, {point.structure}, rank {point.rank}",
        {"entry": np.array(values), "number": np.array(counts, dtype=float)},
    )


def _built(point: Point) -> np.ndarray:
    """The logits of the structure with the numbers of the point."""
    Z = point.logits
    if point.K == 8:
        own, opposite = Z[0, 0], next(v for v, count in entries(Z)[1:] if count == 8)
        return antiprism(np.sqrt((own - opposite) / 2), np.sqrt((own + opposite) / 2))
    single = next(k for k in range(point.K) if np.ptp(np.delete(Z[k], k)) < GEOMETRY)
    pair = [k for k in range(point.K) if k != single]
    partner = min(pair[1:], key=lambda k: Z[pair[0], k])
    other = next(k for k in pair[1:] if k != partner)
    numbers = (
        Z[pair[0], pair[0]],
        Z[pair[0], partner],
        Z[pair[0], other],
        Z[single, pair[0]],
        Z[pair[0], single],
        Z[single, single],
    )
    return pairs_beside_one(point.K, numbers)
