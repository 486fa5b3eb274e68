"""The benchmark of fixed classifiers compares equals.

Its timings are reports and never assertions.
"""

from __future__ import annotations

import numpy as np
import pytest

import ufm
from tests.benchmarks import fixed_classifier


@pytest.mark.parametrize("etf", [True, False])
def test_both_sides_minimise_the_same_function(etf):
    problem = fixed_classifier.our_problem(K=4, d=5, labels=3, multiplier=2.0, decay=1e-2, etf=etf)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(5, 3))
    W = np.asarray(problem.fixed_weights[0])
    rivals = [
        fixed_classifier.OneLabel(W, target, 1e-2)
        for target in np.asarray(problem.labels.targets).T
    ]
    values = [rival(h)[0] for rival, h in zip(rivals, features.T, strict=True)]
    np.testing.assert_allclose(
        np.mean(values),
        ufm.model.objective(problem, ufm.Params(problem.fixed_weights, features)),
        rtol=1e-14,
    )
    step = 1e-6 * rng.normal(size=5)
    rise = rivals[0](features[:, 0] + step)[0] - rivals[0](features[:, 0] - step)[0]
    # central differences of steps of 1e-6 on a function of size one
    assert abs(rise - 2 * rivals[0](features[:, 0])[1] @ step) < 1e-14


@pytest.mark.thorough
def test_rows_at_toy_size():
    # `rows` itself raises unless we converge and the rival agrees
    rows = fixed_classifier.rows(repeats=1, K=5, d=6, labels=40, sample=4)
    assert [row.required for row in rows] == [fixed_classifier.REQUIRED, None, None, None]
    assert all(row.ours.wall > 0 and row.rival.wall > 0 for row in rows)
