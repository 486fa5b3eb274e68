"""The best points of deep cross-entropy that searches found, as data: class logits, classes in one
order of their own.

`points.json` is where `ufm.search` ended, of a thousand and more starts each at λ = .01; a full run
searches again. What is known of them is that they are stationary and no higher than any structure
in closed form, not that they are optimal.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_FILE = Path(__file__).with_name("points.json")
# Two entries of logits this near, relative to the largest, are one number.
_SAME = 1e-6
# Singular values below this share of the largest are rounding.
_RANK = 1e-9


@dataclass(frozen=True, eq=False)
class Point:
    """K classes of one sample, M matrices, every decay λ; Z (K, K), its value, the name of the best
    structure in closed form, and what the point is itself."""

    K: int
    M: int
    lam: float
    value: float
    closed: str
    structure: str
    logits: np.ndarray

    @property
    def rank(self) -> int:
        """Of the logits."""
        values = np.linalg.svd(self.logits, compute_uv=False)
        return int(np.sum(values > _RANK * values[0]))


def load() -> list[Point]:
    """All that are saved."""
    document = json.loads(_FILE.read_text(encoding="utf-8"))
    return [Point(**{**point, "logits": np.array(point["logits"])}) for point in document]


def save(points: list[Point]) -> None:
    """Points with every digit."""
    document = [{**vars(point), "logits": point.logits.tolist()} for point in points]
    lines = ",\n".join(json.dumps(point, separators=(",", ":")) for point in document)
    _FILE.write_text(f"[{lines}]\n", encoding="utf-8")


def canonical(logits: np.ndarray) -> np.ndarray:
    """The logits with classes in the order in which, class after class, they are lexicographically
    largest: equal for points that differ by a permutation."""
    K = len(logits)
    rounded = np.round(logits / np.max(np.abs(logits)) / (10 * _SAME)).astype(int)
    orders: list[tuple[int, ...]] = [()]
    for _ in range(K):
        longer = [(*order, k) for order in orders for k in range(K) if k not in order]

        def key(order):
            last = order[-1]
            before = [(rounded[last, k], rounded[k, last]) for k in order]
            return [entry for pair in before for entry in pair]

        largest = max(key(order) for order in longer)
        orders = [order for order in longer if key(order) == largest]
    return logits[np.ix_(orders[0], orders[0])]


def entries(logits: np.ndarray) -> list[tuple[float, int]]:
    """The different entries of logits, largest first, and how often each occurs."""
    values, found = np.sort(logits.ravel())[::-1], []
    size = np.max(np.abs(logits))
    for value in values:
        if found and found[-1][0] - value <= _SAME * size:
            found[-1][1] += 1
        else:
            found.append([float(value), 1])
    return [(value, count) for value, count in found]


def antiprism(radius: float, height: float) -> np.ndarray:
    """Logits of eight classes at the corners of a square antiprism of these two scales."""
    angles = np.arange(8) * np.pi / 4
    corners = np.stack(
        [radius * np.cos(angles), radius * np.sin(angles), height * (-1.0) ** np.arange(8)]
    )
    return corners.T @ corners


def pairs_beside_one(K: int, numbers: Sequence[float]) -> np.ndarray:
    """Logits of (K − 1)/2 pairs and a class that is coupled to all: own logit, that of the partner,
    those of other pairs, the single class's at others, others' at it, its own."""
    own, partner, others, at_others, at_single, single = numbers
    Z = np.full((K, K), others)
    for k in range(0, K - 1, 2):
        Z[k : k + 2, k : k + 2] = [[own, partner], [partner, own]]
    Z[-1, :], Z[:, -1], Z[-1, -1] = at_others, at_single, single
    return Z
