"""Dual points are on their constraints whatever the floats were."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.certificates.problems import BIASES, LABELS, LOSSES, problem_of
from ufm.certificates.dual_point import Data, DualPoint

BITS = 106


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("loss", LOSSES)
@given(seed=st.integers(0, 2**32 - 1), log_size=st.floats(-20, 3))
def test_every_constraint_holds_exactly(loss, bias, labels, seed, log_size):
    problem = problem_of(loss, bias, labels)
    data = Data.of(problem)
    dual = 10**log_size * np.random.default_rng(seed).standard_normal(problem.labels.targets.shape)
    point = DualPoint.near(dual, data, BITS)
    if bias == "free":
        assert not any(point.mean())
    for u, q in zip(point.columns(), zip(*data.targets, strict=True), strict=True):
        conjugate = problem.loss.enclose_conjugate(u, list(q))
        assert conjugate.is_finite()


def test_what_satisfies_the_constraints_is_kept():
    # p − q with p uniform has shares on the grid
    problem = problem_of("ce", "free", "balanced")
    dual = 0.25 - np.eye(4)
    point = DualPoint.near(dual, Data.of(problem), BITS)
    assert [
        [float(int(u.p) / int(u.q)) for u in column] for column in point.columns()
    ] == dual.T.tolist()


@pytest.mark.parametrize("loss", ["ce", "mse"])
def test_numbers_that_are_none_become_zero(loss):
    problem = problem_of(loss)
    point = DualPoint.near(np.full((4, 4), np.nan), Data.of(problem), BITS)
    assert all(u == 0 for column in point.columns() for u in column)
