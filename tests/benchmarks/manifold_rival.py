"""Cross-entropy on spheres under pymanopt's trust regions, as a careful user writes it.

Gradient and Hessian by hand in NumPy, of log L, which has a scale where L has none.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np


def has_pymanopt() -> bool:
    return importlib.util.find_spec("pymanopt") is not None


@dataclass(frozen=True)
class SphereCrossEntropy:
    r"""$\log\frac1K\sum_k\log\sum_j e^{\beta(w_j-w_k)\cdot h_k}$ over W, H (d, K) of unit
    columns."""

    num_vectors: int
    dim: int
    beta: float

    def parts(self, W: np.ndarray, H: np.ndarray) -> tuple[float, np.ndarray]:
        """L, and the softmax less the targets (K, K), one column a class."""
        logits = self.beta * (W.T @ H)
        logits -= np.diagonal(logits)
        terms = np.exp(logits)
        np.fill_diagonal(terms, 0)
        sums = np.sum(terms, axis=0)
        residual = terms / (1 + sums)
        np.fill_diagonal(residual, -sums / (1 + sums))
        return float(np.mean(np.log1p(sums))), residual

    def cost(self, W: np.ndarray, H: np.ndarray) -> float:
        return float(np.log(self.parts(W, H)[0]))

    def gradient(self, W: np.ndarray, H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Euclidean."""
        loss, residual = self.parts(W, H)
        scale = self.beta / (self.num_vectors * loss)
        return scale * (H @ residual.T), scale * (W @ residual)

    def hessian(self, W, H, along_W, along_H) -> tuple[np.ndarray, np.ndarray]:
        """Euclidean, times a direction."""
        loss, residual = self.parts(W, H)
        scale = self.beta / (self.num_vectors * loss)
        moved = self.beta * (along_W.T @ H + W.T @ along_H)
        share = residual + np.eye(self.num_vectors)
        change = share * (moved - np.sum(share * moved, axis=0))
        in_W, in_H = scale * (H @ residual.T), scale * (W @ residual)
        rate = np.vdot(in_W, along_W) + np.vdot(in_H, along_H)
        return (
            scale * (along_H @ residual.T + H @ change.T) - rate * in_W,
            scale * (along_W @ residual + W @ change) - rate * in_H,
        )

    def gradient_norm(self, W: np.ndarray, H: np.ndarray) -> float:
        """Of the gradient along the spheres."""
        along = (
            g - x * np.sum(g * x, axis=0) for g, x in zip(self.gradient(W, H), (W, H), strict=True)
        )
        return float(np.sqrt(sum(np.vdot(g, g) for g in along)))


def trust_regions(problem: SphereCrossEntropy, start, tolerance: float):
    """Unit columns W, H at which the gradient is below the tolerance, by pymanopt with its
    defaults."""
    pymanopt: Any = importlib.import_module("pymanopt")
    spheres = pymanopt.manifolds.Oblique(problem.dim, problem.num_vectors)
    manifold = pymanopt.manifolds.Product([spheres, spheres])
    on = pymanopt.function.numpy(manifold)
    model = pymanopt.Problem(
        manifold,
        on(problem.cost),
        euclidean_gradient=on(problem.gradient),
        euclidean_hessian=on(problem.hessian),
    )
    solver = pymanopt.optimizers.TrustRegions(
        min_gradient_norm=tolerance, min_step_size=0.0, max_time=1e6, verbosity=0
    )
    return solver.run(model, initial_point=list(start)).point
