"""All checks: found by walking the folder of the papers, so that a paper is one new folder and no
list."""

from __future__ import annotations

import importlib
import pkgutil

from theory_checks.engine.registry import REGISTRY, Registry

# where the papers are, and the module of one that draws: matplotlib is not imported to run checks
PAPERS, FIGURES = "theory_checks.papers", "figures"


def load() -> Registry:
    """The registry with the checks of every paper in it, the oldest paper first, after what has no
    paper."""
    for key in folders():
        importlib.import_module(f"{PAPERS}.{key}")
        assert key in REGISTRY.papers, (
            f"theory_checks/papers/{key}: its `__init__` must name the paper {key!r}"
        )
        for module in modules(key):
            if module != FIGURES:
                importlib.import_module(f"{PAPERS}.{key}.{module}")
    REGISTRY.arrange()
    REGISTRY.loader = load
    return REGISTRY


def folders() -> list[str]:
    """Keys of the papers: the packages in `theory_checks/papers`."""
    return [
        found.name
        for found in pkgutil.iter_modules(importlib.import_module(PAPERS).__path__)
        if found.ispkg
    ]


def modules(key: str) -> list[str]:
    """Names of the modules of a paper, in alphabetical order."""
    package = importlib.import_module(f"{PAPERS}.{key}")
    return [found.name for found in pkgutil.iter_modules(package.__path__)]
