"""Checks to test what is said of them."""

from __future__ import annotations

from collections.abc import Iterable

from theory_checks.engine.registry import Case, Check, Registry, Setting, Verdict


def as_declared(case: Case) -> Setting:
    """As declared."""
    return case.setting


def plant(
    registry: Registry,
    key: str,
    function,
    cases: Iterable[Case],
    *,
    formula: str = "",
    source: str = "",
    regime=as_declared,
    expected: Verdict = Verdict.HOLDS,
    extra: str = "",
) -> None:
    """Put a check into a registry as it is: one case is enough, which registration refuses."""
    given = (key, formula, source, regime, tuple(cases), function, expected, extra)
    registry.checks[key] = Check(*given)
