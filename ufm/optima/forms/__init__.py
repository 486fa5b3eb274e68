"""Theorems that give a global optimum in closed form, one file each, found by walking this folder.

A form says which hypotheses it rests on and whether a problem meets them, and then gives the
optimum. A new one is a file here with an instance `FORM` of a class of its own, derived from
`AbstractForm`; outside the library it is `register(TheForm())`.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil

from ufm._validate import Shown, require, require_instance
from ufm.optima.facts import Facts
from ufm.optima.form import AbstractForm
from ufm.optima.hypotheses import Hypothesis
from ufm.optima.one_layer import product_optimum
from ufm.optima.optimum import NoClosedForm, Optimum

__all__ = [
    "AbstractForm",
    "Facts",
    "Hypothesis",
    "NoClosedForm",
    "Optimum",
    "forget",
    "known",
    "product_optimum",
    "register",
]

_registered: list[AbstractForm] = []


@functools.cache
def _library() -> tuple[AbstractForm, ...]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(importlib.import_module(f"{__name__}.{name}").FORM for name in names)


def known() -> tuple[AbstractForm, ...]:
    """All forms: registered ones, the last first, and then those of the library."""
    return (*reversed(_registered), *_library())


def register(form: AbstractForm) -> AbstractForm:
    """Let `closed_form` and `theory` ask a form of your own, before those of the library.

    Returns it.

    Raises `ValueError` for what is no form, and for a name that is taken.
    """
    require_instance("form", form, AbstractForm, "an instance of ufm.forms.AbstractForm")
    require(
        form.name not in {other.name for other in known()}, "`form.name` must be new", form.name
    )
    _registered.append(form)
    return form


def forget(form: AbstractForm) -> None:
    """Undo `register`. Raises `ValueError` for a form that is not registered."""
    require(any(form is other for other in _registered), "`form` must be registered", Shown(form))
    _registered.remove(form)
