"""Long-tailed cross-entropy, one linear layer, no bias, collapsed columns.

Our minimiser against scipy's and against a cone solver.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import jax
import numpy as np

import ufm
from tests.benchmarks.harness import Row, first_call, time_turns
from tests.benchmarks.long_tail_rival import (
    LongTailCrossEntropy,
    budget_for,
    has_cvxpy,
    lbfgs,
    nuclear_norm_form,
)

# relative duality gap
ACCURACY = 1e-9
# The ratio that was promised for K = 100 and counts from 500 down to 5.
LONG_TAIL = 5.0
# relative difference of values with the cone solver
AGREEMENT = 1e-6


def our_problem(rival: LongTailCrossEntropy) -> ufm.Problem:
    labels = ufm.one_hot(rival.counts, collapsed=True)
    return ufm.Problem(
        labels,
        loss=ufm.CrossEntropy(),
        widths=(rival.feature_dim,),
        lambda_W=rival.decay,
        lambda_H=rival.decay,
    )


def solve(problem: ufm.Problem, start: ufm.Params, tolerance: float | None):
    return jax.block_until_ready(
        ufm.minimise(problem, start=start, tolerance=tolerance, progress=False).params
    )


def our_gap(rival: LongTailCrossEntropy, params: ufm.Params) -> float:
    """Our point in the rival's own formula."""
    return rival.gap(rival.flat(np.asarray(params.weights[0]), np.asarray(params.features)))


def loosest_tolerance(
    rival: LongTailCrossEntropy, problem: ufm.Problem, start: ufm.Params
) -> float:
    """The loosest power of ten whose solution has the gap.

    What the rival's budget is for the rival.
    """
    for exponent in range(1, 13):
        if our_gap(rival, solve(problem, start, 10.0**-exponent)) <= ACCURACY:
            return 10.0**-exponent
    raise RuntimeError(f"our solver does not reach a gap of {ACCURACY:g}")


def rows(
    *,
    seeds: Iterable[int],
    repeats: int,
    K: int = 100,
    ratio: float = 100,
    d: int = 128,
    decay: float = 1e-4,
) -> list[Row]:
    """Both sides start from the same random points, which they get ready-made.

    L-BFGS-B decides by values, whose rounding leaves gaps of 1e-8 and more: where it cannot reach
    the accuracy, its time is that of the smallest gap it does reach, which flatters it. The promise
    is about the objective as it is stated, in (W, H); that the rescaled variables of our solver
    help L-BFGS-B too is shown beside it.
    """
    counts = ufm.labels.exponential_counts(K, largest=500, ratio=ratio)
    plain = LongTailCrossEntropy(counts, d, decay, scaled=False)
    scaled = LongTailCrossEntropy(counts, d, decay, scaled=True)
    problem = our_problem(plain)
    starts = [ufm.solvers.random_start(problem, key=jax.random.key(seed)) for seed in seeds]
    compiling = first_call(functools.partial(solve, problem, starts[0], None))
    tolerances = [loosest_tolerance(plain, problem, start) for start in starts]
    ours = [
        functools.partial(solve, problem, start, tolerance)
        for start, tolerance in zip(starts, tolerances, strict=True)
    ]
    gap = max(our_gap(plain, call()) for call in ours)
    certified = max(float(ufm.certify(problem, call()).gap) for call in ours)
    if not max(gap, certified) <= ACCURACY:
        raise RuntimeError(
            f"ours: gap {gap:.1e} (certificate {certified:.1e}) is above {ACCURACY:g}"
        )
    contestants, reached = [ours], {}
    for rival in (plain, scaled):
        flat = [
            rival.flat(np.asarray(start.weights[0]), np.asarray(start.features)) for start in starts
        ]
        budgets, gaps = zip(*(budget_for(rival, x0, ACCURACY) for x0 in flat), strict=True)
        reached[rival] = max(gaps)
        contestants.append(
            [
                functools.partial(lbfgs, rival, x0, budget)
                for x0, budget in zip(flat, budgets, strict=True)
            ]
        )
    mine, *others = time_turns(contestants, repeats=repeats)
    result = []
    for rival, other, variables, required in (
        (plain, others[0], "(W, H)", LONG_TAIL),
        (scaled, others[1], "rescaled", None),
    ):
        notes = {
            "gap": gap,
            "tolerances": tolerances,
            "first call s": compiling,
            "rival's gap": reached[rival],
        }
        if reached[rival] > ACCURACY:
            notes["rival"] = f"never reaches {ACCURACY:g}; timed to its own best gap"
        name = f"long tail, K={K}, gap {ACCURACY:g}"
        result.append(
            Row(name, f"L-BFGS-B, {variables}", mine, other, required=required, notes=notes)
        )
    return [*result, *cone_rows(seeds=seeds, repeats=repeats)]


def cone_rows(
    *, seeds: Iterable[int], repeats: int, K: int = 10, d: int = 10, decay: float = 1e-3
) -> list[Row]:
    """Against the nuclear-norm form in cvxpy, where that is installed.

    No ratio was promised, but the values must agree.
    """
    if not has_cvxpy():
        return []
    rival = LongTailCrossEntropy(ufm.labels.exponential_counts(K, largest=500, ratio=100), d, decay)
    problem = our_problem(rival)
    starts = [ufm.solvers.random_start(problem, key=jax.random.key(seed)) for seed in seeds]
    ours = [functools.partial(solve, problem, start, None) for start in starts]
    compiling = first_call(ours[0])
    cone = nuclear_norm_form(rival)
    value = cone()
    apart = max(abs(value - float(ufm.model.objective(problem, call()))) for call in ours) / abs(
        value
    )
    if not apart <= AGREEMENT:
        raise RuntimeError(f"cvxpy and ours differ by {apart:.1e}, more than {AGREEMENT:g}")
    mine, other = time_turns([ours, [cone] * len(ours)], repeats=repeats)
    notes = {"values apart": apart, "first call s": compiling}
    return [
        Row(f"long tail, K={K}, 1e-12", "cvxpy (Clarabel), nuclear norm", mine, other, notes=notes)
    ]
