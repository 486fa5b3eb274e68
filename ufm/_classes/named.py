"""What losses and domains share.

A name, the parameters that they are made from, and how a message shows them.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, ClassVar

import equinox as eqx
import numpy as np

from ufm._classes.module import Module
from ufm._validate import concrete


class AbstractNamed(Module):
    """A part of a problem that users may define, and ask for by its `name`.

    That of the class unless given.
    """

    name: ClassVar[str]

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        # not inherited: a part derived from another is another part
        if "name" not in cls.__dict__:
            cls.name = cls.__name__

    def __str__(self) -> str:
        """The class with its parameters, for messages."""
        fields = (f"{name}={_shown(value)}" for name, value in self._shown_fields().items())
        return f"{type(self).__name__}({', '.join(fields)})"

    def _shown_fields(self) -> dict[str, Any]:
        """What a message shows."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def made_from(self) -> dict[str, Any]:
        """The arguments of the constructor that make it again, from attributes of these names.

        Override it where they have other names.
        """
        return {name: getattr(self, name) for name in self.parameters()}

    @classmethod
    def parameters(cls) -> tuple[str, ...]:
        """The names of what it is made from, as the constructor has them.

        Options and sweeps read these.
        """
        return tuple(name for name in inspect.signature(cls.__init__).parameters if name != "self")


def made_from(part: eqx.Module) -> dict[str, Any]:
    """The arguments of the constructor that make any part of a problem again."""
    if isinstance(part, AbstractNamed):
        return part.made_from()
    names = inspect.signature(type(part).__init__).parameters
    return {name: getattr(part, name) for name in names if name != "self"}


def _shown(value) -> str:
    """A parameter in a message: numbers while they are few and known, else the shape."""
    if value is None or isinstance(value, str | bool):
        return repr(value)
    array = concrete(value)
    if array is None:
        return "traced"
    if array.size <= 8 and np.issubdtype(array.dtype, np.number):
        return (
            f"{array:g}" if array.ndim == 0 else f"[{', '.join(f'{x:g}' for x in array.ravel())}]"
        )
    return f"array of shape {array.shape}"
