"""The rival on spheres minimises the same function, with derivatives that are right.

Its timings are reports and never assertions.
"""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest

import ufm
from tests.benchmarks import equiangular, harness, spheres
from tests.benchmarks.manifold_rival import SphereCrossEntropy
from ufm.model import objective

RIVAL = SphereCrossEntropy(5, 3, 2.0)


def columns(seed):
    return np.random.default_rng(seed).normal(size=(2, RIVAL.dim, RIVAL.num_vectors))


def test_both_sides_minimise_the_same_function():
    problem = spheres.our_problem(RIVAL)
    start = ufm.solvers.random_start(problem, key=jax.random.key(0))
    W, H = np.asarray(start.weights[0]).T, np.asarray(start.features) / RIVAL.beta
    np.testing.assert_allclose(np.linalg.norm([W, H], axis=1), 1, rtol=1e-14)
    assert np.exp(RIVAL.cost(W, H)) == pytest.approx(float(objective(problem, start)), rel=1e-14)


def test_derivatives_by_differences():
    point, along, step = columns(0), columns(1), 1e-5

    def moved(function, t):
        return np.asarray(function(*(point + t * along)))

    def slope(function):
        # central differences: the square of a step, and rounding over it
        return (moved(function, step) - moved(function, -step)) / (2 * step)

    gradient = np.asarray(RIVAL.gradient(*point))
    assert np.vdot(gradient, along) == pytest.approx(float(slope(RIVAL.cost)), rel=1e-8)
    np.testing.assert_allclose(
        RIVAL.hessian(*point, *along), slope(RIVAL.gradient), rtol=0, atol=1e-8
    )


def test_rows_at_toy_size(monkeypatch):
    # `rows` itself raises unless both reach the tolerance at one value
    pytest.importorskip("pymanopt")
    monkeypatch.setattr(spheres, "MANY", 4)
    rows = spheres.rows(seeds=[0], repeats=1, sizes=((4, 3, 2.0),))
    assert [row.required for row in rows] == [None, spheres.PROMISED, spheres.PROMISED]
    assert all(row.ours.wall > 0 for row in rows)
    assert harness.table(rows)


def test_the_published_procedure_lowers_the_coherence(monkeypatch):
    start = equiangular.published_procedure(40, 10, 0.35, 0.0, seed=1)
    assert start[1] == 0
    least, steps, _ = equiangular.published_procedure(40, 10, 0.5, 20.0, seed=1)
    assert least <= 0.5 + equiangular.SLACK
    assert steps > 1
    monkeypatch.setattr(equiangular, "NUMBER", 40)
    entry = equiangular.entry(40, 10, 0.5, steps=20)
    assert entry["welch"] < entry["ours"] < 0.5
    assert entry["procedure seconds"] > 0
    assert "| 40 | 10 | 0.50000 |" in equiangular.markdown([entry])


def test_every_line_keeps_the_environment_it_was_measured_in(monkeypatch, tmp_path):
    path, place = str(tmp_path / "equiangular.json"), {"cores": 1}
    monkeypatch.setattr(harness, "environment", lambda threads: dict(place))
    for cores, dim in ((1, 20), (2, 10), (2, 20), (3, 10)):
        place["cores"] = cores
        equiangular._written(path, {"N": 40, "d": dim, "ours": 0.5})
        document = json.loads(Path(path).read_text())
    own = [(row["d"], document["environments"][row["environment"]]) for row in document["rows"]]
    single = {"dtype": "float32"}
    assert own == [(10, {"cores": 3, **single}), (20, {"cores": 2, **single})]
    assert len(document["environments"]) == 2


def test_many_vectors_are_counted_in_memory():
    entry = equiangular.many(200, 20, steps=2)
    assert entry["MiB of the Gram matrix, float64"] == pytest.approx(0.305, abs=1e-3)
    assert entry["welch"] < entry["ours"] < 0.9
