"""Dual points are on their constraints whatever the floats were."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import ufm
from tests.certificates.problems import BIASES, LABELS, LOSSES, problem_of
from ufm.certificates.dual_point import Data, DualPoint
from ufm.losses import balance

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


def dropped(seed: int) -> ufm.Problem:
    """A problem with a free bias whose columns drop whatever has no target there, at random."""
    rng = np.random.default_rng(seed)
    K, C = ((2, 3), (4, 4), (5, 3))[seed % 3]
    targets = rng.dirichlet(np.full(K, 0.3), size=C).T * (rng.uniform(size=(K, C)) < 0.5)
    targets[rng.integers(K, size=C), range(C)] += 1e-3
    labels = ufm.soft(targets / targets.sum(axis=0), rng.integers(1, 9, size=C).astype(float))
    gone = (np.asarray(labels.targets) == 0) & (rng.uniform(size=(K, C)) < rng.uniform())
    return ufm.Problem(
        ufm.labels.with_offsets(labels, np.where(gone, -np.inf, 0.0)),
        loss=ufm.CrossEntropy(),
        widths=(K,),
        lambda_W=0.1,
        lambda_H=0.1,
        bias="free",
    )


@given(seed=st.integers(0, 2**32 - 1), log_size=st.floats(-20, 3), some=st.booleans())
def test_shares_move_only_where_columns_keep_both_classes(seed, log_size, some):
    problem = dropped(seed)
    data, rng = Data.of(problem), np.random.default_rng(seed)
    # (shares that are zero can give nothing)
    dual = 10**log_size * rng.standard_normal(problem.labels.targets.shape)
    point = DualPoint.near(np.where(rng.uniform(size=dual.shape) < 0.5, dual, -some), data, BITS)
    assert not any(point.mean())
    losses = [problem.loss.of_columns(slice(c, c + 1)) for c in range(problem.labels.num_columns)]
    columns = zip(losses, point.columns(), zip(*data.targets, strict=True), strict=True)
    assert all(loss.enclose_conjugate(u, list(q)).is_finite() for loss, u, q in columns)


def test_shares_go_by_way_of_others():
    """Class 0 has too much and class 2 too little, which no column keeps both; 1 is in between."""
    labels = ufm.soft(np.array([[0.5, 0.0], [0.5, 0.5], [0.0, 0.5]]), np.ones(2))
    gone = np.array([[0.0, -np.inf], [0.0, 0.0], [-np.inf, 0.0]])
    problem = ufm.Problem(
        ufm.labels.with_offsets(labels, gone),
        loss=ufm.CrossEntropy(),
        widths=(3,),
        lambda_W=0.1,
        lambda_H=0.1,
        bias="free",
    )
    dual = np.array([[0.25, 0.0], [-0.25, 0.0], [0.0, 0.0]])
    point = DualPoint.near(dual, Data.of(problem), BITS)
    assert all(u == 0 for column in point.columns() for u in column)


potentials, moved_by, moves = map(jax.jit, (balance.potentials, balance.moved_by, balance.moves))


@given(seed=st.integers(0, 2**32 - 1))
def test_potentials_are_those_of_the_laplacian(seed):
    """The pseudo-inverse, what it moves, and that no sum so small moves more."""
    problem, rng = dropped(seed), np.random.default_rng(seed)
    kept = np.asarray(problem.labels.offsets) > -np.inf
    shares = np.where(kept, rng.uniform(0.1, 1, size=kept.shape), 0)
    shares, w = shares / shares.sum(axis=0), np.asarray(problem.labels.column_weights)
    laplacian = np.diag(shares @ w) - (shares * w) @ shares.T
    inverse = potentials(shares, kept, w)
    # (of all that differ by what costs nothing)
    assert_allclose(laplacian @ inverse @ laplacian, laplacian, rtol=0, atol=1e-11)
    wanted = 1e-3 * laplacian @ rng.normal(size=len(shares))
    moved = np.asarray(moved_by(shares, inverse @ wanted))
    assert_allclose(moved @ w, wanted, rtol=0, atol=1e-15)
    assert_allclose(moved.sum(axis=0), 0, rtol=0, atol=1e-16)
    assert np.all(moved[~kept] == 0)
    most = moves(shares, inverse, np.abs(wanted))
    assert np.all(np.abs(moved) <= most)
