"""Which tests of each file `pytest` runs when it is asked for no file: a choice in which every test
function and every value of every parameter occurs. `pytest --thorough` runs all combinations.

Files that are quick, or whose tests share one long computation, are marked `whole`. Tests that
compile much, of what others test in its parts, are marked `thorough` and left out; where each value
of a parameter is a program of its own, `lean(ids…)` names those that stay."""

from __future__ import annotations

from collections.abc import Sequence

import pytest


def features(item: pytest.Item) -> frozenset[tuple[str, str]]:
    """The test function, and the values of its parameters."""
    callspec = getattr(item, "callspec", None)
    values = callspec.params.items() if callspec else ()
    function = ("", getattr(item, "originalname", None) or item.name)
    return frozenset({function, *((name, repr(value)) for name, value in values)})


def covering(wanted: Sequence[frozenset]) -> list[int]:
    """Indices of sets that hold all elements: again and again one that adds the most."""
    left, chosen = frozenset().union(*wanted), []
    candidates = dict(enumerate(wanted))
    while left:
        best = max(candidates, key=lambda i: len(candidates[i] & left))
        chosen.append(best)
        left -= candidates.pop(best)
    return sorted(chosen)


def choice(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The tests that cover each file but for what is marked `thorough`, in their order."""
    _require_named(items)
    files: dict[object, list[pytest.Item]] = {}
    for item in items:
        if not item.get_closest_marker("thorough") and not _is_beside(item):
            files.setdefault(item.path, []).append(item)
    chosen = set()
    for tests in files.values():
        apart = [item for item in tests if not item.get_closest_marker("whole")]
        chosen |= set(tests) - set(apart)
        chosen |= {apart[i] for i in covering([features(item) for item in apart])}
    return [item for item in items if item in chosen]


def _is_beside(item: pytest.Item) -> bool:
    """Whether it has a value that is not among those that its test is marked to keep."""
    mark = item.get_closest_marker("lean")
    return mark is not None and item.callspec.id not in mark.args


def _require_named(items: Sequence[pytest.Item]) -> None:
    """`UsageError` where a test is to keep a value that it does not have."""
    kept: dict[object, set[str]] = {}
    for item in items:
        mark = item.get_closest_marker("lean")
        if mark is not None:
            test = item.nodeid.partition("[")[0]
            kept.setdefault(test, set(mark.args)).discard(item.callspec.id)
    for test, missing in kept.items():
        if missing:
            raise pytest.UsageError(f"{test} is marked to keep {sorted(missing)}, which it has not")
