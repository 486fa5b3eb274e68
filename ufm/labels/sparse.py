r"""Targets held as a few entries a column, for label matrices too large to write down.

Each column is a background on all classes plus a few entries.

$q_c = g_c\mathbf 1 + \sum_r a_{rc}\,e_{i_{rc}}$. One-hot labels are one entry a column, smoothed
ones add a background, next-token distributions have as many entries as tokens were seen to follow.
Memory is O(R C) in place of O(K C).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ufm._validate import (
    concrete,
    require,
    require_array,
    require_each,
    require_finite,
    require_whole,
)
from ufm.labels.base import AbstractLabels, chunk_of, require_columns, require_written


class AbstractSparseLabels(AbstractLabels):
    r"""What follows from a few entries a column, $q_c = g_c\mathbf 1 + \sum_r a_{rc} e_{i_{rc}}$.

    `index` (R, C): classes i of the entries. `entries` (R, C): the numbers a that they add; a class
    named twice gets the sum. `background` (C,): g. `at_once`: how many columns are written out at a
    time, None for as many as fit.
    """

    if TYPE_CHECKING:

        @property
        def index(self) -> Int[Array, "R C"]:
            """The classes that a column names."""
            ...

        @property
        def entries(self) -> Float[Array, "R C"]:
            """What it adds to each of them."""
            ...

        @property
        def background(self) -> Float[Array, " C"]:
            """What every class gets besides."""
            ...

        @property
        def at_once(self) -> int | None:
            """How many columns are written out at a time."""
            ...

    def chunk(self, width: int) -> int | None:
        """As many columns as fit, or as were asked for."""
        return chunk_of(self.at_once, (self.num_classes, self.num_columns), width)

    def in_chunks(self, at_once: int) -> Self:
        """The same labels, of which so many columns are written out at a time."""
        size = require_whole("at_once", at_once)
        return dataclasses.replace(self, at_once=size)

    @property
    def targets(self) -> Float[Array, "K C"]:
        """The whole matrix; `ValueError` where it is too large to be written down."""
        require_written((self.num_classes, self.num_columns))
        index, entries, background = map(concrete, (self.index, self.entries, self.background))
        if index is None or entries is None or background is None:
            return self.columns(jnp.asarray(0, self.index.dtype), self.num_columns)
        written = np.repeat(background[None, :], self.num_classes, axis=0)
        np.add.at(written, (index, np.arange(self.num_columns)[None, :]), entries)
        return jnp.asarray(written)

    def columns(self, start: Int[Array, ""], size: int) -> Float[Array, "K size"]:
        """The targets of `size` columns from `start` on, written out. Runs inside `jit`.

        Returns
        -------
        Float[Array, "K size"]
            The targets.
        """
        index = jax.lax.dynamic_slice_in_dim(self.index, start, size, axis=1)
        entries = jax.lax.dynamic_slice_in_dim(self.entries, start, size, axis=1)
        background = jax.lax.dynamic_slice_in_dim(self.background, start, size)
        blank = jnp.broadcast_to(background[None, :], (self.num_classes, size))
        across = jnp.broadcast_to(jnp.arange(size, dtype=index.dtype)[None, :], index.shape)
        return blank.at[index, across].add(entries)

    @property
    def _added(self) -> Float[Array, "R C"]:
        """What each named class gets in all, however often a column names it."""

        def of_entry(_, index):
            same = self.index == index[None, :]
            return None, jnp.sum(jnp.where(same, self.entries, 0), axis=0)

        return jax.lax.scan(of_entry, None, self.index)[1]

    @property
    def squares(self) -> Float[Array, " C"]:
        r"""$\|q_c\|^2$."""
        # entries of one class add up before they are squared: with every entry go all those of its
        # class
        squares = jnp.sum(self.entries * self._added, axis=0)
        crossed = 2 * self.background * jnp.sum(self.entries, axis=0)
        return squares + crossed + self.num_classes * self.background**2

    @property
    def class_counts(self) -> Float[Array, " K"]:
        """n_k: the mass that each class receives."""
        blank = jnp.full(self.num_classes, jnp.dot(self.background, self.masses))
        return blank.at[self.index].add(self.entries * self.masses[None, :])

    @property
    def class_index(self) -> Int[Array, " C"]:
        """The class of each column, the largest entry of its target; the first of several."""
        index, added, K = self.index, self._added, self.num_classes
        # one class at least of so many is not named by a column, if any is not
        few = jnp.arange(min(len(index) + 1, K), dtype=index.dtype)
        named = jnp.any(index[None] == few[:, None, None], axis=1)
        unnamed = jnp.where(named, -jnp.inf, jnp.zeros((), added.dtype))
        across = jnp.broadcast_to(few[:, None], unnamed.shape)
        candidates = jnp.concatenate([index, across])
        sizes = jnp.concatenate([added, unnamed])
        best = sizes == jnp.max(sizes, axis=0)[None, :]
        return jnp.min(jnp.where(best, candidates, K), axis=0)

    @property
    def absent_classes(self) -> np.ndarray:
        """The classes that no target holds; none while labels are traced."""
        index, entries, background = map(concrete, (self.index, self.entries, self.background))
        if index is None or entries is None or background is None or background.any():
            return np.zeros(0, int)
        return np.setdiff1d(np.arange(self.num_classes), index[entries != 0])

    def numbers(self) -> np.ndarray | None:
        """What the named classes get, and the backgrounds that are left; None while traced."""
        index, background = concrete(self.index), concrete(self.background)
        if index is None or background is None:
            return None
        named = np.asarray(self._added) + background[None, :]
        # (a background that every entry hides counts too: it does no harm, or nearly none)
        return np.concatenate([named.ravel(), background])

    def sums(self) -> np.ndarray | None:
        """The sum of each target (C,); None while they are traced."""
        entries, background = concrete(self.entries), concrete(self.background)
        if entries is None or background is None:
            return None
        return entries.sum(axis=0) + self.num_classes * background

    def is_one_hot(self) -> bool:
        """Whether every target is a unit vector, and every class has one."""
        added = np.asarray(self._added)
        if np.asarray(self.background).any() or not np.all((added == 0) | (added == 1)):
            return False
        return bool(np.all(self.sums() == 1)) and len(self.absent_classes) == 0


class SparseLabels(AbstractSparseLabels):
    r"""Targets $q_c = g_c\mathbf 1 + \sum_r a_{rc} e_{i_{rc}}$ and masses $m_c > 0$.

    `ufm.labels.sparse_soft` makes them, and `one_hot` and `smoothed` where a matrix would be large.

    `index` (R, C): classes i of the entries. `entries` (R, C): the numbers a that they add; 0 fills
    up columns with fewer of them, and a class named twice gets the sum. `background` (C,): g.
    `masses` (C,). `num_classes`: K. `weights` (C,) > 0: how much a sample of the column counts in
    the loss, all alike unless given. `at_once`: how many columns are written out at a time; all of
    them unless given, where K C is at most 2²⁷, and as many as there are features beyond.

    Raises `ValueError` for K < 2, no column, shapes or dtypes that disagree, indices outside 0 … K
    − 1, entries or backgrounds that are not finite, masses or weights that are not positive.
    """

    index: Int[Array, "R C"]  # pyright: ignore[reportIncompatibleMethodOverride]
    entries: Float[Array, "R C"]  # pyright: ignore[reportIncompatibleMethodOverride]
    background: Float[Array, " C"]  # pyright: ignore[reportIncompatibleMethodOverride]
    masses: Float[Array, " C"]  # pyright: ignore[reportIncompatibleMethodOverride]
    num_classes: int = eqx.field(static=True)  # pyright: ignore[reportIncompatibleMethodOverride]
    weights: Float[Array, " C"] | None = None  # pyright: ignore[reportIncompatibleMethodOverride]
    at_once: int | None = eqx.field(  # pyright: ignore[reportIncompatibleMethodOverride]
        static=True, default=None
    )

    def __check_init__(self):
        K = self.num_classes
        require_whole("num_classes", K, least=2)
        if self.at_once is not None:
            require_whole("at_once", self.at_once)
        for name in ("index", "entries", "background"):
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
        words = f"`background` must have shape ({C},), one per column of `index`"
        require(self.background.shape == (C,), words, self.background.shape)
        words = f"`background` must have the dtype of `entries`, {self.entries.dtype}"
        require(self.background.dtype == self.entries.dtype, words, self.background.dtype)
        require_each(
            "index", self.index, lambda index: (index >= 0) & (index < K), f"lie in 0 … {K - 1}"
        )
        require_finite("entries", self.entries)
        require_finite("background", self.background)
        require_columns(self, "entries", self.entries.dtype)
