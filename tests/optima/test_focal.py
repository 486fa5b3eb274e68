"""Focal loss: the scalar problem against a grid, the first-order transition, and the solver."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import ufm
from tests.optima.test_cross_entropy import make
from ufm.losses import Focal
from ufm.optima.cross_entropy import etf_scale
from ufm.optima.focal import focal_scale, focal_thresholds

GAMMAS = (0.0, 0.5, 2.0, 5.0)


def objective(a, K, strength, gamma):
    p = 1 / (1 + (K - 1) * np.exp(-a))
    return -((1 - p) ** gamma) * np.log(p) + (K - 1) * strength * a


@pytest.mark.parametrize("K", [2, 5, 100])
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("fraction", [1e-3, 0.5, 0.9, 0.999, 1.001, 1.02, 1.1])
def test_the_minimum_of_the_scalar_problem(K, gamma, fraction):
    strength = fraction * focal_thresholds(K, gamma=gamma).transition / K
    found = focal_scale(K, strength, gamma=gamma)
    grid = objective(np.linspace(0, 40, 400_001), K, strength, gamma)
    assert_allclose(objective(found.scale, K, strength, gamma), found.value, rtol=1e-12)
    # a grid of step h misses a minimum by less than h²
    assert found.value <= grid.min() * (1 + 1e-12)
    assert_allclose(found.value, grid.min(), rtol=1e-7)
    assert (found.scale > 0) == (fraction < 1)
    # every stationary point is counted: so often the grid turns
    turns = np.count_nonzero(np.diff(np.sign(np.diff(grid))))
    assert turns == (found.large is not None) + (found.small is not None)


@pytest.mark.parametrize(("K", "strength"), [(4, 0.1), (4, 1e-12), (100, 1e-5)])
def test_gamma_zero_is_cross_entropy(K, strength):
    assert_allclose(focal_scale(K, strength, gamma=0.0).scale, etf_scale(K, strength), rtol=1e-13)


@pytest.mark.parametrize(
    ("gamma", "expected"),
    [
        pytest.param(1, 1.122, id="1"),
        pytest.param(2, 1.155, id="2"),
        pytest.param(3, 1.130, id="3"),
        pytest.param(5, 0.987, id="5"),
    ],
)
def test_stability_by_number(gamma, expected):
    assert_allclose(focal_thresholds(5, gamma=gamma).stability, expected, rtol=0, atol=5e-4)
    K = 5
    slope = (1 - 1 / K) ** gamma * ((1 - 1 / K) + gamma * np.log(K) / K) * K / (K - 1)
    assert_allclose(focal_thresholds(K, gamma=gamma).stability, slope, rtol=1e-13)


def test_the_transition_is_first_order_for_many_classes():
    thresholds = focal_thresholds(100, gamma=2.0)
    assert thresholds.stability < thresholds.transition < thresholds.existence
    below, at, above = (
        focal_scale(100, f * thresholds.transition / 100, gamma=2.0) for f in (0.999, 1.0, 1.001)
    )
    assert below.scale > 1.0
    assert above.scale == 0
    assert above.large is not None
    assert above.small is not None
    assert (below.tie, at.tie, above.tie) == (False, True, False)
    # at the transition both are optimal to rounding
    assert_allclose(
        objective(at.large, 100, thresholds.transition / 100, 2.0),
        objective(0.0, 100, thresholds.transition / 100, 2.0),
        rtol=1e-13,
    )
    beyond = focal_scale(100, 1.001 * thresholds.existence / 100, gamma=2.0)
    assert (beyond.scale, beyond.large, beyond.small) == (0.0, None, None)


def test_the_transition_is_continuous_for_few_classes():
    thresholds = focal_thresholds(5, gamma=2.0)
    assert thresholds.stability == thresholds.transition == thresholds.existence
    assert 0 < focal_scale(5, 0.9999 * thresholds.transition / 5, gamma=2.0).scale < 0.01


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("fraction", [1e-3, 0.5, 0.97, 1.03])
@pytest.mark.parametrize("bias", [None, "free"])
def test_the_solver_agrees(gamma, fraction, bias, key):
    strength = fraction * focal_thresholds(4, gamma=gamma).transition * np.sqrt(5)
    problem = make((5,) * 4, strength, loss=Focal(gamma), bias=bias)
    solution = ufm.minimise(problem, key=key, starts=4, progress=False)
    assert solution.result is ufm.Result.CONVERGED
    optimum = ufm.closed_form(problem)
    comparison = ufm.compare(solution, optimum)
    assert comparison.ok, str(comparison)
    assert optimum.regime == ("simplex ETF" if fraction < 1 else "trivial")


def test_first_order_transition_in_the_model(key):
    """K = 30, γ = 3: between stability and transition zero is a local minimum of the whole model,
    and the ETF lies below it."""
    thresholds = focal_thresholds(30, gamma=3.0)
    assert thresholds.transition > 1.01 * thresholds.stability
    strength = 0.5 * (thresholds.stability + thresholds.transition)
    problem = make((1,) * 30, strength, loss=Focal(3.0), d=30)
    optimum = ufm.closed_form(problem)
    zero = -((29 / 30) ** 3) * np.log(1 / 30)
    assert optimum.value < zero * (1 - 1e-4)
    # each is reached from somewhere: both are local minima, and no certificate tells which is
    # global
    for start, expected in (
        (ufm.solvers.random_start(problem, key=key), zero),
        (_toward(optimum, problem), optimum.value),
    ):
        solution = ufm.minimise(problem, start=start, progress=False)
        assert solution.result is ufm.Result.CONVERGED
        assert_allclose(float(solution.value), expected, rtol=1e-12)


def _toward(optimum, problem):
    """Half the optimal logits, from balanced factors."""
    left, s, right = np.linalg.svd(optimum.logits / 2)
    ratio = float(problem.lambda_H / problem.lambda_W[0]) ** 0.25
    weights = left * np.sqrt(s) * ratio
    return ufm.Params(
        weights=(jnp.asarray(weights),), features=jnp.asarray((right.T * np.sqrt(s) / ratio).T)
    )


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        pytest.param(
            lambda: make((6, 4), 0.1, loss=Focal(2.0)),
            r"needs balanced classes for focal loss; got class counts \[6, 4\]",
            id="tail",
        ),
        pytest.param(
            lambda: make((4, 4), 0.1, loss=Focal(2.0), smoothing=0.1),
            r"needs one-hot labels for focal loss",
            id="smoothed",
        ),
        pytest.param(
            lambda: make((4,) * 4, 0.1, loss=Focal(2.0), d=2), r"needs d >= 3", id="narrow"
        ),
        pytest.param(
            lambda: make((4,) * 4, 0.1, loss=Focal(2.0), widths=(4, 4)), r"needs M = 1", id="deep"
        ),
    ],
)
def test_what_has_no_closed_form_says_why(problem, message):
    with pytest.raises(ufm.NoClosedForm, match=message):
        ufm.closed_form(problem())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        pytest.param(
            lambda: focal_scale(1, 0.1, gamma=1.0),
            "`num_classes` must be a whole number >= 2",
            id="one-class",
        ),
        pytest.param(
            lambda: focal_scale(2, 0.0, gamma=1.0),
            "`strength` must be finite and > 0",
            id="no-decay",
        ),
        pytest.param(
            lambda: focal_thresholds(2, gamma=-1.0),
            "`gamma` must be finite and >= 0",
            id="negative-gamma",
        ),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_no_gamma_is_too_large():
    """Its square overflows from 1e154 on; thresholds are below the smallest number long before."""
    for gamma in (1e100, 1e160, 1e300):
        thresholds = focal_thresholds(3, gamma=gamma)
        assert (thresholds.stability, thresholds.transition, thresholds.existence) == (0, 0, 0)
