r"""Cross-entropy, one linear layer: balanced classes (with label smoothing), and the regime in which the product is zero.

With $\mu = \sqrt{\lambda_W\lambda_H}$ the problem is $\min_{Z,b}\ \sum_k \tfrac{n_k}{N}\mathrm{CE}(z_k + b, q_k) + \mu\|Z D^{1/2}\|_* +
\tfrac{\lambda_b}2\|b\|^2$, convex in class-level logits Z and bias.
"""

from __future__ import annotations

import numpy as np

from ufm._validate import require
from ufm.optima.mixture_form import is_mixture, mixture_optimum
from ufm.optima.one_layer import OneLayer, shown
from ufm.optima.optimum import NoClosedForm, Optimum
from ufm.optima.two_clusters import clusters_of, two_cluster_logits
from ufm.problem import Problem

_ZHU = "Zhu et al. 2021 (arXiv 2105.02375), cross-entropy with bias, global minimisers; scale and threshold derived here"
_ZHOU = "Zhou et al. 2022 (arXiv 2210.02192), label smoothing, global minimisers; scale and threshold derived here"
_HONG = "Hong & Ling 2023 (arXiv 2309.09725), block structure for equal counts in a cluster; the four-variable problem derived here"
_ZERO = "derived here: the subdifferential of the nuclear norm at zero"


def cross_entropy_optimum(problem: Problem) -> Optimum:
    r"""The global optimum of a one-layer cross-entropy problem, where it has a closed form.

    Zero product: for $N\sqrt{\lambda_W\lambda_H}$ at or above `zero_strength`, any class counts and any bias. Balanced, targets
    $(1-s)e_k + s/K$: $Z = a(I - \tfrac1K\mathbf 1\mathbf 1^\top)$ with $a = \log(1/(s/K + \sqrt{n\lambda_W\lambda_H}) - K + 1)_+$ and zero
    bias (a free one is determined up to a common shift). Two clusters of equal counts, no bias: the four-variable convex problem of
    `two_clusters.py`, solved to rounding. Mixup-type labels, balanced: `mixture_form.py`.

    Raises `ValueError` for λ <= 0, `NoClosedForm` naming the hypothesis that fails. Source: Zhu et al. 2021; Zhou et al. 2022; Hong & Ling
    2023. Does not hold for M >= 2, and needs d to be at least the rank of the optimum.
    """
    if is_mixture(problem):
        return mixture_optimum(problem)
    layer = OneLayer.of(problem)
    bias, probabilities = best_constant(layer)
    if layer.N * layer.mu >= _spectral(layer, probabilities):
        value = float(np.dot(layer.masses / layer.N, -layer.targets.T @ np.log(probabilities)))
        if bias is not None and layer.lambda_b is not None:
            value += 0.5 * layer.lambda_b * float(np.sum(bias**2))
        return layer.optimum(np.zeros((layer.K, layer.K)), value=value, bias=bias, regime="trivial", source=_ZERO, loss="cross-entropy")
    smoothing = layer.smoothing
    if layer.balanced and smoothing is not None:
        a = etf_scale(layer.K, layer.mu * np.sqrt(layer.masses[0]), smoothing=smoothing)
        value = etf_value(a, layer.K, layer.mu * np.sqrt(layer.masses[0]), smoothing=smoothing)
        product = a * (np.eye(layer.K) - 1 / layer.K)
        source = _ZHOU if smoothing else _ZHU
        zero = None if layer.bias is None else np.zeros(layer.K)
        return layer.optimum(product, value=value, bias=zero, regime="simplex ETF", source=source, loss="cross-entropy")
    if smoothing != 0:
        raise NoClosedForm("needs one-hot labels, or balanced classes with one target (1 − s) e_k + s/K each; got other targets")
    if layer.bias is not None:
        raise NoClosedForm(f"needs balanced classes for a nonzero product with a bias; got class counts {shown(layer.masses)}")
    clusters = clusters_of(layer.masses)
    if clusters is None:
        raise NoClosedForm(f"needs class counts of at most two distinct values; got {shown(layer.masses)}")
    logits, value, regime = two_cluster_logits(clusters, layer.mu)
    return layer.optimum(logits, value=value, regime=regime, source=_HONG, loss="cross-entropy")


