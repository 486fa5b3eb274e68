"""The dual bound at a scaled gradient, by passes over chunks of columns, less its rounding."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm.certificates.contradictions import conjugates_at
from ufm.certificates.dual_chunks import MeanFix, dual_columns, gradient_shares, point_of
from ufm.losses.rounding import unit_roundoff
from ufm.model import Params, Problem, objective, objective_error, terms_of_sum
from ufm.model.chunks import Chunk, over_chunks


class _Sums(NamedTuple):
    """What one pass over the columns collects at a dual point.

    Σ ω of the conjugates, of their sizes and errors; Σ ω u and Σ ω |u| (K,); Σ ω of what the losses
    are not below, and of its sizes; and by how much loss and conjugate contradict each other, the
    most of all chunks.
    """

    conjugates: Float[Array, ""]
    sizes: Float[Array, ""]
    errors: Float[Array, ""]
    mean: Float[Array, " K"]
    spread: Float[Array, " K"]
    least: Float[Array, ""]
    least_sizes: Float[Array, ""]
    contradiction: Float[Array, ""]


class _Shape(NamedTuple):
    """What tells how far rounding can reach.

    Of V = [ω_c u_c / √m_c]: squared entries, row sums of |V| (K,), the largest column sum; Σ ω u
    and Σ ω |u| (K,); of the pattern of a centring row sums and squares (K,); the largest logit.
    """

    squares: Float[Array, ""]
    rows: Float[Array, " K"]
    columns: Float[Array, ""]
    mean: Float[Array, " K"]
    spread: Float[Array, " K"]
    pattern: Float[Array, " K"]
    reach: Float[Array, " K"]
    logits: Float[Array, ""]


def _shape(problem: Problem, params: Params, fix: MeanFix) -> _Shape:
    """The sizes that tell what rounding can amount to; one pass over the columns."""
    zero = jnp.zeros((), problem.dtype)
    per_class = jnp.zeros(problem.labels.num_classes, problem.dtype)

    def body(chunk: Chunk, total: _Shape) -> _Shape:
        share, weights = gradient_shares(chunk), chunk.weights * chunk.new
        dual = dual_columns(problem, fix, chunk)
        sizes = jnp.abs(dual) * share[None, :]
        pattern = (
            problem.loss.centring_pattern(dual, chunk.targets)
            if problem.free_bias
            else jnp.zeros_like(dual)
        )
        return _Shape(
            total.squares + jnp.sum(sizes**2),
            total.rows + jnp.sum(sizes, axis=1),
            jnp.maximum(total.columns, jnp.max(jnp.sum(sizes, axis=0))),
            total.mean + dual @ weights,
            total.spread + jnp.abs(dual) @ weights,
            total.pattern + pattern @ weights,
            total.reach + jnp.sum((pattern * share[None, :]) ** 2, axis=1),
            jnp.maximum(total.logits, jnp.max(jnp.abs(chunk.logits))),
        )

    start = _Shape(zero, per_class, zero, per_class, per_class, per_class, per_class, zero)
    return over_chunks(problem, params, body, start)


def _sums(problem: Problem, params: Params, fix: MeanFix, t: Float[Array, ""]) -> _Sums:
    """What t u comes to; one pass over the columns."""

    def body(chunk: Chunk, total: _Sums) -> _Sums:
        weights, point = chunk.weights * chunk.new, point_of(problem, fix, chunk)
        conjugates, errors, apart = conjugates_at(problem.loss, chunk.targets, point, t)
        dual, least = t * point.dual, problem.loss.least(chunk.targets)
        return _Sums(
            total.conjugates + jnp.dot(conjugates, weights),
            total.sizes + jnp.dot(jnp.abs(conjugates), weights),
            total.errors + jnp.dot(errors, weights),
            total.mean + dual @ weights,
            total.spread + jnp.abs(dual) @ weights,
            total.least + jnp.dot(least, weights),
            total.least_sizes + jnp.dot(jnp.abs(least), weights),
            jnp.maximum(total.contradiction, apart),
        )

    zero = jnp.zeros((), problem.dtype)
    per_class = jnp.zeros(problem.labels.num_classes, problem.dtype)
    start = _Sums(zero, zero, zero, per_class, per_class, zero, zero, zero)
    return over_chunks(problem, params, body, start)


class ChunkedBound(NamedTuple):
    """The objective at a point and its rounding, the dual value less its rounding, what the losses
    alone are not below, by how much loss and conjugate contradict each other, and μ."""

    value: Float[Array, ""]
    rounding: Float[Array, ""]
    lower: Float[Array, ""]
    least: Float[Array, ""]
    contradiction: Float[Array, ""]
    mu: Float[Array, ""]


@jax.jit
def chunked_bound(
    problem: Problem, params: Params, fix: MeanFix, norm: Float[Array, ""]
) -> ChunkedBound:
    """The objective at a point, and the dual value that bounds it from below.

    Parameters
    ----------
    problem, params
        The point.
    fix
        How the mean of the dual columns is removed.
    norm
        An upper bound on the spectral norm of the gradient, which is scaled to at most μ.

    Returns
    -------
    ChunkedBound
        From passes over the columns that hold a chunk at a time.
    """
    (lam,), unit = problem.lambda_W, unit_roundoff(problem.dtype)
    K, many = problem.labels.num_classes, terms_of_sum(problem.labels.num_columns) + 4
    mu = jnp.sqrt(lam) * jnp.sqrt(problem.lambda_H)
    shape = _shape(problem, params, fix)
    # as in `spectral_norm`, of the exact certificate: products with |V| |V|ᵀ, and entries moved
    # where columns sum to zero
    of_products = unit * (many + terms_of_sum(K)) * shape.columns * jnp.max(shape.rows)
    of_entries = unit * (terms_of_sum(K) + 8) * jnp.sqrt(shape.squares)
    above = jnp.sqrt(norm**2 + 4 * of_products) + of_entries
    # what is left of the mean of a free bias shakes the norm by no more than its share of each row
    left = jnp.abs(shape.mean) + unit * (many + 8) * shape.spread
    left = left if problem.free_bias else jnp.zeros_like(left)
    pattern = jnp.where(shape.pattern > 0, shape.pattern, 1)
    above = above + 2 * jnp.dot(left, jnp.sqrt(shape.reach) / pattern)
    # what is no number goes on to the bound
    t = jnp.minimum(1, mu * (1 - 8 * unit) / jnp.where(above == 0, mu, above))
    sums = _sums(problem, params, fix, t)
    hidden = unit * (many + 8) * sums.spread
    slack = sums.errors + unit * (many + 8) * sums.sizes
    lower = -sums.conjugates
    if problem.lambda_b is not None:
        lower = lower - 0.5 * jnp.sum(sums.mean**2) / problem.lambda_b
        slack = slack + jnp.dot(hidden, jnp.abs(sums.mean) + hidden) / problem.lambda_b
    if problem.free_bias:
        # (the logits of shares that t changes are less the offsets)
        shifts = problem.labels.offsets
        added = 0.0 if shifts is None else 2 * jnp.max(jnp.abs(shifts))
        steep = (
            2 * shape.logits
            + added
            + jnp.log(K)
            + 2
            - jnp.log(jnp.clip(t, jnp.finfo(t.dtype).tiny, 1))
        )
        slack = slack + steep * jnp.sum(jnp.abs(sums.mean) + hidden)
    return ChunkedBound(
        value=objective(problem, params),
        rounding=objective_error(problem, params),
        lower=lower - slack,
        least=sums.least - unit * (many + 8) * sums.least_sizes,
        contradiction=sums.contradiction,
        mu=mu,
    )
