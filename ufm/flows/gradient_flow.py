r"""`flow`: gradient flow as an instrument, for when and how training gets where it ends."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from ufm._programs.outside import SWEEP, on_the_host
from ufm._system.progress import Progress
from ufm._validate import options_of, require, require_flag, require_instance
from ufm.flows.central_path import CentralVelocity, RenormalisedVelocity, check_path, check_state
from ufm.flows.gradient_velocity import GradientVelocity, checked_rates
from ufm.flows.integrate import integrate_piece
from ufm.flows.options import Integration, Path, Record, checked_times, path_of, record_of
from ufm.flows.settings import checked_options, checked_settings
from ufm.flows.velocity import AbstractVelocity
from ufm.model import Params, Problem, require_minimum, require_smooth
from ufm.solution import Result, Solution, Trajectory
from ufm.solvers.descent import Observables, blank_rows, starting_point
from ufm.solvers.loop import minimise

# Times are integrated in at most this many pieces, between which progress is shown and Ctrl-C is
# heard.
_PIECES = 10


@on_the_host(SWEEP)
def flow(
    problem: Problem,
    *,
    ts,
    key: PRNGKeyArray | None = None,
    start: Params | None = None,
    path: str | Path = "gradient",
    observables: Observables | Record | None = None,
    integration: Integration | None = None,
    progress: bool | None = None,
) -> Trajectory:
    r"""Integrate a flow of the objective f from time 0, and report it at given times.

    $$\dot W_m = -\eta_m\,\partial f/\partial W_m,\qquad \dot b = -\eta_b\,\partial f/\partial
    b,\qquad
      \dot h_c = -\eta_H\,\tfrac1{m_c}\,\partial f/\partial h_c:$$

    a column of mass m moves as each of its m equal samples does, so collapsed and full labels give
    the same flow from the same start. Frozen factors stay. On a sphere only what is tangential of
    the velocity counts; in a ball or under a budget, on the boundary, all but what leads outwards,
    so that a vector slides along it for as long as it is held there. λ = 0 is allowed. The loss in
    f is a mean over samples: a paper whose loss is the sum has a clock N times faster.

    Parameters
    ----------
    problem
        What flows.
    ts
        (T,), increasing times >= 0, linear, logarithmic or any other (`np.linspace`,
        `np.geomspace`).
    key
        A `jax.random.key`, to start at random, which needs λ > 0.
    start
        Or the point to start from.
    path
        "gradient", the above; "central" and "renormalised" for squared error and M = 1; or a `Path`
        with rates of its own.
    observables
        Name → function(problem, params) → array (or pytree of arrays; flags and counts become
        floats), evaluated at `ts` only; `ufm.observables` has ready-made ones. Or a `Record`, which
        may keep them and not the points.
    integration
        An `Integration`: tolerances, method, when to stop, and whether Newton finishes.
    progress
        As for `minimise`.

    Returns
    -------
    Trajectory
        `result` is REACHED_END, STEADY_STATE (later rows repeat the steady state), POLISHED (the
        same, and `final` is the point that Newton found from there; `polish` has its `Solution`),
        or MAX_STEPS, TOLERANCE_NOT_MET, DIVERGED, INTERRUPTED (rows not reached are NaN, and
        `final` is the last point reached).

    Raises
    ------
    ValueError
        For times that do not increase from >= 0, neither or both of `key` and `start`, relative
        tolerances that the dtype cannot resolve, rates for what is not free, and a path that the
        problem does not have.

    Notes
    -----
    Sources of the paths: Tirer, Huang & Niles-Weed 2023; Han, Papyan & Donoho 2022.
    """
    require_instance("problem", problem, Problem)
    times = checked_times(ts)
    path, record = path_of(path), record_of(observables)
    integration = options_of(Integration, integration, name="integration")
    velocity = velocity_of(problem, path)
    require_flag("progress", progress, optional=True)
    length, stretches = _pieces(len(times))
    settings = checked_settings(problem, integration, stretches)
    options = checked_options(integration, record)
    require_smooth(problem, "a flow")
    params = starting_point(problem, key, start)
    target = _polish_target(problem, velocity, params) if integration.polish else None
    state = velocity.state_of(problem, params)
    if path.name != "gradient":
        check_state(problem, velocity, state)

    bar = Progress("flow", total=float(times[-1]), show=progress)
    stacked, state, code, steps = _in_pieces(
        times,
        length,
        state,
        problem.dtype,
        bar,
        lambda *args: integrate_piece(problem, velocity, *args, settings, options),
    )
    final, polished = velocity.params_of(problem, state), None
    if target is not None and code is Result.STEADY_STATE:
        final, polished, code = _polish(target, final, progress)
    return Trajectory(
        problem=problem,
        ts=jnp.asarray(times, problem.dtype),
        value=stacked["value"],
        params=stacked["params"],
        observables=stacked["observables"],
        final=final,
        code=jnp.asarray(int(code)),
        num_steps=jnp.asarray(steps),
        polish=polished,
    )


def _pieces(number: int) -> tuple[int, int]:
    """How many times a piece has, and how many pieces there are."""
    length = -(-number // _PIECES)
    return length, -(-number // length)


def _in_pieces(
    times: np.ndarray, length: int, state, dtype, bar: Progress, integrate
) -> tuple[dict, Any, Result, int]:
    """Rows at all times, the state at the end, how it ended, and the steps, a piece at a time.

    `integrate`: from a time, a state and the next times to what `integrate_piece` gives. Ctrl-C
    keeps the last piece.
    """
    # the last piece is filled up by repeating the last time: all pieces share one compilation
    pieces = np.append(times, np.full(-len(times) % length, times[-1])).reshape(-1, length)
    rows, steps, code = [], 0, Result.REACHED_END
    began = jnp.zeros((), dtype)
    try:
        for piece in pieces:
            piece = jnp.asarray(piece, dtype)
            saved, state, code, taken = jax.block_until_ready(integrate(began, state, piece))
            rows.append(jax.device_get(saved))
            steps, began, code = steps + int(taken), piece[-1], Result(int(code))
            bar.update(float(began))
            if code is not Result.REACHED_END:
                break
    except KeyboardInterrupt:
        code = Result.INTERRUPTED
        if not rows:
            shapes = jax.eval_shape(lambda: integrate(began, state, jnp.asarray(pieces[0], dtype)))
            rows.append(blank_rows(shapes[0]))
    bar.close()
    rest = (
        jax.tree.map(lambda leaf: np.broadcast_to(leaf[-1:], leaf.shape), rows[-1])
        if code is Result.STEADY_STATE
        else blank_rows(rows[-1])
    )
    rows += [rest] * (len(pieces) - len(rows))
    stacked = jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(times)], *rows)
    return jax.device_put(stacked), state, code, steps


def velocity_of(problem: Problem, path: Path) -> AbstractVelocity:
    """The vector field of a path.

    Parameters
    ----------
    problem
        What flows.
    path
        Name and rates.

    Returns
    -------
    AbstractVelocity
        With its rates as arrays.

    Raises
    ------
    ValueError
        Where the problem has no such path, and for rates of what is not free.
    """
    if path.name == "gradient":
        return GradientVelocity(checked_rates(problem, path.rates, name="Path.rates"))
    check_path(problem, path.name)
    given = checked_rates(problem, path.rates, name="Path.rates")
    require(
        path.rates is None or set(path.rates) <= {"features"},
        f"`Path.rates` may name only the features for path='{path.name}'",
        path.rates,
    )
    rate = None if given is None else given.features
    return CentralVelocity(rate) if path.name == "central" else RenormalisedVelocity(rate)


def _polish_target(problem: Problem, velocity: AbstractVelocity, params: Params) -> Problem:
    """The problem that a polish minimises; `ValueError` before the flow, not after it."""
    target = velocity.polishable(problem, params)
    require_minimum(target, "`Integration.polish`")
    return target


def _polish(
    target: Problem, final: Params, progress: bool | None
) -> tuple[Params, Solution, Result]:
    """Newton from the steady state. Where it does not converge the flow's own end stays."""
    start = final
    if target.fixed_weights is not None:
        # (on a sphere those at rest are moved by rounding)
        start = dataclasses.replace(final, weights=target.fixed_weights)
    polished = minimise(target, start=start, progress=progress)
    if polished.result is Result.CONVERGED:
        return polished.params, polished, Result.POLISHED
    return final, polished, Result.STEADY_STATE
