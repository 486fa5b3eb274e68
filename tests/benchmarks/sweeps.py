"""Ten thousand long-tailed cross-entropy problems, each certified.

One call of `sweep` against a Python loop over scipy.
"""

from __future__ import annotations

import time

import jax
import numpy as np

import ufm
from tests.benchmarks.flows import CORES, limited_cores
from tests.benchmarks.harness import Row, Timing, median_turns
from tests.benchmarks.long_tail_rival import LongTailCrossEntropy, budget_for, lbfgs

K, D, LARGEST = 10, 64, 100
GAP = 1e-8
# relative gradient at which the gap of every problem below is under 1e-8
TOLERANCE = 1e-9
LAMBDAS = np.geomspace(1e-4, 5e-3, 10)
RATIOS = np.geomspace(1, 100, 10)
# Problems of the rival's loop: every 10 x 10 setting once.
RIVALS = len(LAMBDAS) * len(RATIOS)
REQUIRED, REQUIRED_MOMENTUM = 25.0, 1000.0
# What the papers run: momentum 0.9, step 0.1, full batch, for 30 000 steps.
MOMENTUM, STEP, STEPS = 0.9, 0.1, 30_000


def make(lam, counts) -> ufm.Problem:
    labels = ufm.one_hot(counts, collapsed=True)
    return ufm.Problem(labels, loss=ufm.CrossEntropy(), widths=(D,), lambda_W=lam, lambda_H=lam)


def momentum_run(rival: LongTailCrossEntropy, x0: np.ndarray, *, steps: int) -> np.ndarray:
    """The papers' run from features that have collapsed.

    Samples of a class move alike, so that K columns stand for N.

    In √n h the gradient of a collapsed column is what moves it when each of its n samples follows
    its own.
    """
    assert rival.scaled
    evaluate = rival.value_and_gradient()
    x, velocity = x0.copy(), np.zeros_like(x0)
    for _ in range(steps):
        gradient = evaluate(x)[1]
        velocity = MOMENTUM * velocity + gradient
        x -= STEP * velocity
    return x


def rows(*, repeats: int, starts: int = 100, steps: int = STEPS) -> list[Row]:
    """Seconds of one problem, by the wall on the same two cores for ours and for a Python loop
    (which uses one)."""
    with limited_cores():
        return _rows(repeats=repeats, starts=starts, steps=steps)


def _rows(*, repeats: int, starts: int, steps: int) -> list[Row]:
    counts = [ufm.labels.exponential_counts(K, largest=LARGEST, ratio=ratio) for ratio in RATIOS]
    over = {"seed": range(starts), "lam": LAMBDAS, "counts": counts}
    number = starts * RIVALS

    def ours():
        return ufm.sweep(
            make,
            over,
            key=jax.random.key(0),
            method=ufm.sweeping.Minimisation(tolerance=TOLERANCE),
            report=ufm.sweeping.Report(metrics=()),
        )

    began = time.perf_counter()
    data = ours()
    first = time.perf_counter() - began
    gap = float(data["gap"].max())
    assert gap <= GAP, f"a gap of {gap:.1e} is above {GAP:g}"

    # the careful user solves at d = K too, from a start of the same size
    settings = []
    for i, (lam, n) in enumerate((lam, n) for lam in LAMBDAS for n in counts):
        rival = LongTailCrossEntropy(n, K, float(lam))
        x0 = np.random.default_rng(i).standard_normal(2 * K * K) * 0.3
        budget, reached = budget_for(rival, x0, GAP, limit=2000)
        settings.append((rival, x0, budget, reached))

    def theirs() -> None:
        for rival, x0, budget, _ in settings:
            lbfgs(rival, x0, budget)

    mine, other = median_turns([[ours], [theirs]], repeats=repeats)
    notes = {
        "problems": number,
        "first call s": first,
        "largest gap": gap,
        "rival's largest gap": max(reached for *_, reached in settings),
        "rival's iterations": float(np.mean([budget for _, _, budget, _ in settings])),
        "cores": CORES,
        "threads": data.attrs["threads"],
    }
    rival, x0, *_ = settings[len(settings) // 2]
    began = time.perf_counter()
    reached = rival.gap(momentum_run(rival, x0, steps=steps))
    momentum = time.perf_counter() - began
    return [
        Row(
            "sweep of long tails, gap 1e-8",
            "scipy L-BFGS-B loop",
            mine.times(1 / number),
            other.times(1 / RIVALS),
            required=REQUIRED,
            notes=notes,
        ),
        Row(
            "sweep of long tails, gap 1e-8",
            f"momentum, {steps} steps",
            mine.times(1 / number),
            Timing(wall=momentum, cpu=momentum),
            required=REQUIRED_MOMENTUM,
            notes={"gap that momentum reaches": reached},
        ),
    ]
