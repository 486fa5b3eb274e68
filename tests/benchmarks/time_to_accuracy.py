"""Time to an accuracy.

Our solvers against the optimisers the field uses, on the problems that the papers run.

Accuracy is the worst relative error of W Wᵀ and Hᵀ H of all N columns against the closed form. All
contestants start from the same random point. Every time is that of a run that was not looked at
(ours, scipy) or of its steps alone (PyTorch).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence

import jax
import numpy as np
import scipy.optimize

import ufm
from tests.benchmarks.harness import Row, Timing, first_call, time_turns
from tests.benchmarks.numpy_objective import DeepObjective

ACCURACIES = (1e-3, 1e-6, 1e-10)
# The papers print 30 000 steps; what is tuned is stopped long before.
PAPER_BUDGET, TUNED_BUDGET = 30_000, 3_000
STEP_SIZES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 100.0)
ADAM_STEP_SIZES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


def problems(*, K: int, n: int, d: int, decay: float) -> dict[str, ufm.Problem]:
    """The settings, with full columns."""
    labels = ufm.one_hot([n] * K)
    make = functools.partial(ufm.Problem, labels, lambda_W=decay, lambda_H=decay)
    return {
        "squared error": make(loss=ufm.MeanSquaredError(), widths=(d,)),
        "cross-entropy, bias": make(loss=ufm.CrossEntropy(), widths=(d,), bias="free"),
        "squared error, four layers": make(loss=ufm.MeanSquaredError(), widths=(d,) * 4),
    }


class GramError:
    """Worst relative error of W Wᵀ and Hᵀ H against the closed form, from factors and features in
    NumPy."""

    def __init__(self, problem: ufm.Problem):
        optimum = ufm.closed_form(problem)
        index = np.asarray(optimum.column_index)
        self.classifier = optimum.classifier_gram
        self.features = optimum.class_gram[np.ix_(index, index)]

    def __call__(self, point) -> float:
        weights, H, _ = point
        # a step size that is too long ends in infinity, which is an answer
        with np.errstate(over="ignore", invalid="ignore"):
            W = functools.reduce(np.matmul, weights)
            pairs = ((W @ W.T, self.classifier), (H.T @ H, self.features))
            return max(
                float(np.linalg.norm(found - exact) / np.linalg.norm(exact))
                for found, exact in pairs
            )


def point_of(params: ufm.Params):
    return [np.asarray(W) for W in params.weights], np.asarray(params.features), None


def ours(problem: ufm.Problem, solver, start: ufm.Params, tolerance: float | None) -> ufm.Solution:
    return jax.block_until_ready(
        ufm.minimise(problem, solver=solver, start=start, tolerance=tolerance, progress=False)
    )


def loosest_tolerance(
    solve: Callable[[float], ufm.Solution], error, accuracy: float
) -> float | None:
    """The loosest power of ten of the gradient tolerance whose solution is accurate enough, None if
    none is."""
    for exponent in range(1, 14):
        if error(point_of(solve(10.0**-exponent).params)) <= accuracy:
            return 10.0**-exponent
    return None


def scipy_run(objective: DeepObjective, x0: np.ndarray, iterations: int, callback=None):
    options = {"maxiter": iterations, "maxfun": 10 * iterations, "ftol": 0.0, "gtol": 0.0}
    return scipy.optimize.minimize(
        objective, x0, jac=True, method="L-BFGS-B", callback=callback, options=options
    )


def scipy_iterations(
    objective: DeepObjective, x0: np.ndarray, error, accuracies: Sequence[float]
) -> dict[float, int | None]:
    """Iterations to each accuracy, from one run with a callback."""
    found: dict[float, int | None] = dict.fromkeys(accuracies)
    count = 0

    def callback(intermediate_result):
        nonlocal count
        count += 1
        now = error(objective.point(intermediate_result.x))
        for accuracy in accuracies:
            if found[accuracy] is None and now <= accuracy:
                found[accuracy] = count
        if all(found.values()):
            raise StopIteration

    scipy_run(objective, x0, 10_000, callback=callback)
    return found


def rows(
    *,
    seeds: Iterable[int],
    repeats: int,
    K: int = 10,
    n: int = 100,
    d: int = 64,
    decay: float = 5e-4,
    paper_budget: int = PAPER_BUDGET,
    tuned_budget: int = TUNED_BUDGET,
    step_sizes: Sequence[float] = STEP_SIZES,
    adam_step_sizes: Sequence[float] = ADAM_STEP_SIZES,
    settings: Sequence[str] | None = None,
) -> list[Row]:
    """One row a problem, accuracy and contestant.

    Seconds of our Newton on the same full columns against those of the contestant.
    """
    seed = next(iter(seeds))
    result: list[Row] = []
    made = problems(K=K, n=n, d=d, decay=decay)
    for setting, problem in (
        made.items() if settings is None else ((name, made[name]) for name in settings)
    ):
        error = GramError(problem)
        start = ufm.solvers.random_start(problem, key=jax.random.key(seed))
        newton, notes = _times_of_ours(
            setting, problem, start, error, repeats, ufm.solvers.Newton()
        )
        for accuracy, timing in newton.items():
            if timing is None:
                raise RuntimeError(
                    f"{setting}: Newton's method does not reach {accuracy:g}, so there is "
                    f"nothing to compare with"
                )
        contestants = {
            "ufm Newton, collapsed": _collapsed(setting, problem, seed, repeats),
            "ufm L-BFGS": _times_of_ours(
                setting, problem, start, error, repeats, ufm.solvers.LBFGS()
            ),
            "scipy L-BFGS-B": _times_of_scipy(problem, start, error, repeats),
            **_times_of_torch(
                problem,
                start,
                error,
                paper_budget=paper_budget,
                tuned_budget=tuned_budget,
                step_sizes=step_sizes,
                adam_step_sizes=adam_step_sizes,
            ),
        }
        for accuracy in ACCURACIES:
            for contestant, (timings, about) in contestants.items():
                timing = timings[accuracy]
                reached = timing is not None
                result.append(
                    Row(
                        name=f"{setting}, to {accuracy:g}",
                        rival_name=contestant if reached else f"{contestant}: not reached",
                        ours=newton[accuracy],
                        # seconds of the whole budget, which are a lower bound of what it would take
                        rival=timing if reached else about["whole run"],
                        data={
                            "setting": setting,
                            "accuracy": accuracy,
                            "contestant": contestant,
                            "reached": reached,
                        }
                        | {key: value for key, value in about.items() if key != "whole run"}
                        | {"ours, first call s": notes["first call s"]},
                    )
                )
    return result


def _times_of_ours(setting, problem, start, error, repeats, solver):
    compiling = first_call(functools.partial(ours, problem, solver, start, 1e-13))
    tolerances = {
        accuracy: loosest_tolerance(
            functools.partial(ours, problem, solver, start), error, accuracy
        )
        for accuracy in ACCURACIES
    }
    kept = {
        accuracy: tolerance for accuracy, tolerance in tolerances.items() if tolerance is not None
    }
    calls = [
        [functools.partial(ours, problem, solver, start, tolerance)] for tolerance in kept.values()
    ]
    timed = dict(zip(kept, time_turns(calls, repeats=repeats), strict=True))
    steps = {
        accuracy: int(ours(problem, solver, start, tolerance).num_steps)
        for accuracy, tolerance in kept.items()
    }
    whole = time_turns([[functools.partial(ours, problem, solver, start, 1e-13)]], repeats=1)[0]
    return {accuracy: timed.get(accuracy) for accuracy in ACCURACIES}, {
        "steps": list(steps.values()),
        "first call s": compiling,
        "whole run": whole,
    }


def _collapsed(setting, problem: ufm.Problem, seed: int, repeats: int):
    counts = [int(n) for n in np.asarray(problem.labels.class_counts)]
    bias = "free" if problem.bias == "free" else None
    collapsed = ufm.Problem(
        ufm.one_hot(counts, collapsed=True),
        loss=problem.loss,
        widths=problem.widths,
        lambda_W=float(problem.lambda_W[0]),
        lambda_H=float(problem.lambda_H),
        bias=bias,
    )
    start = ufm.solvers.random_start(collapsed, key=jax.random.key(seed))
    return _times_of_ours(
        setting, collapsed, start, GramError(collapsed), repeats, ufm.solvers.Newton()
    )


def _times_of_scipy(problem, start, error, repeats):
    objective = DeepObjective(problem)
    x0 = objective.flat(start)
    iterations = {
        accuracy: count
        for accuracy, count in scipy_iterations(objective, x0, error, ACCURACIES).items()
        if count is not None
    }
    calls = [[functools.partial(scipy_run, objective, x0, count)] for count in iterations.values()]
    timed = dict(zip(iterations, time_turns(calls, repeats=repeats), strict=True))
    whole = time_turns([[functools.partial(scipy_run, objective, x0, 10_000)]], repeats=1)[0]
    return {accuracy: timed.get(accuracy) for accuracy in ACCURACIES}, {
        "steps": list(iterations.values()),
        "whole run": whole,
    }


def _times_of_torch(
    problem, start, error, *, paper_budget, tuned_budget, step_sizes, adam_step_sizes
) -> dict:
    """Empty where PyTorch is not installed."""
    try:
        import torch

        from tests.benchmarks import torch_rival
    except ImportError:
        return {}
    torch.set_num_threads(1)
    script = torch_rival.FullBatch(problem, start)
    Recipe, descent = torch_rival.Recipe, torch_rival.descent
    recipes = [
        Recipe("torch GD, step 0.1", descent(0.1), paper_budget, paper=True),
        Recipe("torch momentum 0.9, step 0.1", descent(0.1, 0.9), paper_budget, paper=True),
        Recipe("torch L-BFGS", torch_rival.lbfgs(), tuned_budget),
    ]
    searched = (
        (
            "torch GD, best step",
            lambda s: Recipe("torch GD, best step", descent(s), tuned_budget),
            step_sizes,
        ),
        (
            "torch momentum, best step",
            lambda s: Recipe("torch momentum, best step", descent(s, 0.9), tuned_budget),
            step_sizes,
        ),
        (
            "torch Adam, best step",
            lambda s: Recipe("torch Adam, best step", torch_rival.adam(s), tuned_budget),
            adam_step_sizes,
        ),
    )
    about = {}
    for name, make, sizes in searched:
        recipe, step = torch_rival.best(
            make, sizes, problem=script, error=error, accuracy=1e-6, check_every=25
        )
        recipes.append(recipe)
        about[name] = {"step size": step}
    found = {}
    for recipe in recipes:
        reached = torch_rival.run(
            script,
            recipe,
            error=error,
            accuracies=ACCURACIES,
            check_every=50 if recipe.paper else 5,
        )
        timings = {
            a: None if s is None else Timing(wall=s, cpu=s) for a, s in reached.seconds.items()
        }
        found[recipe.name] = (
            timings,
            {
                "steps": [s for s in reached.steps.values() if s is not None],
                "final error": reached.error if np.isfinite(reached.error) else "diverged",
                "whole run": Timing(wall=reached.total, cpu=reached.total),
                **about.get(recipe.name, {}),
            },
        )
    return found
