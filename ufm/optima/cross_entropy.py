r"""Cross-entropy, one linear layer.

The scale of the simplex ETF, the best constant logits, and from where on the product is zero.
"""

from __future__ import annotations

import numpy as np

from ufm._validate import require_choice
from ufm.labels.base import host_counts
from ufm.optima.facts import Facts


def etf_scale(num_classes: int, strength: float, *, smoothing: float = 0.0) -> float:
    r"""$a = \log(1/(s/K + c) - K + 1)_+$; the optimal logits are $a(I - J/K)$.

    Parameters
    ----------
    num_classes
        K.
    strength
        $c = \sqrt{n\lambda_W\lambda_H}$.
    smoothing
        s, of the labels.

    Returns
    -------
    float
        a >= 0, without cancellation near the threshold K c = 1 − s.
    """
    floor = smoothing / num_classes + strength
    # 1/floor − K, without cancellation near the threshold K c = 1 − s
    return max(0.0, float(np.log1p((1 - smoothing - num_classes * strength) / floor)))


def etf_value(scale: float, num_classes: int, strength: float, *, smoothing: float = 0.0) -> float:
    r"""$\log(1 + (K-1)e^{-a}) + (s/K + c)(K-1)a$.

    The objective at logits $a(I - J/K)$ with balanced factors, optimal a or not.

    Parameters
    ----------
    scale
        a >= 0.
    num_classes
        K.
    strength
        $c = \sqrt{n\lambda_W\lambda_H}$.
    smoothing
        s, of the labels.

    Returns
    -------
    float
        The value.
    """
    K = num_classes
    return float(np.log1p((K - 1) * np.exp(-scale)) + (smoothing / K + strength) * (K - 1) * scale)


def best_constant(facts: Facts) -> tuple[np.ndarray | None, np.ndarray]:
    """The best bias with Z = 0 (None without one), and the class probabilities it gives (K,)."""
    K, lambda_b = facts.K, facts.lambda_b
    if facts.bias is None:
        return None, np.full(K, 1 / K)
    mean = facts.columns.targets @ facts.columns.masses / facts.N
    if lambda_b is None:
        logs = np.log(mean)
        return logs - logs.mean(), mean
    bias = np.zeros(K)
    if np.ptp(mean) > 1e-15 and mean.min() > 0:
        logs = np.log(mean)
        bias = logs - logs.mean()
    # λ_b b = mean − p: Newton on a strongly convex function of K variables, with backtracking
    for _ in range(200):
        p = _softmax(bias)
        gradient = p - mean + lambda_b * bias
        step = np.linalg.solve(np.diag(p) - np.outer(p, p) + lambda_b * np.eye(K), -gradient)
        length = 1.0
        while length > 1e-3 and np.linalg.norm(
            _bias_gradient(bias + length * step, mean, lambda_b)
        ) > np.linalg.norm(gradient):
            length /= 2
        bias = bias + length * step
        if np.linalg.norm(step) <= 1e-15 * (1 + np.linalg.norm(bias)):
            break
    return bias, _softmax(bias)


def zero_strength(class_counts, *, bias: str | None = None) -> float:
    r"""The least $N\sqrt{\lambda_W\lambda_H}$ at which W H = 0 is optimal for one-hot labels.

    $\|S D^{1/2}\|_2$ without a bias.

    `class_counts` (K,); `bias` None or "free", which gives $\sqrt{\lambda_{\max}(D - nn^\top/N)}$.
    For two clusters with at least two majority classes the first is $\sqrt{n_A}$. Source: derived;
    the bound of Thrampoulidis et al. 2022 in another normalisation.
    """
    require_choice("bias", bias, (None, "free"))
    counts = host_counts(class_counts)
    probabilities = np.full(len(counts), 1 / len(counts)) if bias is None else counts / counts.sum()
    return gradient_norm(np.eye(len(counts)), counts, probabilities)


def gradient_norm(targets: np.ndarray, masses: np.ndarray, probabilities: np.ndarray) -> float:
    r"""N times the spectral norm of the gradient at Z = 0.

    Parameters
    ----------
    targets, masses
        Of the columns, (K, C) and (C,).
    probabilities
        (K,), those at Z = 0.

    Returns
    -------
    float
        Beyond $N\sqrt{\lambda_W\lambda_H}$ the optimum is not zero.
    """
    return float(np.linalg.norm((probabilities[:, None] - targets) * np.sqrt(masses), 2))


def _bias_gradient(bias: np.ndarray, mean: np.ndarray, lambda_b: float) -> np.ndarray:
    return _softmax(bias) - mean + lambda_b * bias


def _softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max())
    return e / e.sum()
