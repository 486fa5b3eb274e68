"""What a batch of a stream must be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ufm._validate import require, require_each, require_real

# Squares and their sums over all samples stay finite.
_LARGEST = 1e100


def checked_batch(features, labels, num_classes: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Features as rows, not copied, and their classes.

    Parameters
    ----------
    features, labels
        (d, C) and (C,), of a user.
    num_classes, dim
        V and d.

    Returns
    -------
    tuple[np.ndarray, np.ndarray]
        (C, d) and (C,).

    Raises
    ------
    ValueError
        For other shapes, classes out of range, and features that are not finite or beyond 1e100.
    """
    columns = np.asarray(require_real("features", features, ndim=2))
    C = columns.shape[1]
    words = f"`features` must have shape (d, C) with d = {dim}"
    require(len(columns) == dim, words, columns.shape)
    index = np.asarray(require_real("labels", labels, ndim=1))
    require(index.dtype.kind in "iu", "`labels` must hold integers", index.dtype)
    words = f"`labels` must have length {C}, the columns of `features`"
    require(len(index) == C, words, len(index))
    words = f"lie in [0, {num_classes})"
    require_each("labels", index, lambda k: (k >= 0) & (k < num_classes), words)
    # one number that is not finite shows in the extremes
    for extreme in (float(columns.max()), float(columns.min())):
        words = f"`features` must be finite, and at most {_LARGEST:g} in size"
        require(abs(extreme) <= _LARGEST, words, extreme)
    return columns.T, index


def checked_classifier(classifier, num_classes: int, dim: int) -> np.ndarray:
    """A classifier in float64.

    Parameters
    ----------
    classifier
        (V, d), of a user.
    num_classes, dim
        V and d.

    Returns
    -------
    np.ndarray
        (V, d).

    Raises
    ------
    ValueError
        For another shape, and for numbers that are not finite or too large.
    """
    shape = (num_classes, dim)
    W = np.asarray(require_real("classifier", classifier, ndim=2), np.float64)
    require(W.shape[1] == dim, f"`classifier` must have shape (V, d) with d = {dim}", W.shape)
    require(W.shape == shape, f"`classifier` must have shape (V, d) = {shape}", W.shape)
    largest = max(float(W.max()), -float(W.min()))
    words = f"`classifier` must be finite, and at most {_LARGEST:g} in size"
    require(largest <= _LARGEST, words, largest)
    return W


def checked_bias(bias, num_classes: int) -> np.ndarray:
    """A bias (V,) in float64; `ValueError` by name."""
    array = np.asarray(require_real("bias", bias, shape=(num_classes,)), np.float64)
    require(np.isfinite(array).all(), "`bias` must be finite", array[~np.isfinite(array)][:3])
    return array


def blocks(length: int, size: int) -> Iterator[slice]:
    """Slices of so many that cover a length."""
    size = max(size, 1)
    return (slice(start, min(start + size, length)) for start in range(0, length, size))
