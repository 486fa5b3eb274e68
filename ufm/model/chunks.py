r"""The loss of problems whose K × C logits nobody has to hold: columns are taken a chunk at a time.

A chunk's logits are made, used for value and gradient in one pass, and dropped. Memory is
$O((K + C)\,d)$ for the variables plus $O(K \cdot \text{chunk})$.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm.losses import loss_and_dual
from ufm.model.params import Params
from ufm.model.problem import Problem


class Chunk(NamedTuple):
    """Some columns: where they start, features (d, S), logits and targets (K, S), weights ω and
    masses (S,), and which are new (S,), 1 or 0."""

    start: Array
    features: Float[Array, "d S"]
    logits: Float[Array, "K S"]
    targets: Float[Array, "K S"]
    weights: Float[Array, " S"]
    masses: Float[Array, " S"]
    new: Float[Array, " S"]


def over_chunks(problem: Problem, params: Params, body, carry):
    """Fold a body over all columns, `problem.chunk` at a time. Runs inside `jit`.

    Parameters
    ----------
    problem, params
        A plain problem, and the point at which logits are made.
    body
        From a `Chunk` and a carry to the next carry.
    carry
        The first.

    Returns
    -------
    tree
        The last carry.

    Notes
    -----
    The last chunk reaches back over columns that were met before rather than past the end; `new` is
    0 on those.
    """
    labels, C = problem.labels, problem.labels.num_columns
    size = C if problem.chunk is None else problem.chunk
    W, column_weights = params.classifier, labels.column_weights

    def step(i, carry):
        first = i * size
        start = jnp.minimum(first, C - size)
        features, weights, masses = (
            jax.lax.dynamic_slice_in_dim(array, start, size, axis=-1)
            for array in (params.features, column_weights, labels.masses)
        )
        logits = product(W, features)
        if params.bias is not None:
            logits = logits + params.bias[:, None]
        new = (start + jnp.arange(size, dtype=start.dtype) >= first).astype(problem.dtype)
        targets = labels.columns(start, size)
        return body(Chunk(start, features, logits, targets, weights, masses, new), carry)

    return jax.lax.fori_loop(jnp.int32(0), jnp.int32(math.ceil(C / size)), step, carry)


def product(a: Array, b: Array) -> Array:
    """A matrix product in full precision.

    Accelerators round float32 factors to ten bits unless told not to.
    """
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def fit_in_chunks(problem: Problem, params: Params) -> Float[Array, ""]:
    r"""$\sum_c \omega_c\,\ell(z_c, q_c)$, differentiable once, in reverse mode. Runs inside `jit`.

    Reverse-mode differentiation takes the gradient from the same pass over the columns and keeps
    nothing of size K × C.
    """

    @jax.custom_vjp
    def value(outer: Params):
        def body(chunk: Chunk, total):
            losses = problem.loss(chunk.logits, chunk.targets)
            return total + jnp.dot(losses, chunk.weights * chunk.new)

        return over_chunks(problem, outer, body, jnp.zeros((), problem.dtype))

    def forward(outer: Params):
        return _value_and_gradient(problem, outer)

    def backward(gradient: Params, cotangent):
        return (jax.tree.map(lambda leaf: cotangent * leaf, gradient),)

    value.defvjp(forward, backward)
    # one factor: the chain rule of a product of several is not this function's business
    return value(Params((params.classifier,), params.features, params.bias))


def _value_and_gradient(problem: Problem, params: Params) -> tuple[Float[Array, ""], Params]:
    """The loss and its gradient in one pass over the columns."""
    (W,) = params.weights

    def body(chunk: Chunk, carry):
        total, in_weights, in_features, in_bias = carry
        losses, dual = loss_and_dual(problem.loss, chunk.logits, chunk.targets)
        pulled = dual * chunk.weights[None, :]
        # columns met before get the same gradient again; sums must not count them again
        in_features = jax.lax.dynamic_update_slice_in_dim(
            in_features, product(W.T, pulled), chunk.start, axis=1
        )
        pulled = pulled * chunk.new[None, :]
        if in_bias is not None:
            in_bias = in_bias + jnp.sum(pulled, axis=1)
        total = total + jnp.dot(losses, chunk.weights * chunk.new)
        return total, in_weights + product(pulled, chunk.features.T), in_features, in_bias

    zero = jnp.zeros((), problem.dtype)
    start = (
        zero,
        jnp.zeros_like(W),
        jnp.zeros_like(params.features),
        None if params.bias is None else jnp.zeros_like(params.bias),
    )
    total, in_weights, in_features, in_bias = over_chunks(problem, params, body, start)
    return total, Params(weights=(in_weights,), features=in_features, bias=in_bias)
