"""Label matrices of a federation: the classes of every client, as columns of their own."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from ufm._validate import (
    LONGEST_LIST,
    float_dtype,
    require,
    require_choice,
    require_each,
    require_flag,
)
from ufm.labels.base import MOST_HELD, AbstractLabels
from ufm.labels.dense import Labels
from ufm.labels.offsets import OffsetLabels
from ufm.labels.sparse import SparseLabels

_WEIGHTINGS = ("samples", "uniform")


def federated(
    client_counts, *, weighting: str = "samples", balanced: bool = False, dtype=None
) -> AbstractLabels:
    r"""One-hot labels of clients, a column for each class that a client has.

    Parameters
    ----------
    client_counts
        $n_k^r \ge 0$ (R, K): samples of class k at client r, on the host; need not be whole. Every
        client has some.
    weighting
        What the loss is the mean of: "samples", all alike, or "uniform", the means of the clients,
        so that a sample counts $1/N_r$, $N_r = \sum_k n_k^r$.
    balanced
        Whether a client's loss is the balanced softmax of its own counts: to the logits of its
        columns is added $\log n_k^r$, and a class that it does not have is dropped.
    dtype
        The default float unless given.

    Returns
    -------
    AbstractLabels
        Columns in the order of clients, then of classes: those of
        `client, label = numpy.nonzero(client_counts)`, of masses $n_k^r$.

    Raises
    ------
    ValueError
        For counts that are not a matrix of K >= 2 columns of finite numbers >= 0, a client without
        samples, and another weighting.

    Notes
    -----
    A feature is decayed once a sample, whatever the weighting: under "uniform" small clients feel
    the decay less. Averaging weights after several local steps is another objective.
    """
    counts = require_each(
        "client_counts", client_counts, lambda n: np.isfinite(n) & (n >= 0), "be >= 0", ndim=2
    )
    if counts is None:
        raise ValueError("`client_counts` must be concrete: they say which columns there are")
    K = counts.shape[1]
    require(K >= 2, "`client_counts` must have K >= 2 columns, one per class", K)
    require(
        counts.size <= LONGEST_LIST,
        f"`client_counts` must hold at most {LONGEST_LIST} numbers",
        counts.shape,
    )
    empty = np.flatnonzero(counts.sum(axis=1) == 0)
    words = "`client_counts` must give every client some samples"
    require(len(empty) == 0, words, f"none for client {', '.join(map(str, empty[:8]))}")
    require_choice("weighting", weighting, _WEIGHTINGS)
    require_flag("balanced", balanced)
    dtype = float_dtype(dtype)
    client, label = np.nonzero(counts)
    masses = jnp.asarray(counts[client, label], dtype)
    weights = None
    if weighting == "uniform":
        weights = jnp.asarray(1 / counts.sum(axis=1, dtype=np.float64)[client], dtype)
    if K * len(label) > MOST_HELD:
        labels = SparseLabels(
            index=jnp.asarray(label, jnp.int32)[None, :],
            entries=jnp.ones((1, len(label)), dtype),
            background=jnp.zeros(len(label), dtype),
            masses=masses,
            num_classes=K,
            weights=weights,
        )
    else:
        labels = Labels(jnp.asarray(np.eye(K, dtype=dtype)[:, label]), masses, weights)
    if not balanced:
        return labels
    with np.errstate(divide="ignore"):
        offsets = np.log(counts.astype(np.float64))[client].T
    return OffsetLabels(labels, jnp.asarray(offsets, dtype))
