"""What moves and how fast: rates, frozen factors, the central path and its renormalised form."""

from __future__ import annotations

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import ufm
from ufm.flows import Integration, Path, flow, start_from_features
from ufm.flows.best_classifier import best_classifier
from ufm.flows.central_path import CentralVelocity
from ufm.flows.gradient_velocity import GradientVelocity
from ufm.solvers.first_order import sample_gradient

D = 4
POLISH = Integration(polish=True)


def problem_of(
    *,
    counts=(3, 4, 5),
    collapsed=False,
    lambda_W=0.05,
    lambda_H=0.02,
    bias=None,
    loss=None,
    widths=(D,),
    **more,
):
    labels = ufm.one_hot(counts, collapsed=collapsed)
    loss = loss or ufm.MeanSquaredError()
    return ufm.Problem(
        labels, loss=loss, widths=widths, lambda_W=lambda_W, lambda_H=lambda_H, bias=bias, **more
    )


def features_of(problem, key):
    return jax.random.normal(key, (problem.feature_dim, problem.labels.num_columns))


@pytest.mark.parametrize("loss", [ufm.MeanSquaredError(), ufm.CrossEntropy()], ids=["mse", "ce"])
@pytest.mark.parametrize("widths", [(4,), (4, 5, 3)], ids=["one-layer", "three-layers"])
def test_rates_divide_the_conserved_imbalance(loss, widths, key):
    problem = problem_of(
        counts=(6, 3, 2), collapsed=True, lambda_W=0.0, lambda_H=0.0, loss=loss, widths=widths
    )
    rates = {"weights": [3.0, 0.4, 1.7][: len(widths)] if len(widths) > 1 else 3.0, "features": 0.5}
    start = ufm.solvers.random_start(problem, key=key, std=0.7)
    trajectory = flow(
        problem,
        ts=np.linspace(0, 50, 11),
        start=start,
        path=Path(rates=rates),
        integration=Integration(steady=0),
    )
    of_weights = np.broadcast_to(rates["weights"], len(widths))
    m = np.asarray(problem.labels.masses)
    grams_in = [
        np.einsum("tji,tjk->tik", W, W) / eta
        for W, eta in zip(trajectory.params.weights, of_weights, strict=True)
    ]
    grams_out = [
        np.einsum("tij,tkj->tik", W, W) / eta
        for W, eta in zip(trajectory.params.weights, of_weights, strict=True)
    ]
    H = np.asarray(trajectory.params.features)
    grams_out.append(np.einsum("tij,j,tkj->tik", H, m, H) / rates["features"])
    for outer, inner in zip(grams_in, grams_out[1:], strict=True):
        imbalance = outer - inner
        assert np.abs(imbalance[0]).max() > 0.1
        np.testing.assert_allclose(
            imbalance, np.broadcast_to(imbalance[:1], imbalance.shape), rtol=0, atol=1e-8
        )
    # and it is a law of these rates, not of any
    plain = (
        np.einsum("tji,tjk->tik", *[trajectory.params.weights[-1]] * 2)
        - grams_out[-1] * rates["features"]
    )
    assert np.abs(plain[-1] - plain[0]).max() > 1e-3


def test_all_rates_together_are_a_clock(key):
    problem = problem_of(bias="free")
    start = ufm.solvers.random_start(problem, key=key)
    fast = flow(
        problem,
        ts=[0.0, 1.0, 3.0],
        start=start,
        path=Path(rates={"weights": 2.0, "features": 2.0, "bias": 2.0}),
    )
    plain = flow(problem, ts=[0.0, 2.0, 6.0], start=start)
    np.testing.assert_allclose(fast.value, plain.value, rtol=1e-9)


