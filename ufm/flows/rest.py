r"""Whether a flow has come to rest, and not to a saddle that it is about to leave.

Near a saddle the velocity v is as small as near a minimum, and what grows may be hidden below the
integrator's noise in a fast mode. The velocity is $-\mu\,\partial F/\partial x$ with a mobility
$\mu$ of each entry, so in units of $\sqrt\mu$ its derivative is symmetric, and Lanczos' method from
v on finds the rate of the fastest growth that v has a part in: nothing of what symmetry leaves at
zero, and nothing that an exact symmetry of the start keeps from growing.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float

from ufm.flows.settings import Settings
from ufm.flows.steps import any_lane
from ufm.flows.velocity import speed

# At rest an explicit integrator steps at the edge of its stability and keeps its own noise, a
# distance of up to about one tolerance from the steady state: within this many tolerances nothing
# is left to follow.
_STEADY_TOLERANCES = 3.0
# Products with the derivative at most: a share s of the fastest rate takes about 1/√s of them,
# fewer where there are few rates. (Not made orthogonal, which repeats rates and invents none.)
_PRODUCTS = 64
# Rates that are 0 at rest are off by its distance, a few relative tolerances, times the fastest
# one: growth is what is faster than so many.
_GROWTH = 30.0
# What of a product may be rounding, in units of the last place of the largest.
_NOISE = 100.0


@jax.jit
def at_rest(state, args, settings: Settings) -> Bool[Array, ""]:
    """Whether the way still to go is within the tolerance and nothing grows there, or the velocity
    within the user's; not where the velocity is not finite.

    Parameters
    ----------
    state
        Where it stands.
    args
        Problem and velocity.
    settings
        Tolerances, and whether the user has one for the velocity.

    Returns
    -------
    Bool[Array, ""]
        True where the velocity is exactly 0.
    """
    problem, velocity = args
    v, push = jax.linearize(functools.partial(velocity, problem), state)
    if settings.steady is not None:
        return speed(v) < settings.steady
    size = sum(leaf.size for leaf in jax.tree.leaves(state))
    tolerance = settings.atol * math.sqrt(size) + settings.rtol * speed(state)
    # ‖v‖²/‖v̇‖ is the way still to go where one mode dies out exponentially; in noise v̇ is
    # that of the fastest mode, which makes this the amplitude of the noise. It does not depend
    # on the clock, and where growth is logarithmic it stays as large as the point.
    going, acceleration = speed(v) ** 2, push(v)
    # (infinity would be no more than infinity, and divergence a steady state)
    slow = going <= _STEADY_TOLERANCES * tolerance * speed(acceleration)
    slow = slow & jnp.isfinite(going)
    # (on a boundary the derivative is symmetric along it alone, which rounding would leave)
    placed = functools.partial(velocity.placed, problem)
    along = jax.linearize(placed, state)[1] if velocity.walls(problem) else None
    grows = _grows(
        push, along, acceleration, velocity.mobility(problem, state), slow, settings.rtol
    )
    return slow & ~grows


def _grows(push, along, begun, mobility, asked, rtol) -> Bool[Array, ""]:
    """Whether a disturbance grows, by Lanczos' method: not where nobody asks.

    From the acceleration on, which no cancellation has made small. `along`: what keeps directions
    in boundaries.
    """
    flat, shaped = ravel_pytree(begun)
    roots = jnp.sqrt(ravel_pytree(jax.tree.map(jnp.full_like, begun, mobility))[0])
    units = jnp.where(roots > 0, 1 / jnp.where(roots > 0, roots, 1), 0)
    number = min(_PRODUCTS, flat.size)

    def product(carried):
        place, this, last, length, fastest, diagonal, beside = carried
        # (nothing is left but rounding)
        length = jnp.where(length > _NOISE * jnp.finfo(flat.dtype).eps * fastest, length, 0)
        this = jnp.where(length > 0, this / jnp.where(length > 0, length, 1), 0)
        after = units * ravel_pytree(push(shaped(roots * this)))[0] - length * last
        fastest, rate = jnp.maximum(fastest, _length(after)), jnp.dot(this, after)
        after = after - rate * this
        if along is not None:
            after = units * ravel_pytree(along(shaped(roots * after)))[0]
        beside, diagonal = beside.at[place].set(length), diagonal.at[place].set(rate)
        return place + 1, after, this, _length(after), fastest, diagonal, beside

    first, blank = units * flat, jnp.zeros(number, flat.dtype)
    begun = jnp.asarray(0), first, 0 * first, _length(first), blank[0], blank, blank
    *_, fastest, diagonal, beside = jax.lax.while_loop(
        lambda carried: (carried[0] < number) & any_lane(asked), product, begun
    )
    return _exceeds(diagonal, beside.at[0].set(0), _GROWTH * rtol * fastest)


def _exceeds(
    diagonal: Float[Array, " k"], beside: Float[Array, " k"], least: Float[Array, ""]
) -> Bool[Array, ""]:
    """Whether a tridiagonal matrix has an eigenvalue above a number: as many as pivots > 0 of what
    it is less that number.

    (LAPACK's eigenvalues of several lanes are found by threads of XLA that wait for each other, for
    ever where two programs ask at a time.)
    """

    def pivot(carried, entries):
        last, found = carried
        along, coupled = entries
        # (zero counts as just below)
        last = jnp.where(last == 0, -jnp.finfo(last.dtype).tiny, last)
        now = along - least - coupled * (coupled / last)
        return (now, found | (now > 0)), None

    start = -jnp.ones((), diagonal.dtype), jnp.asarray(False)
    (_, found), _ = jax.lax.scan(pivot, start, (diagonal, beside))
    return found


def _length(vector: Float[Array, " n"]) -> Float[Array, ""]:
    return jnp.sqrt(jnp.sum(vector**2))
