r"""One-layer problems whose coordinates lie on spheres: value, gradient and Hessian.

Written out, as those of plain problems are (`one_layer`). At coordinates y of the natural size the
factors are a linear function L of them, whatever bounds them: a sphere, a ball (a sphere with one
coordinate more) or a budget. With f the objective or its logarithm, $g = L^\top\nabla f$ and P the
projection onto the tangents of the spheres the gradient is P g, and the Hessian on tangents is

$$P\,L^\top\nabla^2f\,L - \mu,\qquad \mu_c = \frac{\langle g_c, y_c\rangle}{\|y_c\|^2},$$

the Riemannian ones (Absil, Mahony & Sepulchre 2008, chapter 5).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._numerics import laid_out, turned
from ufm.losses import loss_and_dual
from ufm.model import Params, Problem
from ufm.model.blocks import Blocks
from ufm.model.value import decay
from ufm.solvers.coordinates import Flat, has_logarithm, inner, joined, minimised

# Vectors that curve the objective by this share of the stiffest or more keep their units, in which
# random starts end in the fewest steps; and the share below which all count alike.
_ALIKE, _LEAST = 1e-3, 1e-12


def is_spherical(problem: Problem) -> bool:
    """Whether it is a bounded one-layer model with free factors, all on spheres or anywhere, and
    labels with room for all logits."""
    domains = problem.domains.values()
    bounded = problem.bounded and all(domain.spherical for domain in domains)
    one_layer = problem.depth == 1 and problem.map.identity and not problem.frozen
    return bounded and one_layer and problem.chunk is None


class Known(NamedTuple):
    """What the Hessian needs of a point: objective, logits, and the slope g in coordinates."""

    objective: Float[Array, ""]
    logits: Float[Array, "K C"]
    slope: Params


def unknown(problem: Problem) -> Known:
    """What is known where nothing was evaluated."""
    labels, dtype = problem.labels, problem.dtype
    logits = jnp.zeros((labels.num_classes, labels.num_columns), dtype)
    slope = problem.blocks.split(jnp.zeros(problem.blocks.size, dtype))
    return Known(jnp.ones((), dtype), logits, slope)


def evaluate(problem: Problem, flat: Flat) -> tuple[Float[Array, ""], Flat, Known]:
    """What is minimised, its gradient, and what the Hessian needs, at a point of the natural size.

    Parameters
    ----------
    problem
        A spherical one.
    flat
        The point (n,).

    Returns
    -------
    tuple[Float[Array, ""], Flat, Known]
        The gradient is tangential.
    """
    blocks, labels = problem.blocks, problem.labels
    place = blocks.split(flat)
    params = blocks.apply(lambda block, y: block.shadow(y), place)
    logits = params.logits
    losses, dual = loss_and_dual(problem.loss, logits, labels.targets)
    held, pull = jax.value_and_grad(functools.partial(decay, problem))(params)
    value = jnp.dot(labels.column_weights, losses) + held
    outer = dual * labels.column_weights[None]
    rows, columns = outer @ turned(params.features), turned(params.classifier) @ outer
    slope = _lifted(blocks, pull, Params((rows,), columns, _bias_slope(params, outer)))
    logged = has_logarithm(problem)
    slope = jax.tree.map(lambda g: g / jnp.where(logged, value, 1), slope)
    gradient = joined(blocks.apply(lambda block, y, g: block.tangent(y, g), place, slope))
    return minimised(problem, value), gradient, Known(value, logits, slope)


def units(problem: Problem, flat: Flat, known: Known) -> Flat | None:
    """Units of coordinates in which vectors that matter little are as stiff as others.

    A sample that is learnt far better than others has a vanishing share of a logarithm, and its
    vector curves it by as little: conjugate gradients would need a product for each such size.

    Parameters
    ----------
    problem
        A spherical one.
    flat
        The point (n,), of the natural size.
    known
        From `evaluate` there.

    Returns
    -------
    Flat | None
        >= 1, one number for each vector. None where no vectors have units of their own.
    """
    blocks, labels = problem.blocks, problem.labels
    size = jnp.where(has_logarithm(problem), known.objective, 1)
    held = [problem.lambda_W[0] / size, problem.lambda_H * labels.masses / size, 0 * size]
    places, slopes = (jax.tree.leaves(each) for each in (blocks.split(flat), known.slope))
    at = list(zip(blocks, places, slopes, held, strict=False))
    stiff = [block.stiffness(place, slope, decay) for block, place, slope, decay in at]
    most = [jnp.max(each) for each in stiff if each is not None]
    if not most:
        return None
    alike = _ALIKE * jnp.max(jnp.stack(most))
    parts = [
        jnp.ones_like(place)
        if each is None
        else block.repeated(jnp.where(alike > 0, jnp.clip(each / alike, _LEAST, 1), 1) ** -0.5)
        for (block, place, *_), each in zip(at, stiff, strict=True)
    ]
    return joined(jax.tree.unflatten(jax.tree.structure(known.slope), parts))


def hessian(
    problem: Problem, flat: Flat, known: Known, units: Flat | None = None
) -> Callable[[Params], Params]:
    """The Hessian at a point of the natural size, as a function of tangential directions.

    Parameters
    ----------
    problem
        A spherical one.
    flat
        The point (n,).
    known
        From `evaluate` there.
    units
        From `units`, for the Hessian in coordinates over them, of directions over them.

    Returns
    -------
    Callable[[Params], Params]
        From a tangential direction, in coordinates of the factors, to the Hessian times it, which
        is tangential too.
    """
    blocks, labels, slope = problem.blocks, problem.labels, known.slope
    place = blocks.split(flat)
    params = blocks.apply(lambda block, y: block.shadow(y), place)
    if units is not None:
        # spheres of other sizes, on which nothing else is changed
        of_parts = blocks.split(units)
        blocks = blocks.measured(of_parts)
        place = jax.tree.map(jnp.divide, place, of_parts)
        slope = jax.tree.map(jnp.multiply, slope, of_parts)
    weights = labels.column_weights[None]
    dual, curved = jax.linearize(
        lambda logits: loss_and_dual(problem.loss, logits, labels.targets)[1], known.logits
    )
    outer, pull = dual * weights, jax.grad(functools.partial(decay, problem))
    columns_of, rows_of = turned(params.classifier), turned(params.features)
    back = turned(outer)

    def times(direction: Params) -> Params:
        level = blocks.apply(lambda block, y, v: block.tangent(y, v), place, direction)
        moved = blocks.apply(lambda block, v: block.shadow(v), level)
        change = moved.classifier @ params.features + params.classifier @ moved.features
        if moved.bias is not None:
            change = change + moved.bias[:, None]
        changed = curved(change) * weights
        held = jax.jvp(pull, (params,), (moved,))[1]
        rows = changed @ rows_of + laid_out(moved.features @ back).T
        columns = columns_of @ changed + laid_out(back @ moved.classifier).T
        lifted = _lifted(blocks, held, Params((rows,), columns, _bias_slope(params, changed)))
        if problem.logarithmic:
            logged = has_logarithm(problem)
            size = jnp.where(logged, known.objective, 1)
            along = jnp.where(logged, inner(slope, level), 0)
            lifted = jax.tree.map(lambda each, g: each / size - g * along, lifted, slope)
        return blocks.apply(
            lambda block, *parts: block.bent(*parts), place, slope, direction, level, lifted
        )

    return times


def _bias_slope(params: Params, outer: Float[Array, "K C"]) -> Float[Array, " K"] | None:
    """Of the logits paired with `outer`, in the bias if there is one."""
    return None if params.bias is None else jnp.sum(outer, axis=1)


def _lifted(blocks: Blocks, *slopes: Params) -> Params:
    """The sum of slopes, in coordinates."""
    total = jax.tree.map(lambda *leaves: sum(leaves), *slopes)
    return blocks.apply(lambda block, g: block.lifted(g), total)
