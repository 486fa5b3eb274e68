"""From a row of a report back to the problem that it is about.

A row says by which check and which case it was made; the registry makes the problem again. Its
parameters must be those of the row: another version of the checks may have changed a case.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from theory_checks.engine.document import plain
from theory_checks.engine.registry import Case, Registry

if TYPE_CHECKING:
    import ufm


def problem_of_row(row: Mapping[str, Any], *, registry: Registry | None = None) -> ufm.Problem:
    """The `ufm.Problem` of a row of `report.json`, or of `run --json FILE`.

    Parameters
    ----------
    row
        With its `check`, `case` and `parameters`, as the document has it.
    registry
        That of all papers unless given.

    Returns
    -------
    ufm.Problem
        As the check solves it, in JAX's default dtype.

    Raises
    ------
    ValueError
        For a check or a case that there is not, one with other parameters now, and one that is
        about no problem.
    """
    if registry is None:
        from theory_checks.engine.catalogue import load

        registry = load()
    case = case_of(registry, row["check"], row["case"])
    now = plain(dict(case.parameters))
    if now != row["parameters"]:
        raise ValueError(
            f"`row` must be of this version of {row['check']}, whose case {case.id!r} has the "
            f"parameters {now}; got {row['parameters']}"
        )
    return problem_of_case(case)


def problem_of_case(case: Case) -> ufm.Problem:
    """The problem of a case; `ValueError` where it is about something else."""
    import ufm

    problem = case.problem
    if not isinstance(problem, ufm.Problem):
        kind = type(problem).__name__
        raise ValueError(f"`case` must be about one ufm.Problem; got {case.id!r}, a {kind}")
    return problem


def case_of(registry: Registry, key: str, name: str | None) -> Case:
    """A case of a check by its name, the first unless named."""
    if key not in registry.checks:
        raise ValueError(f"`check` must be among those that `list` shows; got {key!r}")
    cases = registry.checks[key].cases
    if name is None:
        return cases[0]
    found = [case for case in cases if case.id == name]
    if not found:
        names = ", ".join(repr(case.id) for case in cases)
        raise ValueError(f"`case` must be a case of {key}: {names}; got {name!r}")
    return found[0]


def shown(registry: Registry, key: str, name: str | None) -> str:
    """The problem of a case as the JSON that `ufm.Problem.from_dict` reads."""
    document = problem_of_case(case_of(registry, key, name)).to_dict()
    return json.dumps(document, indent=1, allow_nan=False)
