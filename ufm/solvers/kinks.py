r"""Points of ReLU models on their kinks, and what kind of point one is.

At a minimum preactivations of hidden units are exactly 0, and the objective has only one-sided
derivatives. With the signs of the others held, and these zeros as constraints $M_k = 0$ with
multipliers $\nu_k$, it is a smooth problem: its stationary points are those of the model where
$s u_k\le\nu_k\le u_k$, with u_k the derivative behind the ReLU and s the slope below its kink (0,
unless it is leaky), since a step with $m_k = \langle\nabla M_k, dx\rangle$ raises the objective by
$\sum_k u_k\sigma(m_k) - \nu_k m_k$. A unit whose weights are all 0 adds second-order terms of its
own, which are asked apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from ufm._classes.module import Displayed
from ufm.model import Params, Problem
from ufm.solvers.coordinates import flat_of, params_of
from ufm.solvers.directions import number_in_use
from ufm.solvers.kink_patterns import (
    SYMMETRIC,
    Model,
    Pattern,
    leak_of,
    least_squares,
    multiplied,
    objective_at,
    pattern_of,
    patterned,
    released,
)
from ufm.solvers.kink_pulls import Pull, pulls_of

# What is known of multipliers and curvatures at a converged point.
ROUNDING = 1e-8
# Steps beside a stationary point, relative to it, and by how much a lower one is lower.
_LENGTHS, _DROP, _BACK = (0.3, 0.1, 0.03, 0.01, 3e-3), 1e-10, 6


@dataclass(frozen=True, eq=False)
class Kinks(Displayed):
    """What a point of a ReLU model is, kinks and all.

    `kind`: "minimum" (a strict local minimum up to symmetry, of its live units, and no dead unit is
    pulled to life), "strict saddle" (there is a lower point beside it), "degenerate" (not decided
    by second order and strict multipliers) or "not stationary". `residual`: the relative norm of
    the gradient with multipliers and of what is left at the kinks. `number`: kinks of live units,
    but for those with a multiplier at a bound. `dead`: hidden units without weights. `margin`: the
    least of ν − su and u − ν, over the largest u; above 0 where every one-sided derivative is.
    `curvatures`: of the Lagrangian along the kinks, ascending, in decay-weighted coordinates.
    `symmetric`: how many zeros of them symmetry explains. `dead_margin`: 1 − the pull on a dead
    unit over the decay that holds it, at least; 1 without dead units. It is 0 at best, where a dead
    unit can take a share of a live one and nothing changes. `lower`: of a strict saddle the lower
    point.
    """

    kind: str
    residual: float
    number: int
    dead: int
    margin: float
    curvatures: np.ndarray
    symmetric: int
    dead_margin: float
    lower: Params | None = None

    @property
    def zeros(self) -> int:
        """Curvatures that are 0 to rounding."""
        return int(np.sum(np.abs(self.curvatures) <= ROUNDING))

    def __str__(self) -> str:
        word = "local minimum" if self.kind == "minimum" else self.kind
        word = "not decided" if word == "degenerate" else word
        least = self.curvatures[0] if len(self.curvatures) else 0.0
        return (
            f"{word}: {self.number} kinks, multipliers at least {self.margin:.1e} from their "
            f"bounds, {self.dead} dead units, {self.zeros} zero curvatures of which symmetry "
            f"explains {self.symmetric}, smallest {least:.1e}, residual {self.residual:.1e}"
        )


def kinks_of(problem: Problem, params: Params, *, width: float = 1e-9) -> Kinks:
    """What a point is on its kinks.

    Parameters
    ----------
    problem, params
        The point, of a problem with ReLU layers.
    width
        Preactivations below this share of the largest of their layer are taken for kinks.

    Returns
    -------
    Kinks
        Its kind, residual, margins and curvatures.
    """
    flat = np.asarray(flat_of(problem, params), dtype=np.float64)
    return judged(problem, flat, pattern_of(problem, flat, width))


def judged(problem: Problem, flat, pattern: Pattern) -> Kinks:
    """The verdict on a point of a pattern.

    Parameters
    ----------
    problem, flat
        The point, in the coordinates of the solvers.
    pattern
        Its signs and kinks.

    Returns
    -------
    Kinks
        What it is.
    """
    model, multipliers = multiplied(problem, flat, pattern)
    size = np.max(np.abs(model.behind), initial=1e-300)
    leak = leak_of(problem)
    strict = _without_weak(model, multipliers, pattern, leak, ROUNDING * size)
    if strict is not None:
        pattern = strict
        model, multipliers = multiplied(problem, flat, pattern)
    behind = model.behind[model.at]
    inside = np.minimum(multipliers - leak * behind, behind - multipliers)
    margin = float(np.min(inside, initial=size)) / size
    along = _along(model.jacobian)
    curvatures, directions = np.linalg.eigh(along.T @ model.curved @ along)
    params = params_of(problem, jnp.asarray(flat, problem.dtype))
    pulls = pulls_of(problem, params, pattern, multipliers, model)
    kinks = Kinks(
        kind="degenerate",
        residual=model.residual,
        number=int(sum(np.sum(kink) for kink in pattern.kinks)),
        dead=int(sum(np.sum(unit) for unit in pattern.dead)),
        margin=margin,
        curvatures=curvatures,
        symmetric=_symmetries(problem, params),
        dead_margin=1 - max((pull.bound for pull in pulls), default=0.0),
    )
    if not kinks.residual <= ROUNDING or margin < -ROUNDING:
        return replace(kinks, kind="not stationary")
    trials = [_revived(problem, flat, pull) for pull in pulls if pull.reached > 1 + ROUNDING]
    for number in range(int(np.sum(curvatures < -ROUNDING))):
        trials.append(_along_kinks(problem, flat, pattern, along @ directions[:, number]))
    lower = _lower(problem, params, trials)
    if lower is not None:
        return replace(kinks, kind="strict saddle", lower=lower)
    strict = margin > ROUNDING and kinks.dead_margin > -ROUNDING
    settled = strict and kinks.zeros == kinks.symmetric and kinks.curvatures[0] > -ROUNDING
    return replace(kinks, kind="minimum") if settled else kinks


def _without_weak(
    model: Model, multipliers, pattern: Pattern, leak: float, least: float
) -> Pattern | None:
    """Without kinks whose multiplier is at one bound, u > 0 away from the other.

    The objective is at least that of the model in which such an entry is on its side of the kink,
    so what is a minimum of that is one.
    """
    behind = model.behind[model.at]
    apart = (1 - leak) * behind > least
    off = (np.abs(multipliers - leak * behind) <= least) & apart
    on = (np.abs(behind - multipliers) <= least) & apart
    if not (off.any() or on.any()):
        return None
    return patterned(pattern, *released(model, pattern, off, on, leak))


def _lower(problem: Problem, params: Params, trials) -> Params | None:
    """The first trial with a lower value, from long steps to short ones."""
    value = float(objective_at(problem, params))
    for length in _LENGTHS:
        for trial in trials:
            for sign in (1, -1):
                point = params_of(problem, jnp.asarray(trial(sign * length), problem.dtype))
                if float(objective_at(problem, point)) < value * (1 - _DROP):
                    return point
    return None


def _along_kinks(problem: Problem, flat, pattern: Pattern, direction):
    """Steps along a direction of the live variables, back onto the kinks by Gauss–Newton."""
    size, none = float(np.linalg.norm(flat)), np.zeros(int(sum(map(np.sum, pattern.kinks))))

    def trial(length: float) -> np.ndarray:
        moved = flat.copy()
        moved[pattern.live] += length * size * direction
        for _ in range(_BACK):
            model = Model(problem, moved, pattern, none)
            left = -model.before[model.at]
            moved[pattern.live] += least_squares(model.jacobian, left)
        return moved

    return trial


def _along(jacobian: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the directions that stay on all kinks."""
    n = jacobian.shape[1]
    if not len(jacobian):
        return np.eye(n)
    _, values, rows = np.linalg.svd(jacobian)
    rank = int(np.sum(values > SYMMETRIC * values[0])) if values[0] > 0 else 0
    return rows[rank:].T


def _symmetries(problem: Problem, params: Params) -> int:
    """Dimension of the orbit of the point: features and first factor turn together, and a free bias
    may have a flat direction."""
    values = np.linalg.svd(np.asarray(params.features), compute_uv=False)
    r, d = number_in_use(values, 0.0), problem.feature_dim
    return r * (d - r) + r * (r - 1) // 2 + problem.free_shifts


def _revived(problem: Problem, flat, pull: Pull):
    """Steps that bring a dead unit to life."""
    size = float(np.linalg.norm(flat))

    def trial(length: float) -> np.ndarray:
        moved = flat.copy()
        moved[pull.rows] = abs(length) * size * pull.into
        moved[pull.columns] = abs(length) * size * pull.out
        return moved

    return trial
