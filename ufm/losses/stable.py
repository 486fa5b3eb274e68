r"""The softmax and its cross-entropy without the subtractions that cost digits.

A well fitted sample has a loss of 1e-10 where its logits are of size 20: nothing here subtracts
numbers of size 1 to get it. With the largest logit m taken out,
$\mathrm{logsumexp}(z) - q^\top z = \log(1 + \sum_{k\ne top} e^{z_k - m}) + \sum_k q_k(m - z_k)$,
a sum of terms >= 0; and the gradient p − q of a class that is all but certain is minus the sum of
the other entries, because p and q both sum to one.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from ufm._programs.jit import one_program


@one_program()
def cross_entropy(
    logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
) -> Float[Array, ...]:
    """−Σ q log p of every sample, for targets that sum to one; to a few eps of itself."""
    return _cross_entropy(logits, targets)


@jax.custom_jvp
def _cross_entropy(logits: Array, targets: Array) -> Array:
    below, exponentials, total = _exponentials(logits)
    # the largest logit is 0 below itself, whatever the compiler made of it
    first = (exponentials > 0.5) & _alone(total)[None]
    return _log_total(exponentials, total) + jnp.sum(jnp.where(first, 0, targets * below), axis=0)


def _exponentials(logits: Array) -> tuple[Array, Array, Array]:
    """How far every logit lies below the largest, the exponential of minus that, and the sum of
    these.

    A compiler may compute logits twice, by sums that differ in the last bit: no formula here may
    jump where a logit passes another, or a bound, by that little.
    """
    top = jnp.max(logits, axis=0)
    top = jnp.where(jnp.isfinite(top), top, 0)
    exponentials = jnp.exp(logits - top[None])
    return top[None] - logits, exponentials, jnp.sum(exponentials, axis=0)


def _alone(total: Array) -> Array:
    """Whether no exponential but that of the largest logit is above 1/4, so that one above 1/2 is
    this one."""
    return total < 1.25


def _log_total(exponentials: Array, total: Array) -> Array:
    """logsumexp less the largest logit."""
    others = jnp.sum(jnp.where(exponentials > 0.5, 0, exponentials), axis=0)
    return jnp.where(_alone(total), jnp.log1p(others), jnp.log(total))


@one_program()
def softmax(logits: Float[Array, "K ..."]) -> Float[Array, "K ..."]:
    """Probabilities; a product with one over the total, which costs a compiler no array of its
    own."""
    _, exponentials, total = _exponentials(logits)
    return exponentials * (1 / total)[None]


@one_program()
def log_probabilities(logits: Float[Array, "K ..."]) -> Float[Array, "K ..."]:
    """log softmax(z), which near 0 keeps its digits, as its gradient does."""
    return _log_probabilities(logits)


@jax.custom_jvp
def _log_probabilities(logits: Array) -> Array:
    below, exponentials, total = _exponentials(logits)
    below = jnp.where((exponentials > 0.5) & _alone(total)[None], 0, below)
    return -below - _log_total(exponentials, total)[None]


@_log_probabilities.defjvp
def _log_probabilities_jvp(primals, tangents):
    """Not through the largest logit.

    Where a compiler computes logits twice, none of them is the largest, and JAX divides by 0.
    """
    (logits,), (moved,) = primals, tangents
    value, rank = log_probabilities(logits), (1,) * (logits.ndim - 1)
    first = jnp.arange(len(logits)).reshape(-1, *rank) == jnp.argmax(logits, axis=0)[None]
    # a common shift moves nothing; from the largest on, that of a class that is all but certain
    # keeps its digits
    moved = moved - jnp.sum(jnp.where(first, moved, 0), axis=0)[None]
    return value, moved - jnp.sum(jnp.exp(value) * moved, axis=0)[None]


def _cross_entropy_jvp(primals, tangents):
    logits, targets = primals
    moved, changed = tangents
    value = cross_entropy(logits, targets)
    tangent = jnp.zeros_like(value)
    if not isinstance(moved, SymbolicZero):
        tangent = jnp.sum(softmax_less(logits, targets) * moved, axis=0)
    if not isinstance(changed, SymbolicZero):
        tangent = tangent - jnp.sum(log_probabilities(logits) * changed, axis=0)
    return value, tangent


_cross_entropy.defjvp(_cross_entropy_jvp, symbolic_zeros=True)


@one_program()
def softmax_less(logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]) -> Array:
    """softmax(z) − q, the gradient of `cross_entropy`: entries that are small keep their digits."""
    return _softmax_less(logits, targets)


@jax.custom_jvp
def _softmax_less(logits: Array, targets: Array) -> Array:
    _, exponentials, total = _exponentials(logits)
    difference = exponentials * (1 / total)[None] - targets
    return summing_to_zero(difference, exponentials, total)


def summing_to_zero(difference: Array, sizes: Array, total: Array) -> Array:
    """Minus the sum of the others at a class that is all but certain.

    Parameters
    ----------
    difference
        (K, ...), which sums to zero but for rounding.
    sizes, total
        (K, ...), and its sum (...): the class is certain whose share of it is near 1.

    Returns
    -------
    Array
        (K, ...); the change sets in by degrees as the rest of the total falls from 1/4 to 1/8 of
        the largest size, which is 1.
    """
    others = jnp.sum(jnp.where(sizes > 0.5, 0, difference), axis=0)
    sure = jnp.clip(8 * (1.25 - total), 0, 1)
    moved = sure[None] * difference + (sure * others)[None]
    return difference - jnp.where(sizes > 0.5, moved, 0)


def _softmax_less_jvp(primals, tangents):
    logits, targets = primals
    moved, changed = tangents
    _, exponentials, total = _exponentials(logits)
    probabilities = exponentials * (1 / total)[None]
    value = summing_to_zero(probabilities - targets, exponentials, total)
    tangent = jnp.zeros_like(value)
    if not isinstance(moved, SymbolicZero):
        mean = jnp.sum(probabilities * moved, axis=0)
        tangent = summing_to_zero(probabilities * (moved - mean[None]), exponentials, total)
    if not isinstance(changed, SymbolicZero):
        tangent = tangent - changed
    return value, tangent


_softmax_less.defjvp(_softmax_less_jvp, symbolic_zeros=True)
