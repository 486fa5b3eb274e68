"""One flow over one stretch of time, as a pure function of arrays.

What `flow` runs in pieces and `flow_batch` in blocks.
"""

from __future__ import annotations

import functools

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ufm._programs.jit import quick_jit
from ufm.flows.integrators import Controller
from ufm.flows.motion import Motion
from ufm.flows.rest import at_rest
from ufm.flows.settings import Options, Settings
from ufm.flows.steps import Stepped, Watch, stepped
from ufm.flows.velocity import AbstractVelocity, speed
from ufm.flows.walls import EqualSteps, UpToWalls, in_phases, over
from ufm.model import Params, Problem
from ufm.solution import Result
from ufm.solvers.descent import recorded
from ufm.solvers.work import few_logits


def _follow(
    problem, velocity, began, state, times, settings: Settings, options: Options
) -> Stepped:
    """One smooth stretch: up to the last time, or to where it is steady or a phase ends."""
    args, walled = (problem, velocity), bool(velocity.walls(problem))
    control = _controller(settings, walled)
    found = stepped(
        Motion(diffrax.ODETerm(_derivative), options.method, control, args),
        began,
        state,
        times,
        # a stretch of no length (ts = [0.0]) is given room, and only its beginning is read
        last=jnp.where(times[-1] > began, times[-1], began + 1),
        step=settings.step,
        watch=Watch(
            lambda state: _row(state, args, options),
            (lambda state: at_rest(state, args, settings)) if options.stops else None,
            (lambda state: _phase_over(state, args, settings)) if walled else None,
        ),
        max_steps=settings.max_steps,
    )
    moved = times[-1] > began
    return found._replace(
        state=jax.tree.map(lambda new, old: jnp.where(moved, new, old), found.state, state)
    )


def integrate(
    problem: Problem,
    velocity: AbstractVelocity,
    began,
    state,
    times: Float[Array, " L"],
    settings: Settings,
    options: Options,
):
    """Rows at given times, the end, and how it came to it. Runs inside `jit` and `vmap`.

    Parameters
    ----------
    problem, velocity
        What flows, and how.
    began, state
        Time and state at the beginning.
    times
        (L,), increasing, >= `began`.
    settings, options
        From `checked_settings` and `checked_options`.

    Returns
    -------
    tuple
        Rows, of which those that were not reached are NaN, or the steady state once that is
        reached; the state at the end; a code of `Result`; the number of steps.
    """
    follow = functools.partial(_follow, settings=settings, options=options)
    if velocity.walls(problem):
        found = in_phases(
            follow, problem, velocity, began, state, times, settings.wall, settings.max_steps
        )
    else:
        found = follow(problem, velocity, began, state, times)
    # rows that were not reached are infinite
    done = (times <= found.reached) | found.at_rest
    saved = jax.tree.map(lambda leaf: jnp.where(_down(done, leaf), leaf, jnp.nan), found.rows)
    spent = found.phase_over & (found.reached < times[-1])
    ended = found.phase_over | (found.result == diffrax.RESULTS.successful)
    code = jnp.where(ended, int(Result.REACHED_END), int(Result.TOLERANCE_NOT_MET))
    # (only where no steps are left for the next does a flow stop at the end of a phase)
    spent = spent | (found.result == diffrax.RESULTS.max_steps_reached)
    code = jnp.where(spent, int(Result.MAX_STEPS), code)
    code = jnp.where(found.at_rest, int(Result.STEADY_STATE), code)
    code = jnp.where(jnp.isfinite(speed(found.state)), code, int(Result.DIVERGED))
    return saved, found.state, code, found.steps


def _controller(settings: Settings, walled: bool) -> diffrax.AbstractStepSizeController:
    adaptive = Controller(diffrax.PIDController(rtol=settings.rtol, atol=settings.atol))
    if settings.step is None:
        return UpToWalls(adaptive, settings.wall) if walled else adaptive
    if walled:
        return UpToWalls(EqualSteps(settings.step), settings.wall)
    return diffrax.ConstantStepSize()


# (each is asked for in several places of a program, and traced once)
@jax.jit
def _derivative(t, state, args):
    problem, velocity = args
    return velocity(problem, state)


@jax.jit
def _phase_over(state, args, settings: Settings) -> Bool[Array, ""]:
    """Whether some piece is to be held from here on, or to be let go; not at the beginning of a
    phase."""
    problem, velocity = args
    return over(problem, velocity, state, settings.wall)


@functools.partial(jax.jit, static_argnames="options")
def _row(state, args, options: Options) -> dict:
    """The row of a state, as by `recorded`."""
    problem, velocity = args
    row = recorded(
        problem, velocity.params_of(problem, state), options.observables, options.keep_params
    )
    # flags and counts become floats, so that rows which were not reached can be NaN
    return jax.tree.map(
        lambda leaf: (
            leaf if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf.astype(problem.dtype)
        ),
        row,
    )


@quick_jit(when=few_logits, static_argnames="options")
def integrate_piece(
    problem: Problem,
    velocity: AbstractVelocity,
    began,
    state,
    times,
    settings: Settings,
    options: Options,
):
    """`integrate`, compiled.

    Parameters
    ----------
    problem, velocity, began, state, times, settings, options
        As for `integrate`.

    Returns
    -------
    tuple
        As by `integrate`.
    """
    return integrate(problem, velocity, began, state, times, settings, options)


@functools.partial(jax.jit, static_argnames="options")
def integrate_block(
    problems: Problem,
    velocity: AbstractVelocity,
    starts: Params,
    times,
    settings: Settings,
    options: Options,
):
    """`integrate` from time 0 for a block of flows in lockstep, compiled.

    Parameters
    ----------
    problems, starts
        Stacked, B of each.
    velocity, times, settings, options
        As for `integrate`, the same for all.

    Returns
    -------
    tuple
        As by `integrate`, with a leading axis B, and points at the end in place of states.
    """

    def one(problem: Problem, start: Params):
        state = velocity.state_of(problem, start)
        saved, state, code, steps = integrate(
            problem, velocity, jnp.zeros_like(times[0]), state, times, settings, options
        )
        return saved, velocity.params_of(problem, state), code, steps

    return jax.vmap(one)(problems, starts)


def _down(flags, leaf):
    """Flags per row, shaped to broadcast over the rows of `leaf`."""
    return flags.reshape(-1, *[1] * (leaf.ndim - 1))
