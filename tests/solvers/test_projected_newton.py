"""Nonnegative features.

The projected solver against scipy's bounded one, its stationarity, and everything that must refuse
them.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import ufm
from ufm.solvers.coordinates import bounds, flat_objective, to_flat
from ufm.solvers.newton.projected import ProjectedNewton, projected_gradient
from ufm.tolerances import for_dtype

TOLERANCES = for_dtype(np.float64)
# (as many in all tests, which share their programs)
STARTS = 3

NONNEGATIVE = ufm.domains.Nonnegative()


def make(counts=(8, 3, 2), *, loss=None, widths=(5,), lam=1e-2, features=NONNEGATIVE, **kwargs):
    loss = ufm.CrossEntropy() if loss is None else loss
    labels = ufm.one_hot(counts, collapsed=True)
    return ufm.Problem(
        labels, loss=loss, widths=widths, lambda_W=lam, lambda_H=lam, features=features, **kwargs
    )


ANCHOR = {"anchor": np.linspace(-1, 1, 15).reshape(5, 3), "beta": 0.3}
PROBLEMS = (
    pytest.param(make(), id="cross-entropy"),
    pytest.param(make(bias="free"), id="cross-entropy-free-bias"),
    pytest.param(make(bias=0.1, loss=ufm.MeanSquaredError()), id="squared-error-penalised-bias"),
    pytest.param(
        make(loss=ufm.MeanSquaredError(), widths=(5, 4), lam=5e-3), id="squared-error-deep"
    ),
    pytest.param(make(widths=(5, 6, 4), lam=2e-3), id="cross-entropy-deep"),
    pytest.param(make(loss=ufm.MeanSquaredError(), **ANCHOR), id="anchor-outside-the-orthant"),
    pytest.param(make(widths=(2,)), id="d-below-K"),
    pytest.param(make(lam=0.5), id="trivial"),
)


value_and_gradient = jax.jit(jax.value_and_grad(flat_objective, argnums=1))


@jax.jit
def flat_and_bounds(problem, params):
    return to_flat(problem, params), bounds(problem)


@pytest.mark.lean("squared-error-penalised-bias", "cross-entropy-deep", "d-below-K")
@pytest.mark.parametrize("problem", PROBLEMS)
def test_from_the_same_start_scipy_finds_nothing_lower_nearby(problem, key):
    solution = ufm.minimise(problem, key=key, starts=STARTS)
    assert solution.result is ufm.Result.CONVERGED
    assert np.min(np.asarray(solution.params.features)) >= 0
    flat, bounded = (np.asarray(x) for x in flat_and_bounds(problem, solution.params))
    limits = [(0, None) if b else (None, None) for b in bounded]
    # a push that leaves the exact zeros, and a solver that shares nothing with ours but the
    # function
    pushed = np.where(bounded, np.abs(flat + 1e-3), flat + 1e-3)
    rival = scipy.optimize.minimize(
        lambda x: tuple(np.asarray(part, dtype=float) for part in value_and_gradient(problem, x)),
        pushed,
        jac=True,
        method="L-BFGS-B",
        bounds=limits,
        options={"maxiter": 5000, "ftol": 0.0, "gtol": 1e-10},
    )
    # L-BFGS-B leaves gradients of about 1e-8 and so values of 1e-14; at the trivial point the
    # minimum is quartic in deep products
    assert solution.value <= rival.fun * (1 + 1e-12)
    np.testing.assert_allclose(rival.fun, solution.value, rtol=1e-9)


@pytest.mark.lean("cross-entropy-free-bias", "squared-error-deep")
@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_optimality_conditions(problem, key):
    solution = ufm.minimise(problem, key=key, starts=STARTS)
    assert solution.result is ufm.Result.CONVERGED
    flat, bounded = (np.asarray(x) for x in flat_and_bounds(problem, solution.params))
    gradient = np.asarray(value_and_gradient(problem, flat)[1])
    scale = max(np.sqrt(2 * float(solution.value)), np.linalg.norm(flat))
    zero = bounded & (flat == 0)
    # what is not at zero is stationary, what is at zero is not pulled up; 10 because the flat
    # vector was rebuilt from the params
    assert np.linalg.norm(gradient[~zero]) <= 10 * TOLERANCES.gradient * scale
    assert np.all(gradient[zero] >= -10 * TOLERANCES.gradient * scale)
    size = problem.feature_dim * problem.labels.num_columns
    assert bounded.sum() == size


def test_bounds_are_on_the_features(key):
    problem = make(bias="free", widths=(5, 4))
    params = ufm.solvers.random_start(problem, key=key)
    marked = ufm.Params(
        tuple(np.zeros_like(W) for W in params.weights),
        np.ones_like(params.features),
        np.zeros(3),
    )
    flat, bounded = (np.asarray(x) for x in flat_and_bounds(problem, marked))
    np.testing.assert_array_equal(bounded, flat > 0)
    assert not bounds(make(features=ufm.domains.Real())).any()


def test_projected_gradient_by_hand():
    bounded, flat = jnp.array([True, True, True, False]), jnp.array([0.0, 0.0, 2.0, 0.0])
    np.testing.assert_array_equal(
        projected_gradient(bounded, flat, jnp.array([3.0, -3.0, 3.0, 3.0])), [0, -3, 3, 3]
    )


@pytest.mark.parametrize("loss", [ufm.CrossEntropy(), ufm.MeanSquaredError()])
def test_without_bounds_it_is_a_minimiser_like_newton(loss, key):
    problem = make(loss=loss, features=ufm.domains.Real(), bias="free")
    ours, newton = (
        ufm.minimise(problem, key=key, solver=ProjectedNewton()),
        ufm.minimise(problem, key=key),
    )
    assert ours.result is ufm.Result.CONVERGED
    np.testing.assert_allclose(ours.value, newton.value, rtol=TOLERANCES.value)


def test_every_start_converges(key):
    # steps over several faces are longer than the radius: a radius cut to a quarter of such a step
    # never became small
    labels = ufm.one_hot((20, 10, 6, 4))
    problem = ufm.Problem(
        labels,
        loss=ufm.CrossEntropy(),
        widths=(16,),
        lambda_W=5e-3,
        lambda_H=5e-3,
        features=ufm.domains.Nonnegative(),
    )
    solution = ufm.minimise(problem, key=key, starts=16)
    assert np.all(np.asarray(solution.codes) == ufm.Result.CONVERGED)


def test_start_and_resume(key):
    problem = make()
    start = ufm.solvers.random_start(problem, key=key)
    assert np.min(np.asarray(start.features)) >= 0
    short = ufm.minimise(problem, start=start, solver=ProjectedNewton(max_steps=2))
    assert short.result is ufm.Result.MAX_STEPS
    whole = ufm.minimise(problem, resume=short, solver=ProjectedNewton())
    assert whole.result is ufm.Result.CONVERGED
    np.testing.assert_allclose(
        whole.value, ufm.minimise(problem, start=start).value, rtol=TOLERANCES.value
    )


def test_sweeping_decay_does_not_recompile(key):
    from ufm.solvers import pieces

    def solve(lam):
        return ufm.minimise(make(lam=lam), key=key, starts=STARTS)

    solve(1e-2)
    before = pieces.launch._cache_size()
    assert solve(2e-2).value > solve(1e-2).value
    assert pieces.launch._cache_size() == before


REFUSALS = (
    pytest.param(
        lambda p, k: ufm.minimise(p, key=k, solver=ufm.solvers.Newton()),
        r"`solver`.*got Newton",
        id="newton",
    ),
    pytest.param(
        lambda p, k: ufm.minimise(p, key=k, solver=ufm.solvers.LBFGS()),
        r"`solver`.*got LBFGS",
        id="lbfgs",
    ),
    pytest.param(
        lambda p, k: ufm.minimise(p, key=k, solver=ufm.solvers.Adam(0.1)),
        r"`solver`.*got Adam",
        id="adam",
    ),
    pytest.param(
        lambda p, k: ufm.solvers.descend(p, ufm.solvers.Adam(0.1), steps=[1], key=k),
        r"`problem.features` must be unconstrained",
        id="descend",
    ),
    pytest.param(
        lambda p, k: ufm.minimise(
            p, start=ufm.solvers.random_start(make(features=ufm.domains.Real()), key=k)
        ),
        r"`start.features` must be >= 0",
        id="start",
    ),
    pytest.param(
        lambda p, k: make(features="relu"),
        r"`features` must be a domain such as .*; got str",
        id="kind",
    ),
)


@pytest.mark.parametrize(("call", "message"), REFUSALS)
def test_what_is_refused(call, message, key):
    with pytest.raises(ValueError, match=message):
        call(make(), key)
