"""The step of a trust region by conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ufm.solvers.coordinates import Flat
from ufm.solvers.newton.rules import AbstractTrustRegion, follow, stride


class Subproblem(NamedTuple):
    """The step, H times it, whether it ends on the boundary, and the products that it cost.

    `length`: of the step as the radius measures it, where that is not its norm.
    """

    step: Flat
    curved_step: Flat
    on_boundary: Bool[Array, ""]
    products: Int[Array, ""]
    length: Float[Array, ""] | None = None


def steihaug(
    solver: AbstractTrustRegion,
    hessian: Callable[[Flat], Flat],
    gradient: Flat,
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
        From a direction (n,) to H times it.
    gradient
        g (n,).
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
        gradient_sq = jnp.dot(gradient, gradient)

    def body(carry):
        cg, step, residual, direction = carry
        curved = hessian(direction)
        length, leaves = stride(cg, jnp.dot(direction, curved), radius)
        residual = residual + length * curved
        turn, cg = follow(cg, length, leaves, jnp.dot(residual, residual))
        return cg, step + length * direction, residual, turn * direction - residual

    def unfinished(carry):
        return solver.unfinished(carry[0])

    cg = solver.begin(gradient_sq, relative)
    start = (cg, jnp.zeros_like(gradient), gradient, -gradient)
    cg, step, residual, _ = jax.lax.while_loop(unfinished, body, start)
    # the residual is g + H p
    return Subproblem(step, residual - gradient, cg.on_boundary, cg.products)
