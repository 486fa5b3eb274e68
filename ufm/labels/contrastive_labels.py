"""Labels of the supervised contrastive loss: each sample names the others of its class."""

from __future__ import annotations

import numpy as np

from ufm._validate import float_dtype, require
from ufm.labels.base import host_counts
from ufm.labels.constructors import soft
from ufm.labels.offsets import OffsetLabels, with_offsets


def contrastive(class_counts, *, dtype=None) -> OffsetLabels:
    r"""Labels whose cross-entropy at the logits $h_j^\top h_i/\tau$ is the supervised contrastive
    loss.

    $\frac1N\sum_i\big[\log\sum_{l\ne i}e^{z_{li}} - \frac1{n_{y_i}-1}\sum_{j\ne i,\,y_j=y_i}
    z_{ji}\big]$.

    Parameters
    ----------
    class_counts
        (K,) samples of each class, whole numbers, two or more samples in some class.
    dtype
        The default float unless given.

    Returns
    -------
    OffsetLabels
        N columns of N classes, grouped by class: a sample is a column, and a class that the others
        can name; an offset of −∞ keeps it from naming itself. The loss is that of
        `ufm.CrossEntropy()` under the map `ufm.maps.Tied`.

    Raises
    ------
    ValueError
        For K < 2, counts that are not positive whole numbers, and no class of two samples.

    Notes
    -----
    A class of one sample has no positive: its column gets a loss weight of nothing (the smallest
    positive float), and the mean is over the other columns. Its sample still repels others.
    """
    counts = host_counts(class_counts)
    require(np.all(counts == np.round(counts)), "`class_counts` must be whole numbers", counts)
    words = "`class_counts` must have two samples or more in some class"
    require(counts.max() >= 2, words, class_counts)
    words = "`class_counts` must sum to at most 5000"
    require(counts.sum() <= 5000, words, counts.sum())
    index = np.repeat(np.arange(len(counts)), counts.astype(int))
    itself = np.eye(len(index), dtype=bool)
    positive = (index[:, None] == index[None, :]) & ~itself
    alone = ~positive.any(axis=0)
    targets = np.where(alone[None, :], ~itself, positive).astype(np.float64)
    kind = float_dtype(dtype)
    weights = np.where(alone, np.finfo(kind).tiny, 1.0) if alone.any() else None
    labels = soft(targets / targets.sum(axis=0), weights=weights, dtype=kind)
    return with_offsets(labels, np.where(itself, -np.inf, 0.0).astype(kind))
