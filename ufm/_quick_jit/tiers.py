"""A program that is there at once for its first calls, and fast for those after.

LLVM takes a second to optimise one function as long as a solve. As XLA emits it the same is there
in a fifth of that, and takes four to ten times as long: milliseconds, which nobody feels who solves
a kind of problem for the first time.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import threading
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

_LEVEL = "xla_backend_optimization_level"
# Calls of a kind that are drafts, at most, and multiply-adds of a step of all of them together: by
# then they have taken as long as the fast form takes to compile. Counted and not timed, so that a
# script rounds alike whenever it is run.
_DRAFTS, _WORK = 64, 8e5


class Tiers:
    """`jax.jit` by LLVM's level 0 at first, then as ever.

    Where the user chose a level (`XLA_FLAGS`, or `jax_disable_most_optimizations`) it is that one.

    Parameters
    ----------
    function
        Of trees of arrays.
    compiler_options
        Of either.
    work
        From the arguments to the multiply-adds of one step; little unless given.
    donate_argnames
        Those whose memory is given away.
    """

    def __init__(
        self,
        function: Callable,
        *,
        compiler_options: dict[str, Any],
        work: Callable[..., float] | None = None,
        donate_argnames: str | tuple[str, ...] = (),
    ):
        self._function, self._options, self._work = function, compiler_options, work
        self._donated = (donate_argnames,) if isinstance(donate_argnames, str) else donate_argnames
        self._kinds: dict[Any, _Kind] = {}

    def __call__(self, *arguments, **named):
        leaves, tree = jax.tree.flatten((arguments, named))
        return self._kind(leaves, tree, arguments)(leaves)

    def lower(self, *arguments, **named):
        """As that of `jax.jit`, of the fast form."""
        leaves, tree = jax.tree.flatten((arguments, named))
        return self._kind(leaves, tree, arguments).final.lower(*leaves)

    def _kind(self, leaves, tree, arguments) -> _Kind:
        name = tree, tuple([(np.shape(leaf), getattr(leaf, "dtype", None)) for leaf in leaves])
        kind = self._kinds.get(name)
        if kind is None:
            work = 0 if self._work is None else self._work(*arguments)
            kind = self._kinds[name] = _Kind(self, tree, work)
        return kind

    def _cache_size(self) -> int:
        return sum(bool(kind.calls) for kind in self._kinds.values())


class _Kind:
    """The programs for arguments of one structure and its shapes, from their leaves."""

    def __init__(self, of: Tiers, tree, work: float):
        self.tree, self.shape = tree, None
        chosen = _LEVEL in os.environ.get("XLA_FLAGS", "")
        self.drafts = 0 if chosen else int(min(_DRAFTS, _WORK / max(work, 1)))
        # (not before it was met twice)
        self.begins = max(self.drafts // 4, 1)
        self.calls, self.maker = 0, None

        def flat(*leaves):
            arguments, named = jax.tree.unflatten(tree, leaves)
            found, self.shape = jax.tree.flatten(of._function(*arguments, **named))
            return found

        donated = _leaves_of(of._donated, of._function, tree)
        self.draft, self.final = (
            jax.jit(
                flat,
                compiler_options=of._options | level,
                donate_argnums=donated,
            )
            for level in ({} if chosen else {_LEVEL: 0}, {})
        )

    def __call__(self, leaves):
        drafted, rough = self.calls < self.drafts, jax.config.read("jax_disable_most_optimizations")
        if self.calls == self.begins and drafted and not rough:
            self.maker = compiled_beside(self.final.lower(*leaves))
        maker = self.maker
        if maker is not None and not drafted:
            maker.join()
            self.maker = None
        self.calls += 1
        found = (self.draft if drafted or rough else self.final)(*leaves)
        return jax.tree.unflatten(self.shape, found)


def _leaves_of(names: tuple[str, ...], function: Callable, tree) -> tuple[int, ...]:
    """Which leaves belong to these arguments."""
    if not names:
        return ()
    arguments, named = jax.tree.unflatten(tree, range(tree.num_leaves))
    given = inspect.signature(function).bind(*arguments, **named).arguments
    return tuple(leaf for name in names for leaf in jax.tree.leaves(given[name]))


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
