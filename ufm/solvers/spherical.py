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
from ufm.model.value import decay
from ufm.solvers.coordinates import Flat, has_logarithm, inner, joined, minimised


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
    slope = _lifted(problem, pull, Params((rows,), columns, _bias_slope(params, outer)))
    logged = has_logarithm(problem)
    slope = jax.tree.map(lambda g: g / jnp.where(logged, value, 1), slope)
    gradient = joined(blocks.apply(lambda block, y, g: block.tangent(y, g), place, slope))
    return minimised(problem, value), gradient, Known(value, logits, slope)


def hessian(problem: Problem, flat: Flat, known: Known) -> Callable[[Params], Params]:
    """The Hessian at a point of the natural size, as a function of tangential directions.

    Parameters
    ----------
    problem
        A spherical one.
    flat
        The point (n,).
    known
        From `evaluate` there.

    Returns
    -------
    Callable[[Params], Params]
        From a tangential direction, in coordinates of the factors, to the Hessian times it, which
        is tangential too.
    """
    blocks, labels = problem.blocks, problem.labels
    place = blocks.split(flat)
    params = blocks.apply(lambda block, y: block.shadow(y), place)
    weights = labels.column_weights[None]
    dual, curved = jax.linearize(
        lambda logits: loss_and_dual(problem.loss, logits, labels.targets)[1], known.logits
    )
    outer, pull = dual * weights, jax.grad(functools.partial(decay, problem))
    columns_of, rows_of = turned(params.classifier), turned(params.features)
    back = turned(outer)

    def times(direction: Params) -> Params:
        moved = blocks.apply(lambda block, v: block.shadow(v), direction)
        change = moved.classifier @ params.features + params.classifier @ moved.features
        if moved.bias is not None:
            change = change + moved.bias[:, None]
        changed = curved(change) * weights
        held = jax.jvp(pull, (params,), (moved,))[1]
        rows = changed @ rows_of + laid_out(moved.features @ back).T
        columns = columns_of @ changed + laid_out(back @ moved.classifier).T
        lifted = _lifted(problem, held, Params((rows,), columns, _bias_slope(params, changed)))
        if problem.logarithmic:
            logged = has_logarithm(problem)
            size = jnp.where(logged, known.objective, 1)
            along = jnp.where(logged, inner(known.slope, direction), 0)
            lifted = jax.tree.map(lambda each, g: each / size - g * along, lifted, known.slope)
        return blocks.apply(
            lambda block, *parts: block.bent(*parts), place, known.slope, direction, lifted
        )

    return times


def _bias_slope(params: Params, outer: Float[Array, "K C"]) -> Float[Array, " K"] | None:
    """Of the logits paired with `outer`, in the bias if there is one."""
    return None if params.bias is None else jnp.sum(outer, axis=1)


def _lifted(problem: Problem, *slopes: Params) -> Params:
    """The sum of slopes, in coordinates."""
    total = jax.tree.map(lambda *leaves: sum(leaves), *slopes)
    return problem.blocks.apply(lambda block, g: block.lifted(g), total)
