"""The choice between NumPy and XLA for what is done to a small problem a few times."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable

import jax
import jax.core
import numpy as np

from ufm._host.program import PATIENCE, Program, TooLong
from ufm._programs.jit import QuickJit
from ufm._programs.tiers import compiled_beside

# Programs that are kept.
_KEPT = 64
# Entries of all arrays together, and of the largest that is made: above, what NumPy does takes a
# good part of the second in which XLA compiles its fused loops, and holds more at a time.
_LARGEST = 2**19
# Calls, or seconds of them as they are reckoned, after which NumPy has taken as long as XLA takes
# to compile; after as many again XLA's program is waited for.
_MANY, _SECONDS = 64, 0.4


def small_on_host(function: Callable) -> Callable:
    """`jax.jit(function)` of trees of arrays, or of small ones that are not traced the same done by
    NumPy, which agrees to rounding.

    Until so many calls were made of one kind that compiling pays; NumPy goes on meanwhile, for as
    many again, so that which of the two it is depends on no clock.
    """
    compiled = QuickJit(function)
    programs: OrderedDict[int, _Kept] = OrderedDict()

    @functools.wraps(function)
    def call(*arguments):
        leaves = jax.tree.leaves(arguments)
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return compiled.plain(*arguments)
        if sum(np.size(leaf) for leaf in leaves) > _LARGEST:
            return compiled(*arguments)
        # from JAX's own cache, so that whatever makes JAX trace again does so here
        traced = compiled.trace(*arguments)
        name = id(traced.jaxpr)
        if name not in programs:
            if len(programs) >= _KEPT:
                programs.popitem(last=False)
            programs[name] = _Kept(traced)
        programs.move_to_end(name)
        kept = programs[name]
        kept.calls += 1
        if kept.program is None or kept.spent > 2:
            kept.wait()
            return compiled(*arguments)
        if kept.spent > 1:
            kept.compile_beside(traced)
        PATIENCE.left = _SECONDS
        try:
            with np.errstate(all="ignore"):
                found = kept.program(*map(np.asarray, leaves))
        except TooLong:
            found = None
        finally:
            kept.seconds += _SECONDS - PATIENCE.left
        if found is None:
            kept.program = None
            return compiled(*arguments)
        # (`asarray` would compile a program for each shape)
        return jax.tree.unflatten(kept.shape, jax.device_put(list(found)))

    return call


class _Kept:
    """A traced function, its program (None where that is not for NumPy), and how much that ran."""

    def __init__(self, traced):
        # held, so that no other gets its id
        self.jaxpr = traced.jaxpr
        small = _largest(self.jaxpr.jaxpr) <= _LARGEST
        self.program = Program(self.jaxpr) if small else None
        self.shape = jax.tree.structure(traced.out_info)
        self.calls, self.seconds = 0, 0.0
        # what makes XLA's
        self._maker = None

    @property
    def spent(self) -> float:
        """How often NumPy has taken as long as XLA takes to compile."""
        return max(self.calls / _MANY, self.seconds / _SECONDS)

    def compile_beside(self, traced) -> None:
        """Have a thread make XLA's program, once."""
        if self._maker is None:
            self._maker = compiled_beside(traced.lower())

    def wait(self) -> None:
        """Until XLA's program is there, where a thread makes it."""
        if self._maker is not None:
            self._maker.join()
            self._maker = None


def _largest(jaxpr) -> int:
    """Entries of the largest array that it makes, calls and loops aside."""
    return max((var.aval.size for equation in jaxpr.eqns for var in equation.outvars), default=0)
