"""States of runs, as a program takes and returns them: the many small arrays in two.

An array that a program returns costs two microseconds, and ten where other work has emptied the
caches; a state of Newton's method is fifteen of them.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ufm.solvers.solver import State

# Larger leaves stay as they are: they take longer to copy than to return.
_SMALL = 4096
# What whole numbers and flags are held as: code, best, and those of the state.
_WHOLE = "whole"
_STATIC = {"static": True}


class _Place(NamedTuple):
    """Where a leaf lies, with its shape without the axis of starts."""

    dtype: str
    group: str
    begin: int
    shape: tuple[int, ...]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Packed:
    """States of S starts, what each amounts to, and which of them is best.

    `arrays`: of each dtype the small leaves, a row a start; whole numbers and flags are of one.
    `large`: the others. `size`: of the point (n,) of each start. `counts`: where steps and
    evaluations lie.
    """

    # (arrays, and what trees of arrays are mapped to)
    arrays: dict[str, Any]
    large: list[Any]
    places: tuple[_Place | None, ...] = dataclasses.field(metadata=_STATIC)
    tree: Any = dataclasses.field(metadata=_STATIC)
    size: int = dataclasses.field(metadata=_STATIC)
    counts: tuple[int, int] = dataclasses.field(metadata=_STATIC)

    @property
    def states(self) -> State:
        """As they were packed; runs inside `jit`."""
        leaves, large = [], iter(self.large)
        for place in self.places:
            if place is None:
                leaves.append(next(large))
                continue
            rows = self.arrays[place.group]
            part = rows[:, place.begin : place.begin + math.prod(place.shape)]
            leaves.append(part.reshape(-1, *place.shape).astype(place.dtype))
        *_, fields = jax.tree.unflatten(self.tree, leaves)
        # (as `vmap` makes them: the constructor speaks of one start)
        states = object.__new__(State)
        for name, value in fields.items():
            object.__setattr__(states, name, value)
        return states

    def __reduce__(self):
        # opened, as the structure of an equinox module is another one once it was stored
        return packed, (jax.device_get(self).states, self.codes, np.asarray(self.best))

    def continued(self, best: int, steps: int, evaluations: int) -> Packed:
        """With what a start has taken before counted too; on the host.

        Parameters
        ----------
        best
            Which start, the best one.
        steps, evaluations
            To be added to its own.

        Returns
        -------
        Packed
            Another one.
        """
        whole = np.array(self.arrays[_WHOLE])
        whole[best, list(self.counts)] += steps, evaluations
        whole[:, 1] = best
        return dataclasses.replace(self, arrays=self.arrays | {_WHOLE: whole})

    @functools.cached_property
    def _whole(self) -> np.ndarray:
        return np.asarray(self.arrays[_WHOLE])

    @property
    def codes(self) -> Int[np.ndarray, " S"]:
        """What each amounts to, a code of `Result`; on the host, as what follows."""
        return self._whole[:, 0]

    @property
    def best(self) -> int:
        """Which start came lowest."""
        return int(self._whole[0, 1])

    @property
    def num_steps(self) -> Int[np.ndarray, " S"]:
        """Of each start."""
        return self._whole[:, self.counts[0]]

    @property
    def num_evaluations(self) -> Int[np.ndarray, " S"]:
        """Of each start."""
        return self._whole[:, self.counts[1]]


def packed(states: State, codes: Int[Array, " S"], best: Int[Array, ""]) -> Packed:
    """States as programs return them; runs inside `jit`.

    Parameters
    ----------
    states
        Of S starts.
    codes
        What each amounts to.
    best
        Which came lowest.

    Returns
    -------
    Packed
        Of the same numbers.
    """
    fields = {name: getattr(states, name) for name in State.__dataclass_fields__}
    leaves, tree = jax.tree.flatten((codes, jnp.broadcast_to(best, codes.shape), fields))
    groups: dict[str, list[Array]] = {}
    large, places = [], []
    for leaf in leaves:
        shape = leaf.shape[1:]
        size = math.prod(shape)
        if size > _SMALL:
            large.append(leaf)
            places.append(None)
            continue
        group = str(leaf.dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else _WHOLE
        parts = groups.setdefault(group, [])
        places.append(_Place(str(leaf.dtype), group, sum(p.shape[1] for p in parts), shape))
        row = leaf.reshape(len(leaf), size)
        parts.append(row.astype(int) if group == _WHOLE else row)
    arrays = {group: jnp.concatenate(parts, axis=1) for group, parts in groups.items()}
    steps, evaluations = (
        next(place.begin for place, leaf in zip(places, leaves, strict=True) if leaf is count)
        for count in (states.num_steps, states.num_evaluations)
    )
    size = states.flat.shape[1]
    return Packed(arrays, large, tuple(places), tree, size, (steps, evaluations))
