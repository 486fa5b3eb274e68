"""NC1: how small the spread within classes is against the spread between them.

Three ratios; the name says which.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._numerics import spectral, unit
from ufm._validate import require_nonnegative
from ufm.metrics.moments import Moments, moments


def nc1_pinv(features, labels, *, num_classes: int | None = None, rcond=None) -> Float[Array, ""]:
    r"""$\tfrac1K \mathrm{tr}(\Sigma_W \Sigma_B^+)$, the NC1 that most papers plot.

    Parameters
    ----------
    features, labels, num_classes
        As for `class_means`.
    rcond
        Eigenvalues of $\Sigma_B$ up to `rcond` times the largest count as zero in the
        pseudo-inverse; d times machine epsilon unless given, which is SciPy's default and what the
        code of Dang et al. 2023 uses; that of Hong & Ling uses 1e-10.

    Returns
    -------
    Float[Array, ""]
        NaN where the class means coincide.

    Raises
    ------
    ValueError
        As `class_means` does, and for a negative `rcond`.

    Notes
    -----
    Computed from singular values of the class means, so that the null direction of $\Sigma_B$ (the
    means, weighted by their counts, sum to zero) stays far below any `rcond`. It says nothing of
    variability outside the span of the class means; see `nc1_trace_ratio`.

    Source: Papyan, Han & Donoho 2020, with the covariances of `within_class_cov` and
    `between_class_cov`.
    """
    if rcond is not None:
        require_nonnegative("rcond", rcond, shape=())
    return nc1_pinv_of(moments(features, labels, num_classes=num_classes), rcond)


def nc1_trace_ratio(features, labels, *, num_classes: int | None = None) -> Float[Array, ""]:
    r"""$\mathrm{tr}\,\Sigma_W / \mathrm{tr}\,\Sigma_B$.

    The variant for which theorems about flows and perturbations hold.

    Parameters
    ----------
    features, labels, num_classes
        As for `class_means`.

    Returns
    -------
    Float[Array, ""]
        NaN where the class means coincide.

    Raises
    ------
    ValueError
        As `class_means` does.

    Notes
    -----
    Source: Tirer, Huang & Niles-Weed 2023, equation (3).
    """
    return nc1_trace_ratio_of(moments(features, labels, num_classes=num_classes))


def cdnv(features, labels, *, num_classes: int | None = None) -> Float[Array, ""]:
    r"""Class-distance normalised variance.

    The mean over pairs $k \ne l$ of $(v_k + v_l) / (2\|\bar h_k - \bar h_l\|^2)$, with $v_k$ the
    mean squared deviation within class k.

    Parameters
    ----------
    features, labels, num_classes
        As for `class_means`.

    Returns
    -------
    Float[Array, ""]
        NaN where any two class means coincide, as they do for two collapsed minority classes.

    Raises
    ------
    ValueError
        As `class_means` does.

    Notes
    -----
    Source: Galanti, György & Hutter 2021.
    """
    return cdnv_of(moments(features, labels, num_classes=num_classes))


def nc1_pinv_of(m: Moments, rcond=None) -> Float[Array, ""]:
    """`nc1_pinv` of computed moments."""
    if rcond is None:
        rcond = m.features.shape[0] * jnp.finfo(m.features.dtype).eps
    scale = unit(m.centred)
    # tr(Σ_W Σ_B⁺)/K is the mean square of C⁺ h over deviations h: Σ_B = C Cᵀ/K. Eigenvalues are
    # squares of singular values
    inverse, s = spectral(m.centred / scale, jnp.sqrt(rcond), -1)
    along = inverse.T @ (m.deviations / scale)
    trace = jnp.dot(m.masses, jnp.sum(along**2, axis=0)) / jnp.sum(m.counts)
    # NaN in the features makes every comparison False: nothing kept, and a perfect 0 without this
    return jnp.where(m.apart & jnp.isfinite(s[0]), trace, jnp.nan)


def nc1_trace_ratio_of(m: Moments) -> Float[Array, ""]:
    """`nc1_trace_ratio` of computed moments."""
    return m.within_trace / jnp.where(m.apart, m.between_trace, jnp.nan)


def cdnv_of(m: Moments) -> Float[Array, ""]:
    """`cdnv` of computed moments."""
    K, centred, variances = m.num_classes, m.centred, m.class_variances

    # distances from differences, one class at a time: through the Gram matrix they would cancel,
    # all at once they need K² d numbers
    def from_class(k):
        itself = jnp.arange(K) == k
        squares = jnp.sum((centred - centred[:, k][:, None]) ** 2, axis=0)
        squares = jnp.where(itself, 1, jnp.where(squares > m.floor**2, squares, jnp.nan))
        return jnp.sum(jnp.where(itself, 0, (variances + variances[k]) / (2 * squares)))

    return jnp.sum(jax.lax.map(from_class, jnp.arange(K))) / (K * (K - 1))
