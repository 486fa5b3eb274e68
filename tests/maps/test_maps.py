"""Maps from factors to logits: by hand, with every verb, and what refuses them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.maps import Activated


def make(counts=(5, 3, 2), *, widths=(4, 6), lam=5e-3, loss=None, **parts):
    labels = ufm.one_hot(counts, collapsed=True)
    return ufm.Problem(
        labels,
        loss=loss or ufm.MeanSquaredError(),
        widths=widths,
        lambda_W=lam,
        lambda_H=lam,
        **parts,
    )


class Squared(ufm.maps.AbstractMap):
    """A map of a user's, of any depth."""

    name = "squared"

    def logits(self, weights, features):
        return weights[-1] @ features**2


BY_HAND = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x >= 0, x, 0.01 * x),
    "smooth_relu": lambda x: (x + np.sqrt(x**2 + 0.04)) / 2,
    "softplus": lambda x: np.log1p(np.exp(x)),
    "tanh": np.tanh,
}


@pytest.mark.parametrize("activation", BY_HAND)
def test_logits_and_objective_by_hand(activation, key):
    problem = make(widths=(4, 6, 5), activation=activation, bias=0.3)
    point = ufm.solvers.random_start(problem, key=key, std=0.7)
    point = ufm.Params(point.weights, point.features, jnp.asarray([0.3, -0.2, 0.1]))
    W3, W2, W1 = (np.asarray(W) for W in point.weights)
    act, H = BY_HAND[activation], np.asarray(point.features)
    Z = W3 @ act(W2 @ act(W1 @ H)) + np.asarray(point.bias)[:, None]
    np.testing.assert_allclose(problem.logits(point), Z, rtol=1e-13, atol=1e-14)
    masses = np.asarray(problem.labels.masses)
    loss = 0.5 * np.sum((Z - np.eye(3)) ** 2, axis=0) @ masses / masses.sum()
    squares = sum(np.sum(W**2) for W in (W1, W2, W3)) + np.sum(H**2, axis=0) @ masses
    by_hand = loss + 0.0025 * squares + 0.15 * np.sum(np.asarray(point.bias) ** 2)
    np.testing.assert_allclose(ufm.model.objective(problem, point), by_hand, rtol=1e-13)


def test_one_layer_has_nothing_between_factors():
    # it would be the linear model in silence, with features of either sign
    message = r"`widths` must have M >= 2 entries for Activated.*Nonnegative\(\).*; got \(4,\)"
    with pytest.raises(ValueError, match=message):
        make(widths=(4,), activation="relu")
    with pytest.raises(ValueError, match=message):
        make(activation="relu").replace(widths=(4,))


def test_a_smooth_activation_is_solved_to_rounding_and_swept(key):
    problem = make(activation="softplus")
    solution = ufm.minimise(problem, key=key)
    assert solution.result is ufm.Result.CONVERGED
    step = 1e-6
    for part in ("features", "weights"):
        moved = jax.tree.map(
            lambda leaf: leaf + step * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape),
            getattr(solution.params, part),
        )
        point = ufm.Params(
            moved if part == "weights" else solution.params.weights,
            moved if part == "features" else solution.params.features,
        )
        assert float(ufm.model.objective(problem, point)) >= float(solution.value)
    data = ufm.sweep(
        problem,
        over={"lambda_H": [5e-3, 6e-3]},
        key=key,
        progress=False,
        report=ufm.sweeping.Report(metrics=("nc1_pinv",)),
    )
    np.testing.assert_array_equal(data["code"], int(ufm.Result.CONVERGED))
    assert np.all(np.isnan(np.asarray(data.get("gap", np.nan))))


@pytest.mark.thorough
def test_a_flow_under_relu_goes_downhill_as_descent_does(key):
    problem = make(activation="relu", widths=(6, 6), lam=1e-2)
    start = ufm.solvers.random_start(problem, key=key)
    trajectory = ufm.flow(
        problem,
        ts=[0.0, 0.3, 1.0, 3.0],
        start=start,
        integration=ufm.flows.Integration(rtol=1e-6, atol=1e-8),
    )
    assert np.all(np.diff(np.asarray(trajectory.value)) < 0)
    solver = ufm.solvers.GradientDescent(0.1)
    descent = ufm.solvers.descend(problem, solver, steps=[0, 10, 2000], start=start)
    assert np.all(np.diff(np.asarray(descent.value)) < 0)


