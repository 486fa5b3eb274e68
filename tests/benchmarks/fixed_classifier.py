"""Optimal features of many soft labels for a given classifier, in one call, against a loop over scipy's L-BFGS-B, label by label."""

from __future__ import annotations

import functools

import jax
import numpy as np
from scipy.optimize import minimize

import ufm
from tests.benchmarks.flows import CORES, limited_cores
from tests.benchmarks.harness import Row, Timing, first_call, time_turns

# The ratio that was promised for 100 000 labels and K = 100.
REQUIRED = 200.0
# relative error of a feature, in the median over labels: what the rival reaches before its line search sees rounding only
ACCURACY = 1e-7


def our_problem(*, K: int, d: int, labels: int, multiplier: float, decay: float, etf: bool) -> ufm.Problem:
    """Sampled mixup, λ uniform, under a simplex ETF or under a Gaussian classifier with rows of the same length on average."""
    if etf:
        W = ufm.simplex_etf(K, multiplier=multiplier, dim=d, key=jax.random.key(1)).T
    else:
        W = multiplier / np.sqrt(d) * jax.random.normal(jax.random.key(1), (K, d))
    mixed = ufm.sampled_mixup((1,) * K, 1.0, draws=labels, key=jax.random.key(0))
    return ufm.Problem(mixed, loss=ufm.CrossEntropy(), widths=(d,), lambda_W=0.0, lambda_H=decay, fixed_weights=(W,))


class OneLabel:
    """Cross-entropy of one label and decay of its feature, with its gradient, in NumPy."""

    def __init__(self, W: np.ndarray, target: np.ndarray, decay: float):
        self.W, self.target, self.decay = W, target, decay

    def __call__(self, h: np.ndarray) -> tuple[float, np.ndarray]:
        z = self.W @ h
        top = z.max()
        e = np.exp(z - top)
        total = e.sum()
        value = top + np.log(total) - self.target @ z + 0.5 * self.decay * (h @ h)
        return value, self.W.T @ (e / total - self.target) + self.decay * h


def scipy_loop(problem: ufm.Problem, count: int) -> np.ndarray:
    """Features of the first labels (d, count), one after the other, from zero."""
    (W,), decay = map(np.asarray, problem.fixed_weights), float(problem.lambda_H * problem.labels.num_samples)
    targets, start = np.asarray(problem.labels.targets), np.zeros(problem.feature_dim)
    options = {"maxiter": 10_000, "maxfun": 100_000, "ftol": 0.0, "gtol": 1e-10}
    solved = [minimize(OneLabel(W, targets[:, c], decay), start, jac=True, method="L-BFGS-B", options=options).x for c in range(count)]
    return np.stack(solved, axis=1)


def ours(problem: ufm.Problem) -> ufm.Solution:
    return ufm.fit_features(problem, threads=CORES, progress=False)


def rows(*, repeats: int, K: int = 100, d: int = 100, labels: int = 100_000, sample: int = 100) -> list[Row]:
    """The rival solves `sample` of the labels, and its time is scaled up to all of them; both sides reach the same accuracy.

    Nothing was promised for a classifier that is no frame: there a tenth of the labels, and twice the dimension, tell enough.
    """
    result = []
    settings = (("simplex ETF", labels, d, REQUIRED), ("Gaussian classifier", max(labels // 10, sample), 2 * d, None))
    for kind, labels, d, required in settings:
        problem = our_problem(K=K, d=d, labels=labels, multiplier=3.0, decay=1e-3, etf=required is not None)
        with limited_cores():
            compiling = first_call(functools.partial(ours, problem))
            solution = ours(problem)
            if solution.result is not ufm.Result.CONVERGED:
                raise RuntimeError(f"ours: {solution.result}")
            mine = np.asarray(solution.params.features)[:, :sample]
            apart = np.linalg.norm(scipy_loop(problem, sample) - mine, axis=0) / np.linalg.norm(mine, axis=0)
            if not np.median(apart) <= ACCURACY:
                raise RuntimeError(f"the two sides differ by {np.median(apart):.1e} in the median, more than {ACCURACY:g}")
            us, part = time_turns([[functools.partial(ours, problem)], [functools.partial(scipy_loop, problem, sample)]], repeats=repeats)
        scale = labels / sample
        notes = {
            "cores": CORES,
            "labels the rival solved": sample,
            "apart, median": float(np.median(apart)),
            "apart, largest": float(apart.max()),
            "Newton steps": int(solution.num_steps),
            "first call s": compiling,
        }
        name = f"fit_features, {labels} mixed labels, K = {K}, d = {d}, {kind}"
        theirs = Timing(wall=scale * part.wall, cpu=scale * part.cpu)
        result.append(Row(name, "loop over L-BFGS-B, scaled up", us, theirs, required=required, notes=notes))
    return result
