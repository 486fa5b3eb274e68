"""Patterns of ReLU models: which units are dead, which entries pass, which lie on kinks; and the
derivatives of the smooth model that a pattern makes of one."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ufm._programs.jit import quick_jit
from ufm.maps import Activated
from ufm.model import Params, Problem
from ufm.model.value import decay, fit
from ufm.solvers.coordinates import flat_of, params_of, to_params

# A unit with weights below this share of the largest unit's has none, in decay-weighted squares.
_DEAD = 1e-5
# … or below that share of this one of 2 f, which all weights together do not exceed.
_SMALL = 1e-3
# Two units are one that is split where the cosines of their weights, in and out, are so near 1.
_PARALLEL = 1e-6
# Singular values below this, relatively, are those of a symmetry, which Newton does not move along.
SYMMETRIC = 1e-9

Layers = tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class Pattern:
    """The slopes of all entries, which lie on a kink (slope 0), and which flat variables are
    free."""

    passing: Layers
    kinks: Layers
    live: np.ndarray
    dead: tuple[np.ndarray, ...]


def pruned(problem: Problem, params: Params, width: float) -> tuple[np.ndarray, Pattern]:
    """The point with dead units at exactly 0 and split units made one, and its pattern.

    Parameters
    ----------
    problem, params
        The point.
    width
        Preactivations below this share of the largest of their layer are kinks.

    Returns
    -------
    tuple[np.ndarray, Pattern]
        Flat, in the coordinates of the solvers, and its pattern.
    """
    flat = np.array(flat_of(problem, params), dtype=np.float64)
    indices = list(reversed(indices_of(problem)))
    for into, out in itertools.pairwise(indices):
        _merge(flat, into, out.T)
    pattern = pattern_of(problem, flat, width)
    flat[~pattern.live] = 0.0
    return flat, pattern


def _merge(flat: np.ndarray, into: np.ndarray, out: np.ndarray) -> None:
    """Of units with parallel weights the first has all, in place; `into`, `out`: where weights of
    each unit stand."""
    weights = np.concatenate([into, out], axis=1)
    for i in range(len(weights)):
        for j in range(i + 1, len(weights)):
            cosines = [
                flat[place[i]] @ flat[place[j]]
                - (1 - _PARALLEL) * np.linalg.norm(flat[place[i]]) * np.linalg.norm(flat[place[j]])
                for place in (into, out)
            ]
            first, second = np.linalg.norm(flat[weights[i]]), np.linalg.norm(flat[weights[j]])
            if second > 0 and min(cosines) > 0:
                flat[weights[i]] *= float(np.hypot(first, second) / first)
                flat[weights[j]] = 0.0


def pattern_of(problem: Problem, flat: np.ndarray, width: float) -> Pattern:
    """Dead units, kinks and signs of a point.

    Parameters
    ----------
    problem, flat
        The point, in the coordinates of the solvers.
    width
        Preactivations below this share of the largest of their layer are kinks.

    Returns
    -------
    Pattern
        From the features on.
    """
    # from the features on
    indices = list(reversed(indices_of(problem)))
    params = params_of(problem, jnp.asarray(flat, problem.dtype))
    assert isinstance(problem.map, Activated)
    # (of zero no unit is larger than another)
    natural = _SMALL * 2 * float(objective_at(problem, params))
    passing, kinks, dead = [], [], []
    live = np.ones(len(flat), bool)
    for layer, X in enumerate(problem.map.preactivations(params.weights, params.features)):
        X, into, out = np.asarray(X), indices[layer], indices[layer + 1]
        sizes = np.sum(flat[into] ** 2, axis=1) + np.sum(flat[out] ** 2, axis=0)
        none = sizes <= _DEAD * max(float(sizes.max()), natural)
        live[into[none].ravel()] = False
        live[out[:, none].ravel()] = False
        on = (np.abs(X) <= width * max(float(np.max(np.abs(X))), 1e-300)) & ~none[:, None]
        dead.append(none)
        kinks.append(on)
        slopes = np.where(X > 0, 1.0, leak_of(problem))
        passing.append(np.where(on | none[:, None], 0.0, slopes))
    return Pattern(tuple(passing), tuple(kinks), live, tuple(dead))


def leak_of(problem: Problem) -> float:
    """The slope of the activation below zero; 0 of relu."""
    assert problem.map.leak is not None
    return float(problem.map.leak)


def indices_of(problem: Problem) -> list[np.ndarray]:
    """Where the entries of every weight stand in flat coordinates, outermost first."""
    places, at = [], 0
    for rows, columns in problem.weight_shapes:
        places.append(at + np.arange(rows * columns).reshape(rows, columns))
        at += rows * columns
    return places


@jax.jit
def objective_at(problem: Problem, params: Params):
    """The objective, compiled."""
    return fit(problem, problem.logits(params)) + decay(problem, params)


def _lagrangian(problem: Problem, flat, passing, multipliers, shifts):
    """The objective with the signs held, plus multipliers times preactivations; and those."""
    params = to_params(problem, flat)
    entering, total, before = params.features, 0.0, []
    for W, keep, nu, shift in zip(
        reversed(params.weights[1:]), passing, multipliers, shifts, strict=True
    ):
        before.append(W @ entering)
        total += jnp.sum(nu * before[-1])
        entering = keep * before[-1] + shift
    logits = params.weights[0] @ entering
    logits = logits if params.bias is None else logits + params.bias[:, None]
    return fit(problem, logits) + decay(problem, params) + total, before


@quick_jit()
def _second_order(problem: Problem, flat, passing, multipliers):
    """The objective, gradient and Hessian of the Lagrangian, preactivations and their derivatives,
    and the derivatives behind the ReLUs."""
    shifts = tuple(jnp.zeros_like(keep) for keep in passing)

    def at(flat, shifts):
        return _lagrangian(problem, flat, passing, multipliers, shifts)

    def before(flat):
        return jnp.concatenate([M.ravel() for M in at(flat, shifts)[1]])

    (slope, behind), _ = jax.grad(at, argnums=(0, 1), has_aux=True)(flat, shifts)
    curved = jax.hessian(lambda flat: at(flat, shifts)[0])(flat)
    value = objective_at(problem, to_params(problem, flat))
    return value, slope, curved, before(flat), jax.jacfwd(before)(flat), behind


class Model:
    """All derivatives at a point, on the host, of the live variables alone."""

    def __init__(self, problem: Problem, flat, pattern: Pattern, multipliers: np.ndarray):
        split = _split(multipliers, pattern.kinks)
        given = jax.tree.map(
            lambda leaf: np.asarray(leaf, problem.dtype), (flat, tuple(pattern.passing), split)
        )
        found = _second_order(problem, *given)
        # (whether a multiplier is within its bounds is asked in float64, whatever the problem's)
        found = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), found)
        value, slope, curved, before, jacobian, behind = found
        live, at = pattern.live, np.concatenate([kink.ravel() for kink in pattern.kinks])
        self.slope, self.curved = slope[live], curved[np.ix_(live, live)]
        self.before, self.behind = before, np.concatenate([u.ravel() for u in behind])
        self.at, self.jacobian = at, jacobian[at][:, live]
        natural = float(np.sqrt(2 * abs(float(value))))
        self.size = max(float(np.linalg.norm(flat)), natural)

    @property
    def residual(self) -> float:
        """How far the conditions are from holding."""
        missed = np.concatenate([self.slope, self.before[self.at]])
        return float(np.linalg.norm(missed)) / self.size


def least_squares(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The shortest solution, symmetries left alone; zero where numbers are not finite or the
    decomposition fails, so that far from any point on kinks Newton's method merely stays."""
    if np.isfinite(matrix).all() and np.isfinite(right).all():
        try:
            return np.linalg.lstsq(matrix, right, rcond=SYMMETRIC)[0]
        except np.linalg.LinAlgError:
            pass
    return np.zeros(matrix.shape[1])


