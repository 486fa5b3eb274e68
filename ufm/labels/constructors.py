"""The labels that settings of this field are made of."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._programs.jit import one_program
from ufm._validate import (
    LONGEST_LIST,
    as_array,
    as_floats,
    at_one_width,
    float_dtype,
    require,
    require_each,
    require_flag,
    require_instance,
    require_positive,
    require_real,
    require_whole,
)
from ufm.labels.base import MOST_HELD, AbstractLabels, checked_counts
from ufm.labels.dense import Labels
from ufm.labels.sparse import SparseLabels


def one_hot(
    class_counts, *, class_weights=None, collapsed: bool = False, sparse=None, dtype=None
) -> Labels | SparseLabels:
    """One-hot labels, grouped by class.

    Parameters
    ----------
    class_counts
        (K,), samples of each class, n_k.
    class_weights
        (K,) > 0, how much a sample of a class counts in the loss, $1/n_k$ for a class-balanced one;
        may be traced.
    collapsed
        False gives N columns of mass 1 (what a theorem about within-class collapse must be run on),
        True gives K columns of masses n_k (what one solves at scale; same optimum for a loss convex
        in the logits). Collapsed counts may be traced and need not be whole numbers.
    sparse
        Whether to hold the class of each column in place of a K × C matrix; where that would have
        more than 2²⁴ numbers unless given. Nothing else depends on it.
    dtype
        The default float unless given.

    Returns
    -------
    Labels | SparseLabels
        In the order of the classes.

    Raises
    ------
    ValueError
        For K < 2, counts or weights that are not positive, and counts that are not whole numbers
        where columns are counted.
    """
    return _by_class(class_counts, class_weights, collapsed, sparse, float_dtype(dtype), None)


def smoothed(
    class_counts, *, smoothing, class_weights=None, collapsed: bool = False, sparse=None, dtype=None
) -> Labels | SparseLabels:
    r"""One-hot labels with label smoothing, $q = (1-s)\,e_k + s/K$.

    Parameters
    ----------
    class_counts, class_weights, collapsed, sparse, dtype
        As for `one_hot`.
    smoothing
        s in [0, 1), which may be traced; 0 is one-hot.

    Returns
    -------
    Labels | SparseLabels
        In the order of the classes.

    Raises
    ------
    ValueError
        For a smoothing outside [0, 1), and as `one_hot` does.
    """
    require_smoothing(smoothing)
    dtype = float_dtype(dtype)
    s = jnp.asarray(smoothing, dtype)
    return _by_class(class_counts, class_weights, collapsed, sparse, dtype, s)


def _by_class(
    class_counts, class_weights, collapsed: bool, sparse: bool | None, dtype, smoothing
) -> Labels | SparseLabels:
    """Labels $(1-s)\\,e_k + s/K$ of columns grouped by class; e_k itself for no smoothing."""
    require_flag("collapsed", collapsed)
    require_flag("sparse", sparse, optional=True)
    counts = checked_counts(class_counts)
    K = len(class_counts)
    weights = None
    if class_weights is not None:
        require_positive("class_weights", class_weights, ndim=1)
        given = require_real("class_weights", class_weights).shape
        words = f"`class_weights` must have shape ({K},), one for each of `class_counts`"
        require(given == (K,), words, given)
        weights = jnp.asarray(class_weights, dtype=dtype)
    if collapsed:
        columns, masses = np.arange(K), as_array(class_counts, dtype)
    else:
        columns = _full_columns(counts, class_counts)
        masses = jax.device_put(np.ones(len(columns), dtype))
        weights = None if weights is None else weights[columns]
    held = K * len(columns) > MOST_HELD if sparse is None else sparse
    if held:
        s = jnp.zeros((), dtype) if smoothing is None else smoothing
        return SparseLabels(
            index=jnp.asarray(columns, jnp.int32)[None, :],
            entries=jnp.broadcast_to(1 - s, (1, len(columns))),
            background=jnp.broadcast_to(s / K, (len(columns),)),
            masses=masses,
            num_classes=K,
            weights=weights,
        )
    # (`asarray` would compile a program for each shape)
    targets = jax.device_put(np.eye(K, dtype=dtype)[:, columns])
    if smoothing is not None:
        targets = (1 - smoothing) * targets + smoothing / K
    return Labels(targets, masses, weights)


def _full_columns(counts: np.ndarray | None, class_counts) -> np.ndarray:
    """The class of each sample, grouped; `ValueError` unless the counts can be counted."""
    if counts is None:
        raise ValueError(
            f"`class_counts` must be concrete for full labels; pass collapsed=True to trace "
            f"them; got {class_counts}"
        )
    words = "`class_counts` must be whole numbers for full labels (pass collapsed=True for others)"
    require(np.all(counts == np.round(counts)), words, class_counts)
    wanted = (
        f"`class_counts` must sum to at most {LONGEST_LIST} for full labels; pass collapsed=True"
    )
    require(counts.sum() <= LONGEST_LIST, wanted, counts.sum())
    return np.repeat(np.arange(len(counts)), counts.astype(int))


def require_smoothing(smoothing) -> None:
    """Label smoothing, possibly traced, is one number in [0, 1)."""
    require_each("smoothing", smoothing, lambda s: (s >= 0) & (s < 1), "be in [0, 1)", shape=())


def soft(targets, masses=None, *, weights=None, dtype=None) -> Labels:
    """Any soft labels.

    Parameters
    ----------
    targets
        (K, C), one column each.
    masses
        (C,) > 0, ones unless given.
    weights
        (C,) > 0, of the columns in the loss, or None.
    dtype
        The default float unless given.

    Returns
    -------
    Labels
        Held as a matrix.

    Raises
    ------
    ValueError
        For what is not numbers, and as `Labels` does.
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


