"""Dual columns of a problem too large for all of them, made a chunk at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm.certificates.contradictions import Point
from ufm.losses import loss_and_dual
from ufm.model import Params, Problem
from ufm.model.chunks import Chunk, over_chunks


class MeanFix(NamedTuple):
    """How the loss makes the mean of the dual columns vanish, for a free bias.

    And that mean, for a penalised one.
    """

    centring: Any
    mean: Float[Array, " K"]


def point_of(problem: Problem, fix: MeanFix, chunk: Chunk) -> Point:
    """A chunk of the point at which the bound is taken.

    Parameters
    ----------
    problem
        Its loss makes them.
    fix
        How they are changed where a free bias asks for it.
    chunk
        Logits and targets.

    Returns
    -------
    Point
        With dual columns that are gradients of the loss, or what is made of them.
    """
    losses, gradient = loss_and_dual(problem.loss, chunk.logits, chunk.targets)
    free = problem.free_bias
    dual = problem.loss.centred(gradient, chunk.targets, fix.centring) if free else gradient
    return Point(chunk.logits, losses, gradient, dual, None)


def dual_columns(problem: Problem, fix: MeanFix, chunk: Chunk) -> Float[Array, "K S"]:
    """The dual columns u of a chunk.

    Parameters
    ----------
    problem, fix, chunk
        As of `point_of`.

    Returns
    -------
    Float[Array, "K S"]
        Gradients of the loss, or what is made of them.
    """
    return point_of(problem, fix, chunk).dual


@jax.jit
def mean_fix(problem: Problem, params: Params) -> tuple[MeanFix, Float[Array, ""]]:
    """How to remove the mean of the dual columns, and its norm relative to the root mean square of
    logits and targets."""
    zero, none = jnp.zeros(problem.labels.num_classes, problem.dtype), jnp.zeros((), problem.dtype)

    def body(chunk: Chunk, carry):
        mean, wanted, of_logits, of_targets = carry
        weights = chunk.weights * chunk.new
        _, dual = loss_and_dual(problem.loss, chunk.logits, chunk.targets)
        return (
            mean + dual @ weights,
            wanted + chunk.targets @ weights,
            of_logits + jnp.sum(chunk.logits**2, axis=0) @ weights,
            of_targets + jnp.sum(chunk.targets**2, axis=0) @ weights,
        )

    start = (zero, zero, none, none)
    mean, wanted, of_logits, of_targets = over_chunks(problem, params, body, start)
    if not problem.free_bias:
        return MeanFix(None, mean), none
    size = jnp.sqrt(of_logits) + jnp.sqrt(of_targets)
    residual = jnp.sqrt(jnp.sum(mean**2)) / jnp.where(size > 0, size, 1)
    return MeanFix(problem.loss.centring(mean, wanted), zero), residual


def gradient_shares(chunk: Chunk) -> Float[Array, " S"]:
    """ω/√m of the new columns, by which a dual column enters G."""
    return chunk.weights / jnp.sqrt(chunk.masses) * chunk.new
