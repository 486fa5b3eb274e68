r"""Dang, Tran, Osher, Tran-The, Ho, Nguyen 2023, "Neural Collapse in Deep Linear Networks": formulas for squared error.

Their objective, $\frac{1}{2N}\|W_M\cdots W_1 H + b\mathbf 1^\top - Y\|^2 + \sum_m\frac{\lambda_m}{2}\|W_m\|^2 +
\frac{\lambda_H}{2}\|H\|^2$ with H summed over all N columns and an unpenalised bias, is that of `ufm` as it stands: nothing to translate.
Their shape constants are

    b = M N (N λ_M…λ_1 λ_H)^{1/M},   c = λ_1^{M−1} / (λ_2…λ_M),   x the largest root of  b/n_k = M x^{M−1} / (1 + x^M)²,   c s^{2M} = N
    λ_H x^M.

The statements are cited by content. This file holds the formulas; `dang2023.py` (balanced) and `dang2023_imbalanced.py` try them on full
columns from random starts, `dang2023_protocol.py` runs the paper's own script.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from theory_checks.measure import Point, Setup, matrix_claim
from theory_checks.registry import Case, Claim, Record, Setting, paper

paper("dang2023", "Dang et al. 2023, Neural Collapse in Deep Linear Networks (arXiv 2301.00437), squared error")

# the paper's formulas ---------------------------------------------------------------------------------------------------------------


def threshold(M: int) -> float:
    """t_c = (M−1)^{(M−1)/M} / M, beyond which zero is the only optimum of a direction. Python's 0 ** 0 = 1 gives 1 for M = 1."""
    return (M - 1) ** ((M - 1) / M) / M


def metastable_end(M: int) -> float:
    """t_e: up to here a nonzero local minimum survives."""
    return (M + 1) ** 2 / (4 * M) * ((M - 1) / (M + 1)) ** ((M - 1) / M)


def strengths(setup: Setup) -> np.ndarray:
    """t_k = b / n_k (K,)."""
    product = float(np.prod(setup.lambda_W)) * setup.lambda_H
    return setup.M * setup.N * (setup.N * product) ** (1 / setup.M) / setup.counts


def as_balanced(setup: Setup) -> Setup:
    """The setup with every count replaced by the mean: what a theorem on balanced classes would say of it."""
    return dataclasses.replace(setup, counts=np.full(setup.K, setup.n))


def mean_strength(setup: Setup) -> float:
    """t = b / n for balanced classes; with unequal counts, that of the mean count."""
    return float(strengths(as_balanced(setup))[0])


def missing(t: float, M: int) -> float:
    """1 − f = 1/(1 + x^M) at the largest root x, NaN where there is none.

    In u = 1 − f the equation reads t = M u^{(M+1)/M} (1−u)^{(M−1)/M}, increasing up to u = (M+1)/(2M): bisection keeps all digits as λ → 0.
    One layer: u = √t, also beyond the threshold, where f < 0 says that the formula has left its regime.
    """
    if M == 1:
        return float(np.sqrt(t))
    low, high = 0.0, (M + 1) / (2 * M)
    if t > metastable_end(M):
        return float("nan")
    for _ in range(200):
        u = 0.5 * (low + high)
        low, high = (u, high) if M * u ** ((M + 1) / M) * (1 - u) ** ((M - 1) / M) < t else (low, u)
    return 0.5 * (low + high)


@dataclasses.dataclass(frozen=True, eq=False)
class Branch:
    """The paper's solution by class, each (K,): fraction f of the target reached, p2 = c s^{2M}, and the term g(x_k) of the value."""

    fraction: np.ndarray
    p2: np.ndarray
    value_terms: np.ndarray


def branch(setup: Setup, *, clip: bool) -> Branch:
    """The nonzero branch for every class; with `clip` only where t_k < t_c, and zero elsewhere, as the imbalanced theorems have it."""
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


# claims ------------------------------------------------------------------------------------------------------------------------------


