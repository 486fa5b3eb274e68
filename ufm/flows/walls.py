r"""Flows that come to lie on the boundary of a domain, slide along it, and leave it again.

On a convex domain the gradient flow is $\dot x = P_{T(x)}(-\nabla f)$, with the projection onto the
cone of directions that do not lead out. It is smooth as long as the same pieces (vectors, a whole
factor with one budget, or entries >= 0) lie on the boundary: inside a piece moves freely until its
room is used up, on the boundary it slides until what holds it there pushes no longer outwards. So
the flow is followed in phases, and steps are shortened until one ends where a phase does: its end
is as accurate as any other step.
"""

from __future__ import annotations

import functools
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ufm.flows.gradient_velocity import GradientVelocity
from ufm.flows.integrators import AbstractOver, lost
from ufm.model import Problem

# Where a cubic crosses 0 is looked for by so many halvings of a step.
_HALVINGS = 40
# How far a cubic may be off in the middle of a step, in shares of the larger end.
_ERROR = 0.1
# What of a rate is rounding, in units of the last place of its terms.
_NOISE = 16


def _pieces(problem: Problem, velocity: GradientVelocity, state, tolerance) -> tuple[Array, ...]:
    """Of all pieces of all walls: room, the rate at which the raw velocity uses it up, and within
    what that rate counts as 0: a share of the largest that a velocity of its size could have, and
    its rounding."""
    # (the slope along the point itself is as large as the terms that cancel in the velocity)
    raw, terms = jax.jvp(functools.partial(velocity.raw, problem), (state,), (state,))
    rooms, rates, zeros = [], [], []
    for wall in velocity.walls(problem):
        there, moved, domain = wall.vectors(state), wall.vectors(raw), wall.domain
        noise = _NOISE * jnp.finfo(there.dtype).eps * domain.fastest(there, wall.vectors(terms))
        rooms.append(0.5 * jnp.ravel(domain.room(there)))
        rates.append(jnp.ravel(domain.leaving(there, moved)))
        zeros.append(jnp.ravel(tolerance * domain.fastest(there, moved) + noise))
    return jnp.concatenate(rooms), jnp.concatenate(rates), jnp.concatenate(zeros)


def _held(problem: Problem, velocity: GradientVelocity) -> Bool[Array, " n"]:
    assert velocity.held is not None
    return jnp.concatenate([jnp.ravel(pieces) for pieces in velocity.held])


def _slack(problem: Problem, velocity: GradientVelocity, state, tolerance) -> tuple[Array, Array]:
    """What ends the phase of a piece when it falls to 0, and within what that counts as 0."""
    rooms, rates, zeros = _pieces(problem, velocity, state, tolerance)
    held = _held(problem, velocity)
    return jnp.where(held, rates, rooms), jnp.where(held, zeros, tolerance)


def _kept(problem: Problem, velocity: GradientVelocity, state, tolerance) -> tuple[Array, ...]:
    """Which pieces of each wall lie on it and are pushed outwards there.

    (On the boundary itself: a piece that is near it may be drawn to a point between.)
    """
    walls = velocity.walls(problem)
    state = velocity.placed(problem, state)
    near = tuple(0.5 * wall.domain.room(wall.vectors(state)) <= tolerance for wall in walls)
    there = eqx.tree_at(lambda v: v.held, velocity, near, is_leaf=_nothing)
    _, rates, zeros = _pieces(problem, there, there.placed(problem, state), tolerance)
    outwards, flags, at = rates > zeros, [], 0
    for pieces in near:
        flags.append(pieces & outwards[at : at + pieces.size].reshape(pieces.shape))
        at += pieces.size
    return tuple(flags)


def over(problem: Problem, velocity: GradientVelocity, state, tolerance) -> Bool[Array, ""]:
    """Whether the phase of some piece is over: it has come to its boundary, or nothing holds it
    there.

    Parameters
    ----------
    problem, velocity
        What flows, and how in this phase.
    state
        Where it stands.
    tolerance
        Relative, within which a piece lies on its boundary, and a velocity along it.

    Returns
    -------
    Bool[Array, ""]
        Of no piece that `entered` leaves as it is.
    """
    assert velocity.held is not None
    kept = _kept(problem, velocity, state, tolerance)
    changed = [jnp.any(now != held) for now, held in zip(kept, velocity.held, strict=True)]
    return jnp.any(jnp.stack(changed))


def entered(problem: Problem, velocity: GradientVelocity, state, tolerance):
    """The phase that a state is in, and the state with every piece on its boundary or inside.

    Parameters
    ----------
    problem, velocity
        What flows, and how in the phase before.
    state
        Where it stands.
    tolerance
        As for `over`.

    Returns
    -------
    tuple[GradientVelocity, Any]
        The velocity of the phase, and the state.
    """
    flags = _kept(problem, velocity, state, tolerance)
    for wall, pieces in zip(velocity.walls(problem), flags, strict=True):
        there = wall.vectors(state)
        placed = jnp.where(pieces, wall.domain.onto(there, pieces), wall.domain.inside(there))
        state = wall.changed(state, placed)
    return eqx.tree_at(lambda v: v.held, velocity, flags, is_leaf=_nothing), state


def _nothing(leaf: Any) -> bool:
    return leaf is None


