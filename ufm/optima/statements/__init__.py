"""Laws, limits, bounds, candidates and thresholds, a subject a file, found by walking this folder.

A file has `STATEMENTS`, a tuple of `Statement`, and `THRESHOLDS`, a tuple of `ThresholdRule`, or
one of the two.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil

from ufm.optima.statement import Statement, ThresholdRule


@functools.cache
def statements() -> tuple[Statement, ...]:
    """All statements."""
    return tuple(s for module in _modules() for s in getattr(module, "STATEMENTS", ()))


@functools.cache
def threshold_rules() -> tuple[ThresholdRule, ...]:
    """All rules for thresholds."""
    return tuple(rule for module in _modules() for rule in getattr(module, "THRESHOLDS", ()))


def _modules():
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return [importlib.import_module(f"{__name__}.{name}") for name in names]
