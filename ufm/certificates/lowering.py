"""Whether one more dimension would lower the value, and when that is no rounding."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ufm.certificates.multipliers import Multipliers, at_minimum
from ufm.model import Problem

# A singular value this far above 1 is no rounding of a converged point, in float64.
BEYOND = 1e-6


def beyond(values: Float[Array, " n"]) -> Int[Array, ""]:
    """How many singular values are above 1 by more than a solve leaves.

    At the multipliers of a point the value falls along each in a further dimension: with εx_k of
    the rows and εy_c of the columns there, and lengths kept, it changes by ½ε²(Σ a x² + Σ b y² +
    2xᵀVy).
    """
    return jnp.sum(values > 1 + clearly(values.dtype))


def clearly(dtype) -> float:
    """By what share numbers of a converged point differ that are not one but for rounding: the
    gradient of a loss that is nearly met has lost half of the digits."""
    return BEYOND * float(jnp.finfo(dtype).eps / np.finfo(np.float64).eps) ** 0.5


def beyond_what_is_left(problem: Problem, W, H, multipliers: Multipliers) -> Bool[Array, ""]:
    """Whether multipliers that a domain may choose are more than what is left of them where a loss
    is at its least, as of a squared error that is met.

    Parameters
    ----------
    problem
        Whose domains count.
    W, H
        Vectors of the factors, as columns (d, K) and (d, C).
    multipliers
        Of the vectors.

    Returns
    -------
    Bool[Array, ""]
        Always, for a loss that falls like an exponential: it is never at its least.
    """
    if problem.loss.exponential:
        return jnp.asarray(True)
    targets = target_sizes(problem)
    pairs = (
        (problem.classifier, multipliers.rows, at_minimum(W, jnp.abs(H) @ targets.T)),
        (problem.features, multipliers.columns, at_minimum(H, jnp.abs(W) @ targets)),
    )
    more = [
        jnp.all(b > clearly(problem.dtype) * size) for domain, b, size in pairs if domain.movable
    ]
    return jnp.all(jnp.stack([jnp.asarray(True), *more]))


def target_sizes(problem: Problem) -> Float[Array, "K C"]:
    """What slopes are rounding of where a loss is at its least."""
    return jnp.abs(problem.labels.targets) * problem.labels.column_weights[None, :]
