"""Targets held as one matrix."""

from __future__ import annotations

from jaxtyping import Array, Float

from ufm._validate import require, require_array, require_finite, require_instance
from ufm.labels.base import AbstractLabels, require_columns
from ufm.labels.offsets import OffsetLabels


class Labels(AbstractLabels):
    r"""Targets $q_c$ (K, C) and masses $m_c > 0$ (C,).

    Mass is the number of samples that share the column.

    "Full" labels have one column of mass 1 a sample, "collapsed" labels one column of mass $n_k$ a
    class. `weights` $w_c > 0$ (C,): how much a sample of the column counts in the loss, all alike
    unless given; only their ratios matter. The decay of features goes by mass alone, and so do
    class means and counts.

    Raises `ValueError` for no class, no column, shapes that disagree, targets that are not finite,
    masses or weights that are not positive.
    """

    targets: Float[Array, "K C"]  # pyright: ignore[reportIncompatibleMethodOverride]
    masses: Float[Array, " C"]  # pyright: ignore[reportIncompatibleMethodOverride]
    weights: Float[Array, " C"] | None = None  # pyright: ignore[reportIncompatibleMethodOverride]

    def __check_init__(self):
        require_array("targets", self.targets)
        require(self.targets.ndim == 2, "`targets` must have shape (K, C)", self.targets.shape)
        K, C = self.targets.shape
        require(K >= 1, "`targets` must have a row for each class", K)
        require(C >= 1, "`targets` must have at least one column", C)
        require_finite("targets", self.targets)
        require_columns(self, "targets", self.targets.dtype)

    @property
    def num_classes(self) -> int:
        """K."""
        return self.targets.shape[0]


def written_out(labels: AbstractLabels) -> Labels | OffsetLabels:
    """The same labels with their targets as one matrix; `ValueError` where that is too large."""
    require_instance("labels", labels, AbstractLabels, "ufm.Labels")
    if isinstance(labels, Labels):
        return labels
    if isinstance(labels, OffsetLabels):
        inner = written_out(labels.labels)
        return labels if inner is labels.labels else OffsetLabels(inner, labels.offsets)
    return Labels(labels.targets, labels.masses, labels.weights)
