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
ASKED = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
SWEEP = (
    "ufm.sweep solves for many decays, counts and seeds at once, and compiles once; what has a "
    "derivative is ufm.minimise"
)
# of what has a derivative itself
SWEEP_ALONE = SWEEP.split(";")[0]


def on_the_host(
    instead: str, *, slopes: bool = False
) -> Callable[[Callable[_Given, _Found]], Callable[_Given, _Found]]:
    """Let a function that cannot run inside a transformation of JAX say so.

    And what to do `instead`. `slopes`: whether it can be differentiated all the same, by a rule of
    its own.
    """

    def wrap(function: Callable[_Given, _Found]) -> Callable[_Given, _Found]:
        @functools.wraps(function)
        def wrapped(*args: _Given.args, **kwargs: _Given.kwargs) -> _Found:
            try:
                found = function(*args, **kwargs)
            except ASKED as error:
                # not so where a loss of the user's asks for numbers inside our own `jit`
                if is_traced((args, kwargs)) or is_traced(jnp.zeros(())):
                    raise refusal(function.__name__, instead, slopes=slopes) from error
                raise
            # under `grad` a solve goes through, and only its slope would fail
            if not slopes and isinstance(getattr(found, "value", None), jax.core.Tracer):
                raise refusal(function.__name__, instead, slopes=slopes)
            return found

        return wrapped

    return wrap


def refusal(name: str, instead: str, *, slopes: bool = False) -> ValueError:
    """What a function says where it is traced, and can at best be differentiated (`slopes`)."""
    outside = "jax.jit and jax.vmap" if slopes else "jax.jit, jax.grad and jax.vmap"
    return ValueError(
        f"`{name}` must be called outside {outside}, as it looks at numbers on the host; "
        f"{instead}; got a tracer"
    )
