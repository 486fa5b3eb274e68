"""Kinds of arguments: a valid value, and which of the wrong ones mean something there after all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.slips.valid import KEY


@dataclass(frozen=True)
class Argument:
    """`value`: a valid one. `accepts`: the name of a wrong value → why it is none here."""

    value: Any
    accepts: Mapping[str, str] = field(default_factory=dict)

    def __or__(self, accepts: Mapping[str, str]) -> Argument:
        return Argument(self.value, {**self.accepts, **accepts})


def only(value) -> Argument:
    """Nothing of what is tried will do."""
    return Argument(value)


def optional(argument: Argument) -> Argument:
    """May be left out."""
    return argument | {"None": "it may be left out"}


def number(value: float) -> Argument:
    """A number > 0."""
    return Argument(value, {"fraction": "a number > 0"})


def weight(value: float) -> Argument:
    """A number >= 0."""
    return number(value) | {"zero": "a number >= 0"}


def real(value: float) -> Argument:
    """A number of any sign."""
    return weight(value) | {"negative": "a number of any sign"}


def flag(value: bool) -> Argument:
    """True or False."""
    return Argument(value, {"True": "the other one, or the same"})


def array(value) -> Argument:
    """Finite numbers of any sign."""
    return Argument(value, {"negated": "numbers of any sign"})


def observed(value) -> Argument:
    """Numbers of which a flow may observe something: NaN gives NaN, and stops nothing."""
    return array(value) | {"with a NaN": "NaN in, NaN out"}


def key() -> Argument:
    """A random key."""
    return Argument(KEY, {"key": "it is one"})
