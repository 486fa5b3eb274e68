"""The benchmarks run and compare equals; their timings are reports and never assertions."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.optimize

from tests.benchmarks import harness, squared_error, start_up
from tests.benchmarks.scipy_rival import BalancedSquaredError
from ufm.model import objective
from ufm.solvers import random_start


@pytest.mark.parametrize("collapsed", [False, True])
def test_both_sides_minimise_the_same_function(collapsed, key):
    rival = BalancedSquaredError(
        num_classes=3, per_class=4, feature_dim=5, decay=1e-2, collapsed=collapsed
    )
    problem = squared_error.our_problem(rival)
    start = random_start(problem, key=key)
    x = np.concatenate([np.ravel(start.weights[0]), np.ravel(start.features)])
    evaluate = rival.value_and_gradient()
    np.testing.assert_allclose(evaluate(x)[0], objective(problem, start), rtol=1e-14)
    # forward differences of step 1.5e-8 on a function of size one
    assert scipy.optimize.check_grad(lambda y: evaluate(y)[0], lambda y: evaluate(y)[1], x) < 1e-6


def test_rows_at_toy_size(tmp_path):
    # `rows` itself raises unless every contestant reaches the accuracy
    rows = squared_error.rows(seeds=[0, 1], repeats=1, K=3, n=4, d=5, decay=1e-2, end=5.0)
    assert len(rows) == 7
    assert [row.required for row in rows] == [3, None, 50, None, 2, None, None]
    assert all(row.ours.wall > 0 and row.rival.wall > 0 for row in rows)
    assert len(harness.table(rows).splitlines()) == 1 + len(rows) + 1 + len(rows)
    target = tmp_path / "rows.json"
    harness.write_json(
        str(target),
        {"environment": harness.environment({}), "rows": [row.as_dict() for row in rows]},
    )
    assert json.loads(target.read_text(encoding="utf-8"))["rows"][0]["name"] == rows[0].name


def test_gram_error_sees_a_wrong_answer():
    rival = BalancedSquaredError(
        num_classes=3, per_class=4, feature_dim=3, decay=1e-2, collapsed=True
    )
    c0 = 3 * 2 * 1e-2
    W, H = np.sqrt(2 * (1 - c0)) * np.eye(3), np.sqrt((1 - c0) / 2) * np.eye(3)
    assert rival.gram_error(W, H) < 1e-15
    assert rival.gram_error(1.001 * W, H) > 1e-3
    assert rival.gram_error(W, H + 0.01) > 1e-3


def test_ratio_is_rival_over_ours():
    row = harness.Row(
        "a", "b", ours=harness.Timing(1.0, 1.0), rival=harness.Timing(3.0, 2.0), required=3.0
    )
    assert (row.ratio, row.cpu_ratio, row.met) == (3.0, 2.0, True)


def test_json_is_written_whole_or_not_at_all(tmp_path):
    target = tmp_path / "rows.json"
    target.write_text("before", encoding="utf-8")
    with pytest.raises(ValueError, match="Out of range float"):
        harness.write_json(str(target), {"ratio": float("nan")})
    assert target.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_the_cold_scripts_run():
    # both scripts assert that they reached their gap
    row = start_up.cold_row(1)
    assert set(row.notes) == {f"{stage} s" for stage in start_up._STAGES}
    assert all(seconds > 0 for seconds in row.notes.values())
