r"""The max-margin limit of class-dependent temperatures.

$\min\|ZD^{1/2}\|_*$ subject to $\delta_yz_y - \delta_cz_c\ge1$.
"""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
import numpy as np

import ufm
from theory_checks.engine.registry import Case
from ufm._exact.fractions import fractions


def wide_enough(case: Case) -> bool:
    """d >= K − 1."""
    return case.problem.feature_dim >= len(case.parameters["class_counts"]) - 1


def temperatures(counts, gamma: float) -> np.ndarray:
    """δ_k = (n_k/n_max)^γ."""
    n = np.asarray(counts, dtype=np.float64)
    return (n / n.max()) ** gamma


def projector(delta: np.ndarray) -> np.ndarray:
    """Π_u, u ∝ 1/δ."""
    u = 1 / delta
    return np.eye(len(u)) - np.outer(u, u) / (u @ u)


def logits(delta: np.ndarray) -> np.ndarray:
    """Z* = Π_u Δ⁻¹ (K, K)."""
    return projector(delta) / delta


def _root(matrix: np.ndarray, power: float) -> np.ndarray:
    """A power of a positive semidefinite matrix of rank K − 1."""
    values, vectors = np.linalg.eigh(matrix)
    values = np.where(values > 1e-12 * values.max(), values, 0)
    powers = np.where(values > 0, np.where(values > 0, values, 1) ** power, 0)
    return (vectors * powers) @ vectors.T


def grams(counts, delta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """W Wᵀ and the Gram of the class means, each up to scale."""
    n = np.asarray(counts, dtype=np.float64)
    P, A = projector(delta), logits(delta) * np.sqrt(n)
    classifier = _root(P * (n / delta**2) @ P, 0.5)
    means = _root(A.T @ A, 0.5) / np.sqrt(np.outer(n, n))
    return classifier, means


def dual(counts, delta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """β (K, K), multipliers that the polar factor of Z D^{1/2} gives, and B, it times D^{1/2}."""
    n = np.asarray(counts, dtype=np.float64)
    U, _, V = np.linalg.svd(logits(delta) * np.sqrt(n))
    polar = U[:, :-1] @ V[:-1]
    B = polar * np.sqrt(n)
    beta = -B / delta[:, None]
    np.fill_diagonal(beta, 0)
    return beta, B


def margins(Z: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """δ_y z_y − δ_c z_c of every pair, the diagonal left out."""
    scaled = delta[:, None] * Z
    gaps = np.diag(scaled)[None, :] - scaled
    return gaps[~np.eye(len(delta), dtype=bool)]


class LabelTemperature(ufm.losses.AbstractLoss):
    r"""$\mathrm{CE}(t_yz, e_y)$: a temperature of the true class, for one-hot targets."""

    name: ClassVar[str] = "label-temperature"
    shift_invariant: ClassVar[bool] = True
    temperature: jnp.ndarray

    def __init__(self, temperature):
        self.temperature = jnp.asarray(temperature)

    def _of(self, targets):
        t = self.temperature.reshape(-1, *(1,) * (targets.ndim - 1))
        return jnp.sum(t * targets, axis=0)[None]

    def __call__(self, logits, targets):
        return ufm.CrossEntropy()(self._of(targets) * logits, targets)

    def conjugate(self, dual, targets):
        return ufm.CrossEntropy().conjugate(dual / self._of(targets), targets)

    def _exactly(self, target):
        """t_y as an exact fraction."""
        given = [q * t for q, t in zip(target, fractions(self.temperature), strict=True)]
        return sum(given)

    def enclose(self, logits, target):
        t = self._exactly(target)
        return ufm.CrossEntropy().enclose([t * z for z in logits], target)

    def enclose_conjugate(self, dual, target):
        t = self._exactly(target)
        return ufm.CrossEntropy().enclose_conjugate([u / t for u in dual], target)

    def share_scale(self, num_classes):
        # of the largest temperature the domain holds those of the others
        return jnp.full(num_classes, jnp.max(self.temperature))


# margins of the true class
# ----------------------------------------------------------------------


def with_margins(class_counts, *, margins, decay, dim=4):
    """CE(z − m_y e_y): an offset of the true class of every column."""
    labels = ufm.one_hot(class_counts, collapsed=True)
    labels = ufm.labels.with_offsets(labels, -np.diag(np.asarray(margins, dtype=np.float64)))
    return ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=(dim,), lambda_W=decay, lambda_H=decay
    )


def inner_shares(counts, decay: float) -> np.ndarray:
    """K √n_y/(N λ) − K + 1: the exponential of z_y − z_k − m_y at the simplex."""
    n = np.asarray(counts, dtype=np.float64)
    return len(n) * np.sqrt(n) / (n.sum() * decay) - len(n) + 1


def simplex_margins(counts, alpha: float, decay: float) -> np.ndarray:
    """The margins with which the minimum is a simplex with W Wᵀ = α P."""
    return alpha / np.sqrt(np.asarray(counts, float)) - np.log(inner_shares(counts, decay))


def quartic_margins(counts, largest: float) -> np.ndarray:
    """Those of Cao et al. 2019: m_y ∝ 1/n_y^{1/4}, here with the largest of them given."""
    n = np.asarray(counts, dtype=np.float64)
    return largest * (n.min() / n) ** 0.25
