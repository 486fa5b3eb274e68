"""The long-tail benchmark runs and compares equals.

Its timings are reports and never assertions.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize

import ufm
from tests.benchmarks import cross_entropy
from tests.benchmarks.long_tail_rival import LongTailCrossEntropy, budget_for, has_cvxpy, lbfgs


@pytest.mark.parametrize("scaled", [False, True])
def test_both_sides_minimise_the_same_function(scaled, key):
    rival = LongTailCrossEntropy((20, 7, 2), 4, 1e-2, scaled)
    problem = cross_entropy.our_problem(rival)
    start = ufm.solvers.random_start(problem, key=key)
    x = rival.flat(np.asarray(start.weights[0]), np.asarray(start.features))
    evaluate = rival.value_and_gradient()
    np.testing.assert_allclose(evaluate(x)[0], ufm.model.objective(problem, start), rtol=1e-14)
    # forward differences of step 1.5e-8 on a function of size one
    assert scipy.optimize.check_grad(lambda y: evaluate(y)[0], lambda y: evaluate(y)[1], x) < 1e-6
    np.testing.assert_allclose(rival.gap(x), ufm.certify(problem, start).gap, rtol=1e-12)


def test_the_budget_is_that_of_the_gap_asked_for(key):
    rival = LongTailCrossEntropy((20, 7, 2), 4, 1e-2)
    start = ufm.solvers.random_start(cross_entropy.our_problem(rival), key=key)
    x0 = rival.flat(np.asarray(start.weights[0]), np.asarray(start.features))
    budget, gap = budget_for(rival, x0, 1e-5)
    assert gap <= 1e-5 < rival.gap(lbfgs(rival, x0, budget - 1).x)
    np.testing.assert_allclose(rival.gap(lbfgs(rival, x0, budget).x), gap, rtol=1e-10)


def test_rows_at_toy_size():
    # `rows` itself raises unless our gap closes, and unless the cone solver agrees where there is
    # one
    rows = cross_entropy.rows(seeds=[0], repeats=1, K=6, ratio=10, d=7, decay=1e-3)
    assert [row.required for row in rows] == [cross_entropy.LONG_TAIL, None, *[None] * has_cvxpy()]
    assert all(row.ours.wall > 0 and row.rival.wall > 0 for row in rows)


@pytest.mark.skipif(
    not has_cvxpy(), reason="cvxpy is not installed: pip install -e '.[benchmarks]'"
)
def test_a_wrong_cone_value_is_refused(monkeypatch):
    monkeypatch.setattr(cross_entropy, "nuclear_norm_form", lambda rival: lambda: 1.0)
    with pytest.raises(RuntimeError, match="cvxpy and ours differ"):
        cross_entropy.cone_rows(seeds=[0], repeats=1)
