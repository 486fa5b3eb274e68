"""Dual columns of a problem too large for all of them, made a chunk at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm.losses import loss_and_dual
from ufm.model import Params, Problem
from ufm.model.chunks import Chunk, over_chunks


class MeanFix(NamedTuple):
    """How the loss makes the mean of the dual columns vanish, for a free bias.

    And that mean, for a penalised one.
    """

    centring: Any
    mean: Float[Array, " K"]


def dual_columns(problem: Problem, fix: MeanFix, chunk: Chunk) -> Float[Array, "K S"]:
    """The dual columns u of a chunk.

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
    Float[Array, "K S"]
        Gradients of the loss, or what is made of them.
    """
    _, dual = loss_and_dual(problem.loss, chunk.logits, chunk.targets)
    return (
        dual if not problem.free_bias else problem.loss.centred(dual, chunk.targets, fix.centring)
    )


@jax.jit
def mean_fix(problem: Problem, params: Params) -> tuple[MeanFix, Float[Array, ""]]:
    """How to remove the mean of the dual columns, and its norm relative to that of the targets."""
    zero = jnp.zeros(problem.labels.num_classes, problem.dtype)

    def body(chunk: Chunk, carry):
        mean, wanted = carry
        weights = chunk.weights * chunk.new
        _, dual = loss_and_dual(problem.loss, chunk.logits, chunk.targets)
        return mean + dual @ weights, wanted + chunk.targets @ weights

    mean, wanted = over_chunks(problem, params, body, (zero, zero))
    if not problem.free_bias:
        return MeanFix(None, mean), jnp.zeros((), problem.dtype)
    labels = problem.labels
    size = jnp.sqrt(jnp.dot(labels.mass_shares, labels.squares))
    residual = jnp.sqrt(jnp.sum(mean**2)) / jnp.where(size > 0, size, 1)
    return MeanFix(problem.loss.centring(mean, wanted), zero), residual


def gradient_shares(chunk: Chunk) -> Float[Array, " S"]:
    """ω/√m of the new columns, by which a dual column enters G."""
    return chunk.weights / jnp.sqrt(chunk.masses) * chunk.new
