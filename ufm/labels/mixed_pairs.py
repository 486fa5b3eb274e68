"""The pairs of classes that the columns of a label matrix mix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm._validate import require, require_instance
from ufm.labels.base import AbstractLabels
from ufm.labels.beta_law import Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedPairs:
    r"""Which classes each column of a label matrix mixes.

    $q_c = \lambda_c e_{i_c} + (1-\lambda_c) e_{j_c}$.

    `first`, `second` (C,): classes i < j, or i = j for a pure class. `lam` (C,): the target of the
    first class, 1 for a pure class. `other` (C,): that of the second class, 0 for a pure class.
    """

    first: np.ndarray
    second: np.ndarray
    lam: Floats
    other: Floats

    @property
    def same(self) -> np.ndarray:
        """(C,): the columns that are pure classes."""
        return self.first == self.second


def mixed_pairs(labels: AbstractLabels) -> MixedPairs:
    """The two classes that each column mixes, read off the targets. On the host.

    Raises `ValueError` for a column with three or more nonzero targets, a negative one, or a sum
    that is not one.
    """
    require_instance("labels", labels, AbstractLabels, "ufm.Labels")
    return pairs_of(
        np.asarray(labels.targets, dtype=np.float64),
        rounding=8 * float(np.finfo(labels.dtype).eps),
    )


def pairs_of(targets: Floats, *, rounding: float) -> MixedPairs:
    """`mixed_pairs` of targets (K, C), whose sums are one up to `rounding`."""
    number = np.sum(targets != 0, axis=0)
    require(
        number.max() <= 2, "`labels` must mix at most two classes in a column", int(number.max())
    )
    sums = targets.sum(axis=0)
    distributions = targets.min() >= 0 and np.max(np.abs(sums - 1)) <= rounding
    require(
        distributions,
        "`labels` must have targets >= 0 that sum to one in every column",
        sums[np.argmax(np.abs(sums - 1))],
    )
    columns = np.arange(targets.shape[1])
    first = np.argmax(targets > 0, axis=0)
    second = len(targets) - 1 - np.argmax(targets[::-1] > 0, axis=0)
    return MixedPairs(
        first=first,
        second=second,
        lam=targets[first, columns],
        other=np.where(first == second, 0.0, targets[second, columns]),
    )
