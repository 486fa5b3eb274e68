"""`jax.jit` for programs that only Python calls: that compile in less time, or run in less."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.core

from ufm._programs import one_kernel
from ufm._programs.tiers import Tiers

# On the CPU, XLA's emitters of fused loops take a third to a half of all compiling. What becomes
# LLVM code without them is as fast where loops are short or products of matrices are all the work;
# between, loops over exponentials were measured a tenth slower.
_OPTIONS = {"xla_cpu_use_fusion_emitters": False}
# How an XLA that has other options says so.
_UNKNOWN = "No such compile option"


class QuickJit:
    """A function that is compiled where it is called from Python.

    JAX refuses options of the compiler inside another `jit`, `vmap` or `grad`, where it is the
    `plain` form. An XLA without these options compiles as ever.

    Parameters
    ----------
    function
        As `jax.jit` takes it.
    when
        From the arguments to whether its loops are as fast; always unless given.
    small
        From the arguments to whether it runs in less time as one kernel; never unless given.
    loses
        From the arguments to the seconds that a draft takes longer, where first calls are to be
        drafts (see `Tiers`); `small` needs it.
    **options
        Of `jax.jit`; with `loses` only `donate_argnames`.
    """

    # forms whose options this XLA does not know
    _refused: ClassVar[set[str]] = set()

    def __init__(
        self,
        function: Callable,
        *,
        when: Callable[..., bool] | None = None,
        small: Callable[..., bool] | None = None,
        loses: Callable[..., float] | None = None,
        **options,
    ):
        functools.update_wrapper(self, function)
        self.plain: Any = jax.jit(function, **options)
        self._forms: dict[str, Any] = {"plain": self.plain}
        if loses is None:
            self._forms["quick"] = jax.jit(function, compiler_options=_OPTIONS, **options)
        else:
            known, some = _OPTIONS | one_kernel.OPTIONS, {"loses": loses, **options}
            kernel = one_kernel.as_one_kernel(function)
            self._forms |= {
                "kernel": Tiers(kernel, draft=known, final=known, **some),
                "quick": Tiers(function, draft=_OPTIONS, final=_OPTIONS, **some),
                "long": Tiers(function, draft=_OPTIONS, final={}, **some),
            }
        self._when, self._small = when, small

    def _form(self, arguments) -> str:
        if jax.default_backend() != "cpu":
            return "plain"
        if self._small is not None and "kernel" not in self._refused and self._small(*arguments):
            return "kernel"
        if "quick" in self._refused:
            return "plain"
        if self._when is None or self._when(*arguments):
            return "quick"
        return "long" if "long" in self._forms else "plain"

    def __call__(self, *arguments, **named):
        form = self._form(arguments)
        try:
            return self._forms[form](*arguments, **named)
        except jax.errors.JaxRuntimeError as error:
            if _UNKNOWN not in str(error) and form == "kernel":
                # (of a user's loss, it may be that no kernel holds it; what else fails does again)
                return self._forms["quick"](*arguments, **named)
            if _UNKNOWN not in str(error) or form == "plain":
                raise
        except ValueError:
            # inside `jit` it may be that what was refused are the options
            if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arguments)):
                raise
            return self.plain(*arguments, **named)
        self._refused.add("kernel" if form == "kernel" else "quick")
        return self(*arguments, **named)

    def trace(self, *arguments, **named):
        """As that of `jax.jit`."""
        return self._forms[self._form(arguments)].trace(*arguments, **named)

    def lower(self, *arguments, **named):
        """As that of `jax.jit`."""
        return self._forms[self._form(arguments)].lower(*arguments, **named)

    def _cache_size(self) -> int:
        return sum(form._cache_size() for form in self._forms.values())


def quick_jit(**options) -> Callable[[Callable], QuickJit]:
    """`QuickJit` as a decorator.

    Parameters
    ----------
    **options
        As it takes them.

    Returns
    -------
    Callable
        From a function to its `QuickJit`.
    """
    return functools.partial(QuickJit, **options)


def one_program(**options) -> Callable[[Callable], Any]:
    """`jax.jit` as a decorator, for a formula of many operations.

    One program where it is called operation by operation, as in a notebook, and part of the
    caller's where that is traced.

    Parameters
    ----------
    **options
        Of `jax.jit`.

    Returns
    -------
    Callable
        From a function to its compiled form.
    """
    return functools.partial(jax.jit, inline=True, **options)


@functools.cache
def compiles_quickly() -> bool:
    """Whether this XLA takes the option, asked of it once.

    Returns
    -------
    bool
        Not on platforms other than the CPU.
    """
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda x: x, compiler_options=_OPTIONS).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
