"""Work on stacked lanes, shared out over several devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

# How an argument is held: a share of its leading axis on each device, or all of it on every one.
SHARED, SAME = jax.sharding.PartitionSpec("lanes"), jax.sharding.PartitionSpec()


def shared_out(function: Callable, devices: Sequence[Any], specs: tuple) -> Callable:
    """`function` of arguments held as `specs` say, whose results are all SHARED; no word passes between the devices."""
    mesh = jax.sharding.Mesh(np.asarray(devices), ("lanes",))
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=SHARED, check_vma=False)
