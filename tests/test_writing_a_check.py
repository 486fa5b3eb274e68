"""The page on writing a check.

Its example runs as it stands, holds, and is as short as promised.
"""

import re
from pathlib import Path

import pytest

import theory_checks.engine.registry as registry_module
from theory_checks.engine import catalogue, runner, terminal
from theory_checks.engine.counterexamples import Refutation
from theory_checks.engine.measure import Point
from theory_checks.engine.registry import Registry, Setting, Verdict

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "writing_a_check.md").read_text(
    encoding="utf-8"
)
CODE, SHOWN = re.findall(r"^```(?:python)?\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def rows():
    """The rows of the example, which registers itself in a registry of its own."""
    registry = Registry()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry_module, "check", registry.check)
        patch.setattr(registry_module, "paper", registry.paper)
        exec(
            compile(CODE, "docs/writing_a_check.md", "exec"),
            {"__name__": "theory_checks.papers.lengths"},
        )
    return registry, list(runner.run(registry.matching()))


def test_the_example_is_shorter_than_thirty_lines():
    assert len([line for line in CODE.splitlines() if line.strip()]) < 30


def test_the_example_holds_in_every_setting(rows):
    _, rows = rows
    assert {row.case.setting for row in rows} == set(Setting)
    assert {row.verdict for row in rows} == {Verdict.HOLDS}, [row.message for row in rows]


def test_its_claim_can_be_wrong(rows):
    """Nothing else than the declared setting stands between the outside case and a failure."""
    registry, _ = rows
    (check,) = registry.matching()
    (outside,) = [case for case in check.cases if case.setting is Setting.OUTSIDE]
    claims = tuple(check.function(outside))
    assert runner.judge(Setting.INSIDE, claims) is Verdict.FAILS
    assert runner.judge(Setting.OUTSIDE, claims) is Verdict.HOLDS


def test_the_command_runs_the_example_alone(rows):
    """With `-k lengths` a theorem of another paper ran, and the table had two."""
    registry, _ = rows
    (asked,) = re.findall(r"python -m theory_checks run -k (\S+)`", PAGE)
    (check,) = registry.matching(asked)
    assert check.key == "lengths/large-is-long"
    assert catalogue.load().matching(asked) == []


def test_what_the_page_names_is_there():
    assert {"witnesses", "certificate_claim"} <= {*re.findall(r"`point\.(\w+)\(", PAGE)}
    for owner, name in [(Point, r"`point\.(\w+)"), (Refutation, r"`Refutation\.(\w+)")]:
        assert all(hasattr(owner, found) for found in re.findall(name, PAGE))


def test_the_table_is_the_one_that_is_printed(rows):
    registry, rows = rows

    def without_numbers(text):
        return [
            re.sub(r"\d+(\.\d+)?(e-\d+)?", "#", " ".join(line.split()))
            for line in text.splitlines()
        ]

    printed = without_numbers(terminal.tables(rows, registry.papers))
    shown = without_numbers(SHOWN)
    assert len(shown) == 3
    assert printed[:3] == shown
