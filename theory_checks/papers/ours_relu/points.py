"""Points below collapse that `ufm.search` found, as data, and their values in exact fractions.

`points.json` holds decimals, which are taken as they are written: what is compared is a point of
these very numbers. They are where searches ended, finished on their kinks and rounded to ten
digits; `python -m tests.benchmarks.rectified_searches` searches again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from theory_checks.papers.ours_relu.formulas import (
    Matrix,
    identity,
    output,
    product,
    rectified,
    squares,
)

_FILE = Path(__file__).with_name("points.json")
# What a root is known to be within of its float.
_NEAR = Fraction(1, 10**12)


@dataclass(frozen=True)
class Point:
    """H, W_1, …, W_L of K classes, one sample each, under equal decays Λ, and its value over that
    of collapse when it was saved."""

    classes: int
    depth: int
    strength: Fraction
    network: list[Matrix]
    ratio: float

    @property
    def name(self) -> str:
        """K, L and width."""
        return f"K = {self.classes}, L = {self.depth}, width {self.width}"

    @property
    def width(self) -> int:
        """Of every layer."""
        return len(self.network[0])

    @property
    def value(self) -> Fraction:
        """The objective, exactly."""
        Z = output(self.network)
        missed = [
            [entry - (row == column) for column, entry in enumerate(entries)]
            for row, entries in enumerate(Z)
        ]
        decay = sum((squares(factor) for factor in self.network), Fraction(0))
        return squares(missed) / (2 * self.classes) + self.strength / 2 * decay

    @property
    def ranks(self) -> list[int]:
        """Of what enters every ReLU, and of the output."""
        entering, found = np.array(self.network[0], dtype=np.float64), []
        for factor in self.network[1:]:
            before = np.array(factor, dtype=np.float64) @ entering
            found.append(int(np.linalg.matrix_rank(before, tol=1e-6 * np.linalg.norm(before))))
            entering = np.maximum(before, 0)
        return found


def load() -> list[Point]:
    """All points that are saved."""
    document = json.loads(_FILE.read_text(encoding="utf-8"), parse_float=Fraction)
    return [
        Point(
            point["classes"],
            point["depth"],
            Fraction(point["strength"]),
            [[[Fraction(entry) for entry in row] for row in factor] for factor in point["network"]],
            float(point["ratio"]),
        )
        for point in document
    ]


def save(points: list[dict]) -> None:
    """Points as decimals; what is read back is what is written."""
    _FILE.write_text(json.dumps(points, separators=(",", ":")) + "\n", encoding="utf-8")


def as_data(K: int, L: int, strength: str, factors: list[np.ndarray], ratio: float) -> dict:
    """A point as `save` takes it, from H, W_1, …, W_L in floats."""
    network = [np.round(np.asarray(factor), 10).tolist() for factor in factors]
    return {
        "classes": K,
        "depth": L,
        "strength": strength,
        "ratio": round(ratio, 9),
        "network": network,
    }


def collapse_at_least(K: int, L: int, strength: Fraction) -> Fraction:
    r"""A number that the value of collapse is not below, in fractions.

    With $x = t^{L+1}$ it is the least of $P(t) = \tfrac12(t^{L+1}-1)^2+\tfrac{L+1}2\Lambda Kt^2$,
    and $P' = (L+1)\,t\,h$ with $h = \Lambda K - t^{L-1}(1-t^{L+1})$ negative between two roots. In
    a bracket of the larger one P falls by no more than its slope at the left end times the width.
    """
    cost = strength * K

    def h(t):
        return cost - t ** (L - 1) * (1 - t ** (L + 1))

    low, high = ((L - 1) / (2 * L)) ** (1 / (L + 1)), 1.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (
            (middle, high)
            if float(cost) < middle ** (L - 1) * (1 - middle ** (L + 1))
            else (low, middle)
        )
    left, right = Fraction(low) - _NEAR, Fraction(low) + _NEAR
    # beyond its least value h rises, so that there is one root in the bracket
    assert h(left) < 0 < h(right)
    assert left ** (L + 1) > Fraction(L - 1, 2 * L)
    least = (left ** (L + 1) - 1) ** 2 / 2 + Fraction(L + 1, 2) * cost * left**2
    return min(Fraction(1, 2), least + (right - left) * (L + 1) * right * h(left))


def tuned_triple(features: np.ndarray, inner: list[np.ndarray]) -> list[Matrix]:
    """A triple with output I, exactly: its factors in eight decimals, and the last one solved
    for."""
    factors = [_decimals(features), *(_decimals(W) for W in inner)]
    entering = factors[0]
    for W in factors[1:]:
        entering = rectified(product(W, entering))
    return [*factors, inverse(entering)]


def _decimals(matrix: np.ndarray) -> Matrix:
    scale = 10**8
    return [[Fraction(round(float(entry) * scale), scale) for entry in row] for row in matrix]


def inverse(matrix: Matrix) -> Matrix:
    """The inverse, by elimination."""
    size = len(matrix)
    rows = [row + unit for row, unit in zip(matrix, identity(size), strict=True)]
    for column in range(size):
        pivot = next(row for row in range(column, size) if rows[row][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        lead = rows[column][column]
        rows[column] = [entry / lead for entry in rows[column]]
        for row in range(size):
            if row != column:
                share = rows[row][column]
                rows[row] = [a - share * b for a, b in zip(rows[row], rows[column], strict=True)]
    return [row[size:] for row in rows]
