"""Conjugate gradients in single precision inside Newton's method in double."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import ufm
from tests.benchmarks.manifold_rival import SphereCrossEntropy
from tests.benchmarks.spheres import our_problem
from ufm.solvers.coordinates import to_flat
from ufm.solvers.merit import PlainMerit
from ufm.solvers.newton import Newton
from ufm.solvers.newton.bias import curvature_units
from ufm.solvers.one_layer import OneLayer, hessian, join, split

# every problem is large
SINGLE = Newton(single_from=1)


def make() -> ufm.Problem:
    labels = ufm.one_hot((30, 9, 3, 1), collapsed=True)
    return ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=(4,), lambda_W=1e-3, lambda_H=1e-4, bias="free"
    )


@pytest.fixture(scope="module")
def exact() -> ufm.Solution:
    return ufm.minimise(make(), key=jax.random.key(0), progress=False)


def test_the_optimum_is_that_of_double_precision(exact):
    solution = ufm.minimise(make(), key=jax.random.key(0), solver=SINGLE, progress=False)
    assert solution.result is ufm.Result.CONVERGED
    assert solution.params.features.dtype == np.float64
    np.testing.assert_allclose(solution.value, exact.value, rtol=1e-14)
    # (a shift of the free bias is not determined)
    shares = [scipy.special.softmax(one.params.logits, axis=0) for one in (solution, exact)]
    np.testing.assert_allclose(*shares, rtol=1e-9)
    assert bool(solution.state.states.memory.rounding.next[0])
    # no more than the few products that another rounding may cost
    assert int(solution.num_evaluations) <= 1.2 * int(exact.num_evaluations)


def _nan(problem, flat, logits):
    return lambda direction: jax.tree.map(lambda part: jnp.nan * part, direction)


def _without_loss(problem, flat, logits):
    """A Hessian far from the true one, and positive."""
    weights = 1e-9 * problem.column_weights
    flatter = eqx.tree_at(lambda one: one.column_weights, problem, weights)
    return hessian(flatter, flat, logits)


@pytest.mark.parametrize("wrong", [_nan, _without_loss])
def test_a_solve_that_came_to_nothing_is_done_in_double(wrong, exact, monkeypatch):
    def found(merit, flat, logits):
        rounded = flat.dtype == np.float32
        return (wrong if rounded else hessian)(merit.scaled, flat, logits)

    monkeypatch.setattr(PlainMerit, "hessian", found)
    # (another static number, as the programs of the true one are compiled)
    solver = Newton(single_from=2 if wrong is _nan else 3)
    solution = ufm.minimise(make(), key=jax.random.key(0), solver=solver, progress=False)
    assert solution.result is ufm.Result.CONVERGED
    np.testing.assert_allclose(solution.value, exact.value, rtol=1e-14)


def test_spheres_are_solved_in_single_too(key):
    problem = our_problem(SphereCrossEntropy(7, 5, 6.0))
    small, large = (
        ufm.minimise(problem, key=key, solver=solver, tolerance=1e-10, progress=False)
        for solver in (Newton(), SINGLE)
    )
    assert large.result is ufm.Result.CONVERGED
    np.testing.assert_allclose(large.value, small.value, rtol=1e-14)
    assert bool(large.state.states.memory.rounding.next[0])
    assert int(large.num_evaluations) <= 1.2 * int(small.num_evaluations)


@pytest.mark.parametrize(("solver", "dtype"), [(Newton(), np.float64), (SINGLE, np.float32)])
def test_small_problems_and_those_in_single_have_one_kind_of_solve(solver, dtype, key):
    labels = ufm.one_hot((30, 9, 3), collapsed=True, dtype=dtype)
    problem = ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=(3,), lambda_W=1e-2, lambda_H=1e-2
    )
    solution = ufm.minimise(problem, key=key, solver=solver, progress=False)
    assert solution.state.states.memory.rounding is None


def long_tail() -> ufm.Problem:
    labels = ufm.one_hot((500,) * 20 + (5,) * 20, collapsed=True)
    return ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=(40,), lambda_W=1e-5, lambda_H=1e-5, bias="free"
    )


def test_a_free_bias_with_far_to_go_has_steps_of_its_own():
    problem = long_tail()
    small, large = (
        ufm.minimise(problem, key=jax.random.key(1), solver=solver, tolerance=1e-10, progress=False)
        for solver in (Newton(), SINGLE)
    )
    np.testing.assert_allclose(large.value, small.value, rtol=1e-13)
    assert int(large.num_steps) < int(small.num_steps) / 2
    assert int(large.num_evaluations) < int(small.num_evaluations) / 2


def test_units_of_a_free_bias_are_those_of_its_curvature(key):
    problem = long_tail()
    start = ufm.solvers.random_start(problem, key=key)
    logits = 5 * np.random.default_rng(0).normal(size=(40, 40))

    @jax.jit
    def found(logits):
        scaled, flat = OneLayer.of(problem), to_flat(problem, start)
        times = hessian(scaled, flat, logits)
        bias = jnp.eye(len(flat))[-40:]
        rows = jax.lax.map(lambda unit: join(times(split(scaled, unit))), bias)
        diagonal = jnp.sum(bias * rows, axis=1)
        bound = eqx.tree_at(
            lambda one: one.lambda_b, scaled, 1e-2, is_leaf=lambda leaf: leaf is None
        )
        units = (curvature_units(one, flat, logits) for one in (scaled, bound))
        return diagonal, *units

    diagonal, units, bound = jax.device_get(found(logits))
    np.testing.assert_array_equal(units[:-40], 1)
    ratio = units[-40:] ** -2 / diagonal
    assert 0.2 < np.min(ratio) < np.max(ratio) < 3
    np.testing.assert_array_equal(bound, 1)
