"""Class means, covariances and Grams of features, from arrays of a user."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._validate import require_flag
from ufm.metrics.moments import moments


def class_means(features, labels, *, num_classes: int | None = None) -> Float[Array, "d K"]:
    r"""The mean feature of each class, $\bar h_k = \sum_{c\in k} m_c h_c / \sum_{c\in k} m_c$.

    Parameters
    ----------
    features
        (d, C), one column per sample, or per group of samples that share a feature.
    labels
        `Labels`, whose class is the largest entry of each target and whose masses count the samples
        of a column, or integers (C,) in [0, K), each one sample.
    num_classes
        K, required with integers. These arguments are the same for every function of features and
        labels here.

    Returns
    -------
    Float[Array, "d K"]
        Half precision is widened to the default float, and the answer is in that.

    Raises
    ------
    ValueError
        For shapes that disagree, labels out of range, a class with no sample, and float64 arrays
        while JAX has float64 switched off.

    Notes
    -----
    Traced labels are not checked; a class with no sample then has a NaN mean.
    """
    m = moments(features, labels, num_classes=num_classes)
    return m.means * m.scale


def global_mean(features, labels, *, num_classes: int | None = None) -> Float[Array, " d"]:
    r"""The mean over samples, $h_G = \sum_c m_c h_c / N$.

    With imbalanced classes not the mean of the class means.

    Parameters
    ----------
    features, labels, num_classes
        As for `class_means`.

    Returns
    -------
    Float[Array, " d"]
        $h_G$.

    Raises
    ------
    ValueError
        As `class_means` does.

    Notes
    -----
    Source: the metrics of Dang et al. 2023, whose code uses the sample mean there too.
    """
    m = moments(features, labels, num_classes=num_classes)
    return m.grand * m.scale


def within_class_cov(features, labels, *, num_classes: int | None = None) -> Float[Array, "d d"]:
    r"""$\Sigma_W = \tfrac1N \sum_c m_c (h_c - \bar h_{k(c)})(h_c - \bar h_{k(c)})^\top$.

    Every sample weighs the same.

    Parameters
    ----------
    features, labels, num_classes
        As for `class_means`.

    Returns
    -------
    Float[Array, "d d"]
        Exactly zero for collapsed labels, one column per class.

    Raises
    ------
    ValueError
        As `class_means` does.
    """
    m = moments(features, labels, num_classes=num_classes)
    return m.squared((m.deviations * m.masses[None, :]) @ m.deviations.T / jnp.sum(m.counts))


def between_class_cov(features, labels, *, num_classes: int | None = None) -> Float[Array, "d d"]:
    r"""$\Sigma_B = \tfrac1K \sum_k (\bar h_k - h_G)(\bar h_k - h_G)^\top$.

    Every class weighs the same, around the sample mean.

    Parameters
    ----------
    features, labels, num_classes
        As for `class_means`.

    Returns
    -------
    Float[Array, "d d"]
        For imbalanced classes $\Sigma_W + \Sigma_B$ is therefore not the total covariance.

    Raises
    ------
    ValueError
        As `class_means` does.
    """
    m = moments(features, labels, num_classes=num_classes)
    return m.squared(m.centred @ m.centred.T / m.num_classes)


def class_gram(
    features, labels, *, num_classes: int | None = None, centre: bool = False
) -> Float[Array, "K K"]:
    r"""$\bar H^\top \bar H$ of the class means.

    Parameters
    ----------
    features, labels, num_classes
        As for `class_means`.
    centre
        Take the global mean off the class means first.

    Returns
    -------
    Float[Array, "K K"]
        Symmetric.

    Raises
    ------
    ValueError
        As `class_means` does.
    """
    require_flag("centre", centre)
    m = moments(features, labels, num_classes=num_classes)
    return m.squared(m.gram(centre=centre))
