"""Contradictions: between a loss and its conjugate, and between a map and its adjoint.

In units of what rounding can explain, so that above 1 one of the two is wrong.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm.losses import AbstractLoss
from ufm.losses.rounding import unit_roundoff
from ufm.model import Params, Problem, terms_of_sum

# A loss and its conjugate contradict each other when Fenchel and Young miss by so many times what
# rounding explains.
_CONTRADICTION = 16.0
# Equality in Fenchel–Young needs conjugates that the bound does not: it is asked of so many columns
# at most, evenly spread. Of each of 16 columns, and of every seventh of 100; the inequality is
# asked of all.
_ASKED = 16


class Point(NamedTuple):
    """Logits and losses, the gradient of the loss, the dual columns made of it, and by how much
    what rounding leaves of their mean changes these with a free bias."""

    logits: Float[Array, "K C"]
    losses: Float[Array, " C"]
    gradient: Float[Array, "K C"]
    dual: Float[Array, "K C"]
    moved: Float[Array, "K C"] | None


def not_adjoint(problem: Problem, params: Params, dual: Float[Array, "K C"]) -> Float[Array, ""]:
    """By how much a map contradicts what it says of its adjoint.

    Parameters
    ----------
    problem, params
        The map, and a point at which it is asked.
    dual
        Dual columns (K, C).

    Returns
    -------
    Float[Array, ""]
        At the point, and at a product that has nothing to do with it.
    """
    the_map, V = problem.map, dual * problem.labels.column_weights[None, :]
    X = params.classifier @ params.features
    other = jnp.cos(jnp.arange(X.size, dtype=X.dtype)).reshape(X.shape)
    unity = (jnp.eye(len(X), dtype=X.dtype),)
    back, sizes = the_map.pulled_back(V), the_map.pulled_sizes(jnp.abs(V))
    many = 8 * (terms_of_sum(X.size) + terms_of_sum(sum(problem.widths)) + 64)
    worst = jnp.zeros((), X.dtype)
    for product, logits in (
        (X, the_map.logits(params.weights, params.features)),
        (other, the_map.logits(unity, other)),
    ):
        off = jnp.abs(jnp.sum(V * logits) - jnp.sum(back * product))
        known = jnp.sum(jnp.abs(V) * the_map.of_sizes(jnp.abs(product)))
        known = known + jnp.sum(sizes * jnp.abs(product)) + jnp.finfo(X.dtype).tiny
        worst = jnp.maximum(worst, off / (unit_roundoff(X.dtype) * many * known))
    return worst


def conjugates_at(loss: AbstractLoss, targets: Float[Array, "K C"], point: Point, t):
    """ℓ* at the dual columns t u, and by how much ℓ and ℓ* contradict each other.

    Parameters
    ----------
    loss, targets
        Of all columns, or of a chunk of them.
    point
        With u, the gradient and the losses.
    t
        By what u is scaled.

    Returns
    -------
    tuple
        ℓ* (C,), its rounding (C,), and the contradiction, there and at the gradient.

    Notes
    -----
    Fenchel–Young: ℓ + ℓ* >= uᵀz in every column of the dual point, = at the gradient, which is
    asked of some columns (>= where a search for ℓ* may end above it, and the bound is loose).
    Where a multiple of some logits costs nothing, z is taken without it: columns u are orthogonal
    to it up to rounding, which large logits would multiply.
    """
    logits, losses, gradient, dual, _ = point
    C = len(losses)
    some = slice(None, None, -(-C // _ASKED))
    # side by side, as every pass over an array costs
    points = jnp.concatenate([t * dual, gradient[:, some]], axis=1)
    wanted = jnp.concatenate([targets, targets[:, some]], axis=1)
    if loss.by_column:
        both = loss.of_columns(jnp.concatenate([jnp.arange(C), jnp.arange(C)[some]]))
    else:
        both = loss
    conjugates, errors = both.conjugate_and_error(points, wanted)
    known = loss.value_error(logits, targets)
    logits = _least_logits(loss, logits, targets)
    above = _surplus(logits, losses, t, dual, conjugates[:C], known + errors[:C])
    there = logits[:, some], losses[some], 1, gradient[:, some]
    equal = _surplus(*there, conjugates[C:], known[some] + errors[C:])
    apart = -equal if loss.searches_conjugate else jnp.abs(equal)
    contradiction = jnp.maximum(jnp.max(-above), jnp.max(apart))
    return conjugates[:C], errors[:C], contradiction


def _least_logits(
    loss: AbstractLoss, logits: Float[Array, "K C"], targets: Float[Array, "K C"]
) -> Float[Array, "K C"]:
    """Logits at which a loss is the same, of least norm where each class counts by its target.

    Those far below all others have none, and no share in what rounding makes of the gradient.
    """
    flat = loss.flat_direction(len(logits))
    if flat is None:
        return logits
    flat = jnp.asarray(flat, logits.dtype)
    counted = jnp.abs(targets) * flat[:, None]
    total = flat @ counted
    share = jnp.sum(counted * logits, axis=0) / jnp.where(total > 0, total, 1)
    return logits - flat[:, None] * share[None, :]


def _surplus(logits, losses, t, dual, conjugates, errors) -> Float[Array, " C"]:
    """ℓ + ℓ* − t uᵀz of every column, >= 0 by Fenchel–Young, in units of what rounding explains."""
    surplus = losses + conjugates - t * jnp.sum(dual * logits, axis=0)
    largest = jnp.max(jnp.abs(logits), axis=0)
    products = t * jnp.sum(jnp.abs(dual), axis=0) * largest
    terms = jnp.abs(losses) + jnp.abs(conjugates) + products
    explained = errors + (len(dual) + 4) * unit_roundoff(dual.dtype) * terms
    # (what is below the smallest normal number is 0, and logits multiply that)
    lost = len(dual) * (1 + largest) * jnp.finfo(dual.dtype).tiny
    measure = surplus / (_CONTRADICTION * explained + lost)
    return jnp.where(jnp.isfinite(measure), measure, 0)
