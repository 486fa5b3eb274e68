"""A hundred ReLU problems in one sweep against a loop over scipy on the same smoothed objective."""

from __future__ import annotations

import time

import jax
import numpy as np
import scipy.optimize

import ufm
from tests.benchmarks.flows import CORES, limited_cores
from tests.benchmarks.harness import Row, median_turns
from theory_checks.formulas.rectified import rectified_problem
from ufm.solvers.coordinates import to_flat

K, L = 4, 4
SHARE = 0.3
NUMBER, RIVALS = 100, 20
REQUIRED = 20.0
SHARES = np.linspace(0.2, 0.4, NUMBER)


def problem(classes: int, depth: int, share: float, *, width: int) -> ufm.Problem:
    """At a share of the strength at which zero is as good as collapse."""
    Lam = share * ufm.laws.rectified_scale(classes, strength=1.0, depth=depth).threshold
    return rectified_problem(classes, depth, Lam, width=width)


def smoothed_objective(
    x: np.ndarray, classes: int, depth: int, lam: float, width: float, share: float
) -> tuple[float, np.ndarray]:
    """Value and gradient in decay-weighted coordinates, every layer as wide as there are classes;
    W_L first and features last, as in `ufm`."""
    size = classes**2
    factors = [x[i * size : (i + 1) * size].reshape(classes, classes) for i in range(depth + 1)]
    *weights, H = (factor / np.sqrt(lam) for factor in factors)
    entering, slopes = [H], []
    for W in weights[:0:-1]:
        M = W @ entering[-1]
        root = np.sqrt(M * M + 4 * width**2)
        slopes.append(0.5 * (1 + M / root))
        entering.append(0.5 * (M + root))
    missed = weights[0] @ entering[-1] - np.eye(classes)
    value = 0.5 * np.sum(missed**2) / classes + 0.5 * share * x @ x
    back, gradients = missed / classes, []
    for layer, W in enumerate(weights):
        gradients.append(back @ entering[depth - 1 - layer].T)
        back = W.T @ back
        if layer < depth - 1:
            back = back * slopes[depth - 2 - layer]
    gradients.append(back)
    flat = np.concatenate([gradient.ravel() for gradient in gradients]) / np.sqrt(lam)
    return float(value), flat + share * x


def descend(lam: float, x: np.ndarray) -> np.ndarray:
    """The stages of `ufm.solvers.Smoothing`, each by L-BFGS-B to the same accuracy or budget."""
    solver = ufm.solvers.Smoothing()
    for width, share, budget in solver.stages[:-1]:
        x = scipy.optimize.minimize(
            smoothed_objective,
            x,
            args=(K, L, lam, width, share),
            jac=True,
            method="L-BFGS-B",
            options={
                "maxcor": solver.memory_size,
                "maxfun": budget,
                "ftol": 1e-15,
                # of the largest entry; ours is of the norm, and 2 f is at most 1
                "gtol": solver.accuracy / np.sqrt(x.size),
            },
        ).x
    return x


def rows(*, repeats: int) -> list[Row]:
    """Seconds of one problem, on the same two cores for ours and for a loop (which uses one)."""
    with limited_cores():
        return _rows(repeats=repeats)


def _rows(*, repeats: int, number: int = NUMBER, rivals: int = RIVALS) -> list[Row]:
    unit = float(problem(K, L, 1.0, width=K).lambda_H)
    decays = unit * SHARES[:number]
    whole = problem(K, L, SHARE, width=K)

    def ours():
        return ufm.sweep(
            lambda lam: whole.replace(lambda_W=lam, lambda_H=lam),
            {"lam": decays},
            key=jax.random.key(0),
            method=ufm.solvers.Smoothing(),
            report=ufm.sweeping.Report(metrics=()),
            execution=ufm.batch.Execution(chunk=-(-number // CORES)),
        )

    # the starts of the lanes
    key = jax.random.fold_in(jax.random.key(0), 0)
    starts = [
        np.asarray(to_flat(each, ufm.solvers.random_start(each, key=key)))
        for each in (
            whole.replace(lambda_W=lam, lambda_H=lam) for lam in decays[:: number // rivals]
        )
    ]

    def theirs():
        pairs = zip(decays[:: number // rivals], starts, strict=True)
        return [descend(float(lam), x) for lam, x in pairs]

    began = time.perf_counter()
    data = ours()
    first = time.perf_counter() - began
    collapsed = np.array(
        [ufm.laws.rectified_scale(K, strength=float(lam), depth=L).value for lam in decays]
    )
    ratios = data["value"].to_numpy() / collapsed
    ends = theirs()
    last = (ufm.solvers.Smoothing().stages[-2][0], 1.0)
    reached = [
        smoothed_objective(x, K, L, float(lam), *last)[0] / value
        for lam, x, value in zip(
            decays[:: number // rivals], ends, collapsed[:: number // rivals], strict=True
        )
    ]
    mine, other = median_turns([[ours], [theirs]], repeats=repeats)
    return [
        Row(
            f"sweep of {number} ReLU problems, K = {K}, L = {L}",
            "scipy L-BFGS-B loop",
            mine.times(1 / number),
            other.times(1 / rivals),
            required=REQUIRED,
            notes={
                "problems": number,
                "first call s": first,
                "least and median value over collapse": [
                    float(np.min(ratios)),
                    float(np.median(ratios)),
                ],
                "rival's least and median": [float(np.min(reached)), float(np.median(reached))],
                "cores": CORES,
            },
        )
    ]
