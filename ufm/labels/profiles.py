"""Class counts of the profiles in use: steps and exponential tails."""

from __future__ import annotations

import numpy as np

from ufm._validate import LONGEST_LIST, require, require_each, require_whole


def step_counts(
    num_majority: int, num_minority: int, *, majority: int, minority: int
) -> tuple[int, ...]:
    """Class counts of a step profile.

    `num_majority` classes of `majority` samples, then `num_minority` of `minority`.

    Raises `ValueError` for a negative number of classes, fewer than two classes in all, or counts
    below 1.
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
    r"""Class counts of an exponential long tail, $n_k = n_1 r^{-(k-1)/(K-1)}$ rounded, from
    `largest` down to `largest / ratio`.

    Raises `ValueError` for K < 2, a ratio below 1, or a tail that rounds to no sample.
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