@pytest.mark.parametrize("frozen_by", ["rates", "fixed_weights"])
def test_features_alone_solve_a_linear_equation(frozen_by, key):
    # ḣ = −(WᵀW/N + λ_H) h + Wᵀq/N for every sample
    free = problem_of(lambda_W=0.3)
    start = ufm.solvers.random_start(free, key=key, std=0.6)
    W, H0, Q = (
        np.asarray(start.weights[0]),
        np.asarray(start.features),
        np.asarray(free.labels.targets),
    )
    N, ts = Q.shape[1], np.array([0.0, 1.0, 10.0, 40.0])
    if frozen_by == "rates":
        trajectory = flow(
            free,
            ts=ts,
            start=start,
            path=Path(rates={"weights": 0}),
            integration=Integration(steady=0),
        )
    else:
        trajectory = flow(
            problem_of(lambda_W=0.3, fixed_weights=start.weights),
            ts=ts,
            start=start,
            integration=Integration(steady=0),
        )
    A = W.T @ W / N + 0.02 * np.eye(D)
    limit = np.linalg.solve(A, W.T @ Q / N)
    exact = [limit + scipy.linalg.expm(-A * t) @ (H0 - limit) for t in ts]
    np.testing.assert_allclose(trajectory.params.features, exact, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(trajectory.final.weights[0], W)


@pytest.mark.parametrize("bias", [None, "free", 0.3])
@pytest.mark.parametrize("lambda_W", [0.05, 0.0])
@pytest.mark.parametrize("collapsed", [False, True], ids=["full", "collapsed"])
def test_best_classifier_is_stationary(bias, lambda_W, collapsed, key):
    problem = problem_of(bias=bias, lambda_W=lambda_W, collapsed=collapsed, widths=(2,))
    gradient = sample_gradient(problem, best_classifier(problem, features_of(problem, key)))
    for leaf in (gradient.weights[0], *(() if bias is None else (gradient.bias,))):
        np.testing.assert_allclose(leaf, 0, rtol=0, atol=1e-15)


def test_best_bias_of_frozen_weights_is_stationary(key):
    W = jax.random.normal(key, (3, D))
    problem = problem_of(bias=0.3, fixed_weights=(W,))
    params = best_classifier(problem, features_of(problem, key))
    np.testing.assert_array_equal(params.weights[0], W)
    np.testing.assert_allclose(sample_gradient(problem, params).bias, 0, rtol=0, atol=1e-15)


def test_central_velocity_is_the_published_one(key):
    # Tirer, Huang & Niles-Weed: −Kn ∇L = n λ_W H G YᵀY G − λ_H H with G = (HᵀH + n λ_W)⁻¹, for the
    # objective ‖WH − Y‖²/(2Kn) + λ_W/(2K) ‖W‖² + λ_H/(2Kn) ‖H‖²
    K, n, lambda_W, lambda_H = 3, 4, 0.5, 0.2
    problem = problem_of(counts=(n,) * K, lambda_W=lambda_W / K, lambda_H=lambda_H / (K * n))
    H = np.asarray(features_of(problem, key))
    Y = np.asarray(problem.labels.targets)
    G = np.linalg.inv(H.T @ H + n * lambda_W * np.eye(K * n))
    published = n * lambda_W * H @ G @ Y.T @ Y @ G - lambda_H * H
    velocity = CentralVelocity(jnp.asarray(float(K * n)))
    ours = jax.jit(lambda problem, H: velocity(problem, H))(problem, H)
    np.testing.assert_allclose(ours, published, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "velocity",
    [
        pytest.param(GradientVelocity(ufm.Params((0.3,), 2.0, 5.0)), id="gradient"),
        pytest.param(CentralVelocity(jnp.asarray(3.0)), id="central"),
    ],
)
def test_in_units_of_mobility_the_derivative_is_symmetric(velocity, key):
    problem = problem_of(collapsed=True, bias="free")
    state = velocity.state_of(problem, ufm.solvers.random_start(problem, key=key))
    flat, shaped = jax.flatten_util.ravel_pytree(state)
    mobility = jax.tree.map(jnp.full_like, state, velocity.mobility(problem, state))
    roots = np.sqrt(jax.flatten_util.ravel_pytree(mobility)[0])
    jacobian = jax.jacobian(
        lambda flat: jax.flatten_util.ravel_pytree(velocity(problem, shaped(flat)))[0]
    )(flat)
    symmetric = jacobian * roots[None, :] / roots[:, None]
    assert np.abs(jacobian - jacobian.T).max() > 1e-2
    np.testing.assert_allclose(symmetric, symmetric.T, rtol=0, atol=1e-14)


@pytest.mark.parametrize("bias", [None, "free", 0.3])
def test_central_path_is_the_limit_of_infinite_rates(bias, key):
    problem = problem_of(bias=bias)
    start = start_from_features(problem, features_of(problem, key))
    ts = [1.0, 5.0]
    central = flow(problem, ts=ts, start=start, path="central").params.features
    errors = []
    for rate in (100.0, 400.0):
        rates = {"weights": rate} | ({} if bias is None else {"bias": rate})
        features = flow(
            problem,
            ts=ts,
            start=start,
            path=Path(rates=rates),
            integration=Integration(rtol=1e-8, atol=1e-10),
        ).params.features
        errors.append(np.abs(features - central).max())
    assert errors[0] < 1e-2
    # the lag of the weights is one over their rate
    np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.05)


