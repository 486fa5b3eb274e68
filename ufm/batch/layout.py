"""How stacked lanes are done: one after the other, or all at once."""

from __future__ import annotations

from collections.abc import Callable

import jax


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
