"""Verbs that look at their numbers on the host, and what they say inside `jit`, `grad` or `vmap`.

They are tried first and asked afterwards: to look through all arguments for a tracer takes as long
as a small solve spends on its checks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax
import jax.core
import jax.numpy as jnp

from ufm._validate import is_traced

_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")
# what JAX says of a tracer whose numbers are asked for
_ASKED = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
SWEEP = (
    "ufm.sweep solves for many decays, counts and seeds at once, and compiles once; the slope of "
    "an optimal value is that of ufm.model.objective at the solution"
)


def on_the_host(instead: str) -> Callable[[Callable[_Given, _Found]], Callable[_Given, _Found]]:
    """Let a function that cannot run inside a transformation of JAX say so.

    And what to do `instead`.
    """

    def wrap(function: Callable[_Given, _Found]) -> Callable[_Given, _Found]:
        @functools.wraps(function)
        def wrapped(*args: _Given.args, **kwargs: _Given.kwargs) -> _Found:
            try:
                found = function(*args, **kwargs)
            except _ASKED as error:
                # not so where a loss of the user's asks for numbers inside our own `jit`
                if is_traced((args, kwargs)) or is_traced(jnp.zeros(())):
                    raise _refusal(function, instead) from error
                raise
            # under `grad` a solve goes through, and only its slope would fail
            if isinstance(getattr(found, "value", None), jax.core.Tracer):
                raise _refusal(function, instead)
            return found

        return wrapped

    return wrap


def _refusal(function: Callable, instead: str) -> ValueError:
    return ValueError(
        f"`{function.__name__}` must be called outside jax.jit, jax.grad and jax.vmap, as it "
        f"looks at numbers on the host; {instead}; got a tracer"
    )
