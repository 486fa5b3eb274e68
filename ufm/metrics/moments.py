r"""Class means and scatter of a feature matrix, weighted by mass: what every metric is made of.

Sizes down to rounding matter here (a collapsed solution has a within-class variance of 1e-30), so
means are corrected once by the mean of what they leave over, which is kept beside them, and
variances come from deviations, never from differences of second moments.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from ufm._classes.module import Module
from ufm._numerics import unit
from ufm._validate import as_floats, concrete, require, require_real
from ufm.frames.collapsed import checked_count
from ufm.labels import AbstractLabels

# Class means are right to about one unit in the last place, their differences to a few: a length
# below this many is rounding noise.
_NOISE = 16.0


class Moments(Module):
    """Means and deviations of the columns of a feature matrix, lengths in units of `scale`.

    Lengths in units of a power of two near the largest entry, masses in units of one near the
    largest, so that squares and sums neither over- nor underflow. `near`, `rest`: class means in
    two parts, and `centred`: less the global mean, none of them rounded at an offset that all
    columns share. `floor`: a length no greater than this counts as zero.
    """

    features: Float[Array, "d C"]
    index: Int[Array, " C"]
    masses: Float[Array, " C"]
    counts: Float[Array, " K"]
    near: Float[Array, "d K"]
    rest: Float[Array, "d K"]
    centred: Float[Array, "d K"]
    grand: Float[Array, " d"]
    floor: Float[Array, ""]
    scale: Float[Array, ""]

    @property
    def num_classes(self) -> int:
        """K."""
        return self.near.shape[1]

    @property
    def means(self) -> Float[Array, "d K"]:
        """Class means."""
        return self.near + self.rest

    @property
    def deviations(self) -> Float[Array, "d C"]:
        """Columns less the mean of their class."""
        return (self.features - self.near[:, self.index]) - self.rest[:, self.index]

    @property
    def class_variances(self) -> Float[Array, " K"]:
        """Mean squared deviation within each class."""
        squares = self.masses * jnp.sum(self.deviations**2, axis=0)
        return jax.ops.segment_sum(squares, self.index, self.num_classes) / self.counts

    @property
    def within_trace(self) -> Float[Array, ""]:
        """Trace of the within-class covariance."""
        return jnp.dot(self.masses, jnp.sum(self.deviations**2, axis=0)) / jnp.sum(self.counts)

    @property
    def between_trace(self) -> Float[Array, ""]:
        """Trace of the between-class covariance."""
        return jnp.sum(self.centred**2) / self.num_classes

    @property
    def apart(self):
        """Whether the class means are not all the same point; true of NaN, which is no collapse."""
        return ~(self.between_trace <= self.floor**2)

    def gram(self, *, centre: bool) -> Float[Array, "K K"]:
        """Inner products of the class means, or of the class means less the global mean."""
        vectors = self.centred if centre else self.means
        return vectors.T @ vectors

    def squared(self, quantity: Array) -> Array:
        """A quantity of these units squared in the units of the user.

        Step by step: the square of `scale` may overflow.
        """
        return quantity * self.scale * self.scale


def moments(features, labels, *, num_classes: int | None = None, floor=0.0) -> Moments:
    """The moments of arrays from a user.

    Parameters
    ----------
    features, labels, num_classes
        As for `class_means`.
    floor
        A length that counts as zero whatever the size of the features.

    Returns
    -------
    Moments
        In units in which nothing over- or underflows.

    Raises
    ------
    ValueError
        As `class_means` does.
    """
    features, index, masses, K = checked_columns(features, labels, num_classes)
    return moments_of(features, index, masses, K, jnp.asarray(floor, features.dtype))


@eqx.filter_jit
def moments_of(features, index, masses, num_classes: int, floor) -> Moments:
    """The moments of checked arrays.

    Parameters
    ----------
    features, index, masses
        (d, C), the class of each column (C,), and its mass (C,).
    num_classes
        K.
    floor
        A length that counts as zero.

    Returns
    -------
    Moments
        In units in which nothing over- or underflows.
    """
    scale = unit(features)
    features, masses = features / scale, masses / unit(masses)
    counts = jax.ops.segment_sum(masses, index, num_classes)
    near, rest = _class_means(features, index, masses, counts)
    grand = near @ counts / jnp.sum(counts)
    apart = (near - grand[:, None]) + rest
    beside = apart @ counts / jnp.sum(counts)
    rms = jnp.sqrt(jnp.dot(masses, jnp.sum(features**2, axis=0)) / jnp.sum(counts))
    floor = jnp.maximum(_NOISE * jnp.finfo(features.dtype).eps * rms, floor / scale)
    # compared with, never part of a value: the root of no features has no derivative to hand on
    floor = lax.stop_gradient(floor)
    return Moments(
        features=features,
        index=index,
        masses=masses,
        counts=counts,
        near=near,
        rest=rest,
        centred=apart - beside[:, None],
        grand=grand + beside,
        floor=floor,
        scale=scale,
    )


def checked_columns(features, labels, num_classes: int | None) -> tuple[Array, Array, Array, int]:
    """Features, class of each column, its mass, and K.

    Parameters
    ----------
    features, labels, num_classes
        As for `class_means`.

    Returns
    -------
    tuple[Array, Array, Array, int]
        (d, C), (C,), (C,) and K.

    Raises
    ------
    ValueError
        As `class_means` promises.
    """
    features = as_floats("features", features, ndim=2)
    if isinstance(labels, AbstractLabels):
        index, masses, K = _of_labels(labels, features, num_classes)
    else:
        index, masses, K = _of_integers(labels, features, num_classes)
    classes = concrete(index)
    if classes is not None:
        require(
            np.all((classes >= 0) & (classes < K)),
            f"`labels` must lie in [0, {K})",
            f"{classes.min()} to {classes.max()}",
        )
        present = np.bincount(classes.astype(int), minlength=K) > 0
        require(
            present.all(),
            "`labels` must hold a sample of every class (ufm.metrics.stream measures those that "
            "have some, as of next tokens); classes without one",
            np.flatnonzero(~present)[:10],
        )
    # (JAX without x64 wraps large whole numbers, so not before they are looked at)
    return features, jnp.asarray(index, int), masses, K


def _of_labels(labels: AbstractLabels, features, num_classes) -> tuple[Array, Array, int]:
    """Class and mass of each column, and K, of labels that know them."""
    K, C = labels.num_classes, features.shape[1]
    agrees = num_classes is None or checked_count(num_classes) == K
    require(agrees, f"`num_classes` must be the {K} classes of `labels`, or left out", num_classes)
    words = f"`labels` must have {C} columns, like `features`"
    require(labels.num_columns == C, words, labels.num_columns)
    return labels.class_index, labels.masses.astype(features.dtype), K


def _of_integers(labels, features, num_classes) -> tuple[np.ndarray | Array, Array, int]:
    """The same of whole numbers, a class for each column of mass one."""
    K, C = checked_count(num_classes), features.shape[1]
    index = require_real("labels", labels, ndim=1)
    whole = jnp.issubdtype(index.dtype, jnp.integer)
    require(whole, "`labels` must be ufm.Labels or integers", index.dtype)
    # a table of samples has them as its rows
    turned = len(index) == len(features) != C
    words = f"`labels` must have length {C}, the columns of `features`"
    hint = " (one column a sample: pass `features.T`)" if turned else ""
    require(len(index) == C, words + hint, len(index))
    words = f"at most {C}, the columns of `features`: each class needs a sample"
    require(K <= C, f"`num_classes` must be {words}", K)
    return index, jnp.ones(C, features.dtype), K


def _class_means(features, index, masses, counts) -> tuple[Array, Array]:
    K = len(counts)

    def mean(columns):
        return (jax.ops.segment_sum((columns * masses[None, :]).T, index, K) / counts[:, None]).T

    near = mean(features)
    return near, mean(features - near[:, index])
