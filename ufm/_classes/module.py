"""What our classes share.

Those of arrays are equinox modules that are looked into as any object is; what reads well as text
is shown so in notebooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import equinox as eqx


class Displayed:
    """An object that a notebook or IPython shows as `print` does.

    `repr` of it, where its class has none of its own, is `<Class: str>`.
    """

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        # (IPython takes the first class of the order that has a word on it, and every dataclass has
        # a `repr`)
        cls._repr_pretty_ = Displayed._repr_pretty_

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        try:
            lines = str(self).splitlines()
        # numbers of a batch have no words
        except TypeError:
            lines = repr(self).splitlines()
        for number, line in enumerate(lines):
            if number:
                printer.break_()
            printer.text(line)


class Module(eqx.Module, Displayed):
    """An `equinox.Module` whose methods, looked up, are methods.

    Equinox makes each a tree of arrays, to be an argument of `jax.jit`, by a function of Python
    around every look at every attribute. A small solve looks at two hundred of them, a fifth of
    its time; a trace at many thousands.
    """

    if not TYPE_CHECKING:
        __getattribute__ = object.__getattribute__
