r"""The coordinates that the solvers work in, as one flat vector.

Those of every free factor, one after the other.

Of factors held by decay alone, $v_m = \sqrt{\lambda_m} W_m$ and $v_c = \sqrt{(\lambda_H + \beta)
m_c}\,h_c$, the decay is $\tfrac12\|v\|^2$, and $\|v\|^2 \le 2f$ gives the gradient its natural
scale. Where a domain bounds a factor (`ufm.domains`) and the loss is exponential the solvers
minimise $\log f$, unless its minimum may be 0.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ufm._programs.jit import one_program
from ufm.model import Params, Problem, objective
from ufm.model.blocks import Blocks

Flat = Float[Array, " n"]


def to_flat(problem: Problem, params: Params) -> Flat:
    """The free variables of `params` as a flat vector."""
    return joined(
        problem.blocks.apply(lambda block, value: block.chart(value), problem.free_part(params))
    )


def departing(problem: Problem, flat: Flat) -> Flat:
    """Where a descent begins that was given these coordinates: off boundaries."""
    blocks = problem.blocks
    return joined(blocks.apply(lambda block, y: block.departing(y), blocks.split(flat)))


def to_params(problem: Problem, flat: Flat) -> Params:
    """Inverse of `to_flat`, with the frozen factors put back."""
    return problem.filled(
        problem.blocks.apply(lambda block, value: block.point(value), problem.blocks.split(flat))
    )


# for the host, where their operations one by one take ten times as long
flat_of, params_of = jax.jit(to_flat), jax.jit(to_params)


def retract(problem: Problem, flat: Flat) -> Flat:
    """The coordinates of the same point that have the natural size."""
    if not problem.bounded:
        return flat
    return joined(
        problem.blocks.apply(lambda block, value: block.retract(value), problem.blocks.split(flat))
    )


def bounds(problem: Problem) -> Bool[Array, " n"]:
    """Which coordinates must stay nonnegative."""
    return jnp.concatenate([block.bounds() for block in problem.blocks])


@one_program()
def joined(parts: Params) -> Flat:
    """The parts as one flat vector."""
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(parts)])


def inner(a: Any, b: Any) -> Float[Array, ""]:
    """The inner product of two vectors in the same parts.

    Parameters
    ----------
    a, b
        Arrays, or trees of them.

    Returns
    -------
    Float[Array, ""]
        The sum over all entries.
    """
    products = jax.tree.map(lambda x, y: jnp.dot(x.ravel(), y.ravel()), a, b)
    return functools.reduce(jnp.add, jax.tree.leaves(products))


def flat_objective(problem: Problem, flat: Flat) -> Float[Array, ""]:
    """What solvers minimise as a function of the flat vector: the objective, or its logarithm."""
    return minimised(problem, objective(problem, to_params(problem, flat)))


def has_logarithm(problem: Problem) -> bool | Bool[Array, ""]:
    """Whether solvers minimise the logarithm: not where it can be −∞, as the loss is 0 everywhere
    because no column has two classes to tell apart. May be traced, as offsets may."""
    if not problem.logarithmic:
        return False
    return problem.labels.compares | (not problem.loss.shift_invariant)


def minimised(problem: Problem, value: Float[Array, ""]) -> Float[Array, ""]:
    """What solvers minimise, from the objective."""
    if not problem.logarithmic:
        return value
    logged = has_logarithm(problem)
    inside = jnp.where(logged, value, 1)
    # (the second derivative of the logarithm alone has the square of what may be 1e-200; and so has
    # what XLA makes of one division by a size after another)
    size = jnp.maximum(jax.lax.stop_gradient(inside), jnp.finfo(inside.dtype).tiny)
    unit = jax.lax.optimization_barrier(1 / size)
    return jnp.where(logged, jnp.log(inside * unit) + jnp.log(size), value)


def merit_size(problem: Problem, value: Float[Array, ""]) -> Float[Array, ""]:
    """The size of what is minimised, as far as its rounding goes: of a logarithm at least 1."""
    return jnp.maximum(jnp.abs(value), jnp.where(has_logarithm(problem), 1, 0))


def value_of(problem: Problem, value: Float[Array, "*S"]) -> Float[Array, "*S"]:
    """The objective, from what is minimised."""
    return jnp.where(has_logarithm(problem), jnp.exp(value), value)


def factors_sq(blocks: Blocks, flat: Flat) -> Float[Array, ""]:
    """The squared length of the coordinates without those of a bias, which measures nothing: where
    a loss hardly depends on a shift the best one may be at 1e5, and a gradient of 1e-7 is large."""
    bias = blocks.bias
    return jnp.sum(flat[: flat.shape[0] - (0 if bias is None else bias.size)] ** 2)


def relative_norm(
    problem: Problem, gradient: Flat, flat: Flat, value: Float[Array, ""]
) -> Float[Array, ""]:
    r"""$\|\nabla f\| / \max(\sqrt{2 f}, \|v\|)$, with v the coordinates without the bias.

    Dimensionless, and $\sqrt{2f}$ is the larger one unless there is an anchor.

    Parameters
    ----------
    problem
        What is minimised.
    gradient, flat
        Gradient and point (n,), in the coordinates of the solvers.
    value
        f there.

    Returns
    -------
    Float[Array, ""]
        The relative gradient norm that `tolerance` speaks of.
    """
    return relative_size(jnp.sum(gradient**2), factors_sq(problem.blocks, flat), value)


def relative_size(gradient_sq: Array, size_sq: Array, value: Array) -> Array:
    r"""The same as `relative_norm`, from the squares of both norms.

    Parameters
    ----------
    gradient_sq, size_sq
        $\|\nabla f\|^2$ and $\|v\|^2$ as `factors_sq` has it, of one point or of lanes.
    value
        f there, of the same shape.

    Returns
    -------
    Array
        The relative gradient norm, of that shape; finite also at f = 0, v = 0.
    """
    size_sq = jnp.maximum(jnp.maximum(2 * value, size_sq), jnp.finfo(value.dtype).tiny)
    return jnp.sqrt(gradient_sq / size_sq)
