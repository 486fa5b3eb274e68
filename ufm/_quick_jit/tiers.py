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
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

_LEVEL = "xla_backend_optimization_level"
# Calls of a kind that are drafts, at most, and multiply-adds of a step of all of them together: by
# then they have taken as long as the fast form takes to compile. Counted and not timed, so that a
# script rounds alike whenever it is run.
_DRAFTS, _WORK = 64, 8e5


@dataclass
class _Plan:
    """How many calls of a kind are drafts, how many were, and what makes the fast form.

    That is begun at a quarter of them, and not before the second call.
    """

    drafts: int
    drawn: int = 0
    maker: threading.Thread | None = None

    @property
    def begins(self) -> int:
        return max(self.drafts // 4, 1)


class Tiers:
    """`jax.jit` by LLVM's levels 0 and 1, of one trace.

    Where the user chose a level (`XLA_FLAGS`, or `jax_disable_most_optimizations`) it is that one.

    Parameters
    ----------
    function
        As `jax.jit` takes it.
    work
        From the arguments to the multiply-adds of one step; little unless given.
    compiler_options
        Of either.
    **options
        Of `jax.jit`.
    """

    def __init__(
        self,
        function: Callable,
        *,
        work: Callable[..., float] | None = None,
        compiler_options: dict[str, Any],
        **options,
    ):
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
        self._chosen, self._work = chosen, work
        self._plans: dict[Any, _Plan] = {}

    def _planned(self, arguments) -> _Plan:
        if self._chosen:
            return _Plan(0)
        drafts = _DRAFTS if self._work is None else min(_DRAFTS, _WORK / self._work(*arguments))
        return _Plan(int(drafts))

    def __call__(self, *arguments, **named):
        if jax.config.read("jax_disable_most_optimizations"):
            return self.draft(*arguments, **named)
        leaves, tree = jax.tree.flatten((arguments, named))
        kind = tree, tuple([(np.shape(leaf), getattr(leaf, "dtype", None)) for leaf in leaves])
        plan = self._plans.get(kind)
        if plan is None:
            plan = self._plans[kind] = self._planned(arguments)
        if plan.drafts == plan.drawn:
            if plan.maker is not None:
                plan.maker.join()
                plan.maker = None
            return self.final(*arguments, **named)
        if plan.drawn == plan.begins:
            plan.maker = compiled_beside(self.final.lower(*arguments, **named))
        plan.drawn += 1
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
