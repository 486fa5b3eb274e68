"""A program that is there at once for its first calls, and fast for those after.

LLVM takes the most part of a second to optimise one function as long as a solve. As XLA emits it
the same is there in a fifth of that, and takes three to eight times as long: milliseconds, which
nobody feels who solves a kind of problem for the first time.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

_LEVEL = "xla_backend_optimization_level"
# Calls of a kind that are drafts, and after how many of them the fast one is begun. Counted and
# not timed, so that a script rounds alike whenever it is run.
_DRAFTS, _BEGUN = 64, 16
# Numbers in all arguments from which the first call runs as long as it would compile.
_MANY = 16_384


class Tiers:
    """`jax.jit` by LLVM's levels 0 and 1, of one trace.

    Where the user chose a level (`XLA_FLAGS`, or `jax_disable_most_optimizations`) it is that one.

    Parameters
    ----------
    function
        As `jax.jit` takes it.
    compiler_options
        Of either.
    **options
        Of `jax.jit`.
    """

    def __init__(self, function: Callable, *, compiler_options: dict[str, Any], **options):
        chosen = _LEVEL in os.environ.get("XLA_FLAGS", "")
        forms: list[Any] = [
            jax.jit(
                function,
                compiler_options=compiler_options | ({} if chosen else {_LEVEL: level}),
                **options,
            )
            for level in (0, 1)
        ]
        self.draft, self.final = forms
        self._drafts = 0 if chosen else _DRAFTS
        # calls of each kind of arguments, and what makes the fast form
        self._calls: dict[Any, int] = {}
        self._makers: dict[Any, threading.Thread] = {}

    def __call__(self, *arguments, **named):
        if jax.config.read("jax_disable_most_optimizations"):
            return self.draft(*arguments, **named)
        leaves, tree = jax.tree.flatten((arguments, named))
        kind = tree, tuple([(np.shape(leaf), getattr(leaf, "dtype", None)) for leaf in leaves])
        calls = self._calls.get(kind, 0)
        if calls >= self._drafts or (not calls and sum(map(np.size, leaves)) >= _MANY):
            self._calls[kind] = self._drafts
            if kind in self._makers:
                self._makers.pop(kind).join()
            return self.final(*arguments, **named)
        self._calls[kind] = calls + 1
        if calls == _BEGUN:
            self._makers[kind] = compiled_beside(self.final.lower(*arguments, **named))
        return self.draft(*arguments, **named)

    def trace(self, *arguments, **named):
        """As that of `jax.jit`."""
        return self.final.trace(*arguments, **named)

    def lower(self, *arguments, **named):
        """As that of `jax.jit`, of the fast form."""
        return self.final.lower(*arguments, **named)

    def _cache_size(self) -> int:
        return self.draft._cache_size() + self.final._cache_size()


def compiled_beside(lowered) -> threading.Thread:
    """A thread that compiles what was lowered, for JAX to find at the next call.

    Parameters
    ----------
    lowered
        Of `jax.jit(...).lower(...)`, made here as what a context has configured is of this thread.

    Returns
    -------
    threading.Thread
        Begun; not alive once the program is there.
    """

    def make():
        # (what fails here fails again where it is called)
        with contextlib.suppress(Exception):
            lowered.compile()

    maker = threading.Thread(target=make, name="compiles a program")
    maker.start()
    return maker
