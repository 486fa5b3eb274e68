r"""What pulls factors beside their decay: an anchor, linear constraints of columns and rows.

Its part of the bound in `ufm/certificates/lift.py`, for one dual point. What pulls the rows of W
goes with them: at their best for H they leave a pull of the features, and a constant.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm.certificates.multipliers import Multipliers, decay_of_columns
from ufm.domains.base import lengths_sq
from ufm.losses.rounding import unit_roundoff
from ufm.model import Params, Problem, terms_of_sum


class Pull(NamedTuple):
    """What is linear in the features, L (d, C), and in the rows of W, M (d, K); what it adds to the
    bound, and the sizes of the terms of that."""

    slope: Float[Array, "d C"]
    rows: Float[Array, "d K"]
    constant: Float[Array, ""]
    size: Float[Array, ""]


def decay_of_weights(problem: Problem, params: Params) -> Float[Array, ""]:
    """What the decay of all weights comes to, which is a constant where they are frozen."""
    total = jnp.zeros((), problem.dtype)
    for lam, W in zip(problem.lambda_W, params.weights, strict=True):
        total = total + 0.5 * lam * jnp.sum(W**2)
    return total


def pull_of(problem: Problem, params: Params, V) -> Pull | None:
    """What an anchor and linear constraints add.

    Parameters
    ----------
    problem, params
        The point at which the multipliers of linear constraints are taken.
    V
        (K, C), slopes of the loss in the product of the factors.

    Returns
    -------
    Pull | None
        None where nothing pulls.
    """
    W, H, masses = params.classifier.T, params.features, problem.labels.masses
    slope, constant = jnp.zeros_like(H), jnp.zeros((), problem.dtype)
    if problem.anchor is not None and problem.beta is not None:
        slope = -problem.beta * problem.anchor * masses[None, :]
        constant = 0.5 * problem.beta * jnp.dot(masses, lengths_sq(problem.anchor))
    size = constant
    of_columns = problem.features.linear(H, W @ V + decay_of_columns(problem)[None, :] * H + slope)
    of_rows = problem.classifier.linear(W, H @ V.T + problem.lambda_W[0] * W)
    if problem.anchor is None and of_columns is None and of_rows is None:
        return None
    rows = jnp.zeros_like(W)
    if of_columns is not None:
        constraint, level = of_columns
        slope, constant = slope + constraint, constant - level
        size = size + jnp.sum(jnp.abs(constraint * H))
    if of_rows is not None:
        rows, level = of_rows
        constant, size = constant - level, size + jnp.sum(jnp.abs(rows * W))
    return Pull(slope, rows, constant, size)


def least(
    problem: Problem, H, V, multipliers: Multipliers, pull: Pull, left
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The least of the quadratic form with its linear part, from below, and its rounding.

    Parameters
    ----------
    problem
        Whose features may be nonnegative.
    H, V
        Features (d, C) near the minimum of the form, and the dual point (K, C).
    multipliers
        Of rows and columns.
    pull
        L, M and a constant.
    left
        1 − σ², of which the residual at H takes its share.

    Returns
    -------
    tuple
        The bound, and what rounding can amount to in it.
    """
    unit, outer = unit_roundoff(problem.dtype), (1 / multipliers.rows)[None, :]
    # with w_k = −(H v_k + m_k)/a_k
    slope = pull.slope - (pull.rows * outer) @ V
    of_rows = 0.5 * jnp.sum(pull.rows**2 * outer)
    if problem.features.nonnegative:
        coupled = H @ problem.features.gram((V.T * outer) @ V)
    else:
        coupled = ((H @ V.T) * outer) @ V
    curved = H * multipliers.columns[None, :] - coupled
    residual = curved + slope
    # to another point of the domain the residual goes up at least as much as the part of it that
    # faces the domain
    faced = problem.features.facing(residual)
    sizes = jnp.abs(H) * multipliers.columns[None, :] + (
        (jnp.abs(H) @ jnp.abs(V).T) * outer
    ) @ jnp.abs(V)
    sizes = sizes + jnp.abs(pull.slope) + (jnp.abs(pull.rows) * outer) @ jnp.abs(V)
    off = unit * (terms_of_sum(V.size) + 16) * sizes
    penalty = (
        0.5 * jnp.sum(jnp.sum((jnp.abs(faced) + off) ** 2, axis=0) / multipliers.columns) / left
    )
    value = (
        0.5 * jnp.sum(curved * H)
        + jnp.sum((slope + faced - residual) * H)
        + pull.constant
        - of_rows
        - penalty
    )
    slack = (
        unit
        * (terms_of_sum(max(H.size, pull.rows.size)) + 16)
        * (3 * jnp.sum(sizes * jnp.abs(H)) + pull.size + of_rows + penalty)
    )
    return value, slack + 3 * jnp.sum(off * jnp.abs(H))
