"""Unconstrained features models.

Solve them, predict their optima in closed form, certify and compare.
"""

import ast as _ast
import importlib as _importlib
from pathlib import Path as _Path

# The public names stand in `__init__.pyi`, once, for this and for type checkers, each in a line
# `from .module import name as name`. Each is imported when it is first asked for, so that
# `python -m ufm --help` does not wait for JAX.
_MODULES = {
    alias.name: line.module
    for line in _ast.parse(_Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")).body
    if isinstance(line, _ast.ImportFrom)
    for alias in line.names
}
__all__ = sorted(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _MODULES[name]
    if module is None:
        found = _importlib.import_module(f".{name}", __name__)
    else:
        found = getattr(_importlib.import_module(f".{module}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return list(__all__)
