"""Dang et al. 2023, squared error: claims about every layer, pictures of the frames, and cases at a
given strength."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.measure import Point, Setup, matrix_claim
from theory_checks.engine.registry import Case, Claim, Record, Setting
from theory_checks.formulas.squared_error import Branch, decay

# claims ------------------------------------------------------------------------------------------


def geometry_claims(point: Point, setup: Setup, solution: Branch, frame) -> list[Claim]:
    """The geometry of the theorems; `frame` turns one number a class into the matrix of that shape
    (diagonal, or times S)."""
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
    """The same geometry between the layers: Grams of W_M…W_m and of H_m = W_{m−1}…W_1 H̄ for 1 < m
    <= M."""
    claims = []
    lambdas = setup.lambda_W[::-1]  # λ_1, …, λ_M
    geometric_mean = (np.prod(lambdas) * setup.lambda_H) ** (1 / (setup.M + 1))
    spectrum = np.sqrt(setup.counts) * np.maximum(solution.fraction, 0)
    left, right = np.eye(setup.K), point.class_means
    for m in range(2, setup.M + 1):
        right = point.weights[-(m - 1)] @ right
        squares = (
            np.prod(geometric_mean / lambdas[: m - 1])
            * geometric_mean
            / setup.lambda_H
            * spectrum ** (2 * m / (setup.M + 1))
        )
        claims.append(
            matrix_claim(f"Gram of H_{m}", right.T @ right, frame(squares / setup.counts), size=1.0)
        )
    for m in range(setup.M, 1, -1):
        left = left @ point.weights[setup.M - m]
        squares = np.prod(geometric_mean / lambdas[m - 1 :]) * spectrum ** (
            2 * (setup.M - m + 1) / (setup.M + 1)
        )
        claims.append(matrix_claim(f"Gram of W_M…W_{m}", left @ left.T, frame(squares), size=1.0))
    return claims


def frame_records(point: Point) -> list[Record]:
    """Class means and rows of the classifier for a picture, where the features are
    three-dimensional and nothing need be projected."""
    if point.problem.feature_dim != 3:
        return []
    index = np.arange(1, point.class_means.shape[1] + 1)
    return [
        Record(name, {"class": index, "x": vectors[0], "y": vectors[1], "z": vectors[2]})
        for name, vectors in (
            ("class means in space", point.class_means),
            ("rows of the classifier in space", point.classifier.T),
        )
    ]


# cases -------------------------------------------------------------------------------------------

EQUAL = (10, 10, 10, 10)
DEPTHS = (1, 2, 3, 6)
# Deep problems have local minima. Near a threshold 1 start in 5 comes to the global one with two
# layers, 1 in 10 with three and 1 in 30 with six, from where other directions are tried besides.
_DEEP_STARTS = 64
INSIDE, BOUNDARY, OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE


def case(
    name: str,
    setting: Setting,
    *,
    t: float,
    M: int = 1,
    counts=EQUAL,
    of: int = -1,
    widths=None,
    bias=None,
    unequal=None,
    full=False,
) -> Case:
    """A case on which class `of` has strength t; `unequal` (M+1 factors, product 1) spreads λ over
    (W_M, …, W_1, H)."""
    lam = decay(t, counts, M, of=of)
    spread = (1.0,) * (M + 1) if unequal is None else unequal
    parameters = {
        "class_counts": counts,
        "widths": (8,) * M if widths is None else widths,
        "lambda_W": tuple(lam * a for a in spread[:-1]),
        "lambda_H": lam * spread[-1],
        "bias": bias,
    }
    starts = 1 if M == 1 else _DEEP_STARTS
    return Case(name, setting, parameters, starts=starts, full=full)