def sparse_soft(
    index,
    entries,
    masses=None,
    *,
    num_classes: int,
    background=0.0,
    weights=None,
    dtype=None,
) -> SparseLabels:
    """Soft labels with few entries a column.

    Such as the tokens seen to follow each context, and how often.

    Parameters
    ----------
    index, entries
        (R, C), classes of the entries and their probabilities; fill columns up with entries of 0.
    masses
        (C,), ones unless given.
    num_classes
        K >= 2.
    background
        A float, or one per column (C,), that every class gets besides.
    weights
        (C,), of the columns in the loss, or None.
    dtype
        The default float unless given.

    Returns
    -------
    SparseLabels
        For cross-entropy each column must sum to one.

    Raises
    ------
    ValueError
        For an index that holds no whole numbers from 0 to K − 1, shapes that do not agree, and as
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
    for name, array in (("masses", masses), ("weights", weights)):
        if array is not None:
            require_real(name, array, shape=(C,))
    num_classes = require_whole("num_classes", num_classes, least=2)
    # before the cast to 32 bits, which would turn 2^32 into 0
    words = f"lie in 0 … {num_classes - 1}"
    require_each("index", index, lambda index: (index >= 0) & (index < num_classes), words)
    return SparseLabels(
        index=jnp.asarray(index, jnp.int32),
        entries=jnp.asarray(entries, dtype),
        background=jnp.broadcast_to(jnp.asarray(background, dtype), (C,)),
        masses=jnp.ones(C, dtype) if masses is None else jnp.asarray(masses, dtype),
        num_classes=num_classes,
        weights=None if weights is None else jnp.asarray(weights, dtype),
    )


def collapse(labels: AbstractLabels, columns: Float[Array, "d C"]) -> Float[Array, "d K"]:
    """Class means of `columns`, by mass.

    Column k of the result is the mean over the columns of class k.

    Half precision is widened to the default float.
    """
    require_instance("labels", labels, AbstractLabels, "ufm.Labels")
    columns, masses = at_one_width(as_floats("columns", columns, ndim=2), labels.masses)
    require(
        columns.shape[1] == labels.num_columns,
        f"`columns` must have {labels.num_columns} columns, like `labels`",
        columns.shape,
    )
    return _means(columns, labels.class_index, masses, labels.num_classes)


@one_program(static_argnums=3)
def _means(columns, class_index, masses, num_classes: int) -> Array:
    members = jax.nn.one_hot(class_index, num_classes, dtype=columns.dtype) * masses[:, None]
    return (columns @ members) / jnp.sum(members, axis=0)[None, :]
