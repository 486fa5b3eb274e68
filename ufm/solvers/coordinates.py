r"""The coordinates that the solvers work in: every factor times the root of its own decay, as one flat vector.

With $v_m = \sqrt{\lambda_m} W_m$ and $v_c = \sqrt{(\lambda_H + \beta) m_c}\,h_c$ the decay is $\tfrac12\|v\|^2$: unequal λ and long tails
cost nothing, every factor of a stationary point has the same norm (balance), and $\|v\|^2 \le 2f$ gives the gradient its natural scale.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ufm.problem import Params, Problem, objective

Flat = Float[Array, " n"]


def free_params(problem: Problem, params: Params) -> Params:
    """`params` without the frozen factors."""
    return params if problem.fixed_weights is None else Params(weights=(), features=params.features, bias=params.bias)


def with_fixed_weights(problem: Problem, params: Params) -> Params:
    """Inverse of `free_params`."""
    return params if problem.fixed_weights is None else Params(problem.fixed_weights, params.features, params.bias)


def scales(problem: Problem) -> Params:
    """Per-factor multipliers, shaped to broadcast over `Params`."""
    weights = () if problem.fixed_weights is not None else tuple(jnp.sqrt(lam) for lam in problem.lambda_W)
    features = jnp.sqrt(feature_decay(problem) * problem.labels.masses)
    if not problem.has_bias:
        return Params(weights=weights, features=features)
    Lambda, typical = sizes(problem)
    # A bias has curvature 1 + λ_b, a factor in these coordinates typical^(2M/(M+1)) / (N Λ): without matching the two, the ball in which
    # Newton trusts its model is a needle (1000 steps at λ = 1e-6 on a long tail, 60 with it).
    M = problem.depth
    curvature = jnp.maximum(typical ** (2 * M / (M + 1)) / (problem.labels.num_samples * Lambda), 1)
    penalty = 1 if problem.lambda_b is None else 1 + problem.lambda_b
    return Params(weights=weights, features=features, bias=jnp.sqrt(penalty / curvature))


def feature_decay(problem: Problem) -> Float[Array, ""]:
    """What holds the features: λ_H, and β of an anchor."""
    return problem.lambda_H if problem.beta is None else problem.lambda_H + problem.beta


def sizes(problem: Problem) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Λ, the geometric mean of the decay of all factors, and the root mean square singular value of the mass-weighted targets."""
    lambda_H, labels = feature_decay(problem), problem.labels
    lambdas = jnp.append(jnp.where(problem.lambda_W > 0, problem.lambda_W, lambda_H), lambda_H)
    # in the coordinates √m h the loss pulls with N ω / √m, which is √m where all samples count alike
    masses = labels.masses if labels.weights is None else (labels.num_samples * labels.column_weights) ** 2 / labels.masses
    energy = jnp.dot(masses, jnp.sum(labels.targets**2, axis=0)) / min(labels.targets.shape)
    return jnp.exp(jnp.mean(jnp.log(lambdas))), jnp.sqrt(energy)


def _multiply(array: Array, scale: Array) -> Array:
    """A scale per column for the features, one number for the rest; written out because implicit rank promotion is an error here."""
    return array * (scale[None, :] if scale.ndim else scale)


def _divide(array: Array, scale: Array) -> Array:
    return _multiply(array, 1 / scale)


def to_flat(problem: Problem, params: Params) -> Flat:
    """The free variables of `params` as a scaled flat vector."""
    return ravel_pytree(jax.tree.map(_multiply, free_params(problem, params), scales(problem)))[0]


def split(problem: Problem, flat: Flat) -> Params:
    """The flat vector cut into the free factors, still scaled; no weights where they are frozen."""
    shapes = () if problem.fixed_weights is not None else problem.weight_shapes
    shapes = (*shapes, (problem.feature_dim, problem.labels.num_columns))
    parts, at = [], 0
    for rows, columns in shapes:
        parts.append(flat[at : at + rows * columns].reshape(rows, columns))
        at += rows * columns
    return Params(weights=tuple(parts[:-1]), features=parts[-1], bias=flat[at:] if problem.has_bias else None)


def to_params(problem: Problem, flat: Flat) -> Params:
    """Inverse of `to_flat`, with the frozen factors put back."""
    params = jax.tree.map(_divide, split(problem, flat), scales(problem))
    return with_fixed_weights(problem, params)


def flat_objective(problem: Problem, flat: Flat) -> Float[Array, ""]:
    """The objective as a function of the flat vector."""
    return objective(problem, to_params(problem, flat))


def relative_norm(gradient: Flat, flat: Flat, value: Float[Array, ""]) -> Float[Array, ""]:
    r"""$\|\nabla f\| / \max(\sqrt{2 f}, \|v\|)$: dimensionless, and $\sqrt{2f}$ is the larger one unless there is an anchor."""
    return relative_size(jnp.sum(gradient**2), jnp.sum(flat**2), value)


def relative_size(gradient_sq: Array, size_sq: Array, value: Array) -> Array:
    """The same from the squares of both norms."""
    size_sq = jnp.maximum(jnp.maximum(2 * value, size_sq), jnp.finfo(value.dtype).tiny)
    return jnp.sqrt(gradient_sq / size_sq)
