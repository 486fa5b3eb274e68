"""Scales of pick-all-label optima where all sets of one size have one count."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from math import comb

import numpy as np

import ufm
from theory_checks.formulas.roots import bisect


def sets_of(num_classes: int, counts: Mapping[tuple[int, ...], int]) -> tuple[list, np.ndarray]:
    """Sets in a fixed order, and their counts."""
    sets = sorted(counts, key=lambda S: (len(S), S))
    return sets, np.array([counts[S] for S in sets], dtype=np.float64)


def vanishing_decay(num_classes: int, counts: Mapping[tuple[int, ...], int]) -> float:
    """√(λ_W λ_H) from which on all is zero without a bias: ‖[√n_S P 1_S]_S‖/N."""
    sets, numbers = sets_of(num_classes, counts)
    members = np.array([[float(k in S) for S in sets] for k in range(num_classes)])
    centred = (members - members.mean(axis=0)) * np.sqrt(numbers)
    return float(np.linalg.norm(centred, 2) / numbers.sum())


def kappa(counts: Mapping[tuple[int, ...], int]) -> float:
    """Labels a sample: their objective over that of `ufm`."""
    return sum(n * len(S) for S, n in counts.items()) / sum(counts.values())


def pick_all_problem(num_classes, counts, *, dim, lambda_W, lambda_H, collapsed=False, bias=None):
    """The problem in `ufm`, of their decays."""
    sets, numbers = sets_of(num_classes, counts)
    labels = ufm.labels.pick_all(sets, numbers, num_classes=num_classes, collapsed=collapsed)
    factor = kappa(counts)
    return ufm.Problem(
        labels,
        loss=ufm.CrossEntropy(),
        widths=(dim,),
        lambda_W=lambda_W / factor,
        lambda_H=lambda_H / factor,
        bias=bias if bias in (None, "free") else bias / factor,
    )


@dataclasses.dataclass(frozen=True)
class Scales:
    """K classes and n_m samples for *each* set of size m, with their decays."""

    K: int
    per_size: Mapping[int, int]
    lambda_W: float
    lambda_H: float

    @property
    def N(self) -> int:
        """Samples."""
        return sum(n * comb(self.K, m) for m, n in self.per_size.items())

    @property
    def reach(self) -> float:
        """Σ n_m C(K−2, m−1): the squared norm of the centred sets along a contrast."""
        return float(sum(n * comb(self.K - 2, m - 1) for m, n in self.per_size.items()))

    @property
    def threshold(self) -> float:
        """√(λ_W λ_H) from which on all is zero."""
        return float(np.sqrt(self.reach) / self.N)

    def g(self, m: int, S: float) -> float:
        """g_m with g (m e^g + K − m) = K S/(N λ_H)."""
        K, right = self.K, self.K * S / (self.N * self.lambda_H)
        return float(
            bisect(
                lambda g: g * (m * np.exp(np.minimum(g, 700)) + K - m) - right,
                0.0,
                1 + np.log1p(right) + right / K,
            )
        )

    def classifier(self) -> float:
        """S, with W Wᵀ = S P: the root of (λ_W/λ_H) S² = Σ n_m C(K−2, m−1) g_m(S)²."""
        if np.sqrt(self.lambda_W * self.lambda_H) >= self.threshold:
            return 0.0

        def excess(S):
            total = sum(
                n * comb(self.K - 2, m - 1) * (self.g(m, S) / S) ** 2
                for m, n in self.per_size.items()
            )
            return self.lambda_W / self.lambda_H - total

        top = np.sqrt(self.lambda_H / self.lambda_W * self.reach) / self.lambda_H
        return float(bisect(excess, 1e-12 * top, top))

    def logits(self, sets) -> np.ndarray:
        """z_S = g_m (1_S − m/K) for every set (K, T)."""
        S, Z = self.classifier(), np.zeros((self.K, len(sets)))
        for column, labels in enumerate(sets):
            Z[list(labels), column] = 1
            Z[:, column] -= len(labels) / self.K
            Z[:, column] *= self.g(len(labels), S) if S > 0 else 0.0
        return Z

    def value(self) -> float:
        """Their least objective."""
        S, K = self.classifier(), self.K
        loss, squares = 0.0, 0.0
        for m, n in self.per_size.items():
            g = self.g(m, S) if S > 0 else 0.0
            loss += n * comb(K, m) * m * (np.log(m * np.exp(g) + K - m) - g)
            squares += n * comb(K - 2, m - 1) * g**2
        nuclear = (K - 1) * np.sqrt(self.lambda_W * self.lambda_H * squares)
        return float(loss / self.N + nuclear)
