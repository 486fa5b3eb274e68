r"""The geometry that cross-entropy without a bias tends to as the decay vanishes.

Simplex-encoded labels, interpolated (SELI).

The limit direction of the class-level logits is $S = I - \tfrac1K\mathbf 1\mathbf 1^\top$ for all
class counts; with D the diagonal matrix of counts the nuclear norm $\|S D^{1/2}\|_*$ sets the
Grams. The limit is approached like $1/\log(1/\lambda)$: at any decay in use the finite optimum is
visibly different, so compare with `closed_form`, and with these only as a trend.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm._validate import require, require_finite
from ufm.labels.base import host_counts


@dataclass(frozen=True, kw_only=True, eq=False)
class SELI:
    r"""Grams at margin one and $\lambda_W = \lambda_H$.

    `logits` S (K, K), `classifier_gram` $WW^\top$ (K, K), `class_gram` $\bar H^\top\bar H$ (K, K);
    `singular_values` (K,) of the simplex-encoded label matrix, descending, of which the last is
    zero.
    """

    logits: np.ndarray
    classifier_gram: np.ndarray
    class_gram: np.ndarray
    singular_values: np.ndarray


def seli(class_counts) -> SELI:
    r"""The SELI geometry of any class counts (K,).

    $WW^\top = (SDS)^{1/2}$, and the class means have its pseudo-inverse as Gram.

    Raises `ValueError` for fewer than two counts or counts that are not positive. Source:
    Thrampoulidis et al. 2022; class level derived.
    """
    counts = host_counts(class_counts)
    S = np.eye(len(counts)) - 1 / len(counts)
    left, sigma, _ = np.linalg.svd(S * np.sqrt(counts))
    # the ones vector is the kernel
    kept, sigma = left[:, :-1], np.append(sigma[:-1], 0.0)
    return SELI(
        logits=S,
        classifier_gram=(kept * sigma[:-1]) @ kept.T,
        class_gram=(kept / sigma[:-1]) @ kept.T,
        singular_values=sigma,
    )


def seli_distance(class_logits) -> float:
    r"""$\|Z/\|Z\| - S/\|S\|\|$ for class-level logits Z (K, K), in classes' own order.

    Raises `ValueError` for zero logits.
    """
    require_finite("class_logits", class_logits, ndim=2)
    Z = np.asarray(class_logits, dtype=np.float64)
    K = len(Z)
    require(
        Z.shape == (K, K) and K >= 2, "`class_logits` must have shape (K, K) with K >= 2", Z.shape
    )
    size = float(np.linalg.norm(Z))
    require(size > 0, "`class_logits` must not be zero", size)
    return float(np.linalg.norm(Z / size - (np.eye(K) - 1 / K) / np.sqrt(K - 1)))
