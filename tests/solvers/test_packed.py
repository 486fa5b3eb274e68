"""States as programs take and return them."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.solvers import LBFGS, Newton, packed
from ufm.solvers.solver import State


def states_of(size: int = 6, starts: int = 3) -> State:
    """Of three starts, with memory of every kind."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(one(i, size) for i in range(starts)))


def one(i: int, size: int) -> State:
    numbers = jnp.asarray(np.random.default_rng(i).normal(size=size))
    return State(
        flat=numbers,
        value=numbers[0],
        gradient=-numbers,
        grad_norm=numbers[1] ** 2,
        memory={
            "rounded": numbers[:4].reshape(2, 2).astype(jnp.float32),
            "large": jnp.asarray(2**40 + i),
            "small": jnp.asarray(7 + i, jnp.int32),
            "flag": jnp.asarray(i % 2 == 0),
            "none": None,
        },
        num_steps=jnp.asarray(3 + i),
        num_evaluations=jnp.asarray(20 + i),
        stalled=jnp.asarray(i == 1),
    )


def solvable() -> ufm.Problem:
    labels = ufm.one_hot((1, 1, 1), collapsed=True)
    return ufm.Problem(labels, loss=ufm.CrossEntropy(), widths=(3,), lambda_W=1e-2, lambda_H=1e-2)


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("size", [6, 5000])
def test_what_is_packed_comes_back(size):
    states, codes = states_of(size), jnp.asarray([1, 2, 0])
    held = jax.jit(packed.packed)(states, codes, jnp.asarray(2))
    assert_same(jax.jit(lambda held: held.states)(held), states)
    assert held.size == size
    # what is large is not copied
    assert [leaf.shape for leaf in held.large] == ([(3, size)] * 2 if size > 4096 else [])
    assert set(held.arrays) == {"float64", "float32", "whole"}
    np.testing.assert_array_equal(held.codes, codes)
    assert held.best == 2
    np.testing.assert_array_equal(held.num_steps, states.num_steps)
    np.testing.assert_array_equal(held.num_evaluations, states.num_evaluations)


def test_the_best_start_is_continued():
    held = packed.packed(states_of(), jnp.asarray([1, 2, 0]), jnp.asarray(0))
    more = held.continued(1, 10, 100)
    assert (more.best, held.best) == (1, 0)
    np.testing.assert_array_equal(more.num_steps, [3, 14, 5])
    np.testing.assert_array_equal(more.num_evaluations, [20, 121, 22])
    np.testing.assert_array_equal(more.codes, held.codes)
    assert_same(more.states.memory, held.states.memory)
    np.testing.assert_array_equal(more.states.num_steps, more.num_steps)


@pytest.mark.parametrize("solver", [Newton(), LBFGS(memory_size=3)], ids=["newton", "lbfgs"])
def test_a_solve_returns_few_arrays(solver, key):
    """State and all, which are what a small solve spends its time on."""
    solution = ufm.minimise(solvable(), key=key, solver=solver, tolerance=1e-8)
    assert len(jax.tree.leaves(solution.state)) == 2
    states = solution.state.states
    np.testing.assert_array_equal(states.value[solution.state.best], solution.value)
    assert int(states.num_steps[0]) == int(solution.num_steps) > 0


@pytest.mark.parametrize("bounded", [False, True])
def test_a_solution_that_was_stored_goes_on(bounded, key):
    problem = solvable()
    if bounded:
        sphere = ufm.domains.Sphere(3.0)
        problem = problem.replace(features=sphere, classifier=sphere, lambda_W=0.0, lambda_H=0.0)
    part = ufm.minimise(problem, key=key, solver=Newton(max_steps=3))
    stored = pickle.loads(pickle.dumps(part))
    assert_same(stored.state, part.state)
    found, expected = (ufm.minimise(problem, resume=one) for one in (stored, part))
    assert found.result is ufm.Result.CONVERGED
    assert (found.num_steps, float(found.value)) == (expected.num_steps, float(expected.value))


def test_what_has_no_steps_to_go_on_with_is_not_resumed(key):
    problem = solvable()
    solution = ufm.minimise(problem, key=key)
    words = "`resume` must be a solution of `ufm.minimise`; got one that has no steps to go on with"
    with pytest.raises(ValueError, match=words):
        ufm.minimise(problem, resume=dataclasses.replace(solution, state=None))
