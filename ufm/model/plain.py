"""A problem as plain data: what its constructor was given, in what JSON can hold, and back.

A part of a problem (labels, loss, domain, map) is its class and what that is made from. A class of
the library is named by its room, another one by its module, from which it is imported again. Arrays
keep their dtype; their numbers are written so that they come back to the last bit.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ufm._classes.named import made_from
from ufm._validate import Shown, is_traced, require, require_instance
from ufm.domains import AbstractDomain
from ufm.labels import AbstractLabels
from ufm.losses import AbstractLoss
from ufm.maps import AbstractMap

FORMAT, VERSION = "ufm.Problem", 1
# the arguments that are parts, what they must be, and the room of those of the library
_PARTS = {
    "labels": (AbstractLabels, "ufm.labels"),
    "loss": (AbstractLoss, "ufm.losses"),
    "features": (AbstractDomain, "ufm.domains"),
    "classifier": (AbstractDomain, "ufm.domains"),
    "map": (AbstractMap, "ufm.maps"),
}
_HEAD = ("format", "version", "dtype")


def as_document(given: Mapping[str, Any], dtype: np.dtype) -> dict[str, Any]:
    """The arguments of a problem's constructor as a document."""
    require(not is_traced(given), "`problem` must hold known numbers", "a tracer")
    head = {"format": FORMAT, "version": VERSION, "dtype": dtype.name}
    return {**head, **{name: _written(name, value) for name, value in given.items()}}


def arguments_of(document: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The arguments of the constructor that a document holds, `names` all of them."""
    require_instance("document", document, Mapping, "a dict as `Problem.to_dict` gives")
    kind, version = document.get("format"), document.get("version")
    require(kind == FORMAT, f'`document["format"]` must be "{FORMAT}"', Shown(kind))
    require(
        version == VERSION,
        f'`document["version"]` must be {VERSION}, which this ufm reads',
        Shown(version),
    )
    lacking = [name for name in (*_HEAD, *names) if name not in document]
    require(not lacking, "`document` must hold every argument of a problem", f"none for {lacking}")
    strange = [name for name in document if name not in (*_HEAD, *names)]
    require(not strange, "`document` must hold arguments of a problem alone", strange)
    wide = document["dtype"] != "float64" or jax.config.values["jax_enable_x64"]
    require(
        wide, "`jax_enable_x64` must be on to read a document in float64", "32 bits at the most"
    )
    return {name: _read(name, document[name], name) for name in names}


def _written(name: str, value) -> Any:
    """A value in what JSON can hold; `name` is for messages."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        array = np.asarray(value)
        return {
            "dtype": array.dtype.name,
            "shape": list(array.shape),
            "data": array.ravel().tolist(),
        }
    if isinstance(value, tuple | list):
        return [_written(f"{name}[{i}]", entry) for i, entry in enumerate(value)]
    require(
        isinstance(value, eqx.Module),
        f"`{name}` must be made of numbers, arrays, words and parts to be written down",
        Shown(value),
    )
    try:
        parts = made_from(value)
    except AttributeError as error:
        raise ValueError(
            f"`{name}` must keep what it is made from under the names of its constructor, or say "
            f"so in `made_from`; got {type(value).__name__} without {error.name}"
        ) from error
    parts = {key: _written(f"{name}.{key}", part) for key, part in parts.items()}
    return {"class": _place_of(name, type(value)), "made_from": parts}


def _place_of(name: str, kind: type) -> str:
    """Where a class is imported from: "module:Class"."""
    for base, room in _PARTS.values():
        if issubclass(kind, base) and getattr(_imported(room), kind.__name__, None) is kind:
            return f"{room}:{kind.__name__}"
    found = None if kind.__module__ == "__main__" else _imported(kind.__module__)
    require(
        getattr(found, kind.__qualname__, None) is kind,
        f"`{name}` must be of a class at the top of a module that can be imported, to be found "
        "again",
        f"{kind.__module__}.{kind.__qualname__}",
    )
    return f"{kind.__module__}:{kind.__qualname__}"


def _read(name: str, value, part: str | None = None) -> Any:
    """What `_written` has made of a value; `part` is the argument that it is, if it is one."""
    if isinstance(value, list):
        return tuple(_read(f"{name}[{i}]", entry) for i, entry in enumerate(value))
    if not isinstance(value, Mapping):
        return value
    if set(value) == {"dtype", "shape", "data"}:
        try:
            array = np.asarray(value["data"], jnp.dtype(value["dtype"]))
            return jnp.asarray(array.reshape(value["shape"]))
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"`{name}` must be an array; got {error}") from error
    require(
        set(value) == {"class", "made_from"} and isinstance(value["made_from"], Mapping),
        f"`{name}` must have a class and what it is made from, or be an array",
        f"{sorted(map(str, value))}",
    )
    wanted = _PARTS[part][0] if part in _PARTS else eqx.Module
    module, _, kind = str(value["class"]).partition(":")
    found = getattr(_imported(module), kind, None)
    require(
        isinstance(found, type) and issubclass(found, wanted),
        f"`{name}` must be of a class that can be imported, an {wanted.__name__}",
        Shown(value["class"]),
    )
    assert found is not None
    given = {key: _read(f"{name}.{key}", entry) for key, entry in value["made_from"].items()}
    try:
        return found(**given)
    except TypeError as error:
        raise ValueError(f"`{name}` must be what {kind} is made from; got {error}") from error


def _imported(module: str) -> Any:
    """The module of that name; None where there is none."""
    try:
        return importlib.import_module(module)
    except (ImportError, ValueError):
        return None
