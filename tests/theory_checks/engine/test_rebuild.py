"""A row of a report is made into its problem again, by function and by command."""

from __future__ import annotations

import json

import numpy as np
import pytest

import theory_checks
import ufm
from theory_checks.engine import command, rebuild
from theory_checks.engine.catalogue import load
from theory_checks.engine.document import plain
from theory_checks.engine.registry import Case, Setting

KEY = "liu2024/geometry"


@pytest.fixture
def row() -> dict:
    """What the document says of a case, after a trip through JSON."""
    case = load().checks[KEY].cases[1]
    parameters = plain(dict(case.parameters))
    return json.loads(json.dumps({"check": KEY, "case": case.id, "parameters": parameters}))


def test_a_row_is_the_problem_that_was_solved(row):
    problem = theory_checks.problem_of_row(row)
    solved = load().checks[KEY].cases[1].problem
    assert str(problem) == str(solved)
    np.testing.assert_array_equal(problem.labels.targets, solved.labels.targets)


def test_a_row_of_another_version_is_refused(row):
    row["parameters"]["lambda_H"] = 7.0
    with pytest.raises(ValueError, match="`row` must be of this version of liu2024/geometry"):
        theory_checks.problem_of_row(row)


def test_the_command_prints_what_from_dict_reads(row, capsys):
    assert command.main(["problem", KEY, row["case"]]) == 0
    problem = ufm.Problem.from_dict(json.loads(capsys.readouterr().out))
    assert str(problem) == str(theory_checks.problem_of_row(row))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["liu2024/nothing"], "`check` must be among those that `list` shows"),
        ([KEY, "no such case"], "`case` must be a case of liu2024/geometry"),
    ],
)
def test_what_is_not_there_is_refused_by_name(words, message, capsys):
    assert command.main(["problem", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_case_about_something_else_is_refused():
    case = Case("flow", Setting.INSIDE, {}, build=lambda: 3)
    with pytest.raises(ValueError, match=r"`case` must be about one ufm\.Problem; got 'flow'"):
        rebuild.problem_of_case(case)