def test_smoothing_by_nothing_is_relu_with_finite_slopes():
    x = jnp.asarray([-1.0, 0.0, 2.0])
    act = Activated("smooth_relu", 0.0).act
    np.testing.assert_array_equal(act(x), [0.0, 0.0, 2.0])
    np.testing.assert_array_equal(jax.vmap(jax.grad(act))(x), [0.0, 0.5, 1.0])


def test_another_slope_is_not_another_compilation(key):
    traces = []

    @jax.jit
    def value(problem, point):
        traces.append(1)
        return ufm.model.objective(problem, point)

    problems = [make(map=Activated("leaky_relu", slope)) for slope in (0.1, 0.2)]
    point = ufm.solvers.random_start(problems[0], key=key)
    first, second = (float(value(problem, point)) for problem in problems)
    assert first != second
    assert len(traces) == 1


def test_metrics_are_those_of_the_last_layer(key):
    problem = make(activation="relu")
    solution = ufm.minimise(problem, key=key, solver=ufm.solvers.LBFGS())
    H = jnp.maximum(solution.params.weights[1] @ solution.params.features, 0)
    ours = ufm.measure(solution)
    theirs = ufm.metrics.measure_features(H, problem.labels, solution.params.weights[0])
    for name in ("nc1_pinv", "nc2_gof_features", "nc3_self_duality", "nc4_agreement"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=0, atol=1e-12)
    spectrum = ufm.observables.classifier_spectrum(problem, solution.params)
    np.testing.assert_allclose(
        spectrum, np.linalg.svd(solution.params.weights[0], compute_uv=False), rtol=1e-12
    )
    assert str(problem).endswith("Activated(activation='relu', parameter=None))")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(ufm.certify, "`problem.map` must be linear in the product", id="certify"),
        pytest.param(ufm.prove, "`problem.map` must be linear in the product", id="prove"),
        pytest.param(
            ufm.classify,
            "must be the product .* for a Hessian .*ufm.solvers.minimise_rectified says",
            id="hessian",
        ),
        pytest.param(
            lambda p, x: ufm.closed_form(p), "needs linear layers; got activated", id="closed-form"
        ),
        pytest.param(
            lambda p, x: ufm.analysis.start_from_logits(p, np.eye(3), key=jax.random.key(0)),
            "must be the product .* for a start from logits",
            id="start-from-logits",
        ),
        pytest.param(
            lambda p, x: ufm.flow(
                make(widths=(4,), map=Squared()), ts=[0.0], start=x, path="central"
            ),
            "`problem.map` must be the product .* for path='central'",
            id="central-path",
        ),
        pytest.param(
            lambda p, x: make(activation="relu", map=Activated("tanh")),
            "`activation` must not be given together with `map`",
            id="two-maps",
        ),
        pytest.param(
            lambda p, x: make(activation="step"),
            '`activation` must be one of "relu", .*; got .step',
            id="no-such-activation",
        ),
        pytest.param(
            lambda p, x: Activated("relu", 0.1), "`parameter` must be None for relu", id="parameter"
        ),
        pytest.param(
            lambda p, x: Activated("leaky_relu", -0.1),
            "`parameter` must be finite and >= 0",
            id="slope",
        ),
        pytest.param(
            lambda p, x: make(map="relu"), "`map` must be a map such as", id="unknown-map"
        ),
    ],
)
def test_what_does_not_speak_of_it_says_so(call, message, key):
    problem = make(activation="relu")
    point = ufm.solvers.random_start(problem, key=key)
    with pytest.raises((ValueError, TypeError), match=message):
        call(problem, point)


def test_theory_is_silent_of_what_it_does_not_know():
    spoken = ufm.theory(make(activation="relu"))
    assert spoken.entries == ()
    assert "activated map" in spoken.about
    assert ufm.theory(make()).entries
    thresholds = ufm.thresholds(make(activation="relu"))
    assert thresholds.entries == ()
    assert not thresholds.complete
    assert "must be the product of the factors" in thresholds.note


def test_a_search_keeps_the_best_of_many_starts(key):
    problem = make((1, 1, 1), widths=(3, 3), lam=0.02, activation="softplus")
    found = ufm.search(problem, key=key, starts=4, progress=False)
    values = np.asarray([float(solution.value) for solution in found.solutions])
    assert np.all(np.diff(values) >= 0)
    assert float(found.best.value) == values[0]
