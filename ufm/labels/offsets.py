r"""Logit offsets: the loss of column c sees $z_c + \iota_c$.

The balanced softmax of a client adds the logarithms of its own class counts, a contrastive loss
leaves the anchor out of its own denominator. An offset of $-\infty$ drops a class from a column:
its probability there is zero, whatever its logit.
"""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ufm._validate import (
    Shown,
    as_array,
    concrete,
    require,
    require_array,
    require_dtype,
    require_instance,
    require_real,
)
from ufm.labels.base import AbstractLabels
from ufm.labels.meetings import groups, losing


class OffsetLabels(AbstractLabels):
    r"""Labels with an offset $\iota_c$ (K,) added to the logits of each column before the loss.

    `ufm.labels.with_offsets` makes them.

    `labels`: the labels without, held in whatever way. `offsets` (K, C): finite, or −∞ for a class
    that the column drops; may be traced.

    Raises `ValueError` for a wrong shape or dtype, offsets that are NaN or +∞, a column that drops
    every class, and a target on a class that its column drops.
    """

    labels: AbstractLabels
    # (the base says None, which a field without a default must not take for one)
    offsets: Float[Array, "K C"] = eqx.field()  # pyright: ignore[reportIncompatibleMethodOverride]

    def __check_init__(self):
        require_instance("labels", self.labels, AbstractLabels, "ufm.Labels")
        plain = self.labels.offsets is None
        require(plain, "`labels` must have no offsets yet", type(self.labels).__name__)
        require_array("offsets", self.offsets)
        shape = (self.labels.num_classes, self.labels.num_columns)
        words = f"`offsets` must have shape {shape}, like the targets"
        require(self.offsets.shape == shape, words, self.offsets.shape)
        words = f"`offsets` must have the dtype of the labels, {self.labels.dtype}"
        require(self.offsets.dtype == self.labels.dtype, words, self.offsets.dtype)
        values = concrete(self.offsets)
        if values is not None:
            number = values[~(values < np.inf)]
            require(number.size == 0, "`offsets` must be finite, or -inf", Shown(number[:8]))
            self._require_kept(values > -np.inf)

    def _require_kept(self, kept: np.ndarray) -> None:
        """`ValueError` for columns without a class, or with a target that is dropped."""
        empty = np.flatnonzero(~kept.any(axis=0))
        words = "`offsets` must leave every column a class"
        require(len(empty) == 0, words, f"-inf for all of column {', '.join(map(str, empty[:8]))}")
        if kept.all():
            return
        targets = concrete(self.labels.targets)
        if targets is not None:
            lost = np.argwhere(~kept & (targets != 0))
            words = "`offsets` must be finite wherever there is a target"
            require(len(lost) == 0, words, f"-inf at (class, column) {lost[:4].tolist()}")

    @property
    def targets(self) -> Float[Array, "K C"]:
        """Those of the labels."""
        return self.labels.targets

    @property
    def num_classes(self) -> int:
        """K."""
        return self.labels.num_classes

    @property
    def masses(self) -> Float[Array, "*B C"]:
        """How many samples share a column; stacked labels are asked for their dtype by it."""
        return self.labels.masses

    @property
    def weights(self) -> Float[Array, " C"] | None:
        """How much a sample of a column counts in the loss."""
        return self.labels.weights

    def columns(self, start: Int[Array, ""], size: int) -> Float[Array, "K size"]:
        """The targets of `size` columns from `start` on.

        Returns
        -------
        Float[Array, "K size"]
            The targets.
        """
        return self.labels.columns(start, size)

    @property
    def squares(self) -> Float[Array, " C"]:
        r"""$\|q_c\|^2$."""
        return self.labels.squares

    @property
    def class_counts(self) -> Float[Array, " K"]:
        """n_k: the mass that each class receives."""
        return self.labels.class_counts

    @property
    def class_index(self) -> Int[Array, " C"]:
        """The class of each column."""
        return self.labels.class_index

    @property
    def absent_classes(self) -> np.ndarray:
        """The classes that no target holds."""
        return self.labels.absent_classes

    def numbers(self) -> np.ndarray | None:
        """All numbers that occur in the targets; None while they are traced."""
        return self.labels.numbers()

    def sums(self) -> np.ndarray | None:
        """The sum of each target (C,); None while they are traced."""
        return self.labels.sums()

    def is_one_hot(self) -> bool:
        """Whether every target is a unit vector, and every class has one."""
        return self.labels.is_one_hot()

    @property
    def drops(self) -> bool:
        """Whether a column is known to drop a class."""
        values = concrete(self.offsets)
        return values is not None and bool(np.isneginf(values).any())

    @property
    def compares(self) -> bool | Bool[Array, ""]:
        """Whether some column keeps two classes; traced where the offsets are."""
        return jnp.any(jnp.sum(self.offsets > -jnp.inf, axis=-2) > 1)

    def _meetings(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Targets and whether they are kept, for `ufm.labels.meetings`, of each problem where many
        are stacked; none where no class is known to be dropped."""
        targets = concrete(self.labels.targets) if self.drops else None
        if targets is None:
            return []
        kept = np.asarray(self.offsets) > -np.inf
        both = np.broadcast_arrays(targets, kept)
        lanes = (array.reshape(-1, *array.shape[-2:]) for array in both)
        return list(zip(*lanes, strict=True))

    @property
    def shift_groups(self) -> np.ndarray:
        """The group of each class: those that a column keeps, and who meets them in others."""
        pairs = self._meetings()
        return groups(*pairs[0]) if pairs else self.labels.shift_groups

    @property
    def losing_classes(self) -> np.ndarray:
        """The classes on which others gain in every column that keeps both, or by way of further
        classes."""
        pairs = self._meetings()
        if not pairs:
            return self.labels.losing_classes
        return np.unique(np.concatenate([losing(*pair) for pair in pairs]))


def with_offsets(labels: AbstractLabels, offsets) -> OffsetLabels:
    r"""The same labels, with an offset added to the logits of every column before the loss.

    $$\sum_c \omega_c\,\ell(z_c + \iota_c;\, q_c)$$

    Parameters
    ----------
    labels
        Any labels; offsets that they have already are replaced.
    offsets
        $\iota$ (K, C), or (K,) for the same ones in every column; may be traced. −∞ drops a class
        from a column, under a loss that can do without one (cross-entropy and focal).

    Returns
    -------
    OffsetLabels
        Everything that takes labels takes them: solvers, flows, sweeps (over `offsets` too),
        `certify` and `prove`. Closed forms refuse them unless they say that they know offsets.

    Raises
    ------
    ValueError
        For a wrong shape, NaN or +∞, a column without a class, and a dropped class with a target.

    Notes
    -----
    $\ell(\cdot + \iota)$ has the conjugate $\ell^*(u) - \iota^\top u$, with $u_k = 0$ for a class
    that is dropped. Offsets are held as a matrix, so all logits are made at once.

    With a free bias and dropped classes the infimum over the bias is not attained where others only
    gain on a class: columns with a target on them keep it, and those with a target on it, or on
    those that lead to it, drop them. Minimisers refuse that; `certify` and `prove` bound it.
    Classes that never meet in a column, nor by way of others, have a shift of the bias each that
    costs nothing (`shift_groups`).
    """
    require_instance("labels", labels, AbstractLabels, "ufm.Labels")
    inner = labels.labels if isinstance(labels, OffsetLabels) else labels
    K, C = inner.num_classes, inner.num_columns
    shape = np.shape(require_real("offsets", offsets))
    words = f"`offsets` must have shape {(K, C)}, or {(K,)} for the same ones in every column"
    require(shape in ((K, C), (K,)), words, shape)
    require_dtype("offsets", offsets, inner.dtype)
    array = as_array(offsets, inner.dtype)
    if array.ndim == 1:
        array = jnp.broadcast_to(array[:, None], (K, C))
    return OffsetLabels(inner, array)
