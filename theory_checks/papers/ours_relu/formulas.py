"""Networks in exact fractions, and the least complexities of their kind in plain floats."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

Matrix = list[list[Fraction]]


def fractions(rows: Sequence[Sequence[int]], over: int = 1) -> Matrix:
    """A matrix of whole numbers over one denominator."""
    return [[Fraction(entry, over) for entry in row] for row in rows]


def identity(size: int, scale: Fraction = Fraction(1)) -> Matrix:
    """A multiple of I."""
    return [[scale * (row == column) for column in range(size)] for row in range(size)]


def product(left: Matrix, right: Matrix) -> Matrix:
    """The product, exactly."""
    columns = list(zip(*right, strict=True))
    return [
        [sum((a * b for a, b in zip(row, column, strict=True) if a and b), Fraction(0))
         for column in columns]
        for row in left
    ]  # fmt: skip


def rectified(matrix: Matrix) -> Matrix:
    """ReLU of every entry."""
    return [[max(entry, Fraction(0)) for entry in row] for row in matrix]


def squares(matrix: Matrix) -> Fraction:
    """The squared Frobenius norm."""
    return sum((entry * entry for row in matrix for entry in row), Fraction(0))


def output(network: Sequence[Matrix]) -> Matrix:
    """Z of a network H, W_1, …, W_L."""
    entering, *inner, last = network
    for W in inner:
        entering = rectified(product(W, entering))
    return product(last, entering)


def complexity(network: Sequence[Matrix]) -> Fraction:
    """The mean of the squared norms of its L + 1 factors."""
    return sum((squares(factor) for factor in network), Fraction(0)) / len(network)


def triple(depth: int) -> list[Matrix]:
    """Three classes on two nonnegative directions; a layer beyond the fourth is an identity."""
    features = fractions([[5, 4, 0], [0, 4, 5]], over=5)
    steps = [identity(2, Fraction(6, 5))] * min(depth - 2, 2) + [identity(2)] * (depth - 4)
    widest = fractions([[3, 3], [4, -4], [-4, 4]], over=5)
    before = features
    for W in (*steps, widest):
        before = product(W, before)
    # behind the ReLU: (c, e, c), (f, 0, 0), (0, 0, f)
    (c, e, _), (f, _, _), _ = rectified(before)
    none = Fraction(0)
    inverse = [[none, 1 / f, none], [1 / e, -c / (e * f), -c / (e * f)], [none, none, 1 / f]]
    return [features, *steps, widest, inverse]


def pairs(count: int) -> list[Matrix]:
    """Up to seven pairs of classes behind three matrices, on halves of a set of eight."""
    alpha, beta, t = Fraction(21, 25), Fraction(7, 13), Fraction(17, 24)
    classes = range(2 * count)
    signs = [[(-1) ** (row & unit).bit_count() for unit in range(1, count + 1)] for row in range(8)]
    # column 2i of X is e_i, column 2i + 1 its negative
    X = [[(column // 2 == i) * (1 - 2 * (column % 2)) for column in classes] for i in range(count)]
    features = [[alpha * entry for entry in row] for row in X] + [[beta] * len(classes)]
    # every class on its half, and its opposite on the other
    onto_halves = [[t / 2 / alpha * entry for entry in row] + [t / 2 / beta] for row in signs]
    back = product(_transposed(fractions(X)), _transposed(fractions(signs)))
    onto_pairs = [[entry / (4 * t) for entry in row] for row in back]
    return [features, onto_halves, onto_pairs, identity(len(classes))]


def _transposed(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*matrix, strict=True)]


def beside(network: Sequence[Matrix], alone: int) -> list[Matrix]:
    """With so many classes alone beside it, each on a unit of its own."""
    together = []
    for factor in network:
        wide = len(factor[0])
        together.append(
            [row + [Fraction(0)] * alone for row in factor]
            + [
                [Fraction(0)] * wide + [Fraction(row == column) for column in range(alone)]
                for row in range(alone)
            ]
        )
    return together


def distance_to_identity(matrix: Matrix) -> Fraction:
    """The largest entry of Z − I."""
    return max(
        abs(entry - (row == column))
        for row, entries in enumerate(matrix)
        for column, entry in enumerate(entries)
    )


def least_triple(L: int) -> float:
    """κ of the triple with its angle searched for, which is the same at every depth."""
    low, high, least = 0.5, 0.8, np.inf
    for _ in range(6):
        angles = np.linspace(low, high, 201)
        sine, cosine = np.sin(angles), np.cos(angles)
        costs = (1 + sine) * (1 + 2 * np.sqrt(1 + cosine**2) / sine) / cosine
        best = int(np.argmin(costs))
        least = costs[best]
        low, high = angles[max(best - 2, 0)], angles[min(best + 2, 200)]
    return float(2 * (least / 4) ** (2 / (L + 1)))


def least_pairs(K: int, L: int) -> float:
    """κ of K/2 pairs behind L >= 3 matrices."""
    q = K / 2
    total = (q + q**0.5) * (q + 1) ** ((L - 3) / 2) * (2 * q) * (2 * q) ** 0.5 / q**0.5
    return total ** (2 / (L + 1))