def test_central_path_keeps_the_best_classifier_and_ends_at_the_minimum(key):
    problem = problem_of(bias="free")
    start = ufm.solvers.random_start(problem, key=key)
    trajectory = flow(
        problem,
        ts=[0.0, 10.0, 1e5],
        start=start,
        path="central",
        integration=POLISH,
    )
    assert trajectory.result is ufm.Result.POLISHED
    for t in range(3):
        point = jax.tree.map(lambda leaf, t=t: leaf[t], trajectory.params)
        np.testing.assert_allclose(
            sample_gradient(problem, point).weights[0], 0, rtol=0, atol=1e-14
        )
    np.testing.assert_allclose(
        trajectory.value[-1], ufm.minimise(problem, key=key).value, rtol=1e-12
    )


def test_collapsed_and_full_share_the_central_path(key):
    collapsed, full = (problem_of(collapsed=flag, bias=0.3) for flag in (True, False))
    H = features_of(collapsed, key)
    runs = [
        flow(p, ts=[0.0, 3.0, 9.0], start=start_from_features(p, h), path="central")
        for p, h in ((collapsed, H), (full, H[:, full.labels.class_index]))
    ]
    np.testing.assert_allclose(runs[0].value, runs[1].value, rtol=1e-10)


def test_anchor_holds_on_the_central_path(key):
    anchor = np.asarray(jax.random.normal(key, (D, 12)))
    problem = problem_of(anchor=anchor, beta=10.0)
    end = flow(problem, ts=[1e4], start=start_from_features(problem, anchor), path="central")
    assert end.result is ufm.Result.STEADY_STATE
    np.testing.assert_allclose(
        end.final.features, ufm.minimise(problem, key=key).params.features, rtol=0, atol=1e-8
    )


def test_renormalised_path_obeys_its_law(key):
    # Han, Papyan & Donoho: n (K² ln ω + K ω² + ω⁴/4) = t + const for the singular values of the
    # centred means of renormalised features, with the value ½ Σ 1/(K + ω²)
    K, n, d = 4, 6, 5
    problem = problem_of(counts=(n,) * K, lambda_W=0.0, lambda_H=0.0, bias="free", widths=(d,))
    ts = np.append(0.0, np.geomspace(1, 1e6, 12))
    H = features_of(problem, key)
    trajectory = flow(
        problem,
        ts=ts,
        start=start_from_features(problem, H),
        path="renormalised",
        integration=Integration(rtol=1e-11, atol=1e-12),
    )
    X = np.asarray(trajectory.params.features).reshape(len(ts), d, K, n)
    means = X.mean(axis=3)
    deviations = (X - means[..., None]).reshape(len(ts), d, K * n)
    spread = deviations @ deviations.transpose(0, 2, 1) / (K * n)
    np.testing.assert_allclose(spread, np.broadcast_to(np.eye(d), spread.shape), rtol=0, atol=1e-9)
    omega = np.linalg.svd(means - means.mean(axis=2, keepdims=True), compute_uv=False)[:, : K - 1]
    law = n * (K**2 * np.log(omega) + K * omega**2 + omega**4 / 4)
    np.testing.assert_allclose(
        law - law[:1], np.broadcast_to(ts[:, None], law.shape), rtol=1e-9, atol=1e-8
    )
    np.testing.assert_allclose(
        trajectory.value, 0.5 * np.sum(1 / (K + omega**2), axis=1), rtol=1e-10
    )


