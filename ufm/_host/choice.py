"""The choice between NumPy and XLA for what is done to a small problem a few times."""

from __future__ import annotations

import functools
import time
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
# Calls, or seconds of them, after which NumPy has taken as long as XLA takes to compile.
_MANY, _SECONDS = 64, 0.4


def small_on_host(function: Callable) -> Callable:
    """`jax.jit(function)` of trees of arrays, or of small ones that are not traced the same done by
    NumPy, which agrees to rounding.

    Until so many calls were made of one kind that compiling pays; NumPy goes on meanwhile.
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
        if kept.program is None or kept.compiled:
            return compiled(*arguments)
        if kept.calls > _MANY or kept.seconds > _SECONDS:
            kept.compile_beside(traced)
        began = time.thread_time()
        PATIENCE.ends = began + _SECONDS
        try:
            with np.errstate(all="ignore"):
                found = kept.program(*map(np.asarray, leaves))
        except TooLong:
            found = None
        finally:
            kept.seconds += time.thread_time() - began
        if found is None:
            kept.given_up = True
            return compiled(*arguments)
        # (`asarray` would compile a program for each shape)
        return jax.tree.unflatten(kept.shape, jax.device_put(list(found)))

    return call


class _Kept:
    """A traced function, its program (None where it makes large arrays), and how much that ran."""

    def __init__(self, traced):
        # held, so that no other gets its id
        self.jaxpr = traced.jaxpr
        small = _largest(self.jaxpr.jaxpr) <= _LARGEST
        self.program = Program(self.jaxpr) if small else None
        self.shape = jax.tree.structure(traced.out_info)
        self.calls, self.seconds = 0, 0.0
        # whether NumPy has given up, and what makes XLA's
        self.given_up, self._maker = False, None

    @property
    def compiled(self) -> bool:
        """Whether XLA's is there, or has to be."""
        return self.given_up or (self._maker is not None and not self._maker.is_alive())

    def compile_beside(self, traced) -> None:
        """Have a thread make XLA's program, once."""
        if self._maker is None:
            self._maker = compiled_beside(traced.lower())


def _largest(jaxpr) -> int:
    """Entries of the largest array that it makes, calls and loops aside."""
    return max((var.aval.size for equation in jaxpr.eqns for var in equation.outvars), default=0)
