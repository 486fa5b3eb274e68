"""Ten thousand long-tailed cross-entropy problems, each certified: one call of `sweep` against a Python loop over scipy."""

from __future__ import annotations

import time

import jax
import numpy as np

import ufm
from tests.benchmarks.harness import Row, Timing
from tests.benchmarks.long_tail_rival import LongTailCrossEntropy, budget_for, lbfgs

K, D, LARGEST = 10, 64, 100
GAP = 1e-8
# relative gradient at which the gap of every problem below is under 1e-8
TOLERANCE = 1e-9
LAMBDAS = np.geomspace(1e-4, 5e-3, 10)
RATIOS = np.geomspace(1, 100, 10)
# Problems of the rival's loop: every 10 x 10 setting once.
RIVALS = len(LAMBDAS) * len(RATIOS)
REQUIRED = 25.0


def make(lam, counts) -> ufm.Problem:
    labels = ufm.one_hot(counts, collapsed=True)
    return ufm.Problem(labels, loss=ufm.CrossEntropy(), widths=(D,), lambda_W=lam, lambda_H=lam)


def rows(*, repeats: int, starts: int = 100) -> list[Row]:
    """Seconds of one problem, by the wall on all cores for ours, on one for a Python loop (which uses no more)."""
    counts = [ufm.exponential_counts(K, largest=LARGEST, ratio=ratio) for ratio in RATIOS]
    over = {"seed": range(starts), "lam": LAMBDAS, "counts": counts}
    number = starts * RIVALS

    def ours():
        return ufm.sweep(make, over, key=jax.random.key(0), tolerance=TOLERANCE, metrics=())

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

    walls, cpus = [], []
    for _ in range(repeats):
        turn = []
        for call, problems in ((ours, number), (theirs, RIVALS)):
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            turn.append(((time.perf_counter() - wall) / problems, (time.process_time() - cpu) / problems))
        walls.append([turn[0][0], turn[1][0]])
        cpus.append([turn[0][1], turn[1][1]])
    wall, cpu = np.median(walls, axis=0), np.median(cpus, axis=0)
    notes = {
        "problems": number,
        "first call s": first,
        "largest gap": gap,
        "rival's largest gap": max(reached for *_, reached in settings),
        "rival's iterations": float(np.mean([budget for _, _, budget, _ in settings])),
        "threads": data.attrs["threads"],
    }
    return [
        Row(
            "sweep of long tails, gap 1e-8",
            "scipy L-BFGS-B loop",
            Timing(wall=float(wall[0]), cpu=float(cpu[0])),
            Timing(wall=float(wall[1]), cpu=float(cpu[1])),
            required=REQUIRED,
            notes=notes,
        )
    ]
