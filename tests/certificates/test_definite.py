"""Witnesses stop where a form stops being positive, with decay alone and with any multipliers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from flint import fmpq

from tests.certificates.problems import problem_of
from ufm._exact.fractions import fractions
from ufm.certificates.definite import Form, Multipliers, feasible
from ufm.certificates.dual_point import Data, DualPoint

BITS = 106
SEED = np.random.default_rng(0)


def made(rows, columns, *, room=0, nonnegative=False) -> Multipliers:
    return Multipliers(fractions(rows), fractions(columns), fmpq(0), fmpq(room), nonnegative)


def decay_of(problem) -> Multipliers:
    K, C = problem.labels.targets.shape
    return Multipliers.of(problem, np.zeros(K), np.zeros(C), 0.0, False)


def inside(loss, labels):
    """Dual logits inside the simplex with room to spare, for shares that nothing is cut from."""
    problem = problem_of(loss, "none", labels, lam=0.5)
    dual = np.random.default_rng(0).standard_normal(problem.labels.targets.shape)
    dual = (
        1e-3 * (dual - dual.mean(axis=0))
        if loss == "mse"
        else -0.1 * (np.asarray(problem.labels.targets) - 0.25)
    )
    return problem, dual, dual * np.asarray(problem.labels.column_weights)


def test_both_sides_are_rounded_to_the_safe_one():
    # multipliers that have no binary inverse, and an N that is not on the grid
    b = (3, 5, 7, 11)
    multipliers = dataclasses.replace(made(np.ones(4), b), rows=[fmpq(1, 10007)] * 4)
    point = DualPoint.near(np.eye(4), Data.of(problem_of("mse")), BITS)
    form = Form.of(point, multipliers)
    y, exponent = point.weighted_dual
    grid = None
    for c, each in enumerate(b):
        # the largest power of two with which R still lies above what it bounds
        exact = fmpq(int(y[c, c]) ** 2, each)
        bits = (int(form.matrix[c, c]) * each // int(y[c, c]) ** 2).bit_length() - 1
        assert grid in (None, bits)
        grid = bits
        assert exact < fmpq(int(form.matrix[c, c]), 2**bits) < exact * (1 + fmpq(1, 2**120))
    limit = point.data.total**2 * 4**exponent / 10007
    for n in form.diagonal:
        assert limit * (1 - fmpq(1, 2**120)) < fmpq(n, 2**grid) < limit


@pytest.mark.parametrize("kind", ["decay", "rows", "room", "tiny", "nonnegative"])
@pytest.mark.parametrize(("loss", "labels"), [("ce", "tail"), ("mse", "tail"), ("mse", "uneven")])
def test_the_witness_stops_at_the_norm(loss, labels, kind):
    """Against NumPy's eigenvalues: proved just below the limit, never above it."""
    problem, dual, V = inside(loss, labels)
    K, C = V.shape
    rows, columns = 10 ** SEED.uniform(-2, 2, size=K), 10 ** SEED.uniform(-2, 2, size=C)
    if kind == "decay":
        rows = np.full(K, float(problem.lambda_W[0]))
        columns = np.asarray(problem.labels.masses) * float(problem.lambda_H)
    if kind == "tiny":
        rows *= 1e-150
    scaled = V / np.sqrt(rows)[:, None] / np.sqrt(columns)
    gram = scaled.T @ scaled
    if kind == "nonnegative":
        gram = np.where(np.eye(C, dtype=bool), gram, np.maximum(gram, 0))
    largest = float(np.linalg.eigvalsh(gram)[-1]) / (0.25 if kind == "room" else 1)
    data = Data.of(problem)
    point = DualPoint.near(dual, data, BITS)
    for relative, proved in ((1 - 1e-11, False), (1 + 1e-11, True)):
        options = {"room": fmpq(3, 4)} if kind == "room" else {}
        options |= {"nonnegative": True} if kind == "nonnegative" else {}
        form = Form.of(point, made(rows * largest * relative, columns, **options))
        excess = form.excess(form.witness())
        assert (excess is None) is proved
        if not proved:
            assert excess == pytest.approx(1, abs=1e-9)


def test_a_witness_of_nothing_proves_nothing():
    problem = problem_of("mse")
    form = Form.of(DualPoint.near(np.zeros((4, 4)), Data.of(problem), BITS), decay_of(problem))
    assert form.excess(form.witness()) is None
    for witness in ([[0] * 4] * 4, [[1] * 4] * 4):
        assert form.excess(witness) == np.inf


def test_shrinking_ends_inside():
    problem = problem_of("ce", "free", "smoothed")
    dual = 5.0 * np.random.default_rng(0).standard_normal((4, 4))
    point, witness = feasible(dual, Data.of(problem), decay_of(problem), BITS)
    assert Form.of(point, decay_of(problem)).excess(witness) is None
    assert any(u != 0 for column in point.columns() for u in column)


def test_frozen_weights_need_no_witness():
    problem = problem_of("mse")
    free = dataclasses.replace(decay_of(problem), rows=None)
    dual = 1e9 * np.eye(4)
    point, witness = feasible(dual, Data.of(problem), free, BITS)
    assert witness == []
    assert [float(int(u.p) / int(u.q)) for u in point.columns()[0]] == dual[0].tolist()