def multiplied(problem: Problem, flat, pattern: Pattern) -> tuple[Model, np.ndarray]:
    """The derivatives at a point with the multipliers that leave the least of its gradient.

    Parameters
    ----------
    problem, flat
        The point, in the coordinates of the solvers.
    pattern
        Its kinks, one multiplier each.

    Returns
    -------
    tuple[Model, np.ndarray]
        The derivatives, and the multipliers, by least squares.
    """
    number = int(sum(np.sum(kink) for kink in pattern.kinks))
    model = Model(problem, flat, pattern, np.zeros(number))
    multipliers = least_squares(model.jacobian.T, -model.slope)
    return Model(problem, flat, pattern, multipliers), multipliers


def _split(values: np.ndarray, kinks: Layers) -> Layers:
    """Multipliers, one a kink, in the shapes of the layers."""
    at = np.concatenate([kink.ravel() for kink in kinks])
    full = np.zeros(at.shape)
    full[at] = values
    return like(full, kinks)


def like(flat: np.ndarray, layers: Layers) -> Layers:
    """A vector in the shapes of the layers."""
    ends = np.cumsum([layer.size for layer in layers])[:-1]
    parts = zip(np.split(flat, ends), layers, strict=True)
    return tuple(part.reshape(layer.shape) for part, layer in parts)


def released(
    model: Model, pattern: Pattern, off: np.ndarray, on: np.ndarray, leak: float
) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and kinks of all entries, with some kinks put on one side of it.

    Parameters
    ----------
    model, pattern
        Of a point.
    off, on
        Which of its kinks go below, and which above.
    leak
        The slope below.

    Returns
    -------
    tuple[np.ndarray, np.ndarray]
        One number an entry, layer after layer.
    """
    where, kinks = np.flatnonzero(model.at), model.at.copy()
    passing = np.concatenate([keep.ravel() for keep in pattern.passing])
    kinks[where[off | on]] = False
    passing[where[off]] = leak
    passing[where[on]] = 1.0
    return passing, kinks


def patterned(pattern: Pattern, passing: np.ndarray, kinks: np.ndarray) -> Pattern:
    """A pattern with other slopes and kinks.

    Parameters
    ----------
    pattern
        What else there is.
    passing, kinks
        One number an entry, layer after layer.

    Returns
    -------
    Pattern
        In the shapes of the layers.
    """
    return Pattern(
        like(passing, pattern.passing), like(kinks, pattern.kinks), pattern.live, pattern.dead
    )
