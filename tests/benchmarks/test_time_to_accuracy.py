"""The contestants of the time-to-accuracy rows minimise one function.

The figure and the table read what a run writes.
"""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest

import ufm
from tests.benchmarks import harness, presentation, scaling, time_to_accuracy
from tests.benchmarks.numpy_objective import DeepObjective

PROBLEMS = time_to_accuracy.problems(K=3, n=4, d=5, decay=2e-2)
TOY = dict(
    K=3,
    n=4,
    d=5,
    decay=2e-3,
    paper_budget=40,
    tuned_budget=40,
    step_sizes=(1.0,),
    adam_step_sizes=(1e-2,),
    settings=("squared error",),
)


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_numpy_objective_is_ours(problem, key):
    start = ufm.solvers.random_start(problem, key=key)
    evaluate = DeepObjective(problem)
    x = evaluate.flat(start)
    value, gradient = evaluate(x)
    np.testing.assert_allclose(value, ufm.model.objective(problem, start), rtol=1e-14)
    exact = jax.grad(lambda params: ufm.model.objective(problem, params))(start)
    # sums in another order
    np.testing.assert_allclose(gradient, evaluate.flat(exact), atol=1e-15, rtol=1e-12)


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_torch_objective_is_ours(problem, key):
    pytest.importorskip("torch")
    from tests.benchmarks.torch_rival import FullBatch

    start = ufm.solvers.random_start(problem, key=key)
    script = FullBatch(problem, start)
    np.testing.assert_allclose(
        script.loss(script.variables()).item(), ufm.model.objective(problem, start), rtol=1e-14
    )


def test_gram_error_sees_a_wrong_answer(key):
    problem = PROBLEMS["squared error"]
    error = time_to_accuracy.GramError(problem)
    params = ufm.minimise(problem, key=key).params
    weights, H, _ = time_to_accuracy.point_of(params)
    assert error((weights, H, None)) < 1e-10
    assert error(([1.001 * weights[0]], H, None)) > 1e-4
    assert error((weights, H + 0.01, None)) > 1e-3


def test_scipy_needs_the_iterations_that_were_counted(key):
    problem = PROBLEMS["squared error"]
    error, objective = time_to_accuracy.GramError(problem), DeepObjective(problem)
    x0 = objective.flat(ufm.solvers.random_start(problem, key=key))
    count = time_to_accuracy.scipy_iterations(objective, x0, error, (1e-6,))[1e-6]
    assert error(objective.point(time_to_accuracy.scipy_run(objective, x0, count).x)) <= 1e-6
    assert error(objective.point(time_to_accuracy.scipy_run(objective, x0, count - 1).x)) > 1e-6


@pytest.mark.thorough
def test_a_run_makes_a_table_and_a_figure(tmp_path):
    accuracy = time_to_accuracy.rows(seeds=[0], repeats=1, **TOY)
    contestants = {row.data["contestant"] for row in accuracy}
    assert {"ufm Newton, collapsed", "scipy L-BFGS-B"} <= contestants
    assert len(accuracy) == len(contestants) * len(time_to_accuracy.ACCURACIES)
    # what was not reached is marked in the name that a reader sees
    assert all(row.data["reached"] != row.rival_name.endswith("not reached") for row in accuracy)
    sizes = scaling.rows(
        seeds=[0], repeats=1, base={"K": 3, "d": 5, "n": 2, "M": 1}, axes={"K": (3, 4), "M": (1, 2)}
    )
    environment = harness.environment({})
    document = {
        "accuracy": {"environment": environment, "rows": [row.as_dict() for row in accuracy]},
        "scaling": {"environment": environment, "rows": [row.as_dict() for row in sizes]},
    }
    target = tmp_path / "rows.json"
    harness.write_json(str(target), document)
    document = json.loads(target.read_text(encoding="utf-8"))
    table = presentation.markdown(document)
    assert table.count("to 1e-06") == len(contestants)
    chosen = presentation.markdown(document, presentation.CHOSEN)
    assert set(chosen.splitlines()) < set(table.splitlines())
    presentation.figure(document).savefig(tmp_path / "figure.png")
    readme = f"before {presentation.BEGIN} old {presentation.END} after"
    assert (
        presentation.in_readme(readme, document)
        == f"before {presentation.BEGIN}\n{chosen}\n{presentation.END} after"
    )


def test_the_readme_shows_the_results_on_record():
    document = json.loads((presentation.RESULTS / "cpu.json").read_text(encoding="utf-8"))
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    assert presentation.in_readme(readme, document) == readme
    page = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
    assert presentation.page(document) == page.read_text(encoding="utf-8")


def test_every_row_of_the_readme_is_there_and_wins():
    document = json.loads((presentation.RESULTS / "cpu.json").read_text(encoding="utf-8"))
    rows = {
        (row["name"], row["rival_name"]): row
        for group in document.values()
        for row in group["rows"]
    }
    assert len(presentation.CHOSEN) <= 12
    for name in presentation.CHOSEN:
        assert rows[name]["ratio"] > 1, name
