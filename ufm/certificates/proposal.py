r"""Dual logits in floats, for a bound that is then proved in exact arithmetic.

At an optimum the singular values of $V = [\omega_c u_c/\sqrt{m_c}]_c$ are μ wherever $\tilde Z$
does not vanish, and $D(u^*) - D(u) = \mu\|\tilde Z\|_* + \langle\tilde Z, V\rangle$ to first
order. Setting them to μ, in place of scaling V onto the ball, leaves a gap of second order in the
error of the gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm.certificates.bound import centred_dual, with_best_bias
from ufm.losses import loss_and_dual
from ufm.model import Params, Problem

# Singular values of V that are within this of μ, relatively, or above become μ. Where W H vanishes
# that costs the bound the square of it; at a converged point they are nearer by three digits.
_NEAR = 1e-6
# Proposals are compared in floats: the one that is better at an optimum may look worse by as much.
_TIE = 1e-9


class Proposal(NamedTuple):
    """The bias, a free one at its best; dual logits near the ball; the loss of every column."""

    bias: Float[Array, " K"] | None
    dual: Float[Array, "K C"]
    losses: Float[Array, " C"]


@jax.jit
def propose(problem: Problem, params: Params) -> Proposal:
    """What a proof starts from."""
    labels, loss = problem.labels, problem.loss
    weights = labels.column_weights
    params = with_best_bias(problem, params)
    losses, dual = loss_and_dual(loss, params.logits, labels.targets)
    if problem.bias == "free":
        # what solving for the bias left; taken away after singular values are set, it would show
        dual = centred_dual(problem, dual)
    lift = (weights / jnp.sqrt(labels.masses))[None, :]
    mu = jnp.sqrt(problem.lambda_W[0]) * jnp.sqrt(problem.lambda_H)
    left, values, right = jnp.linalg.svd(dual * lift, full_matrices=False)
    snapped = (left * jnp.where(values > (1 - _NEAR) * mu, mu, values)[None, :]) @ right / lift

    def quadratic(dual):
        if problem.lambda_b is None:
            return jnp.zeros_like(mu)
        return jnp.sum((dual @ weights) ** 2) / problem.lambda_b

    def bound(dual):
        return -jnp.dot(weights, loss.conjugate(dual, labels.targets)) - quadratic(dual) / 2

    limit = mu / jnp.maximum(values[0], jnp.finfo(mu.dtype).tiny)
    scaled = dual * loss.dual_scale(
        dual,
        labels.targets,
        weights,
        limit=limit,
        quadratic=quadratic(dual),
    )
    good = bound(snapped) >= bound(scaled) - _TIE * jnp.abs(bound(scaled))
    return Proposal(params.bias, jnp.where(good, snapped, scaled), losses)
