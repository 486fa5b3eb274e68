"""Points of a ReLU model put together from points of fewer classes, and what groups a point has.

Under squared error networks of groups of classes may stand side by side: the value is the mean of
theirs, weighted by classes, at decays that are larger by the inverse of the share of the group. So
what a search finds on three classes is a point on every larger number of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from ufm.labels import one_hot
from ufm.losses import MeanSquaredError
from ufm.maps import Activated
from ufm.model import Params, Problem
from ufm.optima.facts import Facts
from ufm.optima.rectified import rectified_scale
from ufm.optima.rectified_structures import rectified_hypotheses
from ufm.solvers.coordinates import to_params
from ufm.solvers.directions import number_in_use
from ufm.solvers.kink_patterns import pruned

# Groups of up to so many classes are searched for themselves, on a width of twice their number and
# so many units more, if the problem has that.
_LARGEST, _ROOM = 6, 2
# Preactivations below this share of their layer's largest are on kinks, as smoothing leaves them.
_KINKS = 1e-3
# Sums of blocks that are kept, by number of classes.
_SUMS = 12
# Behind three matrices collapse is the best that is known of up to six classes.
_LEAST_DEPTH = 4
# An activation below this share of its layer's largest is none.
_ACTIVE = 1e-7


@dataclass(frozen=True, eq=False)
class Group:
    """A network of a few classes without dead units.

    `size`: its classes. `cost`: its value at its own decays, times `size`. `factors`: H, W_1, …,
    W_L.
    """

    size: int
    cost: float
    factors: tuple[np.ndarray, ...]

    @property
    def units(self) -> np.ndarray:
        """Rows of every factor but the last."""
        return np.array([len(factor) for factor in self.factors[:-1]])


def composable(problem: Problem) -> bool:
    """Whether groups of its classes may have networks of their own, and something is gained."""
    facts = Facts.of(problem)
    known = all(hypothesis.holds for hypothesis in rectified_hypotheses(facts))
    return known and facts.K >= 4 and facts.M >= _LEAST_DEPTH and min(facts.widths) >= facts.K


def smaller(problem: Problem) -> Iterator[Problem]:
    """The problems of three classes, four and so on, that groups of its classes are solutions of.

    Parameters
    ----------
    problem
        One that is `composable`.

    Yields
    ------
    Problem
        One column a class, with room left for the other classes alone.
    """
    facts = Facts.of(problem)
    K = facts.K
    for k in range(3, min(K - 1, _LARGEST) + 1):
        yield Problem(
            one_hot((1,) * k),
            loss=MeanSquaredError(),
            widths=tuple(min(width - (K - k), 2 * k + _ROOM) for width in facts.widths),
            lambda_W=jnp.asarray(facts.lambda_W * K / k, problem.dtype),
            lambda_H=jnp.asarray(_class_decay(facts) * K / k, problem.dtype),
            activation="relu",
        )


def _class_decay(facts: Facts) -> float:
    """Of the feature of a class, all samples of which have it."""
    return float(facts.classes.masses[0]) * facts.lambda_H


def group_of(problem: Problem, value: float, flat: np.ndarray) -> Group:
    """A point of a smaller problem as a group.

    Parameters
    ----------
    problem, value, flat
        The point, in the coordinates of the solvers, and its value.

    Returns
    -------
    Group
        Without its dead units.
    """
    clean, _ = pruned(problem, to_params(problem, jnp.asarray(flat, problem.dtype)), _KINKS)
    params = to_params(problem, jnp.asarray(clean, problem.dtype))
    H, *weights = (np.asarray(A, np.float64) for A in (params.features, *params.weights[::-1]))
    # features turn as they like: on their principal axes they need no more rows than their rank
    left, values, rows = np.linalg.svd(H, full_matrices=False)
    rank = number_in_use(values, 0.0)
    factors = [values[:rank, None] * rows[:rank], weights[0] @ left[:, :rank], *weights[1:]]
    for layer in range(1, problem.depth):
        live = np.any(factors[layer] != 0, axis=1)
        factors[layer], factors[layer + 1] = factors[layer][live], factors[layer + 1][:, live]
    size = problem.labels.num_classes
    return Group(size, size * value, tuple(factors))


def _alone(problem: Problem) -> Group:
    """One class alone, at zero if that is lower."""
    facts = Facts.of(problem)
    decays = facts.K * np.append(_class_decay(facts), facts.lambda_W[::-1])
    strength = float(np.exp(np.mean(np.log(decays))))
    best = rectified_scale(1.0, strength=strength, depth=facts.M)
    rows = int(best.scale > 0)
    ends = [rows] * facts.M
    sizes = best.scale ** (1 / (facts.M + 1)) * np.sqrt(strength / decays)
    shapes = zip([*ends, 1], [1, *ends], strict=True)
    factors = tuple(np.full(shape, size) for shape, size in zip(shapes, sizes, strict=True))
    return Group(1, best.value, factors)


def composed(problem: Problem, groups: Sequence[Group]) -> list[tuple[str, Params]]:
    """The best points made of these groups and of classes alone, over every partition that fits.

    Parameters
    ----------
    problem
        One that is `composable`.
    groups
        Of fewer classes than it has.

    Returns
    -------
    list[tuple[str, Params]]
        The sizes of the groups, and the points, lowest first.
    """
    K, room = problem.labels.num_classes, np.array(problem.widths)
    parts = [*sorted(groups, key=lambda group: group.cost / group.size), _alone(problem)]
    # by number of classes: sums of groups with what they cost, each group in its turn
    sums: list[list[tuple[float, tuple[Group, ...]]]] = [[(0.0, ())], *([] for _ in range(K))]
    for part in parts:
        for k in range(part.size, K + 1):
            for cost, chosen in sums[k - part.size]:
                more = (*chosen, part)
                if np.all(sum(group.units for group in more) <= room):
                    sums[k].append((cost + part.cost, more))
            # (the sort is stable, so that of equal sums the earlier one stays)
            sums[k] = sorted(sums[k], key=lambda pair: pair[0])[:_SUMS]
    return [(_name(chosen), _side_by_side(problem, chosen)) for _, chosen in sums[K]]


def _name(chosen: tuple[Group, ...]) -> str:
    return " + ".join(str(size) for size in sorted((group.size for group in chosen), reverse=True))


def _side_by_side(problem: Problem, chosen: tuple[Group, ...]) -> Params:
    """Groups next to each other, at their classes in turn."""
    facts = Facts.of(problem)
    shapes = [(problem.feature_dim, facts.K), *reversed(problem.weight_shapes)]
    whole = [np.zeros(shape) for shape in shapes]
    rows, columns = np.zeros(len(whole), int), np.zeros(len(whole), int)
    for group in chosen:
        for layer, factor in enumerate(group.factors):
            row, column = rows[layer], columns[layer]
            height, width = factor.shape
            whole[layer][row : row + height, column : column + width] = factor
            rows[layer], columns[layer] = row + height, column + width
    H, *weights = (jnp.asarray(factor, problem.dtype) for factor in whole)
    return Params(tuple(reversed(weights)), H[:, facts.classes.index])


def class_groups(problem: Problem, params: Params) -> tuple[tuple[int, ...], ...]:
    """The groups of columns that share no hidden unit behind a ReLU, nor a logit.

    Parameters
    ----------
    problem, params
        The point, of a problem with ReLU layers.

    Returns
    -------
    tuple[tuple[int, ...], ...]
        Columns by number, the largest group first.
    """
    assert isinstance(problem.map, Activated)
    layers = problem.map.layers(params.weights, params.features)[1:]
    Z = np.asarray(problem.logits(params))
    group = np.arange(Z.shape[1])
    targets = np.asarray(problem.labels.targets) > 0
    # (a unit by its columns, and a logit by its columns and those whose target it is)
    units = [_active(np.asarray(H)) for H in layers]
    units.append(_active(Z) | targets)
    for active in (row for layer in units for row in layer if row.any()):
        touched = np.isin(group, group[active])
        group[touched] = group[touched].min()
    found = [tuple(np.flatnonzero(group == first).tolist()) for first in np.unique(group)]
    return tuple(sorted(found, key=lambda columns: (-len(columns), columns)))


def _active(entries: np.ndarray) -> np.ndarray:
    return np.abs(entries) > _ACTIVE * max(float(np.max(np.abs(entries))), 1e-300)


def ranks_of_layers(problem: Problem, params: Params) -> tuple[int, ...]:
    """The rank of what enters every ReLU, from the features on, and of the logits.

    Parameters
    ----------
    problem, params
        The point, of a problem with ReLU layers.

    Returns
    -------
    tuple[int, ...]
        M numbers.
    """
    assert isinstance(problem.map, Activated)
    layers = (*problem.map.preactivations(params.weights, params.features), problem.logits(params))
    values = [np.linalg.svd(np.asarray(layer), compute_uv=False) for layer in layers]
    return tuple(number_in_use(s, 0.0) for s in values)
