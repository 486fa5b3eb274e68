"""What makes two sweeps the same.

A hash of all that their numbers depend on, and what the code of a loss says, which has no hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ufm._validate import require
from ufm.sweeping.grid import Grid, describe
from ufm.sweeping.groups import Group
from ufm.sweeping.store import Store, plan_of

# Relative; machines and dtypes round differently, and no other loss is this close.
_SAME_VALUE = 1e-3


def definition(grid: Grid, groups: Sequence[Group], *rest) -> str:
    """A hash of everything that the numbers depend on."""
    digest = hashlib.sha256()

    def take(tree) -> None:
        leaves, structure = jax.tree.flatten(tree)
        digest.update(re.sub(r" at 0x[0-9a-f]+", "", str(structure)).encode())
        for leaf in leaves:
            if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                leaf = jax.random.key_data(leaf)
            if isinstance(leaf, np.ndarray | np.generic | jax.Array):
                array = np.ascontiguousarray(leaf)
                digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
            elif callable(leaf):
                name = getattr(leaf, "__qualname__", type(leaf).__qualname__)
                digest.update(f"{leaf.__module__}.{name}".encode())
            else:
                digest.update(repr(leaf).encode())

    take((grid.dims, grid.shape, describe(grid), grid.seeds()))
    for group in groups:
        take((group.problems, group.which, group.lanes))
    take(rest)
    return digest.hexdigest()


def planned(
    groups: Sequence[Group], chunks: Sequence[tuple[int, np.ndarray]]
) -> list[dict[str, Any]]:
    """Which lanes each chunk holds, for the manifest."""
    return [plan_of(groups[g].lanes[places]) for g, places in chunks]


def probe(groups: Sequence[Group]) -> list[float]:
    """The loss of each group at one point.

    A user's loss may keep its name and change what it says.
    """
    values = []
    for group in groups:
        problem = group.one()
        target = problem.labels.targets[:, 0]
        logits = jnp.linspace(-1.0, 1.0, len(target), dtype=target.dtype)
        values.append(float(problem.bare_loss(logits, target)))
    return values


def require_probed(store: Store, values: list[float]) -> None:
    """`ValueError` where the losses of a store gave other values than those of this sweep."""
    kept = store.manifest["probe"]
    require(
        np.shape(kept) == np.shape(values)
        and np.allclose(kept, values, rtol=_SAME_VALUE, atol=0, equal_nan=True),
        f"`store` must belong to this sweep or not exist, but the loss of {store.path} was "
        f"{kept} where this sweep's is {values}",
        store.path,
    )
