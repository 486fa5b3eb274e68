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

# At rest an explicit integrator steps at the edge of its stability and keeps its own noise in the
# fastest modes, a distance of up to about one tolerance from the steady state: within this many
# tolerances nothing is left to follow.
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
    # ‖v‖²/‖v̇‖ is the way still to go where one mode dies out exponentially, and at most that
    # where several do. It does not depend on the clock, and where growth is logarithmic it stays as
    # large as the point.
    within, acceleration = _STEADY_TOLERANCES * tolerance, push(v)
    # (infinity would be no more than infinity, and divergence a steady state)
    slow = speed(v) ** 2 <= within * speed(acceleration)
    slow = slow & jnp.isfinite(speed(v) ** 2)
    along = jax.linearize(functools.partial(velocity.placed, problem), state)[1]
    motion = _Symmetric(
        push, along if velocity.walls(problem) else None, velocity.mobility(problem, state), v
    )
    size = jnp.maximum(speed(state), jnp.finfo(within.dtype).tiny)
    noise = jnp.finfo(within.dtype).eps * size + within**2 / size
    slow = slow & _near(motion, v, noise, within, slow)
    return slow & ~_grows(motion, acceleration, slow, settings.rtol)


class _Symmetric:
    """The derivative of a velocity in units of the roots of the mobility, as a matrix on flat
    vectors.

    `along`: what keeps directions in boundaries, or None: on one the derivative is symmetric along
    it alone, which rounding would leave.
    """

    def __init__(self, push, along, mobility, like):
        self._push, self._along = push, along
        _, self._shaped = ravel_pytree(like)
        self.roots = jnp.sqrt(ravel_pytree(jax.tree.map(jnp.full_like, like, mobility))[0])
        self._units = jnp.where(self.roots > 0, 1 / jnp.where(self.roots > 0, self.roots, 1), 0)

    def flat(self, direction) -> Float[Array, " n"]:
        return self._units * ravel_pytree(direction)[0]

    def times(self, vector: Float[Array, " n"]) -> Float[Array, " n"]:
        return self.flat(self._push(self._shaped(self.roots * vector)))

    def along(self, vector: Float[Array, " n"]) -> Float[Array, " n"]:
        if self._along is None:
            return vector
        return self.flat(self._along(self._shaped(self.roots * vector)))


def _near(motion: _Symmetric, v, noise, within, asked) -> Bool[Array, ""]:
    """Whether the way to where the velocity is 0 is short, by conjugate gradients: not where nobody
    asks, nor where so many products do not tell.

    The integrator's noise in a fast mode hides a slow one, whose way is longer by the ratio of
    their rates. What is left of the velocity counts down to `noise`, times the fastest rate.
    """
    flat = motion.flat(v)

    def told(carried) -> tuple[Bool[Array, ""], Bool[Array, ""]]:
        _, way, left, _, fastest = carried
        return _length(motion.roots * way) > within, _length(motion.roots * left) <= fastest * noise

    def unfinished(carried):
        far, there = told(carried)
        return asked & ~far & ~there & (carried[0] < _PRODUCTS)

    def product(carried):
        place, way, left, along, fastest = carried
        bent, square = -motion.along(motion.times(along)), jnp.dot(along, along)
        fastest = jnp.maximum(fastest, _length(bent) / jnp.sqrt(square))
        # (what does not bend to its place, but for rounding, is no way to go)
        curvature, eps = jnp.dot(along, bent), jnp.finfo(flat.dtype).eps
        falls = curvature > _NOISE * eps * fastest * square
        energy = jnp.dot(left, left)
        step = jnp.where(falls, energy / jnp.where(falls, curvature, 1), 0)
        rest = jnp.where(falls, left - step * bent, 0)
        after = rest + jnp.dot(rest, rest) / energy * along
        return place + 1, way + step * along, rest, after, fastest

    def go_on(carried):
        on = unfinished(carried)
        return jax.tree.map(lambda new, old: jnp.where(on, new, old), product(carried), carried)

    begun = jnp.asarray(0), 0 * flat, flat, flat, jnp.zeros((), flat.dtype)
    ended = jax.lax.while_loop(lambda carried: any_lane(unfinished(carried)), go_on, begun)
    far, there = told(ended)
    return asked & ~far & there


def _grows(motion: _Symmetric, begun, asked, rtol) -> Bool[Array, ""]:
    """Whether a disturbance grows, by Lanczos' method: not where nobody asks.

    From the acceleration on, which no cancellation has made small.
    """
    first = motion.flat(begun)
    number = min(_PRODUCTS, first.size)

    def product(carried):
        place, this, last, length, fastest, diagonal, beside = carried
        # (nothing is left but rounding)
        length = jnp.where(length > _NOISE * jnp.finfo(first.dtype).eps * fastest, length, 0)
        this = jnp.where(length > 0, this / jnp.where(length > 0, length, 1), 0)
        after = motion.times(this) - length * last
        fastest, rate = jnp.maximum(fastest, _length(after)), jnp.dot(this, after)
        after = motion.along(after - rate * this)
        beside, diagonal = beside.at[place].set(length), diagonal.at[place].set(rate)
        return place + 1, after, this, _length(after), fastest, diagonal, beside

    blank = jnp.zeros(number, first.dtype)
    carried = jnp.asarray(0), first, 0 * first, _length(first), blank[0], blank, blank
    *_, fastest, diagonal, beside = jax.lax.while_loop(
        lambda carried: (carried[0] < number) & any_lane(asked), product, carried
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
