"""What losses there are and what each is made of, read from the source of their classes: `--help` must not wait for JAX.

A class of `ufm/losses/` with a `name` is one that commands and specifications can ask for, and its constructor says by what else.
A loss from elsewhere goes by "package.module:Class"; it is imported when it is asked for.
"""

from __future__ import annotations

import ast
import functools
import importlib
from dataclasses import dataclass
from pathlib import Path

_LOSSES = Path(__file__).parents[1] / "losses"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A class that can be asked for by `name`: where it is, the `parameters` of its constructor, and those without a default."""

    name: str
    module: str
    kind: str
    parameters: tuple[str, ...]
    required: tuple[str, ...]

    def build(self, values: dict):
        """An instance, of what the constructor asks for."""
        return getattr(importlib.import_module(self.module), self.kind)(**values)


@functools.cache
def losses() -> dict[str, Entry]:
    """Name → entry, of every loss of the library, cross-entropy first: it is the default."""
    found = {}
    for path in sorted(_LOSSES.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            entry = _entry(node, f"ufm.losses.{path.stem}")
            if entry is not None:
                found[entry.name] = entry
    first = {"cross-entropy": found["cross-entropy"], "squared-error": found["squared-error"]}
    return first | found


def loss_parameters() -> dict[str, tuple[str, ...]]:
    """Every parameter of a loss of the library → the names of the losses that have it."""
    owners: dict[str, tuple[str, ...]] = {}
    for entry in losses().values():
        for name in entry.parameters:
            owners[name] = (*owners.get(name, ()), entry.name)
    return owners


def loss_entry(name: str) -> Entry | None:
    """The loss of that name, or of "package.module:Class"; None where there is none."""
    if name in losses():
        return losses()[name]
    module, _, kind = name.partition(":")
    if not (module and kind.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        return None
    return _outside(name, module, kind)


def _outside(name: str, module: str, kind: str) -> Entry | None:
    import inspect

    from ufm.losses import AbstractLoss

    try:
        found = getattr(importlib.import_module(module), kind, None)
    except ImportError:
        return None
    if not (isinstance(found, type) and issubclass(found, AbstractLoss)):
        return None
    parameters = inspect.signature(found.__init__).parameters
    names = found.parameters()
    required = tuple(n for n in names if parameters[n].default is inspect.Parameter.empty)
    return Entry(name=name, module=module, kind=kind, parameters=names, required=required)


def _entry(node: ast.stmt, module: str) -> Entry | None:
    """The entry of a class definition with a `name`."""
    if not isinstance(node, ast.ClassDef):
        return None
    name, parameters, required = None, (), ()
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and ast.unparse(item.target) == "name" and item.value is not None:
            name = ast.literal_eval(item.value)
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            given = item.args
            plain = [argument.arg for argument in given.args[1:]]
            named = [argument.arg for argument in given.kwonlyargs]
            optional = plain[len(plain) - len(given.defaults) :]
            optional += [n for n, default in zip(named, given.kw_defaults, strict=True) if default is not None]
            parameters = (*plain, *named)
            required = tuple(n for n in parameters if n not in optional)
    if name is None:
        return None
    return Entry(name=name, module=module, kind=node.name, parameters=parameters, required=required)
