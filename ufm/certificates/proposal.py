r"""Dual logits and multipliers in floats, for a bound that is then proved in exact arithmetic.

At an optimum the singular values of $D_a^{-1/2}VD_b^{-1/2}$, $V = [\omega_c u_c]_c$, are 1 wherever
W and H do not vanish (with decay alone, those of $[\omega_c u_c/\sqrt{m_c}]_c$ are μ). The bound
loses $\tfrac12\sum a\|w\|^2 + \tfrac12\sum b\|h\|^2 + \langle V, WH\rangle$ to first order.
Setting them to 1, in place of scaling V, leaves a gap of second order in the error of the gradient.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ufm.certificates.bound import centred_dual, with_best_bias
from ufm.certificates.dual_bound import taken_by_bias
from ufm.certificates.gram import lifted
from ufm.certificates.lift import held
from ufm.certificates.multipliers import Multipliers, allowed
from ufm.losses import loss_and_dual
from ufm.model import Params, Problem

# Singular values that are within this of 1, relatively, or above become 1, and multipliers that are
# within this of the decay become that. Where W H vanishes that costs the bound the square of it; at
# a converged point they are nearer by three digits.
_NEAR = 1e-6
# Proposals are compared in floats: the one that is better at an optimum may look worse by as much.
_TIE = 1e-9


class Proposal(NamedTuple):
    """The bias, a free one at its best; dual logits near the ball, the multipliers, which share of
    those should be left over, and whether what signs of the features allow should be dropped; the
    loss of every column."""

    bias: Float[Array, " K"] | None
    dual: Float[Array, "K C"]
    multipliers: Multipliers
    room: Float[Array, ""]
    dropped: Bool[Array, ""]
    losses: Float[Array, " C"]


@jax.jit
def propose(problem: Problem, params: Params) -> Proposal:
    """What a proof starts from."""
    labels, loss = problem.labels, problem.loss
    params = with_best_bias(problem, params)
    losses, dual = loss_and_dual(loss, problem.logits(params), labels.targets)
    if problem.free_bias:
        # what solving for the bias left; taken away after singular values are set, it would show
        dual = centred_dual(problem, dual)
    nothing = jnp.zeros_like(dual)
    pulled = problem.anchor is not None
    if problem.plain:
        multipliers, room = allowed(problem, Multipliers(nothing[:, 0], nothing[0])), 0.0
        dropped = jnp.asarray(False)
        scaled = dual * _scale(problem, dual, multipliers)
    else:
        found = lifted(problem, params, dual, nothing)
        multipliers, scaled = found.multipliers, found.share * dual
        room, dropped = found.left / 2 if pulled else 0.0, found.dropped
    best: tuple[Array, Multipliers] = (scaled, multipliers)
    # (weights of a tied map are frozen too)
    if not (problem.frozen or pulled):
        moved = problem.features.movable or problem.classifier.movable
        others = (multipliers, _rounded(problem, multipliers)) if moved else (multipliers,)
        for other in others:
            candidate = _snapped(problem, scaled, other), other
            better = _value(problem, *candidate)
            known = _value(problem, *best)
            # (singular values say nothing where entries are dropped)
            good = (better >= known - _TIE * jnp.abs(known)) & ~dropped
            chosen: Any = jax.tree.map(
                lambda a, b, good=good: jnp.where(good, a, b), candidate, best
            )
            best = chosen
    return Proposal(params.bias, *best, jnp.asarray(room, problem.dtype), dropped, losses)


def _scale(problem: Problem, dual, multipliers: Multipliers) -> Float[Array, ""]:
    """The best factor of the dual logits with decay alone."""
    weights = problem.labels.column_weights
    values = jnp.linalg.svd(_relative(problem, dual, multipliers), compute_uv=False)
    return problem.loss.dual_scale(
        dual,
        problem.labels.targets,
        weights,
        limit=1 / jnp.maximum(values[0], jnp.finfo(values.dtype).tiny),
        quadratic=taken_by_bias(problem, dual @ problem.labels.column_weights),
    )


def _relative(problem: Problem, dual, multipliers: Multipliers) -> Float[Array, "K C"]:
    """D_a^{-1/2} V D_b^{-1/2}, with the adjoint of the map of V."""
    rows, columns = jnp.sqrt(multipliers.rows)[:, None], jnp.sqrt(multipliers.columns)[None, :]
    V = problem.map.pulled_back(dual * problem.labels.column_weights[None, :])
    return V / rows / columns


def _snapped(problem: Problem, dual, multipliers: Multipliers) -> Float[Array, "K C"]:
    """Dual logits whose singular values are 1 where they are nearly."""
    rows, columns = jnp.sqrt(multipliers.rows)[:, None], jnp.sqrt(multipliers.columns)[None, :]
    values_of = _relative(problem, dual, multipliers)
    left, values, right = jnp.linalg.svd(values_of, full_matrices=False)
    near = (values > 1 - _NEAR).astype(values.dtype)
    change = (left * (near * (1 - values))[None, :]) @ right * rows * columns
    operator = problem.map.operator(problem.labels.num_columns, problem.dtype)
    if operator is not None:
        # (what no dual logits are pulled back to stays as it is)
        change = change @ jnp.linalg.pinv(operator.T)
    return dual + change / problem.labels.column_weights[None, :]


def _rounded(problem: Problem, multipliers: Multipliers) -> Multipliers:
    """Multipliers that are the decay where they are nearly."""
    decay = allowed(problem, jax.tree.map(jnp.zeros_like, multipliers))
    near = jax.tree.map(
        lambda a, least: jnp.where(a <= least * (1 + _NEAR), least, a), multipliers, decay
    )
    return allowed(problem, near)


def _value(problem: Problem, dual, multipliers: Multipliers) -> Float[Array, ""]:
    """The bound of dual logits that are small enough for these multipliers."""
    taken = taken_by_bias(problem, dual @ problem.labels.column_weights)
    return held(problem, dual, multipliers) - taken / 2
