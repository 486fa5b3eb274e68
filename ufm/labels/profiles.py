"""Class counts of the profiles in use: steps and exponential tails."""

from __future__ import annotations

import numpy as np

from ufm._validate import LONGEST_LIST, require, require_each, require_whole


def step_counts(
    num_majority: int, num_minority: int, *, majority: int, minority: int
) -> tuple[int, ...]:
    """Class counts of a step profile.

    Parameters
    ----------
    num_majority, num_minority
        Classes of each kind, >= 0, two at least in all.
    majority, minority
        Samples of each class, >= 1.

    Returns
    -------
    tuple[int, ...]
        (K,), the majority first.

    Raises
    ------
    ValueError
        For a negative number of classes, fewer than two classes in all, or counts below 1.
    """
    for name, number in (("num_majority", num_majority), ("num_minority", num_minority)):
        require_whole(name, number, least=0, most=LONGEST_LIST)
    require(
        num_majority + num_minority >= 2,
        "`num_majority` + `num_minority` must be >= 2",
        num_majority + num_minority,
    )
    majority, minority = require_whole("majority", majority), require_whole("minority", minority)
    return (majority,) * num_majority + (minority,) * num_minority


def exponential_counts(num_classes: int, *, largest: int, ratio: float) -> tuple[int, ...]:
    """Class counts of an exponential long tail, $n_k = n_1 r^{-(k-1)/(K-1)}$ rounded.

    Parameters
    ----------
    num_classes
        K >= 2.
    largest
        $n_1$ >= 1.
    ratio
        r >= 1, of the largest count to the smallest.

    Returns
    -------
    tuple[int, ...]
        (K,), from `largest` down to `largest / ratio`.

    Raises
    ------
    ValueError
        For K < 2, a ratio below 1, or a tail that rounds to no sample.
    """
    num_classes = require_whole("num_classes", num_classes, least=2, most=LONGEST_LIST)
    largest = require_whole("largest", largest)
    require_each(
        "ratio", ratio, lambda r: np.isfinite(r) & (r >= 1), "be finite and >= 1", shape=()
    )
    counts = np.rint(
        largest * float(ratio) ** (-np.arange(num_classes) / (num_classes - 1))
    ).astype(int)
    require(
        counts[-1] >= 1, "`largest` / `ratio` must round to at least one sample", largest / ratio
    )
    return tuple(int(n) for n in counts)
