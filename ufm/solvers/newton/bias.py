"""What a free bias of many classes needs.

With far to go it follows a valley: the product takes over what the bias has not reached yet, and
steps of both together are short. With steps of its own in between, the product held, a long tail
takes a third of the products; and they cost next to nothing, as no factor is multiplied. And no
decay bounds its curvature from below, which for a rare class that is told apart is 10^-3 or less of
that of the factors: conjugate gradients see it in units of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm.losses import loss_and_dual
from ufm.solvers.coordinates import Flat
from ufm.solvers.newton.rules import AbstractTrustRegion
from ufm.solvers.newton.steihaug import steihaug
from ufm.solvers.one_layer import OneLayer, bias_free_logits

# Nearer to the optimum than this relative gradient norm the steps of all together are good.
_NEAR = 1e-5
# Newton steps, and how often each may be halved.
_ROUNDS, _HALVINGS = 3, 3
# Signs whose products with the Hessian give the length of its rows.
_PROBES = 4
# The longest unit: from 10 to 100 long tails take a fourth of the products, and nothing is lost.
_LONGEST = 100.0
# The longest one: by so much a class that has all of the mass is moved.
_RADIUS = 10.0


def curvature_units(
    problem: OneLayer, flat: Flat, logits: Float[Array, "K C"]
) -> Float[Array, " n"]:
    """Units in which the curvature of a free bias is about that of the decay.

    Parameters
    ----------
    problem
        One, without lanes.
    flat
        The point (n,).
    logits
        (K, C), those of the point.

    Returns
    -------
    Float[Array, " n"]
        1 but for a free bias.
    """
    scale = _free_scale(problem)
    if scale is None:
        return jnp.ones_like(flat)
    number = len(logits)

    def gradient_at(bias):
        moved = logits + scale * bias[:, None]
        dual = loss_and_dual(problem.loss, moved, problem.targets)[1]
        return scale * dual @ problem.column_weights

    unit = units_of(gradient_at, jnp.zeros_like(logits[:, 0]))
    return jnp.ones_like(flat).at[-number:].set(unit)


def units_of(
    gradient_at: Callable[[Float[Array, " K"]], Float[Array, " K"]], bias: Float[Array, " K"]
) -> Float[Array, " K"]:
    """Units in which the curvature of a bias is about 1.

    Parameters
    ----------
    gradient_at
        The gradient in the bias.
    bias
        (K,), where.

    Returns
    -------
    Float[Array, " K"]
        One for each class.
    """
    _, curved = jax.linearize(gradient_at, bias)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(_PROBES, len(bias)))
    signs = jnp.asarray(signs, bias.dtype)
    # the mean square is that of a row: at most twice the diagonal's where a shift costs nothing
    rows = jnp.sqrt(jnp.mean(jax.lax.map(curved, signs) ** 2, axis=0))
    # a bias that curves more than the decay is left as it is, as the radius would hold it; and one
    # that hardly curves, such as a shift of all logits, would go anywhere
    return 1 / jnp.sqrt(jnp.clip(rows, _LONGEST**-2, 1))


def _free_scale(problem: OneLayer) -> Float[Array, ""] | None:
    """What coordinates of a free bias are multiplied by; None where there is none."""
    return problem.bias_scale if problem.lambda_b is None else None


def with_better_bias(
    solver: AbstractTrustRegion, problem: OneLayer, flat: Flat, relative: Float[Array, ""]
) -> Flat:
    """The point with a bias that is no worse, where the bias is free.

    Parameters
    ----------
    solver
        The rules of conjugate gradients.
    problem
        One, without lanes.
    flat
        The point (n,).
    relative
        The relative gradient norm; near the optimum nothing is done.

    Returns
    -------
    Flat
        (n,), the same point without a free bias.
    """
    scale = _free_scale(problem)
    if scale is None:
        return flat
    number = problem.targets.shape[0]

    def moved() -> Flat:
        product, bias = bias_free_logits(problem, flat), scale * flat[-number:]
        return flat.at[-number:].set(_better_bias(solver, problem, product, bias) / scale)

    # near the optimum steps of all coordinates together are good
    return jax.lax.cond(relative > _NEAR, moved, lambda: flat)


def _better_bias(
    solver: AbstractTrustRegion,
    problem: OneLayer,
    product: Float[Array, "K C"],
    bias: Float[Array, " K"],
) -> Float[Array, " K"]:
    """A few Newton steps in the bias alone, each taken if it is lower."""
    weights = problem.column_weights
    # the curvature of a class is at most its mass, and about that of it where it is undecided; a
    # class without targets, or with negative ones, has no mass, and its own curvature all the same
    masses = problem.targets @ weights
    unit = 1 / jnp.sqrt(jnp.where(masses > 0, masses, jnp.sum(weights)))

    def at(bias):
        losses, dual = loss_and_dual(problem.loss, product + bias[:, None], problem.targets)
        return jnp.dot(losses, weights), dual @ weights

    def newton(_, here):
        bias, value = here
        gradient, curved = jax.linearize(lambda bias: at(bias)[1], bias)
        sub = steihaug(
            solver,
            lambda direction: unit * curved(unit * direction),
            unit * gradient,
            radius=jnp.full_like(value, _RADIUS),
            relative=jnp.zeros_like(value),
        )

        def attempt(number):
            trial = bias + 0.5**number * unit * sub.step
            return number + 1, trial, at(trial)[0]

        def worse(tried):
            number, _, there = tried
            return ~(there < value) & (number <= _HALVINGS)

        tried = jax.lax.while_loop(worse, lambda tried: attempt(tried[0]), attempt(0 * value))
        _, trial, there = tried
        better = there < value
        return jnp.where(better, trial, bias), jnp.where(better, there, value)

    return jax.lax.fori_loop(0, _ROUNDS, newton, (bias, at(bias)[0]))[0]
