"""What our classes of arrays are: equinox modules that are looked into as any object is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import equinox as eqx


class Module(eqx.Module):
    """An `equinox.Module` whose methods, looked up, are methods.

    Equinox makes each a tree of arrays, to be an argument of `jax.jit`, by a function of Python
    around every look at every attribute. A small solve looks at two hundred of them, a fifth of
    its time; a trace at many thousands.
    """

    if not TYPE_CHECKING:
        __getattribute__ = object.__getattribute__
