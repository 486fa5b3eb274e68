"""Many gradient flows at once against a Python loop over scipy's `solve_ivp` with a hand-written
velocity, at equal tolerance."""

from __future__ import annotations

import functools
import os
from contextlib import contextmanager, suppress
from pathlib import Path

import jax
import numpy as np
from scipy.integrate import solve_ivp

import ufm
from tests.benchmarks.harness import Row, first_call, time_turns
from ufm.flows import flow_batch

CORES = 2
REQUIRED = 20.0


class CrossEntropyFlow:
    """The velocity of W, H and b, collapsed labels, in NumPy on one flat vector."""

    def __init__(self, *, class_counts, feature_dim: int, decay: float):
        self.m = np.asarray(class_counts, float)
        self.weights = self.m / self.m.sum()
        self.K, self.d, self.decay = len(self.m), feature_dim, decay
        self.targets = np.eye(self.K)

    def __call__(self, t, x):
        K, d = self.K, self.d
        W, H, b = x[: K * d].reshape(K, d), x[K * d : 2 * K * d].reshape(d, K), x[2 * K * d :]
        Z = W @ H + b[:, None]
        P = np.exp(Z - Z.max(axis=0))
        G = (P / P.sum(axis=0) - self.targets) * self.weights
        out = np.empty_like(x)
        out[: K * d] = -(G @ H.T + self.decay * W).ravel()
        out[K * d : 2 * K * d] = -((W.T @ G) / self.m + self.decay * H).ravel()
        out[2 * K * d :] = -G.sum(axis=1)
        return out


def flat(start: ufm.Params) -> np.ndarray:
    return np.concatenate(
        [np.ravel(start.weights[0]), np.ravel(start.features), np.ravel(start.bias)]
    )


def scipy_loop(velocities, points, ts, method: str, tolerances) -> np.ndarray:
    """The points at `ts` of all flows, one after the other, (B, T, variables)."""
    rows = []
    for velocity, x0 in zip(velocities, points, strict=True):
        solved = solve_ivp(
            velocity,
            (0.0, ts[-1]),
            x0,
            method=method,
            t_eval=ts,
            rtol=tolerances[0],
            atol=tolerances[1],
        )
        if not solved.success:
            raise RuntimeError(solved.message)
        rows.append(solved.y.T)
    return np.stack(rows)


def ours(problems, starts, ts, tolerances) -> ufm.Trajectory:
    return flow_batch(
        problems,
        ufm.flows.Flow(
            ts, integration=ufm.flows.Integration(rtol=tolerances[0], atol=tolerances[1], steady=0)
        ),
        starts=starts,
        progress=False,
        execution=ufm.batch.Execution(threads=CORES),
    )


def rows(
    *,
    repeats: int,
    num_decays: int = 16,
    num_seeds: int = 16,
    class_counts=(10, 10, 10, 10),
    d: int = 8,
    end: float = 200.0,
    num_times: int = 41,
) -> list[Row]:
    """Flows over a grid of λ and seeds from the same random points.

    Both sides are held to the same accuracy at all times.
    """
    decays, ts, tolerances = (
        np.geomspace(1e-3, 1e-2, num_decays),
        np.linspace(0, end, num_times),
        (1e-8, 1e-10),
    )
    labels = ufm.one_hot(class_counts, collapsed=True)
    grid = [(decay, seed) for decay in decays for seed in range(num_seeds)]
    problems = [
        ufm.Problem(
            labels,
            loss=ufm.CrossEntropy(),
            widths=(d,),
            lambda_W=decay,
            lambda_H=decay,
            bias="free",
        )
        for decay, _ in grid
    ]
    starts = [
        ufm.solvers.random_start(problem, key=jax.random.key(seed), std=0.3)
        for problem, (_, seed) in zip(problems, grid, strict=True)
    ]
    velocities = [
        CrossEntropyFlow(class_counts=class_counts, feature_dim=d, decay=decay) for decay, _ in grid
    ]
    points = [flat(start) for start in starts]

    with limited_cores():
        compiling = first_call(functools.partial(ours, problems, starts, ts, tolerances))
        exact = scipy_loop(
            velocities[:: num_seeds // 2 or 1],
            points[:: num_seeds // 2 or 1],
            ts,
            "DOP853",
            (1e-13, 1e-13),
        )
        trajectory = ours(problems, starts, ts, tolerances)
        if set(trajectory.results) != {ufm.Result.REACHED_END}:
            raise RuntimeError(f"not all flows reached the end: {set(trajectory.results)}")
        count = len(points)
        parts = (trajectory.params.weights[0], trajectory.params.features, trajectory.params.bias)
        measured = np.concatenate(
            [np.reshape(part, (count, num_times, -1)) for part in parts], axis=2
        )[:: num_seeds // 2 or 1]
        result = []
        for method in ("DOP853", "RK45"):
            theirs = scipy_loop(
                velocities[:: num_seeds // 2 or 1],
                points[:: num_seeds // 2 or 1],
                ts,
                method,
                tolerances,
            )
            errors = {
                "our error": float(np.abs(measured - exact).max()),
                "rival's error": float(np.abs(theirs - exact).max()),
            }
            if max(errors.values()) > 1e-5:
                raise RuntimeError(f"the two sides do not integrate the same flow: {errors}")
            mine, other = time_turns(
                [
                    [functools.partial(ours, problems, starts, ts, tolerances)],
                    [functools.partial(scipy_loop, velocities, points, ts, method, tolerances)],
                ],
                repeats=repeats,
            )
            result.append(
                Row(
                    name=f"flow_batch, {count} flows, cross-entropy, K = {len(class_counts)}, d = "
                    f"{d}",
                    rival_name=f"loop over solve_ivp, {method}",
                    ours=mine,
                    rival=other,
                    required=REQUIRED,
                    notes={
                        "cores": CORES,
                        "rtol": tolerances[0],
                        **errors,
                        "first call s": compiling,
                    },
                )
            )
    return result


@contextmanager
def limited_cores():
    """This process on two cores, where the system can do that: the ratios were promised for two.

    Every thread, because the pools of XLA and BLAS that have begun keep what they began with.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    _pin(set(sorted(before)[:CORES]))
    try:
        yield
    finally:
        _pin(before)


def _pin(cores: set[int]) -> None:
    tasks = Path("/proc/self/task")
    for thread in [int(entry.name) for entry in tasks.iterdir()] if tasks.exists() else [0]:
        # one may have ended since it was listed
        with suppress(ProcessLookupError):
            os.sched_setaffinity(thread, cores)
