r"""Norms and decompositions with two promises.

No square over- or underflows, and derivatives are finite wherever the value is.

Scale is taken out as a power of two, which is exact, before anything is squared. A root at zero has
derivative 0 here, a subgradient of the norm that it is part of. Singular *vectors* of a repeated
singular value have no derivative; what is made of them symmetrically has one, and is given it.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ufm._programs.jit import one_program
from ufm.batch.layout import one_by_one


def laid_out(matrix: Float[Array, "m n"]) -> Float[Array, "m n"]:
    """The matrix as it is read, row by row, on a CPU.

    Otherwise XLA folds a transposition into the products beside it.
    """
    return lax.optimization_barrier(matrix) if jax.default_backend() == "cpu" else matrix


def turned(matrix: Float[Array, "m n"]) -> Float[Array, "n m"]:
    """The transpose, to be a factor of products.

    XLA on the CPU multiplies two factors that lie row by row; where one does not, loops of a small
    kernel do not vectorise (two to five times as long, of ten classes and of 27), and a library
    takes two to four times as long for a left one in double precision (50 to 1000 rows; jaxlib
    0.10.2).
    """
    return laid_out(matrix.T)


@one_program(static_argnames="axis")
def unit(array: Array, *, axis: int | None = None) -> Array:
    """The largest power of two up to the largest entry, or 1 where all entries are zero or one is
    not finite.

    Along `axis`, which is kept, or of the whole array. A constant to derivatives, since what is
    divided by it is multiplied by it again, or blind to scale.
    """
    sizes = jnp.abs(lax.stop_gradient(array))
    largest = jnp.max(sizes, axis=axis, keepdims=axis is not None, initial=0)
    kind = jnp.finfo(array.dtype)
    word = jnp.dtype(f"uint{kind.bits}")
    # the bits of the exponent alone
    exponent = jnp.asarray((1 << kind.bits - 1) - (1 << kind.nmant), word)
    bits = lax.bitcast_convert_type(largest, word) & exponent
    # two short of the ends, so that the reciprocal is a normal number too
    limit = 2.0 ** (kind.maxexp - 2)
    power = jnp.clip(lax.bitcast_convert_type(bits, array.dtype), 1 / limit, limit)
    return jnp.where((largest > 0) & jnp.isfinite(largest), power, 1)


def root(square: Array) -> Array:
    """The square root, with derivative 0 at 0."""
    zero = square == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, square)))


@one_program(static_argnames="axis")
def norm(array: Array, *, axis: int | None = None) -> Array:
    """The Euclidean norm along an axis, or of all entries."""
    size = unit(array, axis=axis)
    return root(jnp.sum((array / size) ** 2, axis=axis)) * jnp.sum(size, axis=axis)


@one_program()
def normalised(matrix: Array) -> Array:
    """The matrix over its Frobenius norm, NaN where that is zero."""
    matrix = matrix / unit(matrix)
    size = root(jnp.sum(matrix**2))
    return matrix / jnp.where(size > 0, size, jnp.nan)


_lone_singular_values = one_by_one(lambda matrix: jnp.linalg.svd(matrix, compute_uv=False))


@jax.custom_jvp
def singular_values(matrix: Float[Array, "m n"]) -> Float[Array, " r"]:
    """Singular values, largest first. Lanes of a `vmap` are decomposed as `over_lanes` says."""
    return _lone_singular_values(matrix)


@singular_values.defjvp
def _singular_values_jvp(primals, tangents):
    U, s, V = jnp.linalg.svd(primals[0], full_matrices=False)
    return s, jnp.sum((U.T @ tangents[0]) * V, axis=1)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def spectral(
    matrix: Float[Array, "m n"], floor, power: int
) -> tuple[Float[Array, "m n"], Float[Array, " r"]]:
    r"""$\sum_{s_i > f s_1} s_i^p\,u_i v_i^\top$ of a singular value decomposition, f the `floor`,
    and all singular values.

    Power 0 is the polar factor (of a matrix without full rank, where nothing is left out for f < 0,
    one of several), power -1 the transposed pseudo-inverse.
    """
    U, s, V = jnp.linalg.svd(matrix, full_matrices=False)
    return (U * _powers(s, floor, power)[None, :]) @ V, s


@spectral.defjvp
def _spectral_jvp(power, primals, tangents):
    r"""Of $U g(S) V^\top$, g odd.

    Differences of g over those of s act on the symmetric part, sums over sums on the rest.

    Both are known in closed form where g is the same power for both, so that nothing is divided by
    the difference of two equal singular values.
    """
    matrix, floor = primals
    change = tangents[0]
    U, s, V = jnp.linalg.svd(matrix, full_matrices=False)
    g = _powers(s, floor, power)
    kept, gaps, sums = g > 0, s[:, None] - s[None, :], s[:, None] + s[None, :]
    differ = kept[:, None] != kept[None, :]
    steps = (g[:, None] - g[None, :]) / jnp.where(differ, gaps, 1)
    slopes = jnp.where(differ, steps, power * g[:, None] * g[None, :])
    spins = jnp.where(sums > 0, (g[:, None] + g[None, :]) / jnp.where(sums > 0, sums, 1), 0)
    inner = U.T @ change @ V.T
    core = 0.5 * (slopes * (inner + inner.T) + spins * (inner - inner.T))
    outward = jnp.where(s > 0, g / jnp.where(s > 0, s, 1), 0)
    left, right = change @ V.T - U @ inner, U.T @ change - inner @ V
    turned = U @ core @ V + (left * outward[None, :]) @ V + U @ (outward[:, None] * right)
    return ((U * g[None, :]) @ V, s), (turned, jnp.diagonal(inner))


def _powers(s: Float[Array, " r"], floor, power: int) -> Float[Array, " r"]:
    kept = s > floor * s[0]
    return jnp.where(kept, jnp.where(kept, s, 1) ** power, 0)
