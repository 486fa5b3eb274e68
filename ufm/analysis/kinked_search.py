"""Where a search of a model with ReLU layers starts: at random, with few units in all layers but
the last, near structures that theory knows, near sums of what searches of fewer classes find, and
beside the best points it has found.

Descents agree and are all wrong: on four classes behind six matrices ten of sixteen random starts
end at one value, 7 % above the best. What helped is to go on from the best points, disturbed by a
twentieth to three fifths of their size; and random starts in which only two, three, … units of each
layer but the last have weights: the lowest points that are known carry all classes on few
directions until then. On five classes behind four matrices (width 7, .3 of the threshold) 32 of
them reach .9282 of collapse, where full starts end at .9836.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from ufm.analysis.kinked_blocks import Group, composable, composed, group_of, smaller
from ufm.model import Params, Problem, objective
from ufm.optima.facts import Facts
from ufm.optima.optimum import NoClosedForm
from ufm.optima.rectified_points import rectified_point
from ufm.optima.rectified_structures import rectified_hypotheses, rectified_sums
from ufm.solvers.continuation import rectified_start
from ufm.solvers.coordinates import to_flat, to_params
from ufm.solvers.smoothing import Smoothing, smoothed

# Starts that descend together.
BATCH = 32
# Rounds beside the best points for every one of random starts.
_HOPS = 4
# By how much of its size a point is disturbed, in turn: near structures, and beside found points.
_NEAR, _BESIDE = (0.0, 0.05, 0.1, 0.2), (0.05, 0.1, 0.2, 0.4, 0.6)
# Values before the finish on kinks that agree to this are one point, of which so many are kept.
_SAME, _KEPT = 1e-5, 8
_STRUCTURES = 12
# Points of a smaller problem that sums are made of.
_GROUPS = 4


class Descents:
    """Descents of one problem, a batch at a time, and the best points that they found."""

    def __init__(
        self,
        problem: Problem,
        key: PRNGKeyArray,
        starts: int,
        groups: Sequence[Group] | None = None,
    ):
        """`groups`: what is known of fewer classes; searched for unless given."""
        self.problem, self.key, self.starts, self.given = problem, key, starts, groups
        self.found: list[tuple[float, np.ndarray]] = []
        self.structures = _structures(problem)
        zero = np.zeros(problem.blocks.size)
        self.keep(
            float(objective(problem, to_params(problem, jnp.asarray(zero, problem.dtype)))), zero
        )

    def plan(self) -> Iterator[str]:
        """What each batch starts at: half of the random ones come last but for the hops."""
        rounds = -(-self.starts // BATCH)
        for i in range(rounds):
            yield "random"
            if self.problem.depth > 2:
                yield "narrow"
            if self.structures:
                yield "structure"
            if composable(self.problem):
                yield "sum"
            for _ in range(_HOPS if i else _HOPS // 2):
                yield "beside"
        for _ in range(_HOPS - _HOPS // 2):
            yield "beside"

    def run(self, index: int, kind: str) -> tuple[list[str], np.ndarray]:
        """One batch of descents.

        Parameters
        ----------
        index
            Which batch: the draws of its starts depend on it alone.
        kind
            Of its starts, a word of the plan.

        Returns
        -------
        tuple[list[str], np.ndarray]
            The origins and the values that they end at.
        """
        rng = np.random.default_rng(_seed(self.key, index))
        begin = getattr(self, f"_{kind}")
        names, flats = zip(*(begin(index, i, rng) for i in range(BATCH)), strict=True)
        solver = Smoothing(near=kind not in ("random", "narrow"))
        ends, values = jax.device_get(
            smoothed(solver, self.problem, jnp.asarray(np.stack(flats), self.problem.dtype))
        )
        for value, flat in zip(values, ends, strict=True):
            self.keep(float(value), flat)
        return list(names), np.asarray(values)

    def keep(self, value: float, flat: np.ndarray) -> None:
        """Put a point among the best, unless it is there already or none of them.

        Parameters
        ----------
        value
            The objective; nothing is kept where it is not finite.
        flat
            The point, in the coordinates of the solvers.
        """
        if not np.isfinite(value):
            return
        for i, (old, _) in enumerate(self.found):
            if abs(old - value) <= _SAME * abs(value):
                if value < old:
                    self.found[i] = (value, flat)
                return
        self.found = sorted([*self.found, (value, flat)], key=lambda pair: pair[0])[:_KEPT]

    def _random(self, index: int, i: int, rng) -> tuple[str, np.ndarray]:
        key = jax.random.fold_in(jax.random.fold_in(self.key, index), i)
        return "random", np.asarray(to_flat(self.problem, rectified_start(self.problem, key, i)))

    def _narrow(self, index: int, i: int, rng) -> tuple[str, np.ndarray]:
        key = jax.random.fold_in(jax.random.fold_in(self.key, index), i)
        start = rectified_start(self.problem, key, i)
        units = 2 + i % (self.problem.labels.num_classes - 1)
        return "narrow", np.asarray(to_flat(self.problem, narrowed(start, units)))

    def _structure(self, index: int, i: int, rng) -> tuple[str, np.ndarray]:
        number = len(self.structures)
        name, flat = self.structures[i % number]
        noise = _NEAR[(i // number + index) % len(_NEAR)]
        return f"near {name}", _disturbed(flat, noise, rng)

    def _sum(self, index: int, i: int, rng) -> tuple[str, np.ndarray]:
        name, flat = self.sums[i % len(self.sums)]
        noise = _NEAR[(i // len(self.sums) + index) % len(_NEAR)]
        return f"near {name}", _disturbed(flat, noise, rng)

    @functools.cached_property
    def groups(self) -> list[Group]:
        """The best points of fewer classes, each of the searches that begins with those before."""
        if self.given is not None:
            return list(self.given)
        found: list[Group] = []
        for problem in smaller(self.problem):
            k = problem.labels.num_classes
            part = Descents(problem, jax.random.fold_in(self.key, 1_000_000 + k), 1, found)
            for index, kind in enumerate(part.plan()):
                part.run(index, kind)
            found += [group_of(problem, *point) for point in part.found[:_GROUPS]]
        return found

    @functools.cached_property
    def sums(self) -> list[tuple[str, np.ndarray]]:
        """Points made of those of fewer classes, which are kept as they are, too."""
        sums = []
        for name, point in composed(self.problem, self.groups):
            flat = np.asarray(to_flat(self.problem, point))
            self.keep(float(objective(self.problem, point)), flat)
            sums.append((f"{name} classes side by side", flat))
        return sums

    def _beside(self, index: int, i: int, rng) -> tuple[str, np.ndarray]:
        place = min(int(rng.exponential(2.0)), len(self.found) - 1)
        return "beside a found point", _disturbed(
            self.found[place][1], _BESIDE[i % len(_BESIDE)], rng
        )

    def points(self) -> list[Params]:
        """The best points, ascending, beside their kinks."""
        return [
            to_params(self.problem, jnp.asarray(flat, self.problem.dtype)) for _, flat in self.found
        ]


def narrowed(params: Params, units: int) -> Params:
    """Without the weights of all hidden units but so many in each layer before the last.

    Parameters
    ----------
    params
        Of a problem with M >= 3.
    units
        That keep their weights.

    Returns
    -------
    Params
        Of the same shapes.
    """
    last, *inner, first = params.weights
    kept = [W.at[:, units:].set(0) for W in inner]
    # (what the outermost of these feeds is the last hidden layer)
    narrow = [kept[0], *(W.at[units:].set(0) for W in kept[1:]), first.at[units:].set(0)]
    return Params((last, *narrow), params.features, params.bias)


def _seed(key: PRNGKeyArray, index: int) -> list[int]:
    return [*np.asarray(jax.random.key_data(key)).tolist(), index]


def _disturbed(flat: np.ndarray, share: float, rng) -> np.ndarray:
    size = float(np.linalg.norm(flat)) / np.sqrt(flat.size)
    return flat + share * size * rng.standard_normal(flat.size)


def _structures(problem: Problem) -> list[tuple[str, np.ndarray]]:
    """Points of the structures that theory knows and the problem has room for."""
    facts = Facts.of(problem)
    if not all(hypothesis.holds for hypothesis in rectified_hypotheses(facts)):
        return []
    found = []
    for structure in rectified_sums(facts.K, facts.M, most=_STRUCTURES):
        try:
            weights, features = rectified_point(
                structure,
                lambda_W=facts.lambda_W,
                lambda_H=facts.lambda_H,
                samples_per_class=float(facts.classes.masses[0]),
                width=problem.feature_dim,
            )
        except (NoClosedForm, ValueError):
            # no room, or no better than zero
            continue
        columns = features[:, facts.classes.index]
        point = Params(tuple(jnp.asarray(W) for W in weights), jnp.asarray(columns))
        found.append((structure.name, np.asarray(to_flat(problem, point))))
    return found
