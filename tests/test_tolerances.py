"""A tolerance that nobody wrote is not one that anybody claimed.

`assert_allclose` allows a relative 1e-7 unless `rtol` is given, beside whatever `atol` says.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("docs", "tests", "theory_checks")


def without_rtol(source: str) -> list[int]:
    """Lines of the calls of `assert_allclose` that leave the relative tolerance to NumPy."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [
        call.lineno
        for call in calls
        if getattr(call.func, "attr", getattr(call.func, "id", "")) == "assert_allclose"
        # (those that travel together, `**close`, are trusted)
        and not {"rtol", None} & {keyword.arg for keyword in call.keywords}
    ]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_relative_tolerance_is_written_down(folder):
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in without_rtol(path.read_text(encoding="utf-8"))
    ]
    assert not found, f"give `rtol`, which is 1e-7 unless given (0 beside an `atol`): {found}"


@pytest.mark.parametrize(
    ("call", "found"),
    [
        ("np.testing.assert_allclose(a, b)", [1]),
        ("assert_allclose(a, b, atol=1e-12)", [1]),
        ("assert_allclose(a, b, rtol=0, atol=1e-12)", []),
        ("assert_allclose(a, b, **close)", []),
        ("assert_array_equal(a, b)", []),
    ],
)
def test_calls_that_are_found(call, found):
    assert without_rtol(call) == found
