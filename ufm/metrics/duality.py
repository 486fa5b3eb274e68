"""NC3 and NC4: how the classifier agrees with the class means, in direction and in its
decisions."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ufm._numerics import unit
from ufm._validate import as_floats, at_one_width, require, require_flag, require_nonnegative
from ufm.frames import gram_distance
from ufm.labels import AbstractLabels
from ufm.metrics.moments import Moments, moments


def nc3_self_duality(
    features,
    labels,
    classifier,
    *,
    num_classes: int | None = None,
    centre: bool = False,
    ratios=None,
) -> Float[Array, ""]:
    r"""Distance of the classifier to the class means.

    $\big\|W/\|W\|_F - A\bar H^\top/\|A\bar H^\top\|_F\big\|_F$.

    Parameters
    ----------
    features, labels, num_classes
        As for `class_means`.
    classifier
        (K, d), the product W_M … W_1.
    centre
        Take the global mean off the class means first, for a model with bias.
    ratios
        (K,): A = diag(ratios), the predicted ratio of row k of W to the mean of class k, up to one
        common factor; all equal unless given, which is the theory for balanced classes.

    Returns
    -------
    Float[Array, ""]
        Blind to overall scale; NaN where W or the means are zero.

    Raises
    ------
    ValueError
        As `class_means` does, and for a classifier or ratios of the wrong shape.

    Notes
    -----
    Source: Papyan, Han & Donoho 2020 (centred); the metrics of Dang et al. 2023 (not centred, and
    with ratios when imbalanced).
    """
    require_flag("centre", centre)
    m, W, _ = last_layer(features, labels, classifier, num_classes=num_classes)
    vectors = m.centred if centre else m.means
    if ratios is not None:
        require_nonnegative("ratios", ratios, shape=(m.num_classes,))
        r = jnp.asarray(ratios, float)
        vectors = vectors * (r / unit(r)).astype(vectors.dtype)[None, :]
    return gram_distance(W, vectors.T)


def nc3_product(
    features, labels, classifier, *, target, num_classes: int | None = None, centre: bool = False
) -> Float[Array, ""]:
    r"""Distance of the logits of the class means to a shape.

    $\big\|W\bar H/\|W\bar H\|_F - T/\|T\|_F\big\|_F$.

    Parameters
    ----------
    features, labels, classifier, num_classes, centre
        As for `nc3_self_duality`.
    target
        (K, K), the shape T up to scale, such as `centring_matrix(K)` (with `centre`, for a model
        with bias), the identity (balanced, no bias) or a diagonal (imbalanced, no bias).

    Returns
    -------
    Float[Array, ""]
        Blind to overall scale; NaN where W H̄ or the target is zero.

    Raises
    ------
    ValueError
        As `nc3_self_duality` does, and for a target that is not (K, K).

    Notes
    -----
    Source: the metrics of Dang et al. 2023.
    """
    require_flag("centre", centre)
    m, W, _ = last_layer(features, labels, classifier, num_classes=num_classes)
    return gram_distance(W / unit(W) @ (m.centred if centre else m.means), target)


def nc4_agreement(
    features, labels, classifier, bias=None, *, num_classes: int | None = None, tolerance=0.0
) -> Float[Array, ""]:
    r"""The share of samples that the classifier and the nearest class mean put in one class.

    $\arg\max_k (W h + b)_k = \arg\min_k \|h - \bar h_k\|$.

    Parameters
    ----------
    features, labels, num_classes
        As for `class_means`; the labels define the means, and their masses weigh the columns.
    classifier, bias
        (K, d), and (K,) or None.
    tolerance
        Logits closer than this times their spread over all samples count as tied, and so do squared
        distances to class means; a sample agrees when any class is both among its largest logits
        and among its nearest means. At 0 only exact ties are ties.

    Returns
    -------
    Float[Array, ""]
        In [0, 1].

    Raises
    ------
    ValueError
        As `class_means` does, and for a classifier or bias of the wrong shape.

    Notes
    -----
    Source: Papyan, Han & Donoho 2020.
    """
    require_nonnegative("tolerance", tolerance, shape=())
    m, W, b = last_layer(features, labels, classifier, bias, num_classes=num_classes)
    return nc4_agreement_of(m, W, b, tolerance)


def nc4_agreement_of(m: Moments, W, bias, tolerance) -> Float[Array, ""]:
    """`nc4_agreement` of computed moments and checked arrays.

    Parameters
    ----------
    m
        Moments of the features.
    W, bias
        (K, d), and (K,) or None.
    tolerance
        As for `nc4_agreement`.

    Returns
    -------
    Float[Array, ""]
        In [0, 1], without a derivative: a share of samples is constant but for jumps. NaN where
        logits or distances are not finite.
    """
    # a share of samples, constant but for jumps
    m, W, bias = lax.stop_gradient((m, W, bias))
    logits = W / unit(W) @ m.features
    if bias is not None:
        logits = _with_bias(logits, bias, unit(W), m.scale)
    # -½‖h - mean‖² up to a constant of the sample; centred, so that a common offset of all features
    # does not cancel
    centred = m.deviations + m.centred[:, m.index]
    nearness = m.centred.T @ centred - 0.5 * jnp.sum(m.centred**2, axis=0)[:, None]
    agree = jnp.any(_largest(logits, tolerance) & _largest(nearness, tolerance), axis=0)
    fraction = jnp.dot(m.masses, agree.astype(m.masses.dtype)) / jnp.sum(m.counts)
    # comparisons with NaN are False and would pass for disagreement
    return jnp.where(jnp.isfinite(jnp.sum(logits) + jnp.sum(nearness)), fraction, jnp.nan)


def last_layer(
    features, labels, classifier, bias=None, *, num_classes: int | None = None, floor=0.0
):
    """Moments, classifier and bias of arrays from a user, as wide as the widest.

    Parameters
    ----------
    features, labels, num_classes
        As for `class_means`; of whole numbers there are as many classes as the classifier has rows
        unless `num_classes` says otherwise.
    classifier, bias
        (K, d), and (K,) or None.
    floor
        A length that counts as zero whatever the size of the features.

    Returns
    -------
    tuple
        `Moments`, (K, d), and (K,) or None.

    Raises
    ------
    ValueError
        As `class_means` does, and for a classifier or bias of the wrong shape.
    """
    features, W, b = at_one_width(
        as_floats("features", features, ndim=2),
        as_floats("classifier", classifier, ndim=2),
        None if bias is None else as_floats("bias", bias, ndim=1),
    )
    d = features.shape[0]
    # (before its rows say how many classes there are)
    if num_classes is None and not isinstance(labels, AbstractLabels):
        words = f"`classifier` must have shape (K, d) with d = {d}: pass `classifier.T`"
        require(not W.shape[0] == d != W.shape[1], words, W.shape)
        num_classes = len(W)
    m = moments(features, labels, num_classes=num_classes, floor=floor)
    shape = (m.num_classes, d)
    require(
        W.shape == shape,
        f"`classifier` must have shape (K, d) = {shape}, d that of `features`",
        W.shape,
    )
    if b is not None:
        require(b.shape == shape[:1], f"`bias` must have shape ({m.num_classes},)", b.shape)
    return m, W, b


def _with_bias(logits: Float[Array, "K C"], bias: Float[Array, " K"], *scales: Float[Array, ""]):
    """Logits in units of the product of `scales`, powers of two, plus a bias.

    In whichever unit is the larger.
    """
    size = unit(bias)
    # exponents, since the product of the scales may overflow
    ahead = sum(jnp.frexp(scale)[1] - 1 for scale in scales) - (jnp.frexp(size)[1] - 1)
    larger = jnp.where(bias.any(), jnp.minimum(ahead, 0), 0)
    return jnp.ldexp(logits, larger) + jnp.ldexp(bias / size, larger - ahead)[:, None]


def _largest(scores: Float[Array, "K C"], tolerance):
    """Which scores of each column are its largest, up to `tolerance` times the spread of all."""
    slack = tolerance * (jnp.max(scores) - jnp.min(scores))
    return scores >= jnp.max(scores, axis=0)[None, :] - slack
