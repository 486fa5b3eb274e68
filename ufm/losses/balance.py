r"""Shares of columns that drop some classes, moved from class to class until their sums are right.

The dual columns of a softmax loss are shares x (K, C) less targets, scaled. A free bias asks of
every class for a weighted sum over the columns, and a column can only move shares among the classes
that it keeps. Moved by $x_{kc}(\varphi_k - x_c^\top\varphi)$, columns keep their sum and their
zeros, no share below 0 appears while potentials φ differ by less than 1, and the sums change by
$L\varphi$, with the Laplacian $L = \sum_c\omega_c(\mathrm{diag}\,x_c - x_cx_c^\top)$: the Hessian
of the loss in the bias. It has a null vector for every group of classes that hang together, over
which what is to be moved sums to zero.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# Potentials that differ by more leave little of a share; to rounding, they are not needed.
_MOST = 0.25


def potentials(
    shares: Float[Array, "K C"], kept: Bool[Array, "K C"], column_weights: Float[Array, " C"]
) -> Float[Array, "K K"]:
    """The pseudo-inverse of the Laplacian. Runs inside `jit`.

    Parameters
    ----------
    shares, kept
        x, and whether a column keeps a class.
    column_weights
        $\\omega$ (C,).

    Returns
    -------
    Float[Array, "K K"]
        Of entries that are not finite, or large, where shares are too small to tell.
    """
    K, eps = len(shares), jnp.finfo(shares.dtype).eps
    mixed = (shares * column_weights[None, :]) @ shares.T * (1 - jnp.eye(K, dtype=shares.dtype))
    degrees = jnp.sum(mixed, axis=1)
    # of classes that only have small shares as exact as of others
    root = jnp.sqrt(jnp.where(degrees > 0, degrees, 1))
    normal = (jnp.diag(degrees) - mixed) / root[:, None] / root[None, :]
    together = _groups(kept)
    null = jnp.where(together, root[:, None] * root[None, :], 0)
    null = null / jnp.sum(jnp.where(together, (root**2)[None, :], 0), axis=1)[:, None]
    whole = normal + null + eps * jnp.eye(K, dtype=shares.dtype)
    return (jnp.linalg.inv(whole) - null) / root[:, None] / root[None, :]


def _groups(kept: Bool[Array, "K C"]) -> Bool[Array, "K K"]:
    """Whether two classes hang together: a column keeps both, or each and one that does with the
    other."""
    numbers = kept.astype(jnp.float32)
    together = numbers @ numbers.T > 0
    for _ in range(max(1, len(kept) - 1).bit_length() - 1):
        numbers = together.astype(jnp.float32)
        together = numbers @ numbers > 0
    return together | jnp.eye(len(kept), dtype=bool)


def moved_by(shares: Float[Array, "K C"], potential: Float[Array, " K"]) -> Float[Array, "K C"]:
    """What potentials move, as far as no share is lost. Runs inside `jit`."""
    span = jnp.max(potential) - jnp.min(potential)
    potential = potential * jnp.minimum(1, _MOST / jnp.where(span > 0, span, 1))
    return shares * (potential[:, None] - (potential @ shares)[None, :])


def moves(
    shares: Float[Array, "K C"], inverse: Float[Array, "K K"], residual: Float[Array, " K"]
) -> Float[Array, "K C"]:
    """How far shares move at most where their sums are off by `residual` at most.

    Runs inside `jit`.

    Parameters
    ----------
    shares
        x (K, C).
    inverse
        From `potentials`.
    residual
        (K,), >= 0.

    Returns
    -------
    Float[Array, "K C"]
        Twice as much, as the inverse is rounded; +∞ where potentials would be too large.
    """
    # by how much potentials of two classes differ: far less than each is, where classes are many
    apart = jax.lax.map(lambda row: jnp.abs(row[None, :] - inverse) @ residual, inverse)
    relative = jnp.where(shares > 0, apart @ shares, 0)
    small = jnp.max(relative) <= _MOST / 4
    return jnp.where(small, 2 * shares * relative, jnp.inf)
