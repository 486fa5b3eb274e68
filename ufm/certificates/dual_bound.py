"""The dual bound at dual columns scaled to where they are feasible, less what rounding amounts to.

`ufm/certificates/bound.py` states it.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ufm.certificates.contradictions import Point, conjugates_at, not_adjoint
from ufm.certificates.gram import lifted
from ufm.certificates.lowering import beyond
from ufm.certificates.spectral import spectral_norm
from ufm.losses.rounding import unit_roundoff
from ufm.model import Params, Problem, terms_of_sum
from ufm.solution import relative_gap


class Bound(NamedTuple):
    """A lower bound, the spectral ratio, along how many directions one dimension more would lower
    the value, and by how much loss or map contradict themselves."""

    lower: Float[Array, ""]
    ratio: Float[Array, ""]
    lowering: Int[Array, ""]
    contradiction: Float[Array, ""]


def dual_bound(problem: Problem, point: Point) -> Bound:
    """D(t u) at the best t with which u is feasible, less what rounding can amount to."""
    labels, unit, dual = problem.labels, unit_roundoff(problem.dtype), point.dual
    weights, C = labels.column_weights, labels.num_columns
    mean, sizes = dual @ weights, jnp.abs(dual)
    hidden = hidden_by_rounding(problem, sizes)

    share = weights / jnp.sqrt(labels.masses)
    mu = jnp.sqrt(problem.lambda_W[0]) * jnp.sqrt(problem.lambda_H)
    # entries of u are moved by K roundings where a column must sum to zero
    norm, excess, values = spectral_norm(
        dual, sizes, share, terms_of_sum(C) + 4, roundings=len(dual) + 8
    )
    if point.moved is not None:
        # the rows that give, and those that get as much
        given = jnp.sqrt(jnp.sum((point.moved * share[None, :]) ** 2, axis=1))
        excess = excess + 2 * jnp.sum(given)
    reached = norm + excess
    # u = 0 may be scaled by anything; what is no number goes on to the bound
    limit = mu * (1 - 8 * unit) / jnp.where(reached == 0, 1, reached)
    quadratic = taken_by_bias(problem, mean)
    t = problem.loss.dual_scale(dual, labels.targets, weights, limit=limit, quadratic=quadratic)
    return _at(problem, point, t, mean, hidden, norm / mu, beyond(values / mu))


def lifted_bound(problem: Problem, params: Params, point: Point) -> Bound:
    """`dual_bound` for domains, anchors and frozen weights.

    Parameters
    ----------
    problem, params
        The point that the dual columns were made at.
    point
        Those columns.

    Returns
    -------
    Bound
        With what the domains allow.
    """
    weights = problem.labels.column_weights
    mean, hidden = point.dual @ weights, hidden_by_rounding(problem, jnp.abs(point.dual))
    moved = jnp.zeros_like(point.dual) if point.moved is None else point.moved
    found = lifted(problem, params, point.dual, moved)
    bound = _at(problem, point, found.share, mean, hidden, found.ratio, found.lowering)
    rounded = found.slack + 4 * unit_roundoff(problem.dtype) * jnp.abs(found.rest)
    contradiction = bound.contradiction
    if problem.map.linear and not problem.map.identity:
        contradiction = jnp.maximum(contradiction, not_adjoint(problem, params, point.dual))
    return bound._replace(lower=bound.lower + found.rest - rounded, contradiction=contradiction)


def least_objective(problem: Problem) -> Float[Array, ""]:
    """What no point is below by its losses alone, as every other term is >= 0: the bound of u = 0,
    less what rounding can amount to.

    Parameters
    ----------
    problem
        One that `certify` takes.

    Returns
    -------
    Float[Array, ""]
        0 to rounding, or for soft targets their entropy.
    """
    labels = problem.labels
    weights, least = labels.column_weights, problem.loss.least(labels.targets)
    hidden = unit_roundoff(problem.dtype) * (terms_of_sum(labels.num_columns) + 4)
    return jnp.dot(weights, least) - hidden * jnp.dot(weights, jnp.abs(least))


def judged(value, rounding, lower, least, contradiction):
    """What a certificate says of a point, from the bound at its dual columns.

    Parameters
    ----------
    value, rounding
        The objective, and how far it can be off.
    lower
        The bound, which may be no number.
    least
        What no point is below by its losses alone.
    contradiction
        By how much the loss and its conjugate contradict each other.

    Returns
    -------
    tuple
        The larger of the two bounds, −∞ where nothing is known, and the relative gap, infinite
        where nothing is certified. Of a point whose value is no number only the second is.
    """
    holds = jnp.isfinite(value)
    found = jnp.where(holds & jnp.isfinite(lower), lower, -jnp.inf)
    lower_bound = jnp.maximum(found, jnp.where(jnp.isfinite(least), least, -jnp.inf))
    holds = holds & jnp.isfinite(lower_bound)
    above = (lower_bound - value > rounding) | (contradiction > 1)
    return lower_bound, jnp.where(holds & ~above, relative_gap(value, lower_bound), jnp.inf)


def taken_by_bias(problem: Problem, mean: Float[Array, " K"]) -> Float[Array, ""]:
    """What a penalised bias takes from the bound, twice, for a mean Σ ω u of the dual columns."""
    return (
        jnp.zeros((), problem.dtype)
        if problem.lambda_b is None
        else jnp.sum(mean**2) / problem.lambda_b
    )


def _at(problem: Problem, point: Point, t, mean, hidden, ratio, lowering) -> Bound:
    """The conjugates at t u, and what a bias takes, less what rounding can amount to."""
    labels, unit = problem.labels, unit_roundoff(problem.dtype)
    weights, K, C = labels.column_weights, labels.num_classes, labels.num_columns
    many, quadratic = terms_of_sum(C) + 4, taken_by_bias(problem, mean)
    conjugates, errors, contradiction = conjugates_at(problem.loss, labels.targets, point, t)
    lower = -jnp.dot(weights, conjugates) - 0.5 * t**2 * quadratic

    slack = jnp.dot(weights, errors)
    slack = slack + unit * many * jnp.dot(weights, jnp.abs(conjugates))
    slack = slack + 4 * unit * jnp.abs(lower)
    if problem.lambda_b is not None:
        curved = jnp.dot(hidden, 2 * jnp.abs(mean) + hidden) / problem.lambda_b
        slack = slack + 0.5 * t**2 * (curved + (K + 8) * unit * quadratic)
    if point.moved is not None:
        # moving u by r moves its conjugate by r times the logits that belong to t u
        steep = (
            2 * jnp.max(jnp.max(jnp.abs(point.logits), axis=0))
            + jnp.max(jnp.abs(labels.targets))
            + jnp.log(K)
            + 1
        )
        if labels.offsets is not None:
            # those are the logits of shares that t changes, less the offsets
            kept = jnp.abs(labels.offsets) < jnp.inf
            steep = steep + 2 * jnp.max(jnp.abs(labels.offsets), initial=0, where=kept)
        # farther by t beyond the gradient itself, and by −log t short of it
        steep = jnp.maximum(t, 1) * steep - jnp.log(jnp.clip(t, jnp.finfo(t.dtype).tiny, 1))
        slack = slack + t * steep * jnp.sum(point.moved @ weights)
    return Bound(lower - slack, ratio, lowering, contradiction)


def hidden_by_rounding(problem: Problem, sizes: Float[Array, "K C"]) -> Float[Array, " K"]:
    """What the rounding of the mean of dual columns of these sizes can hide."""
    K, C = sizes.shape
    many = terms_of_sum(C) + 4 + K
    return unit_roundoff(problem.dtype) * many * (sizes @ problem.labels.column_weights)
