"""Samples that have several labels at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ufm._validate import (
    LONGEST_LIST,
    Shown,
    float_dtype,
    require,
    require_flag,
    require_positive,
    require_real,
    require_whole,
)
from ufm.labels.constructors import soft
from ufm.labels.dense import Labels


def pick_all(
    label_sets: Sequence[Collection[int]],
    counts=None,
    *,
    num_classes: int,
    collapsed: bool = False,
    dtype=None,
) -> Labels:
    r"""Labels under the pick-all-label loss, $\sum_{k\in S}\mathrm{CE}(z, e_k) = |S|\,
    \mathrm{CE}(z, \mathbf 1_S/|S|)$ of a sample with the labels S: cross-entropy with the target
    $\mathbf 1_S/|S|$ and the loss weight |S|.

    Parameters
    ----------
    label_sets
        A list of T sets of classes 0 … K − 1, not empty; each stands for one kind of sample.
    counts
        (T,) samples of each kind, one unless given.
    num_classes
        K >= 2.
    collapsed
        True gives one column a set, of mass `counts` (any numbers > 0); False one column a sample.
    dtype
        The default float unless given.

    Returns
    -------
    Labels
        With `weights`, so that the library's loss is the mean over *labels*: the mean over samples
        of the pick-all-label loss is κ times that, $\kappa = \sum_S n_S|S|/\sum_S n_S$. An
        objective of theirs with decays λ is κ times the one here with decays λ/κ.

    Raises
    ------
    ValueError
        For K < 2, no set, an empty set, classes outside 0 … K − 1 or named twice, and counts that
        are not positive, or not whole numbers where columns are counted.

    Notes
    -----
    A set of all K classes asks for nothing: its logits are equal at the optimum. `class_index` is
    the first class of a set.

    References
    ----------
    Li et al. 2024 (li2024), the loss; the rewriting is derived.
    """
    K = require_whole("num_classes", num_classes, least=2)
    require_flag("collapsed", collapsed)
    words = f"`label_sets` must hold sets of classes 0 … {K - 1}, none of them empty"
    plain = isinstance(label_sets, list | tuple) and len(label_sets) > 0
    require(plain, words, Shown(label_sets))
    targets = np.zeros((K, len(label_sets)))
    for column, labels in enumerate(label_sets):
        kind = isinstance(labels, list | tuple | set | frozenset)
        chosen = list(labels) if kind else []
        whole = all(
            isinstance(k, int | np.integer) and not isinstance(k, bool) and 0 <= k < K
            for k in chosen
        )
        require(bool(chosen) and whole, words, Shown(label_sets))
        require(len(set(chosen)) == len(chosen), "`label_sets` must name a class once", labels)
        targets[chosen, column] = 1 / len(chosen)
    sizes, T = (targets > 0).sum(axis=0), len(label_sets)
    number = np.ones(T)
    if counts is not None:
        require_real("counts", counts, shape=(T,))
        require_positive("counts", counts)
        number = np.asarray(counts, np.float64)
    if not collapsed:
        words = "`counts` must be whole numbers for full labels"
        require(bool(np.all(number == np.round(number))), words, counts)
        words = f"`counts` must sum to at most {LONGEST_LIST} for full labels; pass collapsed=True"
        require(number.sum() <= LONGEST_LIST, words, number.sum())
        column = np.repeat(np.arange(T), number.astype(int))
        targets, sizes, number = targets[:, column], sizes[column], np.ones(len(column))
    return soft(targets, number, weights=sizes, dtype=float_dtype(dtype))
