"""Cross-entropy and its relatives on balanced classes, one layer.

A simplex ETF whose scale is all that the loss decides.
"""

from __future__ import annotations

import numpy as np

from theory_checks.engine.measure import GEOMETRY, Point, Setup, matrix_claim
from theory_checks.engine.registry import Claim
from theory_checks.formulas.frames import contrast


def cost(setup: Setup) -> float:
    """c = √(n λ_W λ_H), n the mean count."""
    return float(np.sqrt(setup.n * setup.lambda_W[0] * setup.lambda_H))


def etf_claims(point: Point, setup: Setup, a: float, value: float):
    """A simplex ETF of logits a S with balanced factors, and no bias.

    The logits are centred: a free bias may shift them together.
    """
    K, S = setup.K, contrast(setup.K)
    root = float(np.sqrt(setup.n * setup.lambda_H / setup.lambda_W[0]))
    yield point.collapse_claim()
    yield Claim("centred logits", S @ point.logits, (a * S)[:, point.class_index], GEOMETRY)
    yield point.weight_gram_claim(root * a * S)
    yield point.feature_gram_claim(a / root * S)
    yield matrix_claim(
        "self-duality: W = √(n λ_H/λ_W) H̄ᵀ",
        point.classifier,
        root * point.class_means.T,
        size=1.0,
        like=np.sqrt(root * abs(a)),
    )
    if setup.bias is not None:
        bias = np.asarray(point.params.bias)
        yield Claim("centred bias", bias - bias.mean(), np.zeros(K), GEOMETRY)
    yield point.value_claim(value)
