r"""Calibration: does a class predicted with probability p come out with frequency p?

Labels may be soft: the label of a point is then drawn from its target y, and the expectation over
that draw is taken exactly. With $\hat k = \arg\max_k p_k$ a point predicted with confidence
$p_{\hat k}$ is right with probability $y_{\hat k}$.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ufm._classes.module import Module
from ufm._validate import (
    LONGEST_LIST,
    Shown,
    as_floats,
    at_one_width,
    concrete,
    require,
    require_instance,
    require_key,
    require_real,
    require_whole,
    rounding_of,
)
from ufm.labels import AbstractLabels, Labels
from ufm.labels.offsets import OffsetLabels


class Reliability(Module):
    r"""A reliability curve: points in bins of confidence, and how often each bin is right.

    `edges` (B + 1,): bin b holds the confidences in $(e_b, e_{b+1}]$, the first one its lower edge
    too. `masses` (B,): the share of the points in each bin, summing to 1. `confidence`, `accuracy`
    (B,): means over the bin, NaN in an empty one. `deviation`: $\mathbb E|y_{\hat k} - p_{\hat k}|$
    without bins, which `ece` never exceeds.
    """

    edges: Float[Array, " edges"]
    masses: Float[Array, " B"]
    confidence: Float[Array, " B"]
    accuracy: Float[Array, " B"]
    deviation: Float[Array, ""]

    @property
    def gap(self) -> Float[Array, " B"]:
        """Accuracy minus confidence of each bin.

        Positive where the model trusts itself too little, 0 in an empty bin.
        """
        return jnp.where(self.masses > 0, self.accuracy - self.confidence, 0)

    @property
    def ece(self) -> Float[Array, ""]:
        r"""The expected calibration error, $\sum_b \omega_b\,|\mathrm{acc}_b -
        \mathrm{conf}_b|$."""
        return jnp.dot(self.masses, jnp.abs(self.gap))

    @property
    def mce(self) -> Float[Array, ""]:
        """The largest gap of a bin, in absolute value."""
        return jnp.max(jnp.abs(self.gap))

    @property
    def underconfidence(self) -> Float[Array, ""]:
        """Mean accuracy minus mean confidence over all points.

        Negative for a model that trusts itself too much.
        """
        return jnp.dot(self.masses, self.gap)


def reliability(
    probabilities: Float[Array, "K C"] | Float[np.ndarray, "K C"],
    labels: AbstractLabels,
    *,
    bins=15,
) -> Reliability:
    r"""The reliability curve of predicted probabilities, with labels drawn from soft targets.

    The draw is averaged exactly.

    $\mathrm{conf}_b = \mathbb E[p_{\hat k}\mid p_{\hat k}\in b]$ and $\mathrm{acc}_b = \mathbb
    E[y_{\hat k}\mid p_{\hat k}\in b]$, each column counted by its mass.

    Parameters
    ----------
    probabilities
        (K, C), columns that sum to 1, such as `jax.nn.softmax(solution.logits, axis=0)`.
    labels
        `Labels` whose targets are distributions, one column for each of `probabilities`: one-hot
        for points of a known class, soft for mixed points, and those of `drawn_labels` for a finite
        sample.
    bins
        How many bins of equal width, or their increasing edges from 0 to 1 (B + 1,). Of equal
        largest probabilities the first class counts as predicted.

    Returns
    -------
    Reliability
        `.ece` is the expected calibration error. Runs inside `jit` and `vmap` (`bins` fixed).

    Raises
    ------
    ValueError
        For shapes that disagree, columns that are no distributions, and edges that do not increase
        from 0 to 1.

    Notes
    -----
    A bin averages over its points, so an ECE of 0 does not say that p equals y: `deviation` does,
    for the predicted class.
    """
    p = as_floats("probabilities", probabilities, ndim=2)
    require_instance("labels", labels, AbstractLabels, "ufm.Labels")
    p, targets = at_one_width(p, labels.targets)
    require(
        p.shape == targets.shape,
        f"`probabilities` must have the shape of `labels.targets`, {targets.shape}",
        p.shape,
    )
    _require_distributions("probabilities", p, rounding_of(probabilities))
    _require_distributions("labels.targets", targets, rounding_of(labels.masses))
    return _reliability(
        p, targets, labels.mass_shares.astype(p.dtype), _checked_edges(bins, p.dtype)
    )


@jax.jit
def _reliability(p: Array, targets: Array, weights: Array, edges: Array) -> Reliability:
    B = len(edges) - 1
    predicted = jnp.argmax(p, axis=0)
    confidence = jnp.take_along_axis(p, predicted[None, :], axis=0)[0]
    hit = jnp.take_along_axis(targets, predicted[None, :], axis=0)[0]
    # rounding can lift a probability above 1
    index = jnp.clip(jnp.searchsorted(edges, confidence, side="left") - 1, 0, B - 1)
    members = jax.nn.one_hot(index, B, dtype=p.dtype) * weights[:, None]
    masses = jnp.sum(members, axis=0)
    filled = masses > 0
    divisor = jnp.where(filled, masses, 1)
    return Reliability(
        edges=edges,
        masses=masses,
        confidence=jnp.where(filled, confidence @ members / divisor, jnp.nan),
        accuracy=jnp.where(filled, hit @ members / divisor, jnp.nan),
        deviation=jnp.dot(weights, jnp.abs(hit - confidence)),
    )


def drawn_labels(labels: AbstractLabels, *, key: PRNGKeyArray, draws: int = 1) -> AbstractLabels:
    """What a finite sample sees of soft labels.

    For every column the frequencies of the classes among labels drawn from its target.

    Parameters
    ----------
    labels
        `Labels` whose targets are distributions, with offsets or without.
    key
        A `jax.random.key`.
    draws
        Labels drawn for each column.

    Returns
    -------
    AbstractLabels
        Of the same shape, masses and offsets, one-hot for `draws=1`.

    Raises
    ------
    ValueError
        For targets that are no distributions and `draws` < 1.

    Notes
    -----
    The ECE of a finite sample is larger than that of its law, because noise in the accuracy of a
    bin counts as a gap.
    """
    require_instance("labels", labels, AbstractLabels, "ufm.Labels")
    require_key("key", key)
    draws = require_whole("draws", draws, most=LONGEST_LIST)
    _require_distributions("labels.targets", labels.targets, rounding_of(labels.masses))
    K, C = labels.num_classes, labels.num_columns
    drawn = jax.random.categorical(key, jnp.log(labels.targets), axis=0, shape=(draws, C))
    frequencies = jnp.mean(jax.nn.one_hot(drawn, K, axis=1, dtype=labels.dtype), axis=0)
    seen = Labels(frequencies, labels.masses, labels.weights)
    return seen if labels.offsets is None else OffsetLabels(seen, labels.offsets)


def _require_distributions(name: str, columns: Array, rounding: float) -> None:
    """`ValueError` unless the columns are >= 0 and sum to 1 up to the rounding of a softmax over
    many classes."""
    values = concrete(columns)
    if values is None:
        return
    require(
        np.all(np.isfinite(values)) and np.all(values >= 0),
        f"`{name}` must be finite and >= 0",
        np.min(values),
    )
    off = np.max(np.abs(values.sum(axis=0) - 1))
    require(
        off <= np.sqrt(rounding),
        f"`{name}` must have columns that sum to 1",
        f"a column that is {off:.1e} off",
    )


def _checked_edges(bins, dtype) -> Array:
    if isinstance(bins, int | np.integer):
        return jnp.linspace(0, 1, require_whole("bins", bins, most=LONGEST_LIST) + 1, dtype=dtype)
    edges = np.asarray(require_real("bins", bins), dtype=dtype)
    increasing = (
        edges.ndim == 1
        and len(edges) >= 2
        and edges[0] == 0
        and edges[-1] == 1
        and np.all(np.diff(edges) > 0)
    )
    require(
        increasing, "`bins` must be a whole number or edges that increase from 0 to 1", Shown(bins)
    )
    return jnp.asarray(edges)
