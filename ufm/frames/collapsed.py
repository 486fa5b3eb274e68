r"""The configurations that collapsed features and classifiers end in, and how far a matrix is from
one.

A frame is a matrix (d, K) whose column k belongs to class k; a classifier (K, d) is the transpose
of one. Rotations of R^d change nothing that matters here, so every distance goes through the Gram
matrix (K, K).
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ufm._host import random
from ufm._numerics import normalised, root, spectral, unit
from ufm._validate import (
    as_floats,
    at_one_width,
    concrete,
    float_dtype,
    require,
    require_key,
    require_nonnegative,
    require_positive,
    require_whole,
)


def centring_matrix(num_classes: int, *, dtype=None) -> Float[Array, "K K"]:
    r"""The projector $P = I - \mathbf 1\mathbf 1^\top/K$.

    Up to scale, the Gram matrix of every simplex ETF of K vectors.

    `num_classes`: K >= 2. `dtype`: the default float unless given. Raises `ValueError` for K < 2.
    """
    K = checked_count(num_classes)
    dtype = float_dtype(dtype)
    return jnp.asarray(np.eye(K, dtype=dtype) - np.asarray(1 / K, dtype))


def simplex_etf(
    num_classes: int,
    *,
    multiplier=1.0,
    dim: int | None = None,
    key: PRNGKeyArray | None = None,
    dtype=None,
) -> Float[Array, "d K"]:
    r"""A simplex equiangular tight frame.

    K vectors of one length m, any two at cosine $-1/(K-1)$, summing to zero.

    $F = m\sqrt{K/(K-1)}\,Q E$ with $E$ (K − 1, K) an orthonormal basis of the vectors that sum to
    zero and $Q^\top Q = I$, so that $F^\top F = \tfrac{m^2 K}{K-1} P$.

    Parameters
    ----------
    num_classes
        K >= 2.
    multiplier
        The length m > 0, possibly traced.
    dim
        The dimension d >= K − 1 to embed into; without it the result is the symmetric K x K matrix
        $m\sqrt{K/(K-1)}\,P$, whose rows are an ETF as well.
    key
        Rotates by a random orthonormal basis, uniform (Haar); without it the first K − 1
        coordinates carry the frame.
    dtype
        The default float unless given.

    Returns
    -------
    Float[Array, "d K"]
        Columns; transpose for a classifier.

    Raises
    ------
    ValueError
        For K < 2, d < K − 1 and a multiplier that is not positive.
    """
    K, dtype = checked_count(num_classes), float_dtype(dtype)
    require_positive("multiplier", multiplier, shape=())
    scale = jnp.asarray(multiplier, dtype) * np.sqrt(K / (K - 1)).astype(dtype)
    if dim is None and key is None:
        return scale * centring_matrix(K, dtype=dtype)
    return scale * _embed(contrasts(K), dim=K if dim is None else dim, key=key, dtype=dtype)


def orthogonal_frame(
    num_classes: int,
    *,
    multiplier=1.0,
    dim: int | None = None,
    key: PRNGKeyArray | None = None,
    dtype=None,
) -> Float[Array, "d K"]:
    r"""K orthogonal vectors of one length m: $F^\top F = m^2 I$.

    Parameters
    ----------
    num_classes, multiplier, dtype
        As for `simplex_etf`.
    dim
        d >= K; without it the result is m I, unless `key` rotates it.
    key
        Rotates by a random orthonormal basis, uniform (Haar).

    Returns
    -------
    Float[Array, "d K"]
        Columns.

    Raises
    ------
    ValueError
        For K < 2, d < K and a multiplier that is not positive.
    """
    K = checked_count(num_classes)
    require_positive("multiplier", multiplier, shape=())
    return general_orthogonal_frame(
        jnp.full(K, multiplier, float_dtype(dtype)), dim=dim, key=key, dtype=dtype
    )


def general_orthogonal_frame(
    lengths, *, dim: int | None = None, key: PRNGKeyArray | None = None, dtype=None
) -> Float[Array, "d K"]:
    r"""K orthogonal vectors of given lengths $a_k$.

    $F^\top F = \mathrm{diag}(a_k^2)$, the shape of imbalanced bias-free optima.

    Parameters
    ----------
    lengths
        (K,), a_k >= 0, not all zero (a zero is a collapsed class), possibly traced.
    dim
        d >= K, K unless given.
    key
        As for `simplex_etf`.
    dtype
        The default float unless given.

    Returns
    -------
    Float[Array, "d K"]
        Columns.

    Raises
    ------
    ValueError
        For K < 2, d < K, and lengths that are negative, not finite or all zero.
    """
    dtype = float_dtype(dtype)
    checked_lengths(lengths)
    K = len(lengths)
    return (
        _embed(np.eye(K), dim=K if dim is None else dim, key=key, dtype=dtype)
        * jnp.asarray(lengths, dtype)[None, :]
    )


def random_orthonormal(
    rows: int, columns: int, *, key: PRNGKeyArray, dtype=None
) -> Float[Array, "rows columns"]:
    r"""Q with $Q^\top Q = I$, uniform over all such matrices.

    Parameters
    ----------
    rows, columns
        Shape, rows >= columns >= 1.
    key
        A `jax.random.key`.
    dtype
        The default float unless given.

    Returns
    -------
    Float[Array, "rows columns"]
        Orthonormal columns.

    Raises
    ------
    ValueError
        For fewer rows than columns.
    """
    columns = require_whole("columns", columns)
    rows = require_whole("rows", rows, least=columns)
    require_key("key", key)
    drawn = random.normal(key, (rows, columns), float_dtype(dtype))
    xp = np if isinstance(drawn, np.ndarray) else jnp
    Q, R = xp.linalg.qr(drawn)
    # QR leaves the signs to the algorithm; without this the law of Q is not uniform
    return jnp.asarray(Q * xp.where(xp.diagonal(R) < 0, -1, 1).astype(Q.dtype)[None, :])


def gram_distance(gram: Float[Array, "n m"], target: Float[Array, "n m"]) -> Float[Array, ""]:
    r"""Scale-free distance of two matrices, $\big\|G/\|G\|_F - T/\|T\|_F\big\|_F$, between 0 and 2
    (at most √2 for two Gram matrices).

    `gram`, `target` (K, K): Gram matrices, or any two matrices of one shape, such as W H̄ and its
    predicted shape. Returns NaN where one of them is exactly zero. It is blind to overall scale:
    compare norms as well.

    Raises `ValueError` for shapes that differ.
    """
    G, T = at_one_width(as_floats("gram", gram, ndim=2), as_floats("target", target, ndim=2))
    require(T.shape == G.shape, f"`target` must have the shape of `gram`, {G.shape}", T.shape)
    return root(jnp.sum((normalised(G) - normalised(T)) ** 2))


def frame_distance(vectors: Float[Array, "d K"], frame: Float[Array, "e K"]) -> Float[Array, ""]:
    """Distance of two frames up to scale and rotation: `gram_distance` of their Gram matrices.

    `vectors` (d, K), `frame` (e, K): one column per class; the dimensions d and e need not agree.
    Returns NaN where one of them is zero.

    Raises `ValueError` for different numbers of columns.
    """
    V, F = as_floats("vectors", vectors, ndim=2), as_floats("frame", frame, ndim=2)
    require(
        F.shape[1] == V.shape[1],
        f"`frame` must have {V.shape[1]} columns, like `vectors`",
        F.shape[1],
    )
    # before squaring: the Gram matrix of 1e-170 would underflow
    V, F = normalised(V), normalised(F)
    return gram_distance(V.T @ V, F.T @ F)


def nearest_etf(vectors: Float[Array, "d K"]) -> Float[Array, "d K"]:
    r"""The simplex ETF, of any size and orientation, closest to the columns of a matrix in
    Frobenius norm.

    $\min_{\alpha, Q} \|V - \alpha Q E\|_F$ over $Q^\top Q = I$ is solved by $Q = A B^\top$ and
    $\alpha = \mathrm{tr}\,S/(K-1)$, where $V E^\top = A S B^\top$ is a singular value decomposition
    (orthogonal Procrustes) and $E$ as in `simplex_etf`.

    `vectors` (d, K), d >= K − 1. Returns the frame (d, K); its multiplier is the length of any
    column. Where $V E^\top$ has not full rank several frames are equally close and one of them
    comes back; the zero matrix gives zero. The columns are not centred first: a common shift of all
    columns does not change the answer.

    Raises `ValueError` for K < 2 and d < K − 1.
    """
    V = as_floats("vectors", vectors, ndim=2)
    d, K = V.shape
    require(K >= 2, "`vectors` must have K >= 2 columns", V.shape)
    require(d >= K - 1, f"`vectors` must have d >= K - 1 = {K - 1} rows to hold a simplex ETF", d)
    E, scale = jnp.asarray(contrasts(K), V.dtype), unit(V)
    Q, S = spectral(V / scale @ E.T, -1.0, 0)
    return jnp.sum(S) / (K - 1) * (Q @ E) * scale


def checked_lengths(lengths) -> None:
    """`ValueError` unless `lengths` are K >= 2 finite numbers >= 0, not all of them zero."""
    require_nonnegative("lengths", lengths, ndim=1)
    require(len(lengths) >= 2, "`lengths` must hold K >= 2 lengths", lengths)
    array = concrete(lengths)
    require(array is None or np.any(array > 0), "`lengths` must not all be zero", lengths)


def checked_count(num_classes, *, name: str = "num_classes") -> int:
    """K as an int; `ValueError` unless it is a whole number >= 2."""
    return require_whole(name, num_classes, least=2)


def contrasts(K: int) -> np.ndarray:
    """E (K − 1, K): orthonormal rows that sum to zero (Helmert's)."""
    j = np.arange(1, K)
    rows = np.tril(np.ones((K - 1, K))) - np.diag(j, 1)[:-1]
    return rows / np.sqrt(j * (j + 1))[:, None]


def _embed(rows: np.ndarray, *, dim: int, key: PRNGKeyArray | None, dtype) -> Float[Array, "d K"]:
    """Q `rows` for an orthonormal Q (dim, r).

    Random when there is a key, else the first r coordinates.
    """
    r = rows.shape[0]
    # (r is the dimension that the frame spans)
    dim = require_whole("dim", dim, least=r)
    if key is None:
        return jnp.asarray(np.pad(rows, ((0, dim - r), (0, 0))), dtype)
    return random_orthonormal(dim, r, key=key, dtype=dtype) @ jnp.asarray(rows, dtype)
