"""What the checks on deep cross-entropy share.

The papers' formulas, points made from logits, and one search a problem.
"""

from __future__ import annotations

import functools

import jax
import numpy as np

import ufm
from theory_checks.engine.measure import Setup
from theory_checks.engine.registry import Case, Claim, NotConverged, Setting, one_hot_problem
from theory_checks.formulas.roots import bisect

# Relative gradient norm at a point made from a formula: rounding of the scale times the condition
# number.
STATIONARY = 1e-10


def strength(s: Setup) -> float:
    """Λ n^{1/(M+1)}, which is all that a balanced problem depends on beside K and M."""
    product = float(np.prod(s.lambda_W)) * s.lambda_H
    return (product * s.n) ** (1 / (s.M + 1))


def etf_value(a: float, s: Setup) -> float:
    """Objective at Z̄ = a (I − J/K) with balanced factors."""
    return float(
        np.log1p((s.K - 1) * np.exp(-a))
        + (s.M + 1) / 2 * strength(s) * (s.K - 1) * a ** (2 / (s.M + 1))
    )


def etf_scale(s: Setup) -> float:
    """The largest root a of 1/(e^a + K − 1) = Λ n^{1/(M+1)} a^{(1−M)/(1+M)}, NaN where there is
    none."""

    def excess(a):
        return (
            (s.M - 1) / (s.M + 1) * np.log(a)
            - np.logaddexp(a, np.log(s.K - 1))
            - np.log(strength(s))
        )

    grid = np.geomspace(1e-12, 700, 4000)
    above = np.flatnonzero(excess(grid) > 0)
    if not len(above):
        return float("nan")
    low, high = grid[above[-1]], grid[above[-1] + 1]
    return float(bisect(lambda a: -excess(a), low, high))


def pair_value(beta: float, s: Setup) -> float:
    """Objective at K/2 pairs, Z̄ = β blockdiag([[1, −1], [−1, 1]], …), K even."""
    decay = (s.M + 1) / 2 * strength(s) * s.K / 2 * (2 * beta) ** (2 / (s.M + 1))
    return float(np.log(1 + np.exp(-2 * beta) + (s.K - 2) * np.exp(-beta)) + decay)


def circle_value(beta: float, s: Setup) -> float:
    """Objective at Z̄ = β XᵀX with K equally spaced unit vectors X in the plane."""
    cosines = np.cos(2 * np.pi * np.arange(s.K) / s.K)
    decay = (s.M + 1) / 2 * strength(s) * 2 * (beta * s.K / 2) ** (2 / (s.M + 1))
    return float(np.log(np.sum(np.exp(beta * (cosines - 1)))) + decay)


def point_at(problem: ufm.Problem, class_logits) -> ufm.Params:
    """The point with these class-level logits and balanced factors."""
    return ufm.analysis.start_from_logits(problem, class_logits, key=jax.random.key(0), noise=0.0)


def gradient_claim(
    name: str, problem: ufm.Problem, params: ufm.Params, *, witness: bool = False
) -> Claim:
    """The gradient vanishes, in units of √λ per factor and relative to √(2f), which is the largest
    that decay allows a factor to be."""
    value, gradient = jax.tree.map(np.asarray, _value_and_gradient(problem, params))
    squares = [
        np.sum(np.square(g)) / lam
        for g, lam in zip(gradient.weights, np.asarray(problem.lambda_W), strict=True)
    ]
    squares.append(
        np.sum(
            np.square(gradient.features)
            / (np.asarray(problem.lambda_H) * np.asarray(problem.labels.masses))
        )
    )
    if gradient.bias is not None:
        squares.append(np.sum(np.square(gradient.bias)))
    return Claim(
        f"gradient at {name}", np.sqrt(sum(squares) / (2 * value)), 0.0, STATIONARY, witness=witness
    )


_value_and_gradient = jax.jit(jax.value_and_grad(ufm.model.objective, argnums=1))


def best_known(case: Case) -> ufm.analysis.BestKnown:
    """The search of a case.

    Random starts and starts of low rank, which know nothing of the structures in closed form.
    """
    p = case.parameters
    return _best_known(
        p["class_counts"],
        p["widths"],
        p["lambda_W"],
        p["lambda_H"],
        p["bias"],
        case.starts,
        case.seed,
    )


@functools.cache
def _best_known(
    counts, widths, lambda_W, lambda_H, bias, starts: int, seed: int
) -> ufm.analysis.BestKnown:
    problem = entropy_problem(
        counts, widths=widths, lambda_W=lambda_W, lambda_H=lambda_H, bias=bias
    )
    found = ufm.search(problem, key=jax.random.key(seed), starts=starts, progress=False)
    if not found.finished:
        raise KeyboardInterrupt
    if found.best.result is not ufm.Result.CONVERGED:
        raise NotConverged(str(found.best))
    return found


def entropy_problem(class_counts, *, widths, lambda_W, lambda_H, bias=None) -> ufm.Problem:
    """Cross-entropy on one-hot labels with one column a class.

    These theorems are about the class means.
    """
    return one_hot_problem(
        class_counts,
        widths=widths,
        lambda_W=lambda_W,
        lambda_H=lambda_H,
        bias=bias,
        loss="CrossEntropy",
        collapsed=True,
    )


def entropy_case(
    K: int,
    M: int,
    lam: float,
    setting: Setting,
    *,
    n: int = 1,
    counts=None,
    bias=None,
    note: str = "",
    **options,
) -> Case:
    """Equal λ, every width K; `counts` instead of n samples a class."""
    name = f"K={K}, M={M}, λ={lam:g}{', ' if note else ''}{note}"
    counts = (n,) * K if counts is None else counts
    parameters = {
        "class_counts": counts,
        "widths": (K,) * M,
        "lambda_W": lam,
        "lambda_H": lam,
        "bias": bias,
    }
    return Case(name, setting, parameters, build=entropy_problem, **{"starts": 16, **options})
