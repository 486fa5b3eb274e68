"""Cross-entropy with factors of bounded length, which several papers study under other names."""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.claims import Claim
from theory_checks.engine.measure import GEOMETRY, Point, matrix_claim
from theory_checks.formulas.frames import contrast

_DOMAINS = {"sphere": ufm.domains.Sphere, "ball": ufm.domains.Ball}


def bounded_problem(
    class_counts,
    *,
    width: int,
    feature_radius: float,
    classifier_radius: float | None = None,
    lambda_W: float = 0.0,
    domain: str = "sphere",
) -> ufm.Problem:
    """Features of this length, and rows of that or with decay; full columns."""
    bound = _DOMAINS[domain]
    rows = {} if classifier_radius is None else {"classifier": bound(classifier_radius)}
    return ufm.Problem(
        ufm.one_hot(class_counts),
        loss=ufm.CrossEntropy(),
        widths=(width,),
        lambda_W=lambda_W,
        lambda_H=0.0,
        features=bound(feature_radius),
        **rows,
    )


def simplex_loss(num_classes: int, beta: float) -> float:
    """log(1 + (K − 1) exp(−βK/(K − 1))) with β the product of the lengths."""
    K = num_classes
    return float(np.log1p((K - 1) * np.exp(-beta * K / (K - 1))))


def simplex_claims(
    point: Point, *, rows: float, features: float, tolerance: float = GEOMETRY
) -> list[Claim]:
    """Features collapsed to a simplex of this length, rows to the same one of theirs: NC1 to
    NC3."""
    K, W, H = len(point.classifier), point.classifier, point.class_means
    etf = K / (K - 1) * contrast(K)
    return [
        point.collapse_claim(tolerance=tolerance),
        matrix_claim("W Wᵀ", W @ W.T, rows**2 * etf, size=rows**2, tolerance=tolerance),
        matrix_claim("H̄ᵀ H̄", H.T @ H, features**2 * etf, size=features**2, tolerance=tolerance),
        self_dual_claim(point, tolerance=tolerance),
    ]


def self_dual_claim(point: Point, *, tolerance: float = GEOMETRY) -> Claim:
    """NC3: the row of a class and its mean have one direction; free of rotations."""
    W, H = point.classifier, point.class_means.T
    W, H = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (W, H))
    apart = float(np.max(np.linalg.norm(W - H, axis=1)))
    return Claim("largest |w_k/|w_k| − h_k/|h_k||", apart, 0.0, tolerance)
