"""What losses and domains there are, read from the source of their classes.

`--help` must not wait for JAX.

A class of `ufm/losses/` or `ufm/domains/` with a `name` is one that commands and specifications can
ask for, and its constructor says by what else. A class from elsewhere goes by
"package.module:Class"; it is imported when it is asked for, and a `ValueError` says why it cannot
be. Losses may be added up, "cross-entropy+0.1*squared-error".
"""

from __future__ import annotations

import ast
import functools
import importlib
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A class that can be asked for by `name`.

    Where it is, the `parameters` of its constructor, and those without a default.
    """

    name: str
    module: str
    kind: str
    parameters: tuple[str, ...]
    required: tuple[str, ...]

    def build(self, values: dict):
        """An instance, of what the constructor asks for."""
        return getattr(importlib.import_module(self.module), self.kind)(**values)


@dataclass(frozen=True, kw_only=True)
class SumEntry:
    """A weighted sum of losses, as an `Entry` is one: `terms` with their `weights` > 0.

    A parameter goes to every term that has it.
    """

    name: str
    terms: tuple[Entry, ...]
    weights: tuple[float, ...]

    @property
    def parameters(self) -> tuple[str, ...]:
        """Those of all terms."""
        return tuple(dict.fromkeys(p for term in self.terms for p in term.parameters))

    @property
    def required(self) -> tuple[str, ...]:
        """Those that a term needs."""
        return tuple(dict.fromkeys(p for term in self.terms for p in term.required))

    def build(self, values: dict):
        """The sum, each term with its own of the values."""
        from ufm.losses import Sum

        parts = (
            term.build({k: v for k, v in values.items() if k in term.parameters})
            for term in self.terms
        )
        return Sum(tuple(parts), self.weights)


@functools.cache
def losses() -> dict[str, Entry]:
    """Name → entry, of every loss of the library, cross-entropy first: it is the default."""
    found = _found("losses")
    first = {"cross-entropy": found["cross-entropy"], "squared-error": found["squared-error"]}
    return first | found


@functools.cache
def domains() -> dict[str, Entry]:
    """Name → entry, of every domain of the library, "real" first: it is the default."""
    found = _found("domains")
    return {"real": found["real"]} | found


def _found(room: str) -> dict[str, Entry]:
    entries = {}
    for path in sorted((_ROOT / room).glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            entry = _entry(node, f"ufm.{room}.{path.stem}")
            if entry is not None:
                entries[entry.name] = entry
    return entries


def loss_parameters() -> dict[str, tuple[str, ...]]:
    """Every parameter of a loss of the library → the names of the losses that have it."""
    owners: dict[str, tuple[str, ...]] = {}
    for entry in losses().values():
        for name in entry.parameters:
            owners[name] = (*owners.get(name, ()), entry.name)
    return owners


def loss_entry(name: str) -> Entry | SumEntry | None:
    """The loss of that name, of "package.module:Class", or a sum of such; None where there is none.

    A sum is "cross-entropy+0.1*squared-error": terms with a weight > 0 or without.
    """
    if "+" not in name and "*" not in name:
        return _named(name, losses(), "AbstractLoss")
    terms, weights = [], []
    for term in name.split("+"):
        factor, star, rest = term.strip().rpartition("*")
        entry = _named(rest.strip(), losses(), "AbstractLoss")
        weight = _weight(factor) if star else 1.0
        if entry is None or weight is None:
            return None
        terms.append(entry)
        weights.append(weight)
    return SumEntry(name=name, terms=tuple(terms), weights=tuple(weights))


def _weight(word: str) -> float | None:
    """A finite number > 0, or None."""
    try:
        number = float(word)
    except ValueError:
        return None
    return number if 0 < number < math.inf else None


def domain_entry(name: str) -> Entry | None:
    """The domain of that name, or of "package.module:Class", with the parameters of its class.

    None where there is none.
    """
    entry = _named(name, domains(), "AbstractDomain")
    # (they may be fields that it inherits)
    return (
        None if entry is None else _outside(entry.name, entry.module, entry.kind, "AbstractDomain")
    )


def _named(name: str, known: dict[str, Entry], base: str) -> Entry | None:
    if name in known:
        return known[name]
    module, _, kind = name.partition(":")
    if not (
        module and kind.isidentifier() and all(part.isidentifier() for part in module.split("."))
    ):
        return None
    return _outside(name, module, kind, base)


def _imported(name: str, module: str):
    """The module of "package.module:Class", also from the folder in which the command is run."""
    # the command `ufm`, unlike `python -m ufm`, does not look there
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f'"{name}" cannot be imported: {error}') from error


def _outside(name: str, module: str, kind: str, base: str) -> Entry | None:
    import inspect

    from ufm.domains import AbstractDomain
    from ufm.losses import AbstractLoss

    wanted = {"AbstractLoss": AbstractLoss, "AbstractDomain": AbstractDomain}[base]
    found = getattr(_imported(name, module), kind, None)
    if not (isinstance(found, type) and issubclass(found, wanted)):
        has = "nothing of this name" if found is None else repr(found)
        raise ValueError(f'"{name}" must be a class derived from {base}; {module} has {has}')
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
        if (
            isinstance(item, ast.AnnAssign)
            and ast.unparse(item.target) == "name"
            and item.value is not None
        ):
            name = ast.literal_eval(item.value)
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            given = item.args
            plain = [argument.arg for argument in given.args[1:]]
            named = [argument.arg for argument in given.kwonlyargs]
            optional = plain[len(plain) - len(given.defaults) :]
            optional += [
                n
                for n, default in zip(named, given.kw_defaults, strict=True)
                if default is not None
            ]
            parameters = (*plain, *named)
            required = tuple(n for n in parameters if n not in optional)
    if name is None:
        return None
    return Entry(name=name, module=module, kind=node.name, parameters=parameters, required=required)
