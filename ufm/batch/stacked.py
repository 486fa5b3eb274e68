"""Problems and points of equal shapes as one tree with a leading axis, and back."""

from __future__ import annotations

import jax
import numpy as np


def lanes_of(trees, index):
    """Lanes of stacked pytrees."""
    return jax.tree.map(lambda leaf: leaf[index], trees)


def shapes_of(tree):
    """What must agree for two problems to be flowed by the same compiled code."""
    return jax.tree.structure(tree), tuple(np.shape(leaf) for leaf in jax.tree.leaves(tree))


def stack(trees):
    """Equal pytrees as one, stacked on the host; `ValueError` for shapes that disagree."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)
