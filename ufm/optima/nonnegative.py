r"""Nonnegative features, as after a ReLU: cross-entropy of one linear layer, and where the constraint costs squared error nothing.

Class means become orthogonal, which for nonnegative vectors means disjoint supports, and cross-entropy decouples into one scalar problem
a class: with margin $M_k$ the logits of class k are $M_k(e_k - \mathbf 1/K)$.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ufm.losses import CrossEntropy, MeanSquaredError
from ufm.optima.mse import squared_error_optimum
from ufm.optima.one_layer import OneLayer, shown
from ufm.optima.optimum import NoClosedForm, Optimum
from ufm.problem import Problem

_DANG = "Dang, Tran, Nguyen & Ho 2024, cross-entropy with nonnegative features, imbalanced classes, bias-free"


def nonnegative_optimum(problem: Problem) -> Optimum:
    r"""The global optimum of a problem with `features="nonnegative"`, where it has a closed form.

    Cross-entropy, M = 1, one-hot, no bias: `nonnegative_margins` decides everything. Squared error, one-hot, no bias, any M: the optimum of
    free features, whose class means are orthogonal and can be turned into the orthant.

    Raises `ValueError` for λ <= 0, `NoClosedForm` naming the hypothesis that fails. Source: Dang et al. 2024.
    """
    if type(problem.loss) is MeanSquaredError:
        return _squared_error(problem)
    if type(problem.loss) is not CrossEntropy:
        raise NoClosedForm(f"needs cross-entropy or squared error for nonnegative features; got {type(problem.loss).__name__}")
    layer = OneLayer.of(problem)
    if not layer.one_hot:
        raise NoClosedForm("needs one-hot labels for nonnegative features; got other targets")
    if layer.bias is not None:
        raise NoClosedForm(f"needs bias=None for nonnegative features; got {layer.bias} bias")
    margins = nonnegative_margins(layer.masses, lambda_W=layer.lambda_W, lambda_H=layer.lambda_H)
    reached = int(np.sum(margins > 0))
    if reached > layer.feature_dim:
        raise NoClosedForm(f"needs d >= {reached}, the classes that do not vanish; got d={layer.feature_dim}, K={layer.K}")
    K, masses = layer.K, layer.masses
    value = np.sum(masses / layer.N * np.log1p((K - 1) * np.exp(-margins)) + np.sqrt((K - 1) * masses / K) * layer.mu * margins)
    quantities = _quantities(layer, margins)
    # margins of one are the yardstick where a prediction is zero
    yardstick = _quantities(layer, np.ones(K))
    sizes = {name: float(np.linalg.norm(yardstick[name])) for name in ("logits", "singular_values", "class_gram", "classifier_gram")}
    factors = yardstick["factor_singular_values"]
    sizes |= {f"Gram spectrum {i}": float(np.linalg.norm(values**2)) for i, values in enumerate(factors)}
    sizes["features"] = float(np.linalg.norm(factors[-1]))
    hypotheses = ("cross-entropy", f"one-hot labels, class counts {shown(masses)}", "M = 1", f"d = {layer.feature_dim} >= {reached}")
    return Optimum(
        value=float(value),
        bias=None,
        regime="nonnegative features" if reached else "trivial",
        source=_DANG,
        hypotheses=(*hypotheses, "features >= 0", "no bias", "all λ > 0"),
        unique=True,
        column_index=layer.column_index,
        masses=masses,
        sizes=sizes,
        **quantities,
    )


def nonnegative_margins(class_counts, *, lambda_W: float, lambda_H: float) -> np.ndarray:
    r"""$M_k = \log\big((K-1)(\sqrt{Kn_k/(K-1)}/(N\sqrt{\lambda_W\lambda_H}) - 1)\big)_+$: own logit of class k less the others.

    `class_counts` (K,), λ as in the objective. Zero, that is a class whose features vanish, iff $n_k \le N^2\lambda_W\lambda_H K/(K-1)$: a
    factor K/(K − 1) more than for free features. Source: Dang et al. 2024, for nonnegative features, no bias and d >= K.
    """
    counts = np.asarray(class_counts, dtype=np.float64)
    K = len(counts)
    # the argument less one: it keeps its digits near the threshold
    excess = np.sqrt(K * (K - 1) * counts) / (counts.sum() * np.sqrt(lambda_W) * np.sqrt(lambda_H)) - K
    return np.log1p(np.maximum(excess, 0.0))


def _quantities(layer: OneLayer, margins: np.ndarray) -> dict:
    """Every gauge-free quantity of the point with these margins."""
    K, root = layer.K, np.sqrt(layer.masses)
    centred = np.eye(K) - 1 / K
    logits = centred * margins
    norms = np.sqrt((K - 1) / K * layer.lambda_W / layer.lambda_H) / root * margins
    # M²/‖h‖² is margin times a constant: no division by zero for a class that vanishes
    gains = np.sqrt(K / (K - 1) * layer.lambda_H / layer.lambda_W) * root * margins
    classifier_gram = (centred * gains) @ centred
    class_gram = np.diag(norms)
    weights = np.sqrt(np.maximum(np.linalg.eigvalsh(classifier_gram)[::-1], 0.0))
    # the rank is that of the classes, at most K − 1; what eigenvalues leave beyond it is rounding, whose root would not be
    weights[min(int(np.sum(margins > 0)), K - 1) :] = 0.0
    features = np.sort(np.sqrt(norms) * root)[::-1]
    return {
        "logits": logits,
        "singular_values": np.linalg.svd(logits * root, compute_uv=False),
        "class_gram": class_gram,
        "classifier_gram": classifier_gram,
        "factor_singular_values": np.stack([weights, features]),
        "layer_grams": (class_gram,),
        "partial_classifier_grams": (classifier_gram,),
    }


def _squared_error(problem: Problem) -> Optimum:
    if problem.bias is not None:
        raise NoClosedForm(f"needs bias=None for squared error with nonnegative features; got {problem.bias} bias")
    if not problem.labels.is_one_hot():
        raise NoClosedForm("needs one-hot labels for squared error with nonnegative features; got other targets")
    optimum = squared_error_optimum(problem)
    source = f"{optimum.source}; its orthogonal class means can be chosen nonnegative"
    return dataclasses.replace(optimum, source=source, hypotheses=(*optimum.hypotheses, "features >= 0"))
