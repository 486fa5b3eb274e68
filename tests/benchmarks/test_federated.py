"""The benchmark of a federation compares equals. Its timings are reports and never assertions."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import ufm
from tests.benchmarks import federated


def test_both_sides_minimise_the_same_function():
    counts = federated.client_counts(clients=3, K=4, concentration=0.5)
    problem = federated.our_problem(counts, decay=0.02)
    number = problem.labels.num_columns
    features = np.random.default_rng(0).normal(size=(4, number))
    functions = federated.columns(problem, counts, 0.02, number)
    values = [function(h)[0] for function, h in zip(functions, features.T, strict=True)]
    shares = np.asarray(problem.labels.column_weights)
    params = ufm.Params(problem.fixed_weights or (), jnp.asarray(features))
    np.testing.assert_allclose(shares @ values, ufm.model.objective(problem, params), rtol=1e-13)
    step = 1e-6 * features[:, 0]
    rise = functions[0](features[:, 1] + step)[0] - functions[0](features[:, 1] - step)[0]
    # central differences of steps of 1e-6 on a function of size one
    assert abs(rise - 2 * functions[0](features[:, 1])[1] @ step) < 1e-13


def test_rows_at_toy_size():
    # `rows` itself raises unless we converge to the closed form and the rival agrees
    (row,) = federated.rows(repeats=1, K=4, clients=20, sample=5)
    assert row.required == federated.REQUIRED
    assert row.ours.wall > 0
    assert row.rival.wall > 0
