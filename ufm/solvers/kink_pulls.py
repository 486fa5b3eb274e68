"""How strongly a hidden unit without weights is pulled to life: what second order adds at it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from ufm.maps import Activated
from ufm.model import Params, Problem
from ufm.model.value import fit
from ufm.solvers.kink_patterns import SYMMETRIC, Model, indices_of, leak_of, like

# Columns up to which all sets of active ones are tried.
_MOST_COLUMNS = 12


class Pull(NamedTuple):
    """How strongly a dead unit of a layer is pulled, over the decay that holds it: a bound on it,
    what is reached, and the weights in and out there, of length 1 in flat coordinates; and where
    those of one such unit stand."""

    bound: float
    reached: float
    into: np.ndarray
    out: np.ndarray
    rows: np.ndarray
    columns: np.ndarray


def pulls_of(problem: Problem, params: Params, pattern, multipliers, model: Model) -> list[Pull]:
    r"""What would bring dead units to life, of each layer that has some.

    The largest $\|\Delta\sigma(H^\top w)\|/\|w\|$, over the root of both decays: above 1 a unit
    comes to life, and the value falls.

    Parameters
    ----------
    problem, params
        The point.
    pattern, multipliers, model
        Its kinks, their multipliers and the derivatives there.

    Returns
    -------
    list[Pull]
        Bound, what is reached, and along which directions.
    """
    if not any(dead.any() for dead in pattern.dead):
        return []
    leak = leak_of(problem)
    slopes = np.concatenate([keep.ravel() for keep in pattern.passing]) * model.behind
    slopes[model.at] += multipliers
    assert isinstance(problem.map, Activated)
    layers = (*problem.map.layers(params.weights, params.features), _logit_slopes(problem, params))
    # (of float32 problems too: sizes are compared with what is no number there)
    *entering, logit_slopes = (np.asarray(each, np.float64) for each in layers)
    onto = [*like(slopes, pattern.passing), logit_slopes]
    decays, pulls = np.asarray(problem.decays)[:-1][::-1], []
    indices = list(reversed(indices_of(problem)))
    for layer, dead in enumerate(pattern.dead):
        if not dead.any():
            continue
        root = float(np.sqrt(decays[layer] * decays[layer + 1]))
        bound, w = strongest(onto[layer + 1], entering[layer], leak)
        turned = onto[layer + 1] @ _act(entering[layer].T @ w, leak)
        reached, unit = float(np.linalg.norm(turned)), int(np.argmax(dead))
        out = -turned / max(reached, 1e-300)
        pulls.append(
            Pull(
                bound / root,
                reached / root,
                w,
                out,
                indices[layer][unit],
                indices[layer + 1][:, unit],
            )
        )
    return pulls


@jax.jit
def _logit_slopes(problem: Problem, params: Params):
    return jax.grad(lambda Z: fit(problem, Z))(problem.logits(params))


def _act(x: np.ndarray, leak: float) -> np.ndarray:
    """The activation."""
    return np.where(x > 0, x, leak * x)


def strongest(
    slopes: np.ndarray, entering: np.ndarray, leak: float = 0.0
) -> tuple[float, np.ndarray]:
    """A bound on |slopes σ(Hᵀw)| over |w| = 1, and the best w that it is made of.

    The maximum itself where w matters in a plane alone; else over all sets of columns, whether or
    not some w makes them active, or by norms.

    Parameters
    ----------
    slopes
        (K, C), of what a unit feeds.
    entering
        (d, C), what enters it.
    leak
        Slope of σ below zero, from 0 to 1.

    Returns
    -------
    tuple[float, np.ndarray]
        The bound, and w (d,).
    """
    basis, values, _ = np.linalg.svd(entering, full_matrices=False)
    basis = basis[:, values > SYMMETRIC * max(float(values[0]), 1e-300)]
    if basis.shape[1] <= 2:
        return _strongest_in_plane(slopes, entering, basis, leak)
    C, best, reached, bound = entering.shape[1], entering[:, 0], -1.0, 0.0
    if C > _MOST_COLUMNS:
        bound = float(np.linalg.norm(slopes, 2) * np.linalg.norm(entering, 2))
        sets = [list(range(C)), *([c] for c in range(C))]
    else:
        sets = [[c for c in range(C) if bits >> c & 1] for bits in range(1, 2**C)]
    for chosen in sets:
        weighed = np.full(C, leak)
        weighed[chosen] = 1.0
        _, values, rows = np.linalg.svd(slopes * weighed @ entering.T)
        bound = max(bound, float(values[0]))
        for w in (rows[0], -rows[0]):
            length = float(np.linalg.norm(slopes @ _act(entering.T @ w, leak)))
            if length > reached:
                best, reached = w, length
    return bound, best


def _strongest_in_plane(slopes, entering, basis, leak: float) -> tuple[float, np.ndarray]:
    """The maximum over the unit circle of a plane, arc by arc of equal sets of active columns."""
    if basis.shape[1] < 2:
        tried = [w for w in (*basis.T, *-basis.T)] or [entering[:, 0]]
    else:
        seen = basis.T @ entering
        ends = np.arctan2(seen[1], seen[0]) + np.pi / 2
        ends = np.sort(np.concatenate([ends, ends + np.pi]) % (2 * np.pi))
        angles = [*ends]
        for left, right in zip(ends, [*ends[1:], ends[0] + 2 * np.pi], strict=True):
            middle = 0.5 * (left + right)
            active = seen.T @ [np.cos(middle), np.sin(middle)] > 0
            A = slopes * np.where(active, 1.0, leak) @ seen.T
            for row in np.linalg.svd(A)[2]:
                # (an angle off its arc is tried for nothing)
                angles += [float(np.arctan2(*row[::-1])), float(np.arctan2(*-row[::-1]))]
        tried = [basis @ [np.cos(angle), np.sin(angle)] for angle in angles]
    lengths = [float(np.linalg.norm(slopes @ _act(entering.T @ w, leak))) for w in tried]
    best = int(np.argmax(lengths))
    return lengths[best], tried[best]
