"""Supports, labels on them, and the closed form for supports that are a 2-design."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

import ufm

FANO = ((0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5))
# as many contexts as pairs of five words, so that all are of one shape
_SUPPORTS = {
    "pairs of 5": tuple(itertools.combinations(range(5), 2)),
    "the 7-point plane": FANO,
    "5 supports, twice": ((0, 1), (1, 2), (0, 2, 3), (3, 4), (4,)) * 2,
    "one word each, twice": tuple((v,) for v in range(5)) * 2,
    "a word too many": ((0, 1, 2), *itertools.combinations(range(5), 2))[:10],
    "every word": ((0, 1, 2, 3, 4),) * 10,
}


def support_matrix(name: str) -> np.ndarray:
    """S (V, C) of zeros and ones."""
    supports = _SUPPORTS[name]
    S = np.zeros((1 + max(map(max, supports)), len(supports)))
    for column, support in enumerate(supports):
        S[list(support), column] = 1
    return S


def label_matrix(supports: str, probabilities: int | None) -> np.ndarray:
    """q (V, C): uniform on the supports, or drawn there from a seed."""
    S = support_matrix(supports)
    if probabilities is not None:
        S *= np.random.default_rng(probabilities).uniform(0.5, 2, S.shape)
    return S / S.sum(axis=0)


def next_token_problem(supports, *, decay, dim, probabilities=None, masses=None) -> ufm.Problem:
    """`decay` is λ_W = λ_H, so μ."""
    labels = ufm.soft(label_matrix(supports, probabilities), masses)
    return ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=(dim,), lambda_W=decay, lambda_H=decay
    )


@dataclasses.dataclass(frozen=True)
class Design:
    """Supports of one size k, each pair of words in equally many: V, k and σ, the V − 1 equal
    singular values of the centred S."""

    V: int
    k: int
    sigma: float

    @classmethod
    def of(cls, supports: str) -> Design | None:
        """None where the supports are no 2-design."""
        S = support_matrix(supports)
        V, sizes, together = len(S), S.sum(axis=0), S @ S.T
        others = together[~np.eye(V, dtype=bool)]
        if np.ptp(sizes) or np.ptp(np.diagonal(together)) or np.ptp(others):
            return None
        return cls(V, int(sizes[0]), float(np.sqrt(together[0, 0] - together[0, 1])))

    @property
    def threshold(self) -> float:
        """The decay μ from which on all is zero."""
        return (1 - self.k / self.V) / ((self.V - 1) * self.sigma)

    def scale(self, mu: float) -> float:
        """a, with Z = a (S − k/V)."""
        inside = 1 - mu * (self.V - 1) * self.sigma
        if mu >= self.threshold:
            return 0.0
        return float(np.log(inside * (self.V - self.k) / ((1 - inside) * self.k)))

    def value(self, mu: float) -> float:
        """The least objective."""
        a = self.scale(mu)
        loss = np.log(self.k * np.exp(a) + self.V - self.k) - a
        return float(loss + mu * (self.V - 1) * self.sigma * a)


def zero_threshold(supports: str, probabilities: int | None, masses) -> float:
    r"""$\|[\omega_c(1/V-q_c)/\sqrt{m_c}]\|_{op}$ with $\omega_c = m_c/\sum m$."""
    Q = label_matrix(supports, probabilities)
    m = np.ones(Q.shape[1]) if masses is None else np.asarray(masses, dtype=np.float64)
    return float(np.linalg.norm((1 / len(Q) - Q) * (np.sqrt(m) / m.sum()), 2))
