r"""Newton's method from a point that smoothing found to the stationary point on kinks beside it."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from ufm.model import Params, Problem
from ufm.solvers.coordinates import params_of
from ufm.solvers.kink_patterns import (
    Model,
    Pattern,
    leak_of,
    least_squares,
    multiplied,
    objective_at,
    patterned,
    pruned,
    released,
)
from ufm.solvers.kinks import ROUNDING, Kinks, judged, kinks_of

# A preactivation below one of these shares of its layer's largest is taken for a kink: after
# smoothing to 1e-5 they are below 1e-4, and others rarely below 1e-2.
_KINKS = (1e-3, 1e-4, 1e-2)
_ROUNDS, _STEPS = 12, 40
_CONVERGED = 1e-13


def onto_kinks(problem: Problem, params: Params) -> tuple[Params, Kinks]:
    """The stationary point on kinks next to one that smoothing found, and what it is.

    The point given, where Newton's method leads to none that is as low.
    """
    start = float(objective_at(problem, params))
    for width in _KINKS:
        flat, pattern = pruned(problem, params, width)
        fits = False
        for _ in range(_ROUNDS):
            flat, multipliers, model = _newton(problem, flat, pattern)
            changed = _repaired(model, multipliers, pattern, leak_of(problem))
            fits = changed is None
            if changed is None:
                break
            pattern = changed
        if not np.isfinite(flat).all():
            continue
        point = params_of(problem, jnp.asarray(flat, problem.dtype))
        if fits and float(objective_at(problem, point)) <= start * (1 + ROUNDING):
            kinks = judged(problem, flat, pattern)
            if kinks.kind != "not stationary":
                return point, kinks
    return params, kinks_of(problem, params)


def _newton(problem: Problem, flat, pattern: Pattern):
    """Newton's method on the conditions of the pattern, by least squares for their symmetries."""
    model, multipliers = multiplied(problem, flat, pattern)
    number = len(multipliers)
    for _ in range(_STEPS):
        model = Model(problem, flat, pattern, multipliers)
        if model.residual <= _CONVERGED:
            break
        n = len(model.slope)
        system = np.block(
            [[model.curved, model.jacobian.T], [model.jacobian, np.zeros((number, number))]]
        )
        missed = np.concatenate([model.slope, model.before[model.at]])
        step = least_squares(system, -missed)
        if not step.any():
            break
        # far away the linear model reaches no further than the point is long
        step *= min(1.0, 0.3 * model.size / max(float(np.linalg.norm(step[:n])), 1e-300))
        flat = flat.copy()
        flat[pattern.live] += step[:n]
        multipliers = multipliers + step[n:]
    return flat, multipliers, Model(problem, flat, pattern, multipliers)


def _repaired(model: Model, multipliers, pattern: Pattern, leak: float) -> Pattern | None:
    """Without kinks that are left downhill, with those that were crossed; None where all fits."""
    passing = np.concatenate([keep.ravel() for keep in pattern.passing])
    behind, size = model.behind[model.at], np.max(np.abs(model.behind), initial=1e-300)
    left = multipliers < leak * behind - ROUNDING * size
    crossed = multipliers > behind + ROUNDING * size
    largest = np.max(np.abs(model.before), initial=1e-300)
    live = np.concatenate(
        [
            np.repeat(~dead, kink.shape[1])
            for dead, kink in zip(pattern.dead, pattern.kinks, strict=True)
        ]
    )
    wrong = live & ~model.at & (model.before * np.where(passing == 1, 1, -1) < -ROUNDING * largest)
    if not (left.any() or crossed.any() or wrong.any()):
        return None
    passing, kinks = released(model, pattern, left, crossed, leak)
    kinks[wrong], passing[wrong] = True, 0.0
    return patterned(pattern, passing, kinks)
