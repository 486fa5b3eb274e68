r"""NC2, norms and angles: the shape of K class vectors, read off their Gram matrix (K, K).

For a classifier W (K, d) that is W Wᵀ; for features it is `class_gram`, centred by the global mean
where the theory has a bias.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._numerics import root, unit
from ufm._validate import as_floats, concrete, require, require_nonnegative, rounding_of
from ufm.frames.collapsed import centring_matrix, checked_lengths, gram_distance


def nc2_etf(gram: Float[Array, "K K"]) -> Float[Array, ""]:
    r"""Distance to a simplex ETF, $\big\|G/\|G\|_F - P/\sqrt{K-1}\big\|_F$ with $P = I - \mathbf
    1\mathbf 1^\top/K$.

    `gram` (K, K): W Wᵀ, or `class_gram(..., centre=True)`. Returns NaN for a zero matrix. It is
    blind to overall scale.

    Raises `ValueError` for a matrix that is not square and symmetric with K >= 2. Source: the
    metrics of Dang et al. 2023 for a model with bias, and of Tirer, Huang & Niles-Weed 2023 for
    centred features.
    """
    G = _checked_gram(gram)
    return gram_distance(G, centring_matrix(len(G), dtype=G.dtype))


def nc2_orthogonal(gram: Float[Array, "K K"]) -> Float[Array, ""]:
    r"""Distance to an orthogonal frame, $\big\|G/\|G\|_F - I/\sqrt K\big\|_F$.

    `gram` (K, K): W Wᵀ, or `class_gram` not centred. Returns NaN for a zero matrix. It is blind to
    overall scale. Errors as for `nc2_etf`. Source: the metrics of Dang et al. 2023 for balanced
    classes without bias.
    """
    G = _checked_gram(gram)
    return gram_distance(G, jnp.eye(len(G), dtype=G.dtype))


def nc2_gof(gram: Float[Array, "K K"], *, lengths=None) -> Float[Array, ""]:
    r"""Distance to a general orthogonal frame, $\big\|G/\|G\|_F - D/\|D\|_F\big\|_F$ with $D =
    \mathrm{diag}(a_k^2)$.

    `gram` (K, K): W Wᵀ, or `class_gram` not centred. `lengths` (K,): predicted lengths a_k >= 0 of
    the vectors, up to one common factor; without them D is the diagonal of G, and the distance
    measures orthogonality alone. Returns NaN for a zero matrix. It is blind to overall scale.

    Raises `ValueError` as `nc2_etf` does, and for lengths that are negative, all zero or not K of
    them. Source: the metrics of Dang et al. 2023 for imbalanced classes without bias.
    """
    G = _checked_gram(gram)
    if lengths is None:
        return gram_distance(G, jnp.diag(jnp.diagonal(G)))
    checked_lengths(lengths)
    require(
        len(lengths) == len(G),
        f"`lengths` must have length {len(G)}, the size of `gram`",
        len(lengths),
    )
    a = jnp.asarray(lengths, float)
    return gram_distance(G, jnp.diag((a / unit(a)).astype(G.dtype) ** 2))


def vector_norms(gram: Float[Array, "K K"]) -> Float[Array, " K"]:
    """Lengths of the K vectors, the roots of the diagonal of their Gram matrix.

    Errors as for `nc2_etf`.
    """
    return root(jnp.diagonal(_checked_gram(gram)))


def equinorm(gram: Float[Array, "K K"]) -> Float[Array, ""]:
    """Coefficient of variation of the K lengths: standard deviation over mean.

    NaN when all are zero. Errors as for `nc2_etf`.

    Source: Papyan, Han & Donoho 2020.
    """
    norms = vector_norms(gram)
    mean = jnp.mean(norms)
    return _deviation(norms / jnp.where(mean > 0, mean, jnp.nan))


class Angles(NamedTuple):
    """Over the K (K − 1) / 2 pairs.

    Mean and standard deviation of the cosines, and the largest distance of one from −1 / (K − 1).
    """

    mean: Float[Array, ""]
    std: Float[Array, ""]
    etf_deviation: Float[Array, ""]


def equiangularity(gram: Float[Array, "K K"], *, floor: float | Array = 0.0) -> Angles:
    r"""Cosines of the pairs of K vectors.

    Their mean, their standard deviation, and $\max |\cos + 1/(K-1)|$.

    `gram` (K, K) as for `nc2_etf`. `floor`: a vector no longer than this has no direction. Returns
    `Angles`, NaN when a vector has none. Errors as for `nc2_etf`. Source: Papyan, Han & Donoho
    2020, who centre the features first.
    """
    G = _checked_gram(gram)
    require_nonnegative("floor", floor, shape=())
    norms = vector_norms(G)
    norms = jnp.where(norms > floor, norms, jnp.nan)
    pairs = np.triu_indices(len(G), 1)
    cosines = (G / norms[:, None] / norms[None, :])[pairs]
    return Angles(
        jnp.mean(cosines), _deviation(cosines), jnp.max(jnp.abs(cosines + 1 / (len(G) - 1)))
    )


def _deviation(values: Float[Array, " n"]) -> Float[Array, ""]:
    """The standard deviation, with derivative 0 where all values are equal."""
    return root(jnp.mean((values - jnp.mean(values)) ** 2))


def _checked_gram(gram) -> Float[Array, "K K"]:
    G = as_floats("gram", gram, ndim=2)
    require(
        G.shape[0] == G.shape[1] and G.shape[0] >= 2,
        "`gram` must be a square matrix of size K >= 2",
        G.shape,
    )
    array = concrete(G)
    if array is not None:
        # catches a square W or H handed over in place of its Gram matrix; the rounding of a product
        # is far smaller. NaN passes and stays
        largest = np.max(np.abs(array))
        # one after the other: the difference of two large numbers may overflow
        asymmetry = np.max(np.abs(array / largest - array.T / largest)) if largest > 0 else 0
        symmetric = not asymmetry > np.sqrt(rounding_of(gram))
        require(
            symmetric,
            "`gram` must be symmetric (W Wᵀ, not W); largest asymmetry",
            asymmetry * largest,
        )
    return G
