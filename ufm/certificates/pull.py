r"""What pulls the features beside their decay: an anchor, linear constraints.

Its part of the bound in `ufm/certificates/lift.py`, for one dual point.
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
    """What is linear in the features: L (d, C), and what it adds to the bound."""

    slope: Float[Array, "d C"]
    constant: Float[Array, ""]


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
    H, masses = params.features, problem.labels.masses
    anchored = None
    if problem.anchor is not None and problem.beta is not None:
        constant = 0.5 * problem.beta * jnp.dot(masses, lengths_sq(problem.anchor))
        anchored = Pull(-problem.beta * problem.anchor * masses[None, :], constant)
    gradient = params.classifier.T @ V + decay_of_columns(problem)[None, :] * H
    constraint = problem.features.linear(
        H, gradient if anchored is None else gradient + anchored.slope
    )
    if constraint is None:
        return anchored
    slope, level = constraint
    return (
        Pull(slope, -level)
        if anchored is None
        else Pull(anchored.slope + slope, anchored.constant - level)
    )


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
        L and a constant.
    left
        1 − σ², of which the residual at H takes its share.

    Returns
    -------
    tuple
        The bound, and what rounding can amount to in it.
    """
    unit, outer = unit_roundoff(problem.dtype), (1 / multipliers.rows)[None, :]
    if problem.features.nonnegative:
        coupled = H @ problem.features.gram((V.T * outer) @ V)
    else:
        coupled = ((H @ V.T) * outer) @ V
    curved = H * multipliers.columns[None, :] - coupled
    residual = curved + pull.slope
    # to another point of the domain the residual goes up at least as much as the part of it that
    # faces the domain
    faced = problem.features.facing(residual)
    sizes = jnp.abs(H) * multipliers.columns[None, :] + (
        (jnp.abs(H) @ jnp.abs(V).T) * outer
    ) @ jnp.abs(V)
    sizes = sizes + jnp.abs(pull.slope)
    off = unit * (terms_of_sum(V.size) + 16) * sizes
    penalty = (
        0.5 * jnp.sum(jnp.sum((jnp.abs(faced) + off) ** 2, axis=0) / multipliers.columns) / left
    )
    value = (
        0.5 * jnp.sum(curved * H)
        + jnp.sum((pull.slope + faced - residual) * H)
        + pull.constant
        - penalty
    )
    slack = (
        unit
        * (terms_of_sum(H.size) + 16)
        * (3 * jnp.sum(sizes * jnp.abs(H)) + jnp.abs(pull.constant) + penalty)
    )
    return value, slack + 3 * jnp.sum(off * jnp.abs(H))
