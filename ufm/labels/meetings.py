r"""Which classes meet in a column, where columns drop some, and what a free bias gains by that.

Class k *leads to* class j where a column with a target on k keeps j: the only columns that tell how
their logits compare. Logits that grow along v cost a softmax loss nothing where $v_k \ge v_j$
wherever k leads to j. So a common shift of all classes that hang together costs nothing at all, and
if some of these do not lead back to those that lead to them, the loss falls for ever as their
logits go to −∞ beside the others': its infimum in the bias is not attained.
"""

from __future__ import annotations

import numpy as np


def _closure(direct: np.ndarray) -> np.ndarray:
    """By way of others, (K, K): by squaring, as many times as doubles a way to K steps."""
    reached = direct | np.eye(len(direct), dtype=bool)
    for _ in range(max(1, len(direct) - 1).bit_length()):
        numbers = reached.astype(np.float32)
        reached = numbers @ numbers > 0
    return reached


def _leads(targets: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Whether class k leads to class j directly (K, K)."""
    return (targets > 0).astype(np.float32) @ kept.astype(np.float32).T > 0


def groups(targets: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The classes that hang together.

    Parameters
    ----------
    targets, kept
        (K, C), and whether a column keeps a class, which it does where it has a target.

    Returns
    -------
    np.ndarray
        The number of the group of each class (K,), from 0 on.
    """
    direct = _leads(targets, kept)
    first = np.argmax(_closure(direct | direct.T), axis=1)
    return np.unique(first, return_inverse=True)[1]


def losing(targets: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The classes to which others lead that they do not lead back to.

    Parameters
    ----------
    targets, kept
        As for `groups`.

    Returns
    -------
    np.ndarray
        Their indices.
    """
    reached = _closure(_leads(targets, kept))
    return np.flatnonzero(np.any(reached & ~reached.T, axis=0))