def etf_scale(num_classes: int, strength: float, *, smoothing: float = 0.0) -> float:
    r"""$a = \log(1/(s/K + c) - K + 1)_+$ with $c = \sqrt{n\lambda_W\lambda_H}$ = `strength`: the optimal logits are $a(I - J/K)$."""
    floor = smoothing / num_classes + strength
    # 1/floor − K, without cancellation near the threshold K c = 1 − s
    return max(0.0, float(np.log1p((1 - smoothing - num_classes * strength) / floor)))


def etf_value(scale: float, num_classes: int, strength: float, *, smoothing: float = 0.0) -> float:
    r"""$\log(1 + (K-1)e^{-a}) + (s/K + c)(K-1)a$: the objective at logits $a(I - J/K)$ with balanced factors, optimal a or not."""
    K = num_classes
    return float(np.log1p((K - 1) * np.exp(-scale)) + (smoothing / K + strength) * (K - 1) * scale)


def best_constant(layer: OneLayer) -> tuple[np.ndarray | None, np.ndarray]:
    """The best bias with Z = 0 (None without one), and the class probabilities it gives (K,)."""
    K = layer.K
    if layer.bias is None:
        return None, np.full(K, 1 / K)
    mean = layer.targets @ layer.masses / layer.N
    logs = np.log(mean)
    if layer.lambda_b is None:
        return logs - logs.mean(), mean
    bias = np.zeros(K) if np.ptp(mean) <= 1e-15 else logs - logs.mean()
    # λ_b b = mean − p: Newton on a strongly convex function of K variables, with backtracking
    for _ in range(200):
        p = _softmax(bias)
        gradient = p - mean + layer.lambda_b * bias
        step = np.linalg.solve(np.diag(p) - np.outer(p, p) + layer.lambda_b * np.eye(K), -gradient)
        length = 1.0
        while length > 1e-3 and np.linalg.norm(_bias_gradient(bias + length * step, mean, layer.lambda_b)) > np.linalg.norm(gradient):
            length /= 2
        bias = bias + length * step
        if np.linalg.norm(step) <= 1e-15 * (1 + np.linalg.norm(bias)):
            break
    return bias, _softmax(bias)


def zero_strength(class_counts, *, bias: str | None = None) -> float:
    r"""The least $N\sqrt{\lambda_W\lambda_H}$ at which W H = 0 is optimal for one-hot labels: $\|S D^{1/2}\|_2$ without a bias.

    `class_counts` (K,); `bias` None or "free", which gives $\sqrt{\lambda_{\max}(D - nn^\top/N)}$. For two clusters with at least two
    majority classes the first is $\sqrt{n_A}$. Source: derived; the bound of Thrampoulidis et al. 2022 in another normalisation.
    """
    require(bias in (None, "free"), '`bias` must be None or "free"', bias)
    counts = np.asarray(class_counts, dtype=np.float64)
    probabilities = np.full(len(counts), 1 / len(counts)) if bias is None else counts / counts.sum()
    return float(np.linalg.norm((probabilities[:, None] - np.eye(len(counts))) * np.sqrt(counts), 2))


def _spectral(layer: OneLayer, probabilities: np.ndarray) -> float:
    """N times the spectral norm of the gradient at Z = 0, less the rounding that would miss a threshold met exactly."""
    gradient = (probabilities[:, None] - layer.targets) * np.sqrt(layer.masses)
    return float(np.linalg.norm(gradient, 2)) * (1 - 1e-14)


def _bias_gradient(bias: np.ndarray, mean: np.ndarray, lambda_b: float) -> np.ndarray:
    return _softmax(bias) - mean + lambda_b * bias


def _softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max())
    return e / e.sum()