def geometry_claims(point: Point, setup: Setup, solution: Branch, frame) -> list[Claim]:
    """The geometry of the theorems; `frame` turns one number a class into the matrix of that shape (diagonal, or times S)."""
    NH = setup.N * setup.lambda_H
    gain = solution.p2 + NH
    claims = [
        point.collapse_claim(),
        point.weight_gram_claim(frame(solution.p2)),
        point.feature_gram_claim(frame(solution.p2 / gain**2)),
        matrix_claim("W H̄", point.linear_logits, frame(solution.fraction), size=1.0),
        matrix_claim(
            "self-duality: W = (c s^2M + N λ_H) H̄ᵀ",
            point.classifier,
            gain[:, None] * point.class_means.T,
            size=np.sqrt(point.weight_size()),
            like=np.sqrt(np.abs(solution.p2)),
        ),
    ]
    return claims + layer_claims(point, setup, solution, frame)


def layer_claims(point: Point, setup: Setup, solution: Branch, frame) -> list[Claim]:
    """The same geometry between the layers: Grams of W_M…W_m and of H_m = W_{m−1}…W_1 H̄ for 1 < m <= M."""
    claims = []
    lambdas = setup.lambda_W[::-1]  # λ_1, …, λ_M
    geometric_mean = (np.prod(lambdas) * setup.lambda_H) ** (1 / (setup.M + 1))
    spectrum = np.sqrt(setup.counts) * np.maximum(solution.fraction, 0)
    left, right = np.eye(setup.K), point.class_means
    for m in range(2, setup.M + 1):
        right = point.weights[-(m - 1)] @ right
        squares = np.prod(geometric_mean / lambdas[: m - 1]) * geometric_mean / setup.lambda_H * spectrum ** (2 * m / (setup.M + 1))
        claims.append(matrix_claim(f"Gram of H_{m}", right.T @ right, frame(squares / setup.counts), size=1.0))
    for m in range(setup.M, 1, -1):
        left = left @ point.weights[setup.M - m]
        squares = np.prod(geometric_mean / lambdas[m - 1 :]) * spectrum ** (2 * (setup.M - m + 1) / (setup.M + 1))
        claims.append(matrix_claim(f"Gram of W_M…W_{m}", left @ left.T, frame(squares), size=1.0))
    return claims


def mean_value(setup: Setup, solution: Branch, kept: int) -> float:
    """L* = [Σ_kept n_k g(x_k) + Σ_rest n_k] / (2N), the kept directions being the first ones."""
    return float(setup.counts[:kept] @ solution.value_terms[:kept] + setup.counts[kept:].sum()) / (2 * setup.N)


def frame_records(point: Point) -> list[Record]:
    """Class means and rows of the classifier for a picture, where the features are three-dimensional and nothing need be projected."""
    if point.problem.feature_dim != 3:
        return []
    index = np.arange(1, point.class_means.shape[1] + 1)
    return [
        Record(name, {"class": index, "x": vectors[0], "y": vectors[1], "z": vectors[2]})
        for name, vectors in (("class means in space", point.class_means), ("rows of the classifier in space", point.classifier.T))
    ]


# cases -------------------------------------------------------------------------------------------------------------------------------

EQUAL = (10, 10, 10, 10)
DEPTHS = (1, 2, 3, 6)
# Deep problems have local minima, and near a threshold the global one drew 1 start in 30 (M = 2) or 1 in 10: enough not to miss it.
# One number a depth, because another one is another compilation.
STARTS = {1: 1, 2: 256, 3: 128, 6: 64}
INSIDE, BOUNDARY, OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE


def case(name: str, setting: Setting, *, t: float, M: int = 1, counts=EQUAL, of: int = -1, widths=None, bias=None, unequal=None) -> Case:
    """A case on which class `of` has strength t; `unequal` (M+1 factors, product 1) spreads λ over (W_M, …, W_1, H)."""
    lam = decay(t, counts, M, of=of)
    spread = (1.0,) * (M + 1) if unequal is None else unequal
    parameters = {
        "class_counts": counts,
        "widths": (8,) * M if widths is None else widths,
        "lambda_W": tuple(lam * a for a in spread[:-1]),
        "lambda_H": lam * spread[-1],
        "bias": bias,
    }
    return Case(name, setting, parameters, starts=STARTS[M])
