"""Matrices in which several papers state their geometry."""

from __future__ import annotations

import numpy as np


def contrast(K: int) -> np.ndarray:
    """S = I − 11ᵀ/K, the Gram of a simplex ETF up to scale."""
    return np.eye(K) - np.full((K, K), 1 / K)


def directions_apart(a: np.ndarray, b: np.ndarray) -> float:
    """The distance of two arrays of one shape, each over its norm."""
    return float(np.linalg.norm(a / np.linalg.norm(a) - b / np.linalg.norm(b)))


def largest_margin(number: int, dim: int) -> float:
    """Of a softmax code, where it is known; of an orthoplex elsewhere, which has at most 2 d
    vectors."""
    if number <= dim + 1:
        return number / (number - 1)
    return 1 - float(np.cos(2 * np.pi / number)) if dim == 2 else 1.0
