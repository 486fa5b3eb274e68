"""Fisher, Meng & Papyan 2024: gaps of the channels in the Lambert form, the learned classifier,
calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from theory_checks.formulas.roots import bisect


def lambert(log_x) -> np.ndarray:
    """W_0(x) from log x, so that no x is too large: the root of w + log w = log x."""
    y = np.asarray(log_x, dtype=np.float64)
    # below both roots of the bounds w <= log x and w <= x; in v = log w the function v + e^v is
    # convex, so Newton comes down to the root
    v = np.where(y > 1, np.log(np.maximum(y, 1)), y)
    for _ in range(60):
        w = np.exp(v)
        step = (v + w - y) / (1 + w)
        v = v - step
        # (the next step is half of its square at most)
        if np.all(np.abs(step) <= 1e-8):
            break
    return np.exp(v)


def same_class_gap(K: int, s) -> np.ndarray:
    """ξ with ξ e^ξ + (K − 1) ξ = K/s."""
    s = np.asarray(s, dtype=np.float64)
    return bisect(lambda x: x * np.exp(x) + (K - 1) * x - K / s, np.zeros_like(s), np.log1p(K / s))


def half_gap(K: int, s) -> np.ndarray:
    """ξ' of both classes at λ = 1/2: ξ' (e^ξ' + (K − 2)/2) = K/(4s)."""
    s = np.asarray(s, dtype=np.float64)
    # ξ' e^ξ' <= K/(4s) gives ξ' <= log(1 + K/(4s)) where ξ' >= 1, and adding one covers the rest
    return bisect(
        lambda x: x * (np.exp(x) + (K - 2) / 2) - K / (4 * s),
        np.zeros_like(s),
        1 + np.log1p(K / (4 * s)),
    )


@dataclass(frozen=True, eq=False)
class Gaps:
    """u_i, u_j and t of different-class mixtures; arrays of the shape of λ."""

    K: int
    s: float
    first: np.ndarray
    second: np.ndarray
    t: np.ndarray

    @property
    def residual(self) -> np.ndarray:
        """‖q − p‖² = s² ‖z‖²."""
        return self.s**2 * (
            (self.first - self.t) ** 2 + (self.second - self.t) ** 2 + (self.K - 2) * self.t**2
        )


def gaps(K: int, lam, s: float) -> Gaps:
    """u_k = c_k − W_0(t e^{c_k}) with c_i = λ/s + t, c_j = (1 − λ)/s + t, and t from u_i + u_j = K
    t."""
    lam = np.asarray(lam, dtype=np.float64)

    def gap(share, t):
        return share / s + t - lambert(np.log(t) + share / s + t)

    t = bisect(
        lambda t: K * t - gap(lam, t) - gap(1 - lam, t),
        np.full_like(lam, 1e-300),
        np.full_like(lam, 1 / (K * s)),
        steps=70,
    )
    return Gaps(K, s, gap(lam, t), gap(1 - lam, t), t)


def two_class_logits(K: int, first, second, lam, s: float) -> np.ndarray:
    """z (K, C) of mixtures of the classes `first` and `second` (C,); those of one class have first
    = second."""
    lam, same = np.asarray(lam), np.asarray(first) == np.asarray(second)
    at = np.arange(len(lam))
    Z = np.zeros((K, len(lam)))
    distinct = ~same
    if distinct.any():
        u = gaps(K, lam[distinct], s)
        Z[:, distinct] = -u.t[None, :]
        Z[first[distinct], at[distinct]] += u.first
        Z[second[distinct], at[distinct]] += u.second
    xi = same_class_gap(K, s)
    Z[:, same] = -xi / K
    Z[first[same], at[same]] += xi
    return Z


def fitted_residual(K: int, lam, weights, s: float) -> float:
    """E‖q − p‖² over all pairs, `weights` of λ summing to one: pure classes have 1/K of the
    pairs."""
    xi = float(same_class_gap(K, s))
    return float(
        (s * xi) ** 2 * (K - 1) / K**2 + (K - 1) / K * np.dot(weights, gaps(K, lam, s).residual)
    )


def learned_strength(K: int, lam, weights, lambda_W: float, mu: float) -> float:
    """s of the learned classifier: E‖q − p‖² = (K − 1) λ_W μ. Infinite from the threshold on."""
    if lambda_W * mu * K >= np.dot(weights, np.square(lam) + np.square(1 - np.asarray(lam))):
        return np.inf
    goal = (K - 1) * lambda_W * mu
    return float(
        np.exp(
            bisect(
                lambda x: fitted_residual(K, lam, weights, float(np.exp(x))) - goal,
                -30.0,
                30.0,
                steps=60,
            )
        )
    )


def unmixed_gap(K: int, lambda_W: float, mu: float) -> float:
    """ξ without mixup: log(√(K/(λ_W μ)) − (K − 1))."""
    return float(np.log(np.sqrt(K / (lambda_W * mu)) - (K - 1)))


def small_decay(K: int, lam, s: float) -> tuple[np.ndarray, np.ndarray]:
    """Depth and (width − logit λ)/s to first order in s: 2 W_0(K√(λ(1−λ))/(2s)), and t (K/2 −
    1)(1/(1−λ) − 1/λ) − logit λ /(2λ(1−λ))."""
    lam = np.asarray(lam, dtype=np.float64)
    depth = 2 * lambert(np.log(K / (2 * s)) + 0.5 * np.log(lam * (1 - lam)))
    t, logit = depth / K, np.log(lam / (1 - lam))
    return depth, t * (K / 2 - 1) * (1 / (1 - lam) - 1 / lam) - logit / (2 * lam * (1 - lam))


def calibration_error(
    probabilities: np.ndarray, targets: np.ndarray, masses: np.ndarray, bins: int = 15
) -> float:
    """The expected calibration error, written out."""
    top = np.argmax(probabilities, axis=0)
    at = np.arange(len(top))
    confidence, accuracy = probabilities[top, at], targets[top, at]
    bin_of = np.clip(np.ceil(confidence * bins).astype(int), 1, bins)
    return float(
        sum(
            abs(np.dot(masses, (accuracy - confidence) * (bin_of == b))) for b in range(1, bins + 1)
        )
        / np.sum(masses)
    )


def softmax(Z: np.ndarray) -> np.ndarray:
    """Probabilities (K, C) of logits (K, C)."""
    E = np.exp(Z - Z.max(axis=0))
    return E / E.sum(axis=0)
