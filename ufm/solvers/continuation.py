"""Minimise with ReLU between the layers: smooth it less and less, then go onto the kinks."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from ufm._system.interrupts import interrupts_answered
from ufm._system.progress import Progress
from ufm._validate import (
    MOST_STARTS,
    require,
    require_flag,
    require_instance,
    require_key,
    require_one_of,
    require_whole,
)
from ufm.model import Params, Problem, check_params, require_minimum
from ufm.solution import Result, Solution
from ufm.solvers.coordinates import (
    Flat,
    flat_objective,
    flat_of,
    params_of,
    relative_norm,
)
from ufm.solvers.kink_patterns import leak_of, objective_at
from ufm.solvers.kinks import Kinks
from ufm.solvers.onto_kinks import onto_kinks
from ufm.solvers.smoothing import Smoothing, smoothed
from ufm.solvers.start import random_start

# Starts that descend together.
_BATCH = 16
# Random starts in turn, in units of the one that keeps the size of what passes a ReLU.
_SCALES = (0.7, 0.9, 1.1)
# Saddles and unfinished descents that a run goes on from.
_ROUNDS = 5
# The relative norm of gradient with multipliers at which a point on kinks is stationary.
_STATIONARY = 1e-10


def minimise_rectified(
    problem: Problem,
    *,
    key: PRNGKeyArray | None = None,
    start: Params | None = None,
    starts: int = 1,
    progress: bool | None = None,
) -> Solution:
    r"""Minimise an objective with ReLU between layers, by continuation and finish on its kinks.

    ReLU, leaky or not, is replaced by a branch of a hyperbola between its asymptotes, of
    $\tfrac12(x+\sqrt{x^2+4\epsilon^2})$ where it does not leak, and ε led to 0 (see
    `ufm.solvers.Smoothing`); random starts go through a tenth of the decay first. Then Newton's
    method, with the signs of preactivations held and those at 0 as constraints, finds the point on
    the kinks, and its multipliers.

    Parameters
    ----------
    problem
        With `activation="relu"`, or "leaky_relu" of a slope below 1.
    key
        A `jax.random.key`, for random starts; or
    start
        a point to go on from, as it is but for the last tenth of ε.
    starts
        How many random starts.
    progress
        Show progress on standard error; None shows it on a terminal once a second has passed.

    Returns
    -------
    Solution
        Of the problem itself, ReLU unsmoothed: the best, or zero if that is lower, with the
        `values` and `codes` of all starts. `kinks` says what the point is: a local minimum, a
        saddle, or not decided. CONVERGED where gradient and multipliers meet to 1e-10
        (`grad_norm`, relative). Ctrl-C returns the best so far, result INTERRUPTED, beside its
        kinks and without `kinks`; before a batch of starts has ended it raises `KeyboardInterrupt`.

    Raises
    ------
    ValueError
        For another map or slope, a domain, frozen weights, an anchor, λ = 0, and a start that does
        not fit.

    Notes
    -----
    An upper bound on the minimum and no more. Random starts may all agree and all be wrong: of 18
    on three classes behind four matrices, at .3 of the threshold of collapse and width 5, 17 end at
    collapse and one at .972724 of it. `ufm.search` starts near what theory knows and beside what it
    has found, too.
    """
    require_instance("problem", problem, Problem)
    require_rectified(problem, "its kinks")
    require_one_of(key=key, start=start)
    starts = require_whole("starts", starts, most=MOST_STARTS)
    require(starts == 1 or key is not None, "`starts` > 1 needs `key`", starts)
    require_flag("progress", progress, optional=True)
    if start is not None:
        flats = np.asarray(flat_of(problem, check_params(problem, start, name="start")))[None]
    else:
        require_key("key", key)
        assert key is not None
        flats = np.stack(
            [
                np.asarray(
                    flat_of(problem, rectified_start(problem, jax.random.fold_in(key, i), i))
                )
                for i in range(starts)
            ]
        )
    solver = Smoothing(near=start is not None)
    bar, ends, values, stopped = (
        Progress("minimise", total=len(flats), show=progress),
        [],
        [],
        False,
    )
    try:
        for at in range(0, len(flats), _BATCH):
            batch = flats[at : at + _BATCH]
            # one shape for all batches
            filled = np.concatenate([batch, np.repeat(batch[:1], _size(flats) - len(batch), 0)])
            found = jax.device_get(smoothed(solver, problem, filled))
            ends.append(found[0][: len(batch)])
            values.append(found[1][: len(batch)])
            bar.update(at + len(batch), f"best {min(map(np.min, values)):.9g}")
    except KeyboardInterrupt:
        stopped = True
        if not ends:
            raise
    finally:
        bar.close()
    return _finished(problem, np.concatenate(ends), np.concatenate(values), stopped)


def _size(flats: np.ndarray) -> int:
    return min(len(flats), _BATCH)


def require_rectified(problem: Problem, of_what: str) -> None:
    """`ValueError` unless it is a model with ReLU between layers and decay alone."""
    words = f"`problem.map` must be that of relu or leaky_relu between two factors, for {of_what}"
    require(problem.kinked, words, problem)
    leak = leak_of(problem)
    require(leak < 1, f"`problem.map` must have a slope below 1 below zero, for {of_what}", leak)
    require_minimum(problem, "a minimiser")
    for name, domain in problem.domains.items():
        words = f"`problem.{name}` must be unconstrained for {of_what}"
        require(not domain.constrained, words, domain)
    require(not problem.frozen, f"`problem` must have free weights for {of_what}", "frozen ones")
    require(problem.anchor is None, f"`problem` must have no anchor for {of_what}", "an anchor")


def rectified_start(problem: Problem, key: PRNGKeyArray, index: int) -> Params:
    """A random start whose factors make up for the half of its input that a ReLU drops.

    Parameters
    ----------
    problem
        With ReLU layers.
    key
        A `jax.random.key`.
    index
        Which of the scales, in turn.

    Returns
    -------
    Params
        A point of the problem.
    """
    start, scale = random_start(problem, key=key), _SCALES[index % len(_SCALES)]
    larger = scale * math.sqrt(2)
    weights = tuple(larger * W for W in start.weights)
    return Params(weights, scale * start.features, start.bias)


def solution_on_kinks(problem: Problem, params: Params, kinks: Kinks) -> Solution:
    """A point on its kinks as a solution.

    Parameters
    ----------
    problem, params
        The point.
    kinks
        What it is.

    Returns
    -------
    Solution
        CONVERGED where the residual on the kinks is that of a stationary point, else STALLED; no
        steps are counted.
    """
    value = objective_at(problem, params)
    ended = Result.CONVERGED if kinks.residual <= _STATIONARY else Result.STALLED
    residual = jnp.asarray(kinks.residual, problem.dtype)
    return _uncounted(problem, params, (value, residual), ended, kinks)


def solution_beside_kinks(problem: Problem, params: Params) -> Solution:
    """A point as a descent left it, where Ctrl-C came before it was led onto its kinks.

    Parameters
    ----------
    problem, params
        The point.

    Returns
    -------
    Solution
        INTERRUPTED, without `kinks`; no steps are counted.
    """
    measured = _slope(problem, flat_of(problem, params))
    return _uncounted(problem, params, measured, Result.INTERRUPTED, None)


def _uncounted(
    problem: Problem, params: Params, measured, ended: Result, kinks: Kinks | None
) -> Solution:
    """A solution of one start, of which value and gradient norm are `measured`, without steps."""
    (value, grad_norm), code = measured, np.int64(ended)
    return Solution(
        problem=problem,
        params=params,
        value=value,
        grad_norm=grad_norm,
        code=code,
        num_steps=np.int64(0),
        num_evaluations=np.int64(0),
        values=value[None],
        codes=np.asarray([code]),
        state=None,
        kinks=kinks,
    )


@jax.jit
def _slope(problem: Problem, flat: Flat):
    """The objective and the relative norm of its gradient."""
    value, gradient = jax.value_and_grad(flat_objective, argnums=1)(problem, flat)
    return value, relative_norm(problem, gradient, flat, value)


def settled(problem: Problem, params: Params) -> tuple[Params, Kinks]:
    """The point on kinks next to one, and below it while a saddle shows the way; where there is no
    point on kinks yet, descent goes on first."""
    point, kinks = onto_kinks(problem, params)
    for _ in range(_ROUNDS):
        unsettled = kinks.kind == "not stationary"
        if kinks.lower is None and not unsettled:
            break
        begin = point if kinks.lower is None else kinks.lower
        flats = jnp.asarray(flat_of(problem, begin))[None]
        ends, values = smoothed(Smoothing(near=True), problem, flats)
        if not unsettled and not float(values[0]) < float(objective_at(problem, point)):
            break
        point, kinks = onto_kinks(problem, params_of(problem, ends[0]))
    return point, kinks


def _finished(problem: Problem, ends, values, stopped: bool) -> Solution:
    """The best of the ends, or zero if that is lower, on its kinks unless Ctrl-C stops that, with
    the values of all."""
    best = int(np.argmin(np.where(np.isfinite(values), values, np.inf)))
    params = params_of(problem, jnp.asarray(ends[best], problem.dtype))
    # under strong decay descents stop at local minima above zero
    zero = params_of(problem, jnp.zeros_like(ends[best], problem.dtype))
    found = solution = None
    try:
        if not stopped:
            found = solution_on_kinks(problem, *settled(problem, params))
            solution = found
            if not float(found.value) <= float(objective_at(problem, zero)):
                solution = solution_on_kinks(problem, *settled(problem, zero))
    except KeyboardInterrupt:
        solution, stopped = None, True
    with interrupts_answered():
        if solution is None:
            found = found or solution_beside_kinks(problem, params)
            lower = float(objective_at(problem, zero)) < float(found.value)
            solution = solution_beside_kinks(problem, zero) if lower else found
        assert found is not None
        values = jnp.asarray(values, problem.dtype).at[best].set(found.value)
        codes = np.full(len(values), int(Result.STALLED))
        codes[best] = solution.code
        code = np.int64(Result.INTERRUPTED) if stopped else solution.code
        return dataclasses.replace(solution, values=values, codes=codes, code=code)
