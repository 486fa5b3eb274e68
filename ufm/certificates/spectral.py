"""A spectral norm with what rounding can hide: the one number that makes a dual point feasible."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm.losses.rounding import unit_roundoff
from ufm.model import terms_of_sum


def spectral_norm(
    dual: Float[Array, "K C"],
    sizes: Float[Array, "K C"],
    share: Float[Array, " C"],
    many: float,
    *,
    roundings: int,
    moved: Float[Array, ""] | float = 0.0,
    allowed: Callable[[Array], Array] | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, " n"]]:
    """Largest singular value of V = `dual` diag(`share`), and how much larger it can be.

    Parameters
    ----------
    dual, sizes
        (K, C), and |`dual`|.
    share
        (C,).
    many
        The Gram is off by so many roundings of |V| |V|ᵀ at most.
    roundings
        Entries are off by so many of their own, and …
    moved
        … by a matrix of this Frobenius norm.
    allowed
        Of VᵀV what counts where not every entry does (`AbstractDomain.gram`), no entry more changed
        by it than before; the root of the largest eigenvalue of that then.

    Returns
    -------
    tuple
        The value, how much larger it can be, and all singular values (n,) that are not 0 for the
        shape.

    Notes
    -----
    By the smaller Gram, as C can be 10^5. Squaring costs the largest value no digits. The norm of
    the Gram's error is at most `many` roundings of the product of the largest row and column sums
    of |V|; its eigenvalues are off by a few more per row.
    """
    rows, columns = dual.shape
    column = jnp.max(share * jnp.sum(sizes, axis=0))
    # scaled, because the squares of small entries would underflow
    scale = jnp.where(column > 0, column, 1)
    scaled = dual * share[None, :] * (1 / scale)
    if allowed is not None:
        gram = allowed(scaled.T @ scaled)
    else:
        gram = scaled @ scaled.T if rows <= columns else scaled.T @ scaled
    values = jnp.maximum(jnp.linalg.eigvalsh(gram), 0)
    top = values[-1]
    unit = unit_roundoff(dual.dtype)
    # the terms of a Gram of the other side are rows of this one
    product = jnp.max(sizes @ share) / scale
    of_gram = unit * (max(many, terms_of_sum(max(rows, columns)) + 4) * product)
    of_eigenvalues = unit * 4 * terms_of_sum(len(gram)) * top
    length = jnp.sqrt(jnp.sum(values))
    of_entries = unit * roundings * length + moved / scale
    norm = jnp.sqrt(top)
    if allowed is not None:
        # entries that count or not cannot be moved as V is, only one by one
        of_gram, of_entries = of_gram + of_entries * (2 * length + of_entries), 0
    above = jnp.sqrt(top + of_gram + of_eigenvalues) - norm + of_entries
    return scale * norm, scale * above, scale * jnp.sqrt(values)
