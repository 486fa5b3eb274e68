"""Dual points are on their constraints whatever the floats were, and witnesses stop at the norm."""

from __future__ import annotations

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from flint import fmpq
from hypothesis import given
from hypothesis import strategies as st

from tests.certificates.problems import BIASES, LABELS, LOSSES, problem_of
from ufm.certificates.dual_point import Data, DualPoint, feasible

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


def test_both_forms_are_rounded_to_the_safe_side():
    # masses that have no binary inverse, and a ν that is not on the grid
    masses = jnp.array([3.0, 5.0, 7.0, 11.0])
    data = Data.of(eqx.tree_at(lambda p: p.labels.masses, problem_of("mse"), masses))
    data = dataclasses.replace(data, limit=data.limit / 10007)
    point = DualPoint.near(np.eye(4), data, BITS)
    limit, R = point.forms
    y, exponent = point.weighted_dual
    grid = None
    for c, mass in enumerate((3, 5, 7, 11)):
        # the largest power of two with which R still lies above what it bounds
        exact = fmpq(int(y[c, c]) ** 2, mass)
        bits = (int(R[c, c]) * mass // int(y[c, c]) ** 2).bit_length() - 1
        assert grid in (None, bits)
        grid = bits
        assert exact < fmpq(int(R[c, c]), 2**bits) < exact * (1 + fmpq(1, 2**120))
    assert (
        data.limit * 4**exponent * (1 - fmpq(1, 2**120))
        < fmpq(limit, 2**grid)
        < data.limit * 4**exponent
    )


@pytest.mark.parametrize("loss", ["ce", "mse"])
@pytest.mark.parametrize("labels", ["tail", "uneven"])
def test_the_witness_stops_at_the_norm(loss, labels):
    """Against NumPy's singular values: proved just below the ball, never above it."""
    problem = problem_of(loss, "none", labels, lam=0.5)
    data, rng = Data.of(problem), np.random.default_rng(0)
    weights, masses = np.asarray(problem.labels.column_weights), np.asarray(problem.labels.masses)
    dual = rng.standard_normal(problem.labels.targets.shape)
    # inside the simplex with room to spare, for shares that nothing has to be cut from
    dual = (
        1e-3 * (dual - dual.mean(axis=0))
        if loss == "mse"
        else -0.1 * (np.asarray(problem.labels.targets) - 0.25)
    )
    mu = float(np.sqrt(problem.lambda_W[0] * problem.lambda_H))
    norm = np.linalg.norm(dual * weights / np.sqrt(masses), 2) / mu
    scaled = dataclasses.replace(data, limit=data.limit * fmpq(*float(norm**2).as_integer_ratio()))
    for relative, proved in ((1 - 1e-12, False), (1 + 1e-12, True)):
        tight = dataclasses.replace(
            scaled, limit=scaled.limit * fmpq(*float(relative**2).as_integer_ratio())
        )
        point = DualPoint.near(dual, tight, BITS)
        excess = point.excess(point.witness())
        assert (excess is None) is proved
        if not proved:
            assert excess == pytest.approx(1, abs=1e-10)


def test_a_witness_of_nothing_proves_nothing():
    data = Data.of(problem_of("mse"))
    point = DualPoint.near(np.zeros((4, 4)), data, BITS)
    assert point.excess(point.witness()) is None
    for witness in ([[0] * 4] * 4, [[1] * 4] * 4):
        assert point.excess(witness) == np.inf


def test_shrinking_ends_inside():
    data = Data.of(problem_of("ce", "free", "smoothed"))
    dual = 5.0 * np.random.default_rng(0).standard_normal((4, 4))
    point, witness = feasible(dual, data, BITS)
    assert point.excess(witness) is None
    assert any(u != 0 for column in point.columns() for u in column)
