"""The benchmark of many flows compares equals; its timings are reports and never assertions."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import ufm
from tests.benchmarks import flows
from ufm.flows.gradient_velocity import GradientVelocity


def test_both_sides_have_the_same_velocity(key):
    counts = (4, 2, 1)
    problem = ufm.Problem(
        ufm.one_hot(counts, collapsed=True),
        loss=ufm.CrossEntropy(),
        widths=(5,),
        lambda_W=1e-2,
        lambda_H=1e-2,
        bias="free",
    )
    start = ufm.solvers.random_start(problem, key=key)
    velocity = GradientVelocity()
    ours = np.concatenate(
        [
            np.ravel(leaf)
            for leaf in jax.tree.leaves(velocity(problem, velocity.state_of(problem, start)))
        ]
    )
    rival = flows.CrossEntropyFlow(class_counts=counts, feature_dim=5, decay=1e-2)
    np.testing.assert_allclose(rival(0.0, flows.flat(start)), ours, rtol=0, atol=1e-15)


@pytest.mark.thorough
def test_rows_at_toy_size():
    # `rows` itself raises unless both sides reach the accuracy
    rows = flows.rows(
        repeats=1, num_decays=2, num_seeds=2, class_counts=(3, 2), d=3, end=5.0, num_times=4
    )
    assert [row.required for row in rows] == [20, 20]
    assert all(row.ours.wall > 0 and row.rival.wall > 0 for row in rows)
