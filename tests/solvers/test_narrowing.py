"""One d is solved for all wide features of a plain problem with one layer."""

from __future__ import annotations

import numpy as np
import pytest

import ufm
from ufm.solvers import pieces


def problem(d, *, counts=(8, 5, 3, 1), **options) -> ufm.Problem:
    labels = ufm.one_hot(counts, collapsed=True)
    return ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=(d,), lambda_W=2e-3, lambda_H=2e-3, **options
    )


@pytest.mark.lean("free")
@pytest.mark.parametrize("bias", [None, "free", 0.1])
def test_every_wide_d_has_the_same_optimum(bias, key):
    solutions = {d: ufm.minimise(problem(d, bias=bias), key=key) for d in (3, 4, 7, 40)}
    for d, solution in solutions.items():
        assert solution.result == ufm.Result.CONVERGED
        assert solution.params.features.shape == (d, 4)
        assert solution.params.weights[0].shape == (4, d)
        np.testing.assert_allclose(
            ufm.model.objective(solution.problem, solution.params), solution.value, rtol=1e-13
        )
        if d >= 4:
            assert ufm.certify(solution.problem, solution.params).gap < 1e-11
    np.testing.assert_allclose(solutions[7].logits, solutions[40].logits, rtol=1e-12, atol=1e-12)


def test_another_d_is_not_compiled_again(key):
    ufm.minimise(problem(6), key=key)
    compiled = pieces.launch._cache_size()
    for d in (4, 9, 300):
        ufm.minimise(problem(d), key=key)
    assert pieces.launch._cache_size() == compiled


@pytest.mark.parametrize("d", [2, 9])
def test_a_run_is_resumed_at_the_d_it_was_solved_at(d, key):
    p = problem(d)
    whole = ufm.minimise(p, key=key)
    part = ufm.minimise(p, key=key, solver=ufm.solvers.Newton(max_steps=3))
    rest = ufm.minimise(p, resume=part, solver=ufm.solvers.Newton())
    assert rest.num_steps == whole.num_steps
    np.testing.assert_allclose(rest.value, whole.value, rtol=1e-14)


def test_a_start_of_the_users_keeps_its_d(key):
    p = problem(9)
    start = ufm.solvers.random_start(p, key=key)
    solution = ufm.minimise(p, start=start)
    again = ufm.minimise(p, resume=solution)
    assert solution.result == again.result == ufm.Result.CONVERGED
    assert np.linalg.matrix_rank(start.features) == 4
    # all nine dimensions take part: no row of H is zero
    assert np.all(np.abs(solution.params.features).max(axis=1) > 0)
