"""The step of a trust region by conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ufm.solvers.coordinates import inner
from ufm.solvers.newton.rules import AbstractTrustRegion, follow, stride

# a flat vector, or a tree of its parts
Vector = Any


class Subproblem(NamedTuple):
    """The step, H times it, whether it ends on the boundary, and the products that it cost.

    `length`: of the step as the radius measures it, where that is not its norm.
    """

    step: Vector
    curved_step: Vector
    on_boundary: Bool[Array, ""]
    products: Int[Array, ""]
    length: Float[Array, ""] | None = None


def steihaug(
    solver: AbstractTrustRegion,
    hessian: Callable[[Vector], Vector],
    gradient: Vector,
    *,
    radius: Array,
    relative: Array,
    gradient_sq: Array | None = None,
) -> Subproblem:
    """Minimise gᵀp + pᵀHp/2 over ‖p‖ <= radius by conjugate gradients.

    Parameters
    ----------
    solver
        The rules.
    hessian
        From a direction to H times it.
    gradient
        g, a vector (n,) or a tree of its parts: put together in every product they would be copied
        by loops that do not vectorise.
    radius
        Of the trust region.
    relative
        The relative gradient norm, for the forcing term.
    gradient_sq
        gᵀg, where it is known.

    Returns
    -------
    Subproblem
        The step p, H p, whether p is on the boundary, and the products that it took.
    """
    if gradient_sq is None:
        gradient_sq = inner(gradient, gradient)

    def body(carry):
        cg, step, residual, direction = carry
        curved = hessian(direction)
        length, leaves = stride(cg, inner(direction, curved), radius)
        residual = jax.tree.map(lambda r, c: r + length * c, residual, curved)
        turn, cg = follow(cg, length, leaves, inner(residual, residual))
        step = jax.tree.map(lambda s, d: s + length * d, step, direction)
        direction = jax.tree.map(lambda d, r: turn * d - r, direction, residual)
        return cg, step, residual, direction

    def unfinished(carry):
        return solver.unfinished(carry[0])

    cg = solver.begin(gradient_sq, relative)
    zero, down = (jax.tree.map(sign, gradient) for sign in (jnp.zeros_like, jnp.negative))
    cg, step, residual, _ = jax.lax.while_loop(unfinished, body, (cg, zero, gradient, down))
    # the residual is g + H p
    curved_step = jax.tree.map(jnp.subtract, residual, gradient)
    return Subproblem(step, curved_step, cg.on_boundary, cg.products)
