"""Label matrices: what each column of logits should be, and how many samples share it.

A setting of this field (balanced, long-tailed, smoothed, mixed-up) is a label matrix; nothing after
this file knows which.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ufm._validate import (
    LONGEST_LIST,
    as_floats,
    at_one_width,
    concrete,
    float_dtype,
    require,
    require_array,
    require_each,
    require_finite,
    require_flag,
    require_instance,
    require_positive,
    require_real,
    require_whole,
)


class Labels(eqx.Module):
    r"""Targets $q_c$ (K, C) and masses $m_c > 0$ (C,).

    Mass is the number of samples that share the column.

    "Full" labels have one column of mass 1 a sample, "collapsed" labels one column of mass $n_k$ a
    class. `weights` $w_c > 0$ (C,): how much a sample of the column counts in the loss, all alike
    unless given; only their ratios matter. The decay of features goes by mass alone, and so do
    class means and counts.

    Raises `ValueError` for K < 2, no column, shapes that disagree, targets that are not finite,
    masses or weights that are not positive.
    """

    targets: Float[Array, "K C"]
    masses: Float[Array, " C"]
    weights: Float[Array, " C"] | None = None

    def __check_init__(self):
        require_array("targets", self.targets)
        require(self.targets.ndim == 2, "`targets` must have shape (K, C)", self.targets.shape)
        K, C = self.targets.shape
        require(K >= 2, "`targets` must have K >= 2 rows, one per class", K)
        require(C >= 1, "`targets` must have at least one column", C)
        require_finite("targets", self.targets)
        for name, array in (("masses", self.masses), ("weights", self.weights)):
            if array is None and name == "weights":
                continue
            require_array(name, array)
            assert array is not None
            require(
                array.shape == (C,),
                f"`{name}` must have shape ({C},), one per column of `targets`",
                array.shape,
            )
            require(
                array.dtype == self.targets.dtype,
                f"`{name}` must have the dtype of `targets`, {self.targets.dtype}",
                array.dtype,
            )
            require_positive(name, array)

    @property
    def num_classes(self) -> int:
        """K."""
        return self.targets.shape[0]

    @property
    def num_columns(self) -> int:
        """C."""
        return self.targets.shape[1]

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

    @property
    def class_counts(self) -> Float[Array, " K"]:
        """n_k: the mass that each class receives; for one-hot labels the number of its samples."""
        return self.targets @ self.masses

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

    @property
    def class_index(self) -> Int[Array, " C"]:
        """The class of each column, the largest entry of its target."""
        return jnp.argmax(self.targets, axis=0)

    def is_one_hot(self) -> bool:
        """Whether every target is a unit vector. Reads the values, so not inside `jit`."""
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


def one_hot(class_counts, *, class_weights=None, collapsed: bool = False, dtype=None) -> Labels:
    r"""One-hot labels, grouped by class.

    `class_counts` (K,): samples of each class, n_k. `collapsed=False` gives N columns of mass 1
    (what a theorem about within-class collapse must be run on), `collapsed=True` gives K columns of
    masses n_k (what one solves at scale; same optimum for a loss convex in the logits). Collapsed
    counts may be traced and need not be whole numbers. `class_weights` (K,) > 0: how much a sample
    of a class counts in the loss, $1/n_k$ for a class-balanced one; may be traced. `dtype`: the
    default float unless given.

    Raises `ValueError` for K < 2, counts or weights that are not positive, and counts that are not
    whole numbers where columns are counted.
    """
    dtype = float_dtype(dtype)
    require_flag("collapsed", collapsed)
    counts = checked_counts(class_counts)
    K = len(class_counts)
    weights = None
    if class_weights is not None:
        require_positive("class_weights", class_weights, ndim=1)
        given = np.shape(class_weights)
        require(
            given == (K,),
            f"`class_weights` must have shape ({K},), one for each of `class_counts`",
            given,
        )
        weights = jnp.asarray(class_weights, dtype=dtype)
    if collapsed:
        return Labels(jnp.eye(K, dtype=dtype), jnp.asarray(class_counts, dtype=dtype), weights)
    if counts is None:
        raise ValueError(
            f"`class_counts` must be concrete for full labels; pass collapsed=True to trace "
            f"them; got {class_counts}"
        )
    require(
        np.all(counts == np.round(counts)),
        "`class_counts` must be whole numbers for full labels",
        class_counts,
    )
    wanted = (
        f"`class_counts` must sum to at most {LONGEST_LIST} for full labels; pass collapsed=True"
    )
    require(counts.sum() <= LONGEST_LIST, wanted, counts.sum())
    columns = np.repeat(np.arange(K), counts.astype(int))
    targets, masses = (
        jnp.asarray(np.eye(K)[:, columns], dtype=dtype),
        jnp.ones(len(columns), dtype=dtype),
    )
    return Labels(targets, masses, None if weights is None else weights[columns])


def smoothed(
    class_counts, *, smoothing, class_weights=None, collapsed: bool = False, dtype=None
) -> Labels:
    r"""One-hot labels with label smoothing, $q = (1-s)\,e_k + s/K$.

    `class_counts` (K,), `class_weights` (K,), `collapsed`, `dtype`: as for `one_hot`. `smoothing` s
    in [0, 1), which may be traced; 0 is one-hot.

    Raises `ValueError` for a smoothing outside [0, 1), and as `one_hot` does.
    """
    require_smoothing(smoothing)
    labels = one_hot(class_counts, class_weights=class_weights, collapsed=collapsed, dtype=dtype)
    s = jnp.asarray(smoothing, labels.targets.dtype)
    return Labels((1 - s) * labels.targets + s / labels.num_classes, labels.masses, labels.weights)


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


def require_smoothing(smoothing) -> None:
    """Label smoothing, possibly traced, is one number in [0, 1)."""
    require_each("smoothing", smoothing, lambda s: (s >= 0) & (s < 1), "be in [0, 1)", shape=())


def soft(targets, masses=None, *, weights=None, dtype=None) -> Labels:
    """Any soft labels.

    `targets` (K, C), `masses` (C,), ones unless given, and loss `weights` (C,) or None. Raises as
    `Labels` does.
    """
    dtype = float_dtype(dtype)
    for name, given in (("targets", targets), ("masses", masses), ("weights", weights)):
        if given is not None or name == "targets":
            require_real(name, given)
    targets = jnp.asarray(targets, dtype=dtype)
    if masses is None:
        masses = jnp.ones(targets.shape[1:], dtype=dtype)
    return Labels(
        targets,
        jnp.asarray(masses, dtype=dtype),
        None if weights is None else jnp.asarray(weights, dtype=dtype),
    )


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


def collapse(labels: Labels, columns: Float[Array, "d C"]) -> Float[Array, "d K"]:
    """Class means of `columns`, by mass.

    Column k of the result is the mean over the columns of class k.

    Half precision is widened to the default float.
    """
    require_instance("labels", labels, Labels)
    columns, masses = at_one_width(as_floats("columns", columns, ndim=2), labels.masses)
    require(
        columns.shape[1] == labels.num_columns,
        f"`columns` must have {labels.num_columns} columns, like `labels`",
        columns.shape,
    )
    members = (
        jax.nn.one_hot(labels.class_index, labels.num_classes, dtype=columns.dtype)
        * masses[:, None]
    )
    return (columns @ members) / jnp.sum(members, axis=0)[None, :]
