"""Features of a fixed classifier.

Against the closed form over fifteen decades, against the general minimiser, and what is refused.
"""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

import ufm
from ufm.optima import channels
from ufm.solvers import fixed_classifier, fixed_columns
from ufm.solvers.fixed_classifier import fit_features
from ufm.solvers.frame_newton import frame_newton

LAMBDAS = np.array([1.0, 0.99, 0.7, 0.5, 1e-3, 1e-9])


def mixtures(K: int) -> np.ndarray:
    """λ e_1 + (1 − λ) e_2, as columns."""
    targets = np.zeros((K, len(LAMBDAS)))
    targets[0], targets[1] = LAMBDAS, 1 - LAMBDAS
    return targets


def problem_of(targets, W, *, decay: float, masses=None, **options) -> ufm.Problem:
    weights = W if isinstance(W, tuple) else (np.asarray(W),)
    widths = tuple(factor.shape[1] for factor in reversed(weights))
    settings = {
        "loss": ufm.CrossEntropy(),
        "lambda_W": 0.1,
        "lambda_H": decay,
        "fixed_weights": weights,
    } | options
    return ufm.Problem(ufm.soft(targets, masses), widths=widths, **settings)


def assert_same_fit(found, wanted, *, to: float) -> None:
    """Features agree to a share of the largest, and values to rounding."""
    features = wanted.params.features
    assert_allclose(found.params.features, features, rtol=0, atol=to * np.abs(features).max())
    assert_allclose(found.value, wanted.value, rtol=1e-14)


def etf(K: int, *, multiplier: float = 1.0) -> np.ndarray:
    """A simplex ETF in K + 1 dimensions, turned at random."""
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(K + 1, K + 1)))
    return np.asarray(ufm.simplex_etf(K, multiplier=multiplier, dim=K + 1)).T @ turn


objective = jax.jit(ufm.model.objective)


@pytest.mark.parametrize("K", [2, 3, 4, 10, 100])
@pytest.mark.parametrize("multiplier", [0.3, 1.0, 5.0])
def test_closed_form_under_a_simplex_etf(K, multiplier):
    W = etf(K, multiplier=multiplier)
    targets = mixtures(K)
    for s in 10.0 ** np.arange(-12, 4):
        decay = s * multiplier**2 * K / (K - 1)
        solution = fit_features(
            problem_of(targets, W, decay=decay, masses=np.full(len(LAMBDAS), 1 / len(LAMBDAS)))
        )
        assert solution.result is ufm.Result.CONVERGED
        assert channels.strength(K, multiplier=multiplier, decay=decay) == pytest.approx(
            s, rel=1e-14
        )
        exact = channels.channel(K, LAMBDAS, strength=s).features(W[0], W[1]).T
        # at K = 2 and λ = 1/2 the feature is zero: the size of the others is the yardstick
        size = np.maximum(
            np.linalg.norm(exact, axis=0), np.linalg.norm(exact[:, 2]) if K == 2 else 0
        )
        assert_allclose(
            np.linalg.norm(solution.params.features - exact, axis=0) / size, 0, rtol=0, atol=1e-13
        )


@pytest.mark.parametrize("K", [3, 10])
def test_the_fast_path_equals_the_slow_one(K, monkeypatch):
    targets = np.random.default_rng(0).dirichlet(np.full(K, 0.3), size=40).T
    for decay in (1e-6, 1e-2, 10.0):
        problem = problem_of(targets, etf(K, multiplier=2.0), decay=decay)
        fast = fit_features(problem)
        with monkeypatch.context() as patched:
            patched.setattr(fixed_classifier, "in_a_frame", lambda *_: False)
            slow = fit_features(problem)
        assert fast.result is slow.result is ufm.Result.CONVERGED
        assert int(fast.num_evaluations) == 0 < int(slow.num_evaluations)
        # two products a conjugate-gradient step and one a gradient: the preconditioner is the
        # inverse, so that is one step each
        assert int(slow.num_evaluations) == 3 * int(slow.num_steps)
        assert_same_fit(fast, slow, to=1e-13)
        assert_allclose(fast.value, objective(problem, fast.params), rtol=1e-14)


@pytest.mark.parametrize("K", [2, 10, 1000])
def test_few_steps_over_all_strengths(K):
    """The start is close for every s, so that Newton's method is quadratic at once."""
    targets = np.random.default_rng(0).dirichlet(np.full(K, 0.3), size=50)
    solve = jax.jit(functools.partial(frame_newton, max_steps=100))
    for s in 10.0 ** np.arange(-12, 4):
        end = solve(targets, s)
        assert bool(end.done.all())
        assert int(end.steps) <= 4


def test_squared_error_is_ridge_regression():
    """(WᵀW + μ)⁻¹ Wᵀ q is linear in the label.

    Mixtures are mixtures of the features of their classes.
    """
    W, targets = (
        np.random.default_rng(1).normal(size=(4, 6)),
        np.concatenate([np.eye(4), 0.3 * np.eye(4) + 0.7 * np.eye(4)[:, ::-1]], axis=1),
    )
    solution = fit_features(problem_of(targets, W, decay=0.01, loss=ufm.MeanSquaredError()))
    assert solution.result is ufm.Result.CONVERGED
    features = np.linalg.solve(W.T @ W + 8 * 0.01 * np.eye(6), W.T @ targets)
    assert_allclose(solution.params.features, features, rtol=1e-11, atol=1e-13)
    assert_allclose(
        features[:, 4:], 0.3 * features[:, :4] + 0.7 * features[:, 3::-1], rtol=0, atol=1e-13
    )


def test_sweeping_numbers_does_not_recompile():
    def solve(decay, multiplier):
        return fit_features(problem_of(mixtures(4), etf(4, multiplier=multiplier), decay=decay))

    solve(0.1, 1.0)
    before = fixed_columns.solve_columns._cache_size()
    solve(1e-4, 2.0)
    assert fixed_columns.solve_columns._cache_size() == before
