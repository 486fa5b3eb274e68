"""Squared error, one linear layer, balanced classes, no bias.

Our minimiser and flow against scipy's with a hand-written objective.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import jax
import numpy as np

import ufm
from tests.benchmarks.harness import Row, first_call, time_turns
from tests.benchmarks.scipy_rival import BalancedSquaredError, flow, iterations_to, lbfgs

ACCURACY = 1e-6
# The ratios that were promised for K = 10, n = 100, d = 64 and λ = 5e-4.
FULL, COLLAPSED_TO_FULL, COLLAPSED = 3.0, 50.0, 2.0


def our_problem(rival: BalancedSquaredError) -> ufm.Problem:
    labels = ufm.one_hot([rival.per_class] * rival.num_classes, collapsed=rival.collapsed)
    return ufm.Problem(
        labels,
        loss=ufm.MeanSquaredError(),
        widths=(rival.feature_dim,),
        lambda_W=rival.decay,
        lambda_H=rival.decay,
    )


def solve(problem: ufm.Problem, start: ufm.Params, tolerance: float | None):
    return jax.block_until_ready(
        ufm.minimise(problem, start=start, tolerance=tolerance, progress=False).params
    )


def our_error(rival: BalancedSquaredError, params: ufm.Params) -> float:
    return rival.gram_error(np.asarray(params.weights[0]), np.asarray(params.features))


def loosest_tolerance(
    rival: BalancedSquaredError, problem: ufm.Problem, start: ufm.Params
) -> float:
    """The loosest power of ten whose solution has the accuracy.

    What the rival's budget is for the rival.
    """
    for exponent in range(1, 13):
        if our_error(rival, solve(problem, start, 10.0**-exponent)) <= ACCURACY:
            return 10.0**-exponent
    raise RuntimeError(f"our solver does not reach a Gram error of {ACCURACY:g}")


def rows(
    *,
    seeds: Iterable[int],
    repeats: int,
    K: int = 10,
    n: int = 100,
    d: int = 64,
    decay: float = 5e-4,
    end: float = 300.0,
) -> list[Row]:
    """Both sides start from the same random points, which they get ready-made."""
    seeds = list(seeds)
    contestants, notes, timings = {}, {}, {}
    for kind, collapsed in (("full", False), ("collapsed", True)):
        rival = BalancedSquaredError(
            num_classes=K, per_class=n, feature_dim=d, decay=decay, collapsed=collapsed
        )
        problem = our_problem(rival)
        starts = [ufm.solvers.random_start(problem, key=jax.random.key(seed)) for seed in seeds]
        compiling = first_call(functools.partial(solve, problem, starts[0], None))
        tolerances = [loosest_tolerance(rival, problem, start) for start in starts]
        contestants[kind, "default"] = [
            functools.partial(solve, problem, start, None) for start in starts
        ]
        contestants[kind, "equal"] = [
            functools.partial(solve, problem, start, tolerance)
            for start, tolerance in zip(starts, tolerances, strict=True)
        ]
        flat = [
            np.concatenate([np.ravel(start.weights[0]), np.ravel(start.features)])
            for start in starts
        ]
        budgets = [iterations_to(rival, x0, ACCURACY) for x0 in flat]
        contestants[kind, "scipy"] = [
            functools.partial(lbfgs, rival, x0, budget)
            for x0, budget in zip(flat, budgets, strict=True)
        ]
        for accuracy in ("default", "equal"):
            errors = [our_error(rival, call()) for call in contestants[kind, accuracy]]
            _demand(max(errors), f"ours, {kind}, {accuracy}")
            notes[kind, accuracy] = {"Gram error": max(errors), "first call s": compiling}
        notes[kind, "equal"]["tolerances"] = tolerances
        runs = [call() for call in contestants[kind, "scipy"]]
        errors = [rival.gram_error(*rival.split(run.x)) for run in runs]
        _demand(max(errors), f"scipy, {kind}")
        notes[kind, "scipy"] = {
            "rival's Gram error": max(errors),
            "rival's evaluations": [int(run.nfev) for run in runs],
        }
    timings = dict(
        zip(contestants, time_turns(list(contestants.values()), repeats=repeats), strict=True)
    )

    def row(ours: tuple[str, str], rival: str, required: float | None) -> Row:
        to = {"default": "1e-12", "equal": "equal accuracy"}[ours[1]]
        return Row(
            name=f"minimise, {ours[0]}, {to}",
            rival_name=f"L-BFGS-B, {rival}",
            ours=timings[ours],
            rival=timings[rival, "scipy"],
            required=required,
            notes=notes[ours] | notes[rival, "scipy"],
        )

    result = []
    for ours, rival, required in (
        ("full", "full", FULL),
        ("collapsed", "full", COLLAPSED_TO_FULL),
        ("collapsed", "collapsed", COLLAPSED),
    ):
        # the promise is at equal accuracy; ours to rounding against the rival's 1e-6 is shown
        # beside it
        result += [row((ours, "equal"), rival, required), row((ours, "default"), rival, None)]
    return [*result, flow_row(seeds=seeds, repeats=repeats, K=K, n=n, d=d, decay=decay, end=end)]


def flow_row(
    *, seeds: list[int], repeats: int, K: int, n: int, d: int, decay: float, end: float
) -> Row:
    """Gradient flow of the collapsed problem at 50 times, equal tolerances.

    No ratio was promised.
    """
    rival = BalancedSquaredError(
        num_classes=K, per_class=n, feature_dim=d, decay=decay, collapsed=True
    )
    problem, ts = our_problem(rival), np.linspace(0, end, 50)
    starts = [ufm.solvers.random_start(problem, key=jax.random.key(seed)) for seed in seeds]
    flat = [
        np.concatenate([np.ravel(start.weights[0]), np.ravel(start.features)]) for start in starts
    ]

    def ours(start):
        return jax.block_until_ready(
            ufm.flow(
                problem,
                ts=ts,
                start=start,
                progress=False,
                integration=ufm.flows.Integration(rtol=1e-9, atol=1e-12, steady=0.0),
            ).params
        )

    def theirs(x0):
        return flow(rival, x0, ts, rtol=1e-9, atol=1e-12)

    compiling = first_call(functools.partial(ours, starts[0]))
    apart = 0.0
    for start, x0 in zip(starts, flat, strict=True):
        mine, other = ours(start), theirs(x0)
        W, H = np.asarray(mine.weights[0]), np.asarray(mine.features)
        here = np.concatenate([W.reshape(len(ts), -1), H.reshape(len(ts), -1)], axis=1)
        apart = max(apart, float(np.max(np.abs(here - other)) / np.max(np.abs(other))))
    _demand(apart, "the two flows")
    calls = [
        [functools.partial(ours, start) for start in starts],
        [functools.partial(theirs, x0) for x0 in flat],
    ]
    mine, other = time_turns(calls, repeats=repeats)
    return Row(
        "flow, collapsed, rtol 1e-9",
        "solve_ivp DOP853",
        mine,
        other,
        notes={"apart": apart, "first call s": compiling},
    )


def _demand(error: float, who: str) -> None:
    # a fast wrong answer is no time at all
    if not error <= ACCURACY:
        raise RuntimeError(
            f"{who}: error {error:.1e} is above {ACCURACY:g}, so the times mean nothing"
        )