def in_phases(follow, problem: Problem, velocity, began, state, times, tolerance, max_steps):
    """A flow from phase to phase.

    Parameters
    ----------
    follow
        From problem, velocity, time, state and times to what came of a smooth stretch.
    problem, velocity
        What flows, and how; its pieces are not held yet.
    began, state, times
        Time and state at the beginning, and when to record.
    tolerance
        As for `over`.
    max_steps
        Of all phases together, but for those of the last.

    Returns
    -------
    NamedTuple
        As `follow` gives it for a stretch: of the last, with the rows of all.
    """

    # (its shape is asked for before it is run, and it is traced once)
    @jax.jit
    def phase(began, state):
        moving, placed = entered(problem, velocity, state, tolerance)
        found = follow(problem, moving, began, placed, jnp.maximum(times, began))
        return found._replace(state=moving.placed(problem, found.state))

    def unfinished(found):
        return found.phase_over & (found.reached < times[-1]) & (found.steps < max_steps)

    def go_on(found):
        later = phase(jnp.maximum(found.reached, began), found.state)
        done = times <= found.reached
        rows = jax.tree.map(
            lambda old, new: jnp.where(done.reshape(-1, *[1] * (old.ndim - 1)), old, new),
            found.rows,
            later.rows,
        )
        return later._replace(rows=rows, steps=found.steps + later.steps)

    # nothing is reached yet, so that a phase has one place in the program
    blank = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(phase, began, state)
    )
    nowhere, yes = jnp.full_like(began, -jnp.inf), jnp.asarray(True)
    before = blank._replace(state=state, reached=nowhere, phase_over=yes)
    return jax.lax.while_loop(unfinished, go_on, before)


class EqualSteps(diffrax.AbstractStepSizeController):
    """Steps of one size, from wherever the last one ended."""

    step: Float[Array, ""]

    def wrap(self, direction):
        return self

    def init(self, terms, t0, t1, y0, dt0, args, func, error_order):
        """The first step.

        Parameters
        ----------
        terms, t0, t1, y0, dt0, args, func, error_order
            As diffrax passes them.

        Returns
        -------
        tuple
            Its end, and no state.
        """
        return t0 + self.step, None

    def adapt_step_size(
        self, t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state
    ):
        """The next step.

        Parameters
        ----------
        t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state
            As diffrax passes them.

        Returns
        -------
        tuple
            As diffrax wants it.
        """
        kept, jump = jnp.asarray(True), jnp.asarray(False)
        return kept, t1, t1 + self.step, jump, None, diffrax.RESULTS.successful


class UpToWalls(AbstractOver):
    """Another control, but no step goes on beyond where the phase of a piece ends.

    `inner`: the other control, or steps of constant size.
    """

    inner: diffrax.AbstractStepSizeController
    tolerance: Float[Array, ""]

    def adapt_step_size(
        self, t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state
    ):
        """The next step of the other control, or again this one, shorter.

        Parameters
        ----------
        t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state
            As diffrax passes them.

        Returns
        -------
        tuple
            As diffrax wants it.
        """
        keep, next_t0, next_t1, jump, state, result = self.inner.adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state
        )
        problem, velocity = args
        share = _first_end(problem, velocity, (y0, y1_candidate), t1 - t0, self.tolerance)
        # (a step that is refused already is shortened by what refused it)
        again = keep & (share < 1)
        keep, next_t0 = keep & ~again, jnp.where(again, t0, next_t0)
        next_t1 = jnp.where(again, t0 + share * (t1 - t0), next_t1)
        result = diffrax.RESULTS.where(
            again & lost(next_t0, next_t1), diffrax.RESULTS.dt_min_reached, result
        )
        return keep, next_t0, next_t1, jump & ~again, state, result


def _first_end(
    problem: Problem, velocity: GradientVelocity, ends: tuple[Any, Any], length, tolerance
) -> Float[Array, ""]:
    """The share of a step after which the first piece ends its phase, 1 where none does before.

    On the cubic through what is left of each piece and its slopes at both ends, so that a piece
    that would be back at the end of the step is seen as well.
    """

    def at(state):
        slack, slope, room = jax.jvp(
            lambda state: _slack(problem, velocity, state, tolerance),
            (state,),
            (velocity(problem, state),),
            has_aux=True,
        )
        return slack, length * slope, room

    # (one after the other, so that the program has this once)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *ends)
    (p0, p1), (m0, m1), rooms = jax.lax.map(at, both)

    room = jnp.max(rooms, axis=0)
    c2, c3 = 3 * (p1 - p0) - 2 * m0 - m1, 2 * (p0 - p1) + m0 + m1

    def cubic(s):
        return p0 + s * (m0 + s * (c2 + s * c3))

    # the minimum of the cubic, in the form that does not cancel
    root = jnp.sqrt(jnp.maximum(c2**2 - 3 * c3 * m0, 0))
    turns = c2 + root > jnp.abs(m0) * jnp.finfo(p0.dtype).eps
    low = jnp.where(turns, -m0 / jnp.where(turns, c2 + root, 1), 1.0)
    inner = (low > 0) & (low < 1)
    low = jnp.where(inner, low, 1.0)
    # the end itself counts to rounding of the tolerance, what lies between to half of it; and a
    # piece that begins outside by more drifts there within its tolerance
    crosses = (cubic(low) < -jnp.where(inner, 0.5, 1.0) * room) | (p1 < -room)
    crosses = crosses & (p0 >= -room)
    bracket = jnp.zeros_like(p0), jnp.where(cubic(low) < 0, low, 1.0)

    def halve(_, bracket):
        lower, upper = bracket
        middle = 0.5 * (lower + upper)
        positive = cubic(middle) > 0
        return jnp.where(positive, middle, lower), jnp.where(positive, upper, middle)

    _, upper = jax.lax.fori_loop(0, _HALVINGS, halve, bracket)
    # so low that the cubic cannot tell whether the piece gets there: a step that ends there, or
    # near, can
    error = 16 * _ERROR * (low * (1 - low)) ** 2 * jnp.maximum(p0, p1)
    unclear = (low < 0.95) & inner & (p0 > room) & (cubic(low) < error)
    return jnp.min(jnp.where(crosses, upper, jnp.where(unclear, low, 1.0)))
