"""The objective at a point, its parts, and what rounding can amount to in it."""

from __future__ import annotations

import functools

import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._programs.jit import one_program
from ufm._validate import require_instance
from ufm.losses import loss_and_dual
from ufm.losses.rounding import unit_roundoff
from ufm.model.chunks import Chunk, fit_in_chunks, over_chunks
from ufm.model.params import Params
from ufm.model.problem import Problem
from ufm.model.requirements import require_shapes


def objective(problem: Problem, params: Params) -> Float[Array, ""]:
    """Value of the objective at `params`.

    Mean loss plus decay (and anchor), in the library's normalisation. Runs inside `jit`. Where the
    labels are too large for all logits they are taken a chunk of columns at a time, and the
    objective can be differentiated once, in reverse mode.
    """
    require_instance("problem", problem, Problem)
    require_shapes(problem, params)
    if problem.chunk is not None:
        return fit_in_chunks(problem, params) + decay(problem, params)
    return fit(problem, problem.logits(params)) + decay(problem, params)


@one_program()
def fit(problem: Problem, logits: Float[Array, "K C"]) -> Float[Array, ""]:
    r"""The loss part $\sum_c \omega_c\,\ell(z_c, q_c)$."""
    return jnp.dot(problem.labels.column_weights, problem.loss(logits, problem.labels.targets))


@one_program()
def decay(problem: Problem, params: Params) -> Float[Array, ""]:
    """The ridge on factors, features and bias, and the pull to the anchor."""
    masses = problem.labels.masses
    total = 0.5 * problem.lambda_H * jnp.dot(masses, jnp.sum(params.features**2, axis=0))
    for lam, W in zip(problem.lambda_W, params.weights, strict=True):
        total += 0.5 * lam * jnp.sum(W**2)
    if problem.anchor is not None and problem.beta is not None:
        total += (
            0.5
            * problem.beta
            * jnp.dot(masses, jnp.sum((params.features - problem.anchor) ** 2, axis=0))
        )
    if problem.lambda_b is not None and params.bias is not None:
        total += 0.5 * problem.lambda_b * jnp.sum(params.bias**2)
    return total


def objective_error(problem: Problem, params: Params) -> Float[Array, ""]:
    r"""What rounding can amount to in `objective` at `params`, to first order. Runs inside `jit`.

    $\sum_c\omega_c(|u_c|^\top\delta z_c + \ldots)$: the error of the logits, from the lengths of
    the rows and columns that are multiplied, times the gradient of the loss; the error of the loss
    itself; that of the sums.
    """
    labels, unit = problem.labels, unit_roundoff(problem.dtype)
    # (of a tied map the embeddings are multiplied)
    tied = problem.map.gram is not None
    seen = problem.head(params) if tied else params
    outer, *inner = seen.weights
    rows = jnp.sqrt(jnp.sum(outer**2, axis=1)) * (2 if tied else 1)
    for W in inner:
        rows = rows * jnp.sqrt(jnp.sum(W**2))
    number, of_bias = labels.num_columns, jnp.zeros_like(rows)
    if params.bias is not None:
        of_bias = 2 * unit * jnp.abs(params.bias)
    errors_of = functools.partial(_errors_of_columns, problem, rows, of_bias)

    def body(chunk: Chunk, total):
        errors = errors_of(chunk.features, chunk.logits, chunk.targets)
        return total + jnp.dot(errors, chunk.weights * chunk.new)

    size = max(W.size for W in (*params.weights, params.features))
    of_decay = unit * terms_of_sum(size + 2 * number + 8) * decay(problem, params)
    if problem.chunk is not None:
        return over_chunks(problem, params, body, jnp.zeros((), problem.dtype)) + of_decay
    errors = errors_of(seen.features, problem.logits(params), labels.targets)
    return jnp.dot(labels.column_weights, errors) + of_decay


def _errors_of_columns(
    problem: Problem, rows, of_bias, features, logits, targets
) -> Float[Array, " C"]:
    """What rounding can amount to in the loss of columns; `rows`: how long those are (K,) that
    features are multiplied with; `of_bias`: by how much each entry of the bias is off."""
    unit, number = unit_roundoff(problem.dtype), problem.labels.num_columns
    terms = terms_of_sum(sum(problem.widths) + 2 * problem.depth + 4)
    losses, dual = loss_and_dual(problem.loss, logits, targets)
    sizes = jnp.abs(dual)
    # by so many roundings of rows_k columns_c, and of |b_k|, is z_kc off: no array of its own
    of_product = (terms + 2) * unit * jnp.sqrt(jnp.sum(features**2, axis=0))
    if problem.map.identity:
        pulled = (rows @ sizes) * of_product + of_bias @ sizes
        curved = 2 * (jnp.sum(rows**2) * of_product**2 + jnp.sum(of_bias**2))
    else:
        # (an activation is taken to stretch no difference by more than a linear map of it)
        reached = problem.map.of_sizes(rows[:, None] * of_product[None, :])
        moved = (1 + number / terms) * reached + of_bias[:, None]
        pulled = jnp.sum(sizes * moved, axis=0)
        curved = 2 * jnp.sum(moved**2, axis=0)
    of_loss = pulled + curved + problem.loss.value_error(logits, targets)
    return of_loss + unit * terms_of_sum(2 * number + 4) * jnp.abs(losses)


def terms_of_sum(number: int) -> float:
    """By how many roundings a sum of so many terms can be off, relative to the sum of their sizes.

    Each term, for short sums. A long one is off by that only if all errors have one sign: 8 √n is
    passed with probability below 1e-13 if they are as good as independent (Higham & Mary 2019).
    """
    return min(number, 64 + 8 * number**0.5)
