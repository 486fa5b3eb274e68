"""A program that is there at once for its first calls, and fast for those after.

LLVM takes a second or two to optimise a solve. As XLA emits it the same is there in a fifth of
that, and takes two to ten times as long: milliseconds, which nobody feels who solves a kind of
problem for the first time.
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
# Calls of a kind that are drafts, at most, and seconds that they may lose together: about what the
# fast form takes to compile. Calls are counted and not timed, so that a script rounds alike
# whenever it is run.
_DRAFTS, _SECONDS = 64, 1.0


class Tiers:
    """`jax.jit` by LLVM's level 0 at first, then as ever.

    Where the user chose a level (`XLA_FLAGS`, or `jax_disable_most_optimizations`) it is that one.

    Parameters
    ----------
    function
        Of trees of arrays.
    draft, final
        Further options of the compiler for each.
    loses
        From the arguments to the seconds that a draft takes longer.
    donate_argnames
        Those whose memory is given away.
    """

    def __init__(
        self,
        function: Callable,
        *,
        draft: dict[str, Any],
        final: dict[str, Any],
        loses: Callable[..., float],
        donate_argnames: str | tuple[str, ...] = (),
    ):
        self.function, self.draft, self.final = function, draft, final
        self.donated = (donate_argnames,) if isinstance(donate_argnames, str) else donate_argnames
        self._loses = loses
        self._kinds: dict[Any, _Kind] = {}

    def __call__(self, *arguments, **named):
        kind, leaves = self._kind(arguments, named)
        return kind(leaves)

    def trace(self, *arguments, **named):
        """As that of `jax.jit`, of the fast form, from the leaves of the arguments."""
        kind, leaves = self._kind(arguments, named)
        return kind.final.trace(*leaves)

    def lower(self, *arguments, **named):
        """As that of `jax.jit`, of the fast form."""
        kind, leaves = self._kind(arguments, named)
        return kind.final.lower(*leaves)

    def _kind(self, arguments, named) -> tuple[_Kind, list]:
        """What is kept of such arguments, and their leaves."""
        leaves, tree = jax.tree.flatten((arguments, named))
        name = tree, tuple([(np.shape(leaf), getattr(leaf, "dtype", None)) for leaf in leaves])
        kind = self._kinds.get(name)
        if kind is None:
            drafts = min(_DRAFTS, _SECONDS / self._loses(*arguments))
            kind = self._kinds[name] = _Kind(self, tree, int(drafts))
        return kind, leaves

    def _cache_size(self) -> int:
        return sum(bool(kind.calls) for kind in self._kinds.values())


class _Kind:
    """The programs for arguments of one structure and its shapes, from their leaves."""

    def __init__(self, of: Tiers, tree, drafts: int):
        self.tree, self.shape = tree, None
        chosen = _LEVEL in os.environ.get("XLA_FLAGS", "")
        self.drafts = 0 if chosen else drafts
        # (not before it was met twice)
        self.begins = max(self.drafts // 4, 1)
        self.calls, self.maker = 0, None

        def flat(*leaves):
            arguments, named = jax.tree.unflatten(tree, leaves)
            found, self.shape = jax.tree.flatten(of.function(*arguments, **named))
            return found

        donated = _leaves_of(of.donated, of.function, tree)
        forms = of.draft if chosen else of.draft | {_LEVEL: 0}, of.final
        self.draft, self.final = (
            jax.jit(flat, compiler_options=options, donate_argnums=donated) for options in forms
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
