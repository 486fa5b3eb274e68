"""Columns of labels without repeats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """`targets` (K, C'), their `masses` (C',), and `index` (C,), which of them each column is."""

    targets: np.ndarray
    masses: np.ndarray
    index: np.ndarray


def merged_by_target(targets: np.ndarray, masses: np.ndarray) -> Columns:
    """Columns merged where their targets are equal, in the order in which they are met.

    Parameters
    ----------
    targets
        (K, C).
    masses
        (C,).

    Returns
    -------
    Columns
        Of the targets that there are.
    """
    _, first, inverse = np.unique(targets, axis=1, return_index=True, return_inverse=True)
    as_met = np.argsort(first)
    rank = np.empty_like(as_met)
    rank[as_met] = np.arange(len(as_met))
    index = rank[inverse.ravel()]
    return Columns(
        targets=targets[:, first[as_met]], masses=np.bincount(index, weights=masses), index=index
    )


def merged_by_class(targets: np.ndarray, masses: np.ndarray) -> Columns:
    """Columns merged by their class, the largest entry of the target.

    Parameters
    ----------
    targets
        (K, C).
    masses
        (C,).

    Returns
    -------
    Columns
        K of them, with the target that is met first; of mass 0 and target 0 for a class without
        columns.
    """
    K, index = len(targets), np.argmax(targets, axis=0)
    of_classes = np.zeros((K, K))
    present, first = np.unique(index, return_index=True)
    of_classes[:, present] = targets[:, first]
    of_class = np.bincount(index, weights=masses, minlength=K)
    return Columns(targets=of_classes, masses=of_class, index=index)
