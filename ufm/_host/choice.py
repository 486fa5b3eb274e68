"""The choice between NumPy and XLA for what is done to a small problem a few times."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

import jax
import jax.core
import numpy as np

from ufm._host.program import PATIENCE, Program, TooLong
from ufm._quick_jit import QuickJit

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
            kept.compiled = True
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
        # whether XLA's is there, and what makes it
        self.compiled, self._maker = False, None

    def compile_beside(self, traced) -> None:
        """Have a thread make XLA's program, once, where JAX finds it at the next call."""
        if self._maker is not None:
            return
        # here, as what a context has configured is of this thread
        lowered = traced.lower()

        def make():
            # (what fails here fails again where it is called)
            with contextlib.suppress(Exception):
                lowered.compile()
            self.compiled = True

        self._maker = threading.Thread(target=make, name="compiles a program")
        self._maker.start()


def _largest(jaxpr) -> int:
    """Entries of the largest array that it makes, calls and loops aside."""
    return max((var.aval.size for equation in jaxpr.eqns for var in equation.outvars), default=0)
