r"""Label matrices too large to write down.

Each column is a background on all classes plus a few entries.

$q_c = g_c\mathbf 1 + \sum_r a_{rc}\,e_{i_{rc}}$. One-hot labels are one entry a column, smoothed
ones add a background, next-token distributions have as many entries as tokens were seen to follow.
Memory is O(R C) in place of O(K C).
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ufm._validate import (
    concrete,
    float_dtype,
    require,
    require_array,
    require_each,
    require_finite,
    require_positive,
    require_real,
    require_whole,
)
from ufm.labels import Labels
from ufm.labels.base import checked_counts, require_smoothing


class SparseLabels(eqx.Module):
    r"""Targets $q_c = g_c\mathbf 1 + \sum_r a_{rc} e_{i_{rc}}$ and masses $m_c > 0$.

    Use `sparse_one_hot` or `sparse_soft` to make them.

    `index` (R, C): classes i of the entries. `entries` (R, C): the numbers a that they add; 0 fills
    up columns with fewer of them, and a class named twice gets the sum. `background` (C,): g.
    `masses` (C,). `num_classes`: K.

    Raises `ValueError` for K < 2, no column, shapes or dtypes that disagree, indices outside 0 … K
    − 1, entries or backgrounds that are not finite, masses that are not positive.
    """

    index: Int[Array, "R C"]
    entries: Float[Array, "R C"]
    background: Float[Array, " C"]
    masses: Float[Array, " C"]
    num_classes: int = eqx.field(static=True)

    def __check_init__(self):
        K = self.num_classes
        require_whole("num_classes", K, least=2)
        for name in ("index", "entries", "background", "masses"):
            require_array(
                name, getattr(self, name), kind=jnp.integer if name == "index" else jnp.floating
            )
        require(
            self.index.ndim == 2 and self.index.size > 0,
            "`index` must have shape (R, C), not empty",
            self.index.shape,
        )
        require(
            self.entries.shape == self.index.shape,
            f"`entries` must have the shape of `index`, {self.index.shape}",
            self.entries.shape,
        )
        C = self.index.shape[1]
        for name, array in (("background", self.background), ("masses", self.masses)):
            require(
                array.shape == (C,),
                f"`{name}` must have shape ({C},), one per column of `index`",
                array.shape,
            )
            require(
                array.dtype == self.entries.dtype,
                f"`{name}` must have the dtype of `entries`, {self.entries.dtype}",
                array.dtype,
            )
        require_each(
            "index", self.index, lambda index: (index >= 0) & (index < K), f"lie in 0 … {K - 1}"
        )
        require_finite("entries", self.entries)
        require_finite("background", self.background)
        require_positive("masses", self.masses)

    @property
    def num_columns(self) -> int:
        """C."""
        return self.index.shape[1]

    @property
    def dtype(self) -> np.dtype:
        """The float dtype of entries and masses."""
        return self.entries.dtype

    @property
    def num_samples(self) -> Float[Array, ""]:
        """N, the total mass."""
        return jnp.sum(self.masses)

    @property
    def column_weights(self) -> Float[Array, " C"]:
        r"""$\omega_c = m_c / \sum m$."""
        return self.masses / self.num_samples

    @property
    def energy(self) -> Float[Array, ""]:
        r"""$\sum_c m_c \|q_c\|^2$, the squared norm of the mass-weighted targets."""

        def of_entry(total, entry):
            # entries of one class add up before they are squared: with every entry go all those of
            # its class
            index, number = entry
            return total + number * jnp.sum(
                jnp.where(self.index == index[None, :], self.entries, 0), axis=0
            ), None

        squares, _ = jax.lax.scan(
            of_entry, jnp.zeros_like(self.background), (self.index, self.entries)
        )
        crossed = 2 * self.background * jnp.sum(self.entries, axis=0)
        return jnp.dot(self.masses, squares + crossed + self.num_classes * self.background**2)

    @property
    def absent_classes(self) -> np.ndarray:
        """The classes that no target holds; none while labels are traced."""
        index, entries, background = map(concrete, (self.index, self.entries, self.background))
        if index is None or entries is None or background is None or background.any():
            return np.zeros(0, int)
        return np.setdiff1d(np.arange(self.num_classes), index[entries != 0])

    def columns(self, start: Int[Array, ""], size: int) -> Float[Array, "K size"]:
        """The targets of `size` columns from `start` on, written out. Runs inside `jit`."""
        index = jax.lax.dynamic_slice_in_dim(self.index, start, size, axis=1)
        entries = jax.lax.dynamic_slice_in_dim(self.entries, start, size, axis=1)
        background = jax.lax.dynamic_slice_in_dim(self.background, start, size)
        blank = jnp.broadcast_to(background[None, :], (self.num_classes, size))
        across = jnp.broadcast_to(jnp.arange(size, dtype=index.dtype)[None, :], index.shape)
        return blank.at[index, across].add(entries)

    def dense(self) -> Labels:
        """The same labels as a whole matrix (K, C), for sizes where that fits."""
        return Labels(
            targets=self.columns(jnp.asarray(0, self.index.dtype), self.num_columns),
            masses=self.masses,
        )


def sparse_one_hot(class_counts, *, smoothing=0.0, dtype=None) -> SparseLabels:
    r"""Collapsed one-hot labels, one column of mass $n_k$ a class, with label smoothing if asked
    for: $(1-s)\,e_k + s/K$.

    `class_counts` (K,): samples of each class; need not be whole numbers and may be traced.
    `smoothing` s in [0, 1), which may be traced. `dtype`: the default float unless given. The
    sparse form of `one_hot(…, collapsed=True)` and `smoothed(…, collapsed=True)`.

    Raises `ValueError` for K < 2, counts that are not positive, and a smoothing outside [0, 1).
    """
    dtype = float_dtype(dtype)
    checked_counts(class_counts)
    require_smoothing(smoothing)
    K = len(class_counts)
    s = jnp.asarray(smoothing, dtype)
    return SparseLabels(
        index=jnp.arange(K, dtype=jnp.int32)[None, :],
        entries=jnp.broadcast_to(1 - s, (1, K)),
        background=jnp.broadcast_to(s / K, (K,)),
        masses=jnp.asarray(class_counts, dtype),
        num_classes=K,
    )


def sparse_soft(
    index, entries, masses=None, *, num_classes: int, background=0.0, dtype=None
) -> SparseLabels:
    """Soft labels with few entries a column, such as the tokens seen to follow each context, and
    how often.

    `index`, `entries` (R, C): classes of the entries and their probabilities; fill columns up with
    weight 0. `masses` (C,): ones unless given. `background`: a float, or one per column (C,), that
    every class gets besides. For cross-entropy each column must sum to one. Raises as
    `SparseLabels` does.
    """
    dtype = float_dtype(dtype)
    given = require_real("index", index, ndim=2)
    require(jnp.issubdtype(given.dtype, jnp.integer), "`index` must hold integers", given.dtype)
    C = given.shape[1]
    alike = require_real("entries", entries).shape
    require(alike == given.shape, f"`entries` must have the shape of `index`, {given.shape}", alike)
    shape = require_real("background", background).shape
    require(shape in ((), (C,)), f"`background` must be a float or have shape ({C},)", shape)
    if masses is not None:
        require_real("masses", masses, shape=(C,))
    num_classes = require_whole("num_classes", num_classes, least=2)
    # before the cast to 32 bits, which would turn 2^32 into 0
    require_each(
        "index",
        index,
        lambda index: (index >= 0) & (index < num_classes),
        f"lie in 0 … {num_classes - 1}",
    )
    return SparseLabels(
        index=jnp.asarray(index, jnp.int32),
        entries=jnp.asarray(entries, dtype),
        background=jnp.broadcast_to(jnp.asarray(background, dtype), (C,)),
        masses=jnp.ones(C, dtype) if masses is None else jnp.asarray(masses, dtype),
        num_classes=num_classes,
    )
