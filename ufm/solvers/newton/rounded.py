"""Conjugate gradients in single precision inside a method in double.

A step is solved for to one digit or two, and the gradient says in double precision what it was
worth. Where nearly all of the time is matrix products, that halves it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ufm.solvers.coordinates import Flat
from ufm.solvers.newton.steihaug import Subproblem

# The precision of the solve.
SINGLE = jnp.float32
# A step that the radius does not hold back should leave no more than this share of the gradient
# (the loosest solve promises half).
_LEFT = 0.75
# Double precision has its poor steps too, three or four on the way from a random start.
_MOST_MISSES = 10


class Rounding(NamedTuple):
    """Whether the next solve may be in single precision, and how often one was not worth it."""

    next: Bool[Array, ""]
    misses: Int[Array, ""]

    @classmethod
    def fresh(cls) -> Rounding:
        """Before the first step."""
        return cls(jnp.asarray(True), jnp.asarray(0))

    def after(self, sub: Subproblem, shrunk, gradient_sq: Array, before_sq: Array) -> Rounding:
        """What a step says of the next solve.

        Parameters
        ----------
        sub
            The solve of the step.
        shrunk
            Whether the step was so poor that the radius is smaller now.
        gradient_sq, before_sq
            Squared lengths of the gradient after the step and before.

        Returns
        -------
        Rounding
            A poor step, and one within the radius that left most of the gradient, is followed by a
            solve in double; too many of them after rounded solves, and all that follow are.
        """
        kept = ~shrunk & (sub.on_boundary | (gradient_sq < _LEFT**2 * before_sq))
        misses = self.misses + jnp.where(self.next & ~kept, 1, 0)
        return Rounding(kept & (misses < _MOST_MISSES), misses)


def rounded_or_exact(
    solve: Callable[[Flat, Float[Array, ""]], Subproblem],
    gradient: Flat,
    radius: Float[Array, ""],
    trusted: Bool[Array, ""],
) -> Subproblem:
    """A step from a solve in single precision, and from one in double where that came to nothing.

    Parameters
    ----------
    solve
        From the gradient (n,) and the radius to what came of a solve in their dtype.
    gradient
        g (n,).
    radius
        Of the trust region.
    trusted
        Whether to try the rounded one at all.

    Returns
    -------
    Subproblem
        In double precision. `products` counts those of both.
    """
    # of length 1, so that no square leaves the range of single precision
    length = jnp.sqrt(jnp.sum(gradient**2))
    unit = jnp.where(length > 0, length, 1)

    def short():
        found = solve((gradient / unit).astype(SINGLE), (radius / unit).astype(SINGLE))
        return found._replace(
            step=unit * found.step.astype(gradient.dtype),
            curved_step=unit * found.curved_step.astype(gradient.dtype),
        )

    def nothing():
        zero = jnp.zeros_like(gradient)
        return jax.eval_shape(short)._replace(
            step=zero, curved_step=zero, on_boundary=jnp.asarray(False), products=jnp.asarray(0)
        )

    found = jax.lax.cond(trusted, short, nothing)
    slope = jnp.dot(gradient, found.step) + 0.5 * jnp.dot(found.step, found.curved_step)

    def again():
        sub = solve(gradient, radius)
        return sub._replace(products=sub.products + found.products)

    # (not a number is not below zero)
    return jax.lax.cond(trusted & ((slope < 0) | (length == 0)), lambda: found, again)
