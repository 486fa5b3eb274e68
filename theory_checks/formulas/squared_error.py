r"""Squared error on linear layers, class by class.

The scalar equation of Dang et al. 2023 and what follows from its largest root.

In the normalisation of `ufm`, with b = M N (N λ_M…λ_1 λ_H)^{1/M} and c = λ_1^{M−1} / (λ_2…λ_M),
class k has the strength t_k = b / n_k and

    t = M x^{M−1} / (1 + x^M)²,   x the largest root,   c s^{2M} = N λ_H x^M,

and f = x^M / (1 + x^M) of the target is reached.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from theory_checks.engine.measure import Setup
from theory_checks.formulas.roots import bisect


def threshold(M: int) -> float:
    """t_c = (M−1)^{(M−1)/M} / M, beyond which zero is the only optimum of a direction.

    Python's 0 ** 0 = 1 gives 1 for M = 1.
    """
    return (M - 1) ** ((M - 1) / M) / M


def metastable_end(M: int) -> float:
    """t_e: up to here a nonzero local minimum survives."""
    return (M + 1) ** 2 / (4 * M) * ((M - 1) / (M + 1)) ** ((M - 1) / M)


def strengths(setup: Setup) -> np.ndarray:
    """t_k = b / n_k (K,)."""
    product = float(np.prod(setup.lambda_W)) * setup.lambda_H
    return setup.M * setup.N * (setup.N * product) ** (1 / setup.M) / setup.counts


def as_balanced(setup: Setup) -> Setup:
    """The setup with every count replaced by the mean.

    What a theorem on balanced classes would say of it.
    """
    return dataclasses.replace(setup, counts=np.full(setup.K, setup.n))


def mean_strength(setup: Setup) -> float:
    """t = b / n for balanced classes; with unequal counts, that of the mean count."""
    return float(strengths(as_balanced(setup))[0])


def missing(t: float, M: int) -> float:
    """1 − f = 1/(1 + x^M) at the largest root x, NaN where there is none.

    In u = 1 − f the equation reads t = M u^{(M+1)/M} (1−u)^{(M−1)/M}, increasing up to u =
    (M+1)/(2M): bisection keeps all digits as λ → 0. One layer: u = √t, also beyond the threshold,
    where f < 0 says that the formula has left its regime.
    """
    if M == 1:
        return float(np.sqrt(t))
    if t > metastable_end(M):
        return float("nan")

    def excess(u):
        return M * u ** ((M + 1) / M) * (1 - u) ** ((M - 1) / M) - t

    return float(bisect(excess, 0.0, (M + 1) / (2 * M)))


@dataclasses.dataclass(frozen=True, eq=False)
class Branch:
    """The paper's solution by class, each (K,).

    Fraction f of the target reached, p2 = c s^{2M}, and the term g(x_k) of the value.
    """

    fraction: np.ndarray
    p2: np.ndarray
    value_terms: np.ndarray


def branch(setup: Setup, *, clip: bool) -> Branch:
    """The nonzero branch for every class.

    With `clip` only where t_k < t_c, and zero elsewhere, as the imbalanced theorems have it.
    """
    M, NH = setup.M, setup.N * setup.lambda_H
    fraction, p2, terms = np.zeros(setup.K), np.zeros(setup.K), np.ones(setup.K)
    for k, t in enumerate(strengths(setup)):
        if clip and t >= threshold(M):
            continue
        u = missing(t, M)
        ratio = (1 - u) / u
        fraction[k], p2[k] = 1 - u, NH * ratio
        terms[k] = u + t * np.sign(ratio) * np.abs(ratio) ** (1 / M)
    return Branch(fraction, p2, terms)


def decay(t: float, counts, M: int, *, of: int = -1) -> float:
    """The equal λ at which class `of` has strength t."""
    N = sum(counts)
    return ((t * counts[of] / (M * N)) ** M / N) ** (1 / (M + 1))


def mean_value(setup: Setup, solution: Branch, kept: int) -> float:
    """L* = [Σ_kept n_k g(x_k) + Σ_rest n_k] / (2N), the kept directions being the first ones."""
    return float(setup.counts[:kept] @ solution.value_terms[:kept] + setup.counts[kept:].sum()) / (
        2 * setup.N
    )
