"""Work on stacked lanes: shared out over several devices, or done one lane after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

# How an argument is held: a share of its leading axis on each device, or all of it on every one.
SHARED, SAME = jax.sharding.PartitionSpec("lanes"), jax.sharding.PartitionSpec()


def shared_out(function: Callable, devices: Sequence[Any], specs: tuple) -> Callable:
    """`function` of arguments held as `specs` say, whose results are all SHARED.

    No word passes between the devices.
    """
    mesh = jax.sharding.Mesh(np.asarray(devices), ("lanes",))
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=SHARED, check_vma=False)


def over_lanes(function: Callable, *stacked, platform: str):
    """`function` of every lane of `stacked`: on a CPU one lane after the other, else all at once.

    On a CPU a batched loop waits for its slowest lane, and batched small products are slow. And
    JAX's LAPACK routines share a large batch out over XLA's threads there, and block the thread
    that they were called on until that is done: as many such calls as there are threads wait for
    one another for ever (jaxlib 0.10.2). One after the other, small matrices are as fast and
    nothing waits.
    """
    if platform == "cpu":
        return jax.lax.map(lambda lane: function(*lane), stacked)
    return jax.vmap(function)(*stacked)


def one_by_one(function: Callable) -> Callable:
    """`function` of one array, which `vmap` turns into `over_lanes`.

    It cannot be differentiated in reverse mode.
    """

    @jax.custom_batching.custom_vmap
    def single(array):
        return function(array)

    @single.def_vmap
    def _batched(size, batched, arrays):
        return over_lanes(single, arrays, platform=jax.default_backend()), True

    return single
