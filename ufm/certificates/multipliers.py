"""Multipliers of the vectors of a factor: at a point, those that domains allow, what they cost."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm.domains.base import AbstractDomain, lengths_sq
from ufm.losses.rounding import unit_roundoff
from ufm.model import Params, Problem, terms_of_sum

# Lengths beside the largest of a factor that are what a solve leaves.
_SHORT = 1e-6


class Multipliers(NamedTuple):
    """Of rows and of columns."""

    rows: Float[Array, " K"]
    columns: Float[Array, " C"]


def decay_of_columns(problem: Problem) -> Float[Array, " C"]:
    """Of every column, with its mass."""
    return problem.feature_decay * problem.labels.masses


def allowed(problem: Problem, wanted: Multipliers) -> Multipliers:
    """Multipliers that the domains allow, the nearest from above to those that are wanted."""
    rows = problem.classifier.curvature(wanted.rows, problem.lambda_W[0])
    return Multipliers(rows, problem.features.curvature(wanted.columns, decay_of_columns(problem)))


def complementary(problem: Problem, params: Params, wanted: Multipliers) -> Multipliers:
    """What is wanted, and 0 of vectors with decay that are rounding beside the others.

    Unless they reach their boundary theirs is the decay at a minimum, which the domain sees to.
    Their slope is rounding too, and what that says of a multiplier is paid for with the radius.

    Parameters
    ----------
    problem, params
        The point.
    wanted
        Of its rows and columns.

    Returns
    -------
    Multipliers
        For `allowed`.
    """

    rows, columns = problem.classifier, problem.features
    return Multipliers(
        _of_factor(rows, params.weights[0].T, wanted.rows, problem.lambda_W[0]),
        _of_factor(columns, params.features, wanted.columns, decay_of_columns(problem)),
    )


def _of_factor(domain: AbstractDomain, vectors, wanted, decay) -> Float[Array, " n"]:
    if not (domain.walled and domain.movable):
        return wanted
    size = lengths_sq(vectors)
    short = (size <= _SHORT**2 * jnp.max(size)) & (domain.room(vectors) > 0.5)
    return jnp.where(short & (decay > 0), 0, wanted)


def cost(problem: Problem, multipliers: Multipliers) -> Float[Array, ""]:
    """What the domains charge for multipliers."""
    rows = problem.classifier.allowance(multipliers.rows, problem.lambda_W[0])
    return rows + problem.features.allowance(multipliers.columns, decay_of_columns(problem))


def rounding_of_cost(problem: Problem, multipliers: Multipliers) -> Float[Array, ""]:
    """What the rounding of the costs can amount to: of their terms, multiplier and decay apart."""
    decay, outer = decay_of_columns(problem), problem.lambda_W[0]
    size = problem.features.allowance(multipliers.columns + decay, -decay)
    if not problem.frozen:
        size = size + problem.classifier.allowance(multipliers.rows + outer, -outer)
    many = terms_of_sum(len(multipliers.rows) + len(multipliers.columns)) + 8
    return unit_roundoff(problem.dtype) * many * jnp.abs(size)


def first_order(vectors: Float[Array, "n C"], slope: Float[Array, "n C"]) -> Float[Array, " C"]:
    """The multiplier of every vector at a stationary point, where slope + b x = 0.

    0 for a vector that vanishes.
    """
    size = lengths_sq(vectors)
    return -jnp.sum(vectors * slope, axis=0) / jnp.where(size > 0, size, 1)


def at_minimum(vectors: Float[Array, "n C"], slope: Float[Array, "n C"]) -> Float[Array, " C"]:
    """The same at a minimum, and > 0 elsewhere: where something pulls a small one costs much."""
    size = lengths_sq(vectors)
    return jnp.sqrt(lengths_sq(slope) / jnp.where(size > 0, size, jnp.inf))
