"""The objective and its gradient for any depth, in NumPy on one flat vector.

What a careful user hands to scipy.
"""

from __future__ import annotations

import functools

import numpy as np

import ufm


class DeepObjective:
    """x = (W_M, …, W_1, H, b) flattened → (value, gradient), squared error or cross-entropy, with
    masses, free bias or none."""

    def __init__(self, problem: ufm.Problem):
        self.targets = np.asarray(problem.labels.targets)
        self.masses = np.asarray(problem.labels.masses)
        self.weights = np.asarray(problem.labels.column_weights)
        self.cross_entropy = isinstance(problem.loss, ufm.CrossEntropy)
        self.decays = [float(lam) for lam in problem.lambda_W]
        self.lambda_H = float(problem.lambda_H)
        K, C = self.targets.shape
        self.shapes = [
            *problem.weight_shapes,
            (problem.feature_dim, C),
            *([(K,)] if problem.has_bias else []),
        ]
        self.edges = np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1]
        self.has_bias = problem.has_bias

    def flat(self, params: ufm.Params) -> np.ndarray:
        parts = [*params.weights, params.features, *([] if params.bias is None else [params.bias])]
        return np.concatenate([np.ravel(part) for part in parts])

    def parts(self, x: np.ndarray) -> list[np.ndarray]:
        return [
            part.reshape(shape)
            for part, shape in zip(np.split(x, self.edges), self.shapes, strict=True)
        ]

    def point(self, x: np.ndarray):
        parts = self.parts(x)
        M = len(self.decays)
        return parts[:M], parts[M], parts[M + 1] if self.has_bias else None

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        weights, H, bias = self.point(x)
        # inputs of each factor, innermost first
        inputs = [H]
        for W in reversed(weights):
            inputs.append(W @ inputs[-1])
        logits = inputs[-1] if bias is None else inputs[-1] + bias[:, None]
        value, residual = self._loss(logits)
        gradient, back = [], residual
        for W, lam, inward in zip(weights, self.decays, inputs[-2::-1], strict=True):
            gradient.append(back @ inward.T + lam * W)
            value += 0.5 * lam * np.vdot(W, W)
            back = W.T @ back
        gradient.append(back + self.lambda_H * self.masses * H)
        value += 0.5 * self.lambda_H * np.dot(self.masses, np.sum(H**2, axis=0))
        if bias is not None:
            gradient.append(residual.sum(axis=1))
        return float(value), np.concatenate([part.ravel() for part in gradient])

    def _loss(self, logits: np.ndarray) -> tuple[float, np.ndarray]:
        if not self.cross_entropy:
            residual = logits - self.targets
            return 0.5 * float(
                np.dot(self.weights, np.sum(residual**2, axis=0))
            ), residual * self.weights
        shifted = logits - logits.max(axis=0)
        exponentials = np.exp(shifted)
        total = exponentials.sum(axis=0)
        losses = np.log(total) - np.sum(self.targets * shifted, axis=0)
        return float(np.dot(self.weights, losses)), (
            exponentials / total - self.targets
        ) * self.weights


@functools.cache
def matrix_product_rate(size: int = 1024) -> float:
    """Floating-point operations a second of NumPy's matrix product here and now, best of five."""
    import time

    A = np.random.default_rng(0).standard_normal((size, size))
    A @ A
    times = []
    for _ in range(5):
        began = time.perf_counter()
        A @ A
        times.append(time.perf_counter() - began)
    return 2 * size**3 / min(times)
