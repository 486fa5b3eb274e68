"""What every label matrix answers, however its targets are held.

A setting of this field (balanced, long-tailed, smoothed, mixed-up, next tokens) is a label matrix;
nothing after this room knows which, and nothing downstream asks for a K × C matrix where a fold
over columns will do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ufm._classes.module import Module
from ufm._validate import (
    concrete,
    require,
    require_array,
    require_positive,
    require_real,
)

# Numbers of a matrix that a constructor still writes down (128 MiB in float64) …
MOST_HELD = 2**24
# … and that is still made at all, of targets or of logits (1 GiB): beyond, a chunk of columns at a
# time.
MOST_WRITTEN = 2**27
# Narrower chunks waste the matrix unit; from the feature dimension on, a chunk of logits is as
# large as the classifier.
_LEAST_CHUNK = 128


class AbstractLabels(Module):
    r"""Targets $q_c$ (K, C), masses $m_c > 0$ (C,) and, where samples do not count alike in the
    loss, `weights` $w_c > 0$ (C,).

    To hold targets in a new way, subclass it with `num_classes`, `targets` and, where the matrix
    can be too large to write down, `chunk`, `columns`, `squares`, `class_counts`, `class_index`,
    `numbers`, `sums`, `absent_classes` and `is_one_hot`.
    """

    # What a family of labels has as a field, or works out. (Fields are frozen, so one answers as a
    # property does; pyright knows no word for that, and is told so where a family has one.)
    if TYPE_CHECKING:

        @property
        def targets(self) -> Float[Array, "K C"]:
            """The whole matrix."""
            ...

        @property
        def num_classes(self) -> int:
            """K."""
            ...

        @property
        def masses(self) -> Float[Array, " C"]:
            """How many samples share a column."""
            ...

        @property
        def weights(self) -> Float[Array, " C"] | None:
            """How much a sample of a column counts in the loss."""
            ...

        @property
        def offsets(self) -> Float[Array, "K C"] | None:
            """What is added to the logits before the loss, see `ufm.labels.with_offsets`."""
            ...

    else:
        offsets = None

    # whether a column is known to drop a class, by an offset of −∞
    drops = False

    @property
    def compares(self) -> bool | Bool[Array, ""]:
        """Whether some column has two classes to tell apart, as far as may be traced."""
        return self.num_classes > 1

    @property
    def shift_groups(self) -> np.ndarray:
        """The group of each class (K,), a number from 0 on.

        Classes that a column keeps are in one group. All are, unless columns drop some; then a
        number may be added to all logits of a group for nothing, under a loss that no common shift
        changes.
        """
        return np.zeros(self.num_classes, dtype=int)

    @property
    def losing_classes(self) -> np.ndarray:
        """The classes whose logit is best at −∞ beside another's wherever a column keeps both.

        Under a loss that falls as the logits of other classes than the target's do: those that no
        target holds, unless columns drop some.
        """
        return self.absent_classes

    @property
    def dtype(self) -> np.dtype:
        """The float dtype of the labels."""
        return np.dtype(self.masses.dtype)

    @property
    def num_columns(self) -> int:
        """C."""
        return self.masses.shape[-1]

    @property
    def num_samples(self) -> Float[Array, ""]:
        """N, the total mass."""
        return jnp.sum(self.masses)

    @property
    def column_weights(self) -> Float[Array, " C"]:
        r"""$\omega_c = m_c w_c / \sum m w$: the weight of a column in the mean loss.

        $m_c / \sum m$ where all samples count alike.
        """
        if self.weights is None:
            return self.mass_shares
        # from weights near 1, whose products do not overflow
        weighted = self.masses * (self.weights / jnp.max(self.weights))
        return weighted / jnp.sum(weighted)

    @property
    def mass_shares(self) -> Float[Array, " C"]:
        r"""$m_c / \sum m$: the samples of a column as a share of all."""
        return self.masses / self.num_samples

    def chunk(self, width: int) -> int | None:
        """How many columns of logits of features of this width exist at a time; None for all."""
        return None

    def columns(self, start: Int[Array, ""], size: int) -> Float[Array, "K size"]:
        """The targets of `size` columns from `start` on, written out. Runs inside `jit`.

        Parameters
        ----------
        start
            The first column, possibly traced.
        size
            How many.

        Returns
        -------
        Float[Array, "K size"]
            The targets.
        """
        return jax.lax.dynamic_slice_in_dim(self.targets, start, size, axis=1)

    @property
    def squares(self) -> Float[Array, " C"]:
        r"""$\|q_c\|^2$."""
        return jnp.sum(self.targets**2, axis=0)

    @property
    def class_counts(self) -> Float[Array, " K"]:
        """n_k: the mass that each class receives; for one-hot labels the number of its samples."""
        return self.targets @ self.masses

    @property
    def class_index(self) -> Int[Array, " C"]:
        """The class of each column, the largest entry of its target."""
        targets = concrete(self.targets)
        if targets is None:
            return jnp.argmax(self.targets, axis=0)
        return jax.device_put(np.argmax(targets, axis=0))

    @property
    def absent_classes(self) -> np.ndarray:
        """The classes that no target holds, of any lane where problems are stacked.

        None while targets are traced.
        """
        targets = concrete(self.targets)
        if targets is None:
            return np.zeros(0, int)
        empty = np.all(targets == 0, axis=-1)
        return np.flatnonzero(np.any(empty, axis=tuple(range(empty.ndim - 1))))

    def numbers(self) -> np.ndarray | None:
        """All numbers that occur in the targets, in any order; None while they are traced."""
        return concrete(self.targets)

    def sums(self) -> np.ndarray | None:
        """The sum of each target (C,); None while they are traced."""
        targets = concrete(self.targets)
        return None if targets is None else targets.sum(axis=0)

    def is_one_hot(self) -> bool:
        """Whether every target is a unit vector, and every class has one.

        Reads the values, so not inside `jit`.
        """
        targets = np.asarray(self.targets)
        return bool(
            np.all((targets == 0) | (targets == 1))
            and np.all(targets.sum(0) == 1)
            and np.all(targets.sum(1) > 0)
        )

    def has_equal_weights(self) -> bool:
        """Whether all samples count alike in the loss, to rounding.

        Reads the values, so not inside `jit`.
        """
        if self.weights is None:
            return True
        weights = np.asarray(self.weights)
        return bool(np.ptp(weights) <= 8 * np.finfo(weights.dtype).eps * weights.max())


def require_columns(labels: AbstractLabels, of: str, dtype) -> None:
    """`ValueError` unless masses and weights are positive, one for each column of `of`.

    Parameters
    ----------
    labels
        What is asked.
    of
        The name of the array of C columns that says how many there are.
    dtype
        Which masses and weights must have.

    Raises
    ------
    ValueError
        Naming the array, what it must be, and what it is.
    """
    C = getattr(labels, of).shape[-1]
    for name, array in (("masses", labels.masses), ("weights", labels.weights)):
        if array is None and name == "weights":
            continue
        require_array(name, array)
        assert array is not None
        require(
            array.shape == (C,),
            f"`{name}` must have shape ({C},), one per column of `{of}`",
            array.shape,
        )
        wanted = f"`{name}` must have the dtype of `{of}`, {dtype}"
        require(array.dtype == dtype, wanted, array.dtype)
        require_positive(name, array)


def chunk_of(at_once: int | None, shape: tuple[int, int], width: int) -> int | None:
    """Columns at a time of a matrix which nobody has to hold.

    Parameters
    ----------
    at_once
        As many as asked for, or None.
    shape
        (K, C) of the matrix.
    width
        Columns at a time where none were asked for and the matrix does not fit.

    Returns
    -------
    int | None
        At most C; None for all at once.
    """
    K, C = shape
    if at_once is None:
        return None if K * C <= MOST_WRITTEN else min(max(width, _LEAST_CHUNK), C)
    return min(at_once, C)


def require_written(shape: tuple[int, int]) -> None:
    """`ValueError` for targets that are too large to be written down as a whole matrix."""
    K, C = shape
    words = (
        f"`labels.targets` must hold at most {MOST_WRITTEN} numbers to be written down as a whole; "
        "these labels are held without, and `labels.columns(start, size)` has a part of them"
    )
    require(K * C <= MOST_WRITTEN, words, f"{K} classes and {C} columns")


def checked_counts(class_counts) -> np.ndarray | None:
    """Class counts as an array, or None while they are traced.

    `ValueError` unless there are two or more, all positive.
    """
    array = require_real("class_counts", class_counts, ndim=1)
    require(len(array) >= 2, "`class_counts` must hold K >= 2 classes", class_counts)
    require_positive("class_counts", class_counts)
    return concrete(array)


def host_counts(class_counts) -> np.ndarray:
    """Class counts in float64 on the host.

    `ValueError` for counts that are traced, and as `checked_counts` raises.
    """
    counts = checked_counts(class_counts)
    if counts is None:
        raise ValueError(f"`class_counts` must be concrete here; got {class_counts}")
    return counts.astype(np.float64)