def test_start_from_features(key):
    problem = problem_of(bias="free")
    H = features_of(problem, key)
    ridge, drawn = start_from_features(problem, H), start_from_features(problem, H, key=key)
    np.testing.assert_array_equal(ridge.features, H)
    np.testing.assert_array_equal(drawn.features, H)
    np.testing.assert_array_equal(
        drawn.weights[0], ufm.solvers.random_start(problem, key=key).weights[0]
    )
    better = ufm.model.objective(problem, ridge)
    for scale in (0.99, 1.01):
        assert (
            ufm.model.objective(
                problem, ufm.Params((scale * ridge.weights[0],), ridge.features, ridge.bias)
            )
            > better
        )
    deep = problem_of(loss=ufm.CrossEntropy(), widths=(D, 3))
    assert start_from_features(deep, H, key=key).weights[0].shape == (3, 3)


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        pytest.param(
            {},
            {"path": "middle"},
            '`path` must be one of "gradient", "central", "renormalised"',
            id="unknown-path",
        ),
        pytest.param(
            {"loss": ufm.CrossEntropy()},
            {"path": "central"},
            "`loss` must be MeanSquaredError for path='central'",
            id="ce",
        ),
        pytest.param(
            {"widths": (4, 4)},
            {"path": "central"},
            "`widths` must have M = 1 entry for path='central'",
            id="deep",
        ),
        pytest.param(
            {"fixed_weights": (np.ones((3, D)),)},
            {"path": "central"},
            "`fixed_weights` must be None",
            id="fixed",
        ),
        pytest.param(
            {"lambda_W": 0.0, "collapsed": True},
            {"path": "central"},
            "features of rank 3 < d = 4",
            id="undetermined",
        ),
        pytest.param(
            {},
            {"path": Path("central", {"weights": 2.0})},
            "`Path.rates` may name only the features",
            id="central-rates",
        ),
        pytest.param(
            {},
            {"path": "renormalised"},
            "`bias` must be 'free' for path='renormalised'",
            id="no-bias",
        ),
        pytest.param(
            {"bias": "free"},
            {"path": "renormalised"},
            "`lambda_W` must be 0 for path='renormalised'",
            id="decay",
        ),
        pytest.param(
            {"bias": "free", "collapsed": True, "lambda_W": 0.0, "lambda_H": 0.0},
            {"path": "renormalised"},
            "within-class covariance of full rank",
            id="no-spread",
        ),
        pytest.param(
            {},
            {"path": Path(rates={"bias": 2.0})},
            "`Path.rates` may name the free parts of this problem, features, weights; got",
            id="no-bias-rate",
        ),
        pytest.param(
            {},
            {"path": Path(rates={"weights": [1.0, 2.0]})},
            r"`Path.rates\['weights'\]` must be a float or one per factor",
            id="two-rates",
        ),
        pytest.param(
            {},
            {"path": Path(rates={"features": -1.0})},
            r"`Path.rates\['features'\]` must be finite and >= 0",
            id="negative-rate",
        ),
        pytest.param(
            {},
            {"path": Path(rates={"features": 0.0}), "integration": POLISH},
            "`Integration.polish` needs `Path.rates` that freeze nothing",
            id="polish-frozen",
        ),
        pytest.param(
            {"lambda_H": 0.0},
            {"integration": POLISH},
            "`lambda_H` must be finite and > 0 for `Integration.polish`",
            id="polish-no-decay",
        ),
    ],
)
def test_bad_input(changes, arguments, message, key):
    problem = problem_of(**changes)
    start = ufm.solvers.random_start(problem, key=key, std=0.5)
    with pytest.raises(ValueError, match=message):
        flow(problem, ts=[1.0], start=start, **arguments)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"rates": 2.0}, "`Path.rates` must be a dict", id="rates-float"),
        pytest.param({"name": "middle"}, "`Path.name` must be one of", id="unknown"),
    ],
)
def test_a_bad_path_is_named_where_it_is_made(fields, message):
    with pytest.raises(ValueError, match=message):
        Path(**fields)


@pytest.mark.parametrize(
    ("changes", "columns", "message"),
    [
        pytest.param(
            {"loss": ufm.CrossEntropy()},
            12,
            "`loss` must be MeanSquaredError for a start without `key`",
            id="ce",
        ),
        pytest.param({}, 11, r"`features` must have shape \(4, 12\)", id="shape"),
        pytest.param(
            {"lambda_W": 0.0, "collapsed": True},
            3,
            "`lambda_W` must be > 0 for the best classifier",
            id="undetermined",
        ),
    ],
)
def test_start_from_bad_features(changes, columns, message, key):
    problem = problem_of(**changes)
    with pytest.raises(ValueError, match=message):
        start_from_features(problem, jax.random.normal(key, (problem.feature_dim, columns)))
