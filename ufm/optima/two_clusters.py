"""Two clusters of classes: counts of two values, and the strengths at which the minority collapses.

Cross-entropy without a bias; `two_cluster_problem.py` solves the problem below these strengths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm._host.roots import past_root, root_between
from ufm._validate import require
from ufm.labels.base import host_counts


@dataclass(frozen=True, kw_only=True)
class TwoClusters:
    """k_A classes of n_A samples and k_B of n_B <= n_A.

    `majority` (K,): which classes those are.
    """

    majority: tuple[bool, ...]
    n_A: float
    n_B: float

    @property
    def k_A(self) -> int:
        """Majority classes."""
        return sum(self.majority)

    @property
    def k_B(self) -> int:
        """Minority classes."""
        return len(self.majority) - self.k_A

    @property
    def K(self) -> int:
        """All classes."""
        return len(self.majority)

    @property
    def N(self) -> float:
        """Samples."""
        return self.k_A * self.n_A + self.k_B * self.n_B


def clusters_of(class_counts) -> TwoClusters | None:
    """The two clusters of these counts (K,) in any order, None when they take more or fewer than
    two values."""
    counts = np.asarray(class_counts, dtype=np.float64)
    majority, minority = _equal(counts, counts.max()), _equal(counts, counts.min())
    if majority.all() or not (majority | minority).all():
        return None
    return TwoClusters(
        majority=tuple(majority.tolist()), n_A=float(counts.max()), n_B=float(counts.min())
    )


def _equal(counts: np.ndarray, count: float) -> np.ndarray:
    return np.isclose(counts, count, rtol=1e-12, atol=0)


def minority_strength(class_counts) -> float:
    r"""The $N\sqrt{\lambda_W\lambda_H}$ from which the minority classes share one feature and one
    classifier: $\sqrt{n_B}$.

    `class_counts` (K,) with at least two classes of the smallest count. Holds with or without a
    bias, whatever the other classes are.
    """
    counts = host_counts(class_counts)
    smallest = counts.min()
    require(
        np.sum(_equal(counts, smallest)) >= 2,
        "`class_counts` must have two classes of the smallest count",
        class_counts,
    )
    return float(np.sqrt(smallest))


def vanishing_strength(class_counts) -> float:
    r"""The $N\sqrt{\lambda_W\lambda_H}$ from which minority features are zero, for two clusters
    without a bias.

    With a only: $1 - (p_{own} - p_{other}) = N\mu/\sqrt{n_A}$ and $n_A(1-q_A)^2K/k_B + n_Bk_A/K =
    (N\mu)^2$, where $q_A$ is the probability of all majority classes for a majority sample. For one
    majority class it is the threshold of Z = 0, $\sqrt{(k_Bn_A + n_B)/K}$. Derived here.
    """
    clusters = clusters_of(host_counts(class_counts))
    require(clusters is not None, "`class_counts` must take two distinct values", class_counts)
    assert clusters is not None
    k_A, k_B, K, n_A, n_B = clusters.k_A, clusters.k_B, clusters.K, clusters.n_A, clusters.n_B

    def at(a: float) -> tuple[float, float]:
        """Nμ from the first equation, and the excess of the second."""
        # unnormalised probabilities relative to the own class: others e^{−a}, minority e^{−a +
        # a/k_A}
        others, minority = np.exp(-a), np.exp(-a * (1 - 1 / k_A))
        total = 1 + (k_A - 1) * others + k_B * minority
        strength = np.sqrt(n_A) * (k_A * others + k_B * minority) / total
        return strength, n_A * (k_B * minority / total) ** 2 * K / k_B + n_B * k_A / K - strength**2

    def excess(a: float) -> float:
        return at(a)[1]

    return float(at(root_between(excess, 0.0, past_root(excess, 0.0)))[0])
