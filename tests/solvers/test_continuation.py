"""ReLU by continuation and on its kinks: from random starts, and from structures to below them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from theory_checks.formulas.rectified import rectified_problem
from ufm.solvers import continuation, smoothed_lanes
from ufm.solvers.coordinates import to_flat

_SHARE = 0.3


def rectified(K, L, width):
    """A problem at .3 of the strength at which collapse is no better than zero, and the value of
    collapse there."""
    Lam = _SHARE * ufm.laws.rectified_scale(K, strength=1.0, depth=L).threshold
    problem = rectified_problem(K, L, Lam, width=width)
    return problem, Lam, ufm.laws.rectified_scale(K, strength=Lam, depth=L).value


def near(problem, Lam, structure, *, seed=0, noise=1e-3):
    """A structure's point, moved off its symmetry."""
    weights, features = ufm.laws.rectified_point(
        structure, lambda_W=Lam, lambda_H=Lam, width=problem.feature_dim
    )
    rng = np.random.default_rng(seed)
    W = tuple(jnp.asarray(W + noise * rng.normal(size=W.shape)) for W in weights)
    return ufm.Params(W, jnp.asarray(features + noise * rng.normal(size=features.shape)))


def test_three_classes_behind_four_matrices(key):
    problem, Lam, collapsed = rectified(3, 4, 5)
    found = ufm.solvers.minimise_rectified(problem, key=key, starts=3, progress=False)
    assert found.values.shape == found.codes.shape == (3,)
    # none is left at zero or on the way
    assert float(jnp.max(found.values)) <= collapsed * (1 + 1e-5)
    assert float(found.value) == float(jnp.min(found.values))
    assert float(ufm.model.objective(problem, found.params)) == pytest.approx(
        float(found.value), rel=1e-14
    )
    # the triple, with output no multiple of the identity, is a saddle here: a unit comes to life
    triple = ufm.laws.rectified_structures(3, 4)[0]
    below = ufm.solvers.minimise_rectified(
        problem, start=near(problem, Lam, triple), progress=False
    )
    assert float(below.value) / collapsed == pytest.approx(0.972724383, abs=1e-8)
    assert below.result is ufm.Result.CONVERGED
    assert below.kinks.residual == float(below.grad_norm) < 1e-10
    assert below.kinks.kind != "strict saddle"
    assert "kinks" in str(below)
    exact = ufm.laws.rectified_scale(triple.complexity, strength=Lam, depth=4).value
    assert float(below.value) < exact < collapsed


def test_a_narrow_network_keeps_the_triple():
    problem, Lam, collapsed = rectified(3, 4, 3)
    triple = ufm.laws.rectified_structures(3, 4)[0]
    start = near(problem, Lam, triple)
    found = ufm.solvers.minimise_rectified(problem, start=start, progress=False)
    assert float(found.value) / collapsed == pytest.approx(0.977421892, abs=1e-8)
    entering = np.asarray(found.params.features)
    for W in found.params.weights[:0:-1]:
        before = np.asarray(W) @ entering
        entering = np.maximum(before, 0)
    # on its kinks to rounding: no preactivation is merely small
    small = np.abs(before) / np.max(np.abs(before))
    assert not np.any((small > 1e-13) & (small < 1e-3))
    fit = np.sum((np.asarray(found.params.weights[0]) @ entering - np.eye(3)) ** 2) / 6
    factors = (*found.params.weights, found.params.features)
    decay = Lam / 2 * sum(float(np.sum(np.asarray(factor) ** 2)) for factor in factors)
    assert fit + decay == pytest.approx(float(found.value), rel=1e-12)


def test_ctrl_c_keeps_whole_batches(key, monkeypatch):
    problem, *_ = rectified(3, 4, 5)
    calls, real = [], continuation.smoothed

    def once(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(continuation, "_BATCH", 3)
    monkeypatch.setattr(continuation, "smoothed", once)
    found = ufm.solvers.minimise_rectified(problem, key=key, starts=6)
    assert found.result is ufm.Result.INTERRUPTED
    assert found.values.shape == (3,)
    assert float(found.value) == pytest.approx(
        float(ufm.model.objective(problem, found.params)), rel=1e-12
    )
    # to go onto its kinks may take minutes
    assert found.kinks is None
    assert 0 < float(found.grad_norm) < 1
    calls.append(1)
    monkeypatch.setattr(
        continuation, "smoothed", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        ufm.solvers.minimise_rectified(problem, key=key, starts=3)


@pytest.mark.parametrize(("share", "at"), [(1e-3, 1), (3.0, 1), (3.0, 2)])
def test_ctrl_c_on_the_way_onto_kinks_loses_no_descent(share, at, key, monkeypatch):
    """The first point on its kinks, then zero if that is lower."""
    problem, Lam, _ = rectified(3, 3, 3)
    decay = Lam * share / _SHARE
    problem = problem.replace(lambda_W=decay, lambda_H=decay)
    calls, real = [], continuation.settled

    def interrupting(*args):
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(continuation, "settled", interrupting)
    start = ufm.solvers.random_start(problem, key=key)
    if at == 2:
        # what ends above zero
        monkeypatch.setattr(continuation, "smoothed", lambda s, p, flats: (flats, np.ones(1)))
    found = ufm.solvers.minimise_rectified(problem, start=start)
    assert len(calls) == at
    assert found.result is ufm.Result.INTERRUPTED
    value = float(ufm.model.objective(problem, found.params))
    assert float(found.value) == pytest.approx(value, rel=1e-12)
    zero = 0.5 * np.mean(np.sum(np.asarray(problem.labels.targets) ** 2, axis=0))
    assert float(found.value) <= zero


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"map": ufm.maps.Activated("tanh")}, "`problem.map` must be", id="map"),
        pytest.param({"lambda_H": 0.0}, "`lambda_H` must be", id="decay"),
        pytest.param(
            {"features": ufm.domains.Nonnegative()}, "`problem.features` must be", id="domain"
        ),
    ],
)
def test_what_is_refused(change, words, key):
    problem, *_ = rectified(3, 3, 3)
    with pytest.raises(ValueError, match=words):
        ufm.solvers.minimise_rectified(problem.replace(**change), key=key)


def test_a_budget_that_ends_early_leaves_the_value_of_the_model(key):
    """Until the last stage a descent knows the values of smoother models with less decay only."""
    problem, *_ = rectified(3, 4, 5)
    solver = ufm.solvers.Smoothing(max_steps=70)
    found = ufm.minimise(problem, key=key, starts=2, solver=solver)
    assert np.all(np.asarray(found.codes) == ufm.Result.MAX_STEPS)
    objective = float(ufm.model.objective(problem, found.params))
    assert float(found.value) == pytest.approx(objective, rel=1e-14)
    assert float(found.value) == float(np.min(found.values))
    swept = ufm.sweep(
        problem,
        {"seed": range(2)},
        key=key,
        method=solver,
        report=ufm.sweeping.Report(metrics=(), keep=("params", "logits")),
    )
    assert np.all(swept.code == ufm.Result.MAX_STEPS)
    for i in range(2):
        lane = swept.isel(seed=i)
        weights = tuple(
            jnp.asarray(lane[f"params_weights_{j}"].values) for j in range(problem.depth)
        )
        point = ufm.Params(weights, jnp.asarray(lane["params_features"].values))
        there = float(ufm.model.objective(problem, point))
        assert float(lane["value"]) == pytest.approx(there, rel=1e-14)
        # the logits of the model, with what acts between its factors
        np.testing.assert_allclose(lane["logits"], problem.logits(point), rtol=0, atol=1e-14)


def test_smoothing_is_a_solver(key):
    """The same descent from `minimise`, from `sweep`, and in a batch of another size."""
    problem, _, collapsed = rectified(3, 4, 5)
    solver = ufm.solvers.Smoothing()
    found = ufm.minimise(problem, key=key, starts=2, solver=solver)
    assert np.all(np.asarray(found.codes) == ufm.Result.STALLED)
    assert float(ufm.model.objective(problem, found.params)) == float(found.value)
    assert float(found.value) == pytest.approx(collapsed, rel=1e-5)
    swept = ufm.sweep(
        problem, {"seed": range(2)}, key=key, method=solver, report=ufm.sweeping.Report(metrics=())
    )
    assert np.all(swept.code == ufm.Result.STALLED)
    np.testing.assert_allclose(swept.value.min(), collapsed, rtol=1e-5)
    with pytest.raises(ValueError, match="`solver` must not be Smoothing for"):
        ufm.minimise(problem.replace(map=ufm.maps.Product()), key=key, solver=solver)
    with pytest.raises(ValueError, match=r"`accuracy` must lie in \(0, 1\)"):
        dataclasses.replace(solver, accuracy=2.0)


def test_a_leaky_relu_is_finished_on_its_kinks(key):
    """Three classes behind three matrices: better than collapse, which is open to it as well."""
    problem, Lam, collapsed = rectified(3, 3, 4)
    leaky = problem.replace(map=ufm.maps.Activated("leaky_relu", 0.1))
    found = ufm.solvers.minimise_rectified(leaky, key=key, starts=3, progress=False)
    assert found.result is ufm.Result.CONVERGED
    assert found.kinks.residual < 1e-10
    weights, features = ufm.laws.rectified_point(
        ufm.laws.rectified_structures(3, 3)[0], lambda_W=Lam, lambda_H=Lam, width=4
    )
    point = ufm.Params(tuple(map(jnp.asarray, weights)), jnp.asarray(features))
    # (activations of collapse are nonnegative: what leaks is none)
    assert float(ufm.model.objective(leaky, point)) == pytest.approx(collapsed, rel=1e-12)
    assert float(found.value) <= collapsed * (1 + 1e-12)
    steep = problem.replace(map=ufm.maps.Activated("leaky_relu", 1.5))
    with pytest.raises(ValueError, match="must have a slope below 1 below zero"):
        ufm.solvers.minimise_rectified(steep, key=key)


@pytest.mark.parametrize("bias", [None, "free", 0.03], ids=["none", "free", "penalised"])
def test_weaker_decay_is_that_of_factors_alone(bias, key):
    """Without its decay cross-entropy falls for ever along a bias that is pushed away from zero."""
    problem = rectified(3, 3, 4)[0].replace(loss=ufm.CrossEntropy(), bias=bias)
    # the coordinates are those of the problem, and the decay a tenth of it
    weaker = problem.replace(lambda_W=problem.lambda_W / 10, lambda_H=problem.lambda_H / 10)
    params = ufm.solvers.random_start(problem, key=key)
    if bias is not None:
        params = dataclasses.replace(params, bias=jnp.array([9.0, -3.0, 4.0]))

    @jax.jit
    def both(problem, weaker, params):
        stacked = jax.tree.map(lambda leaf: leaf[None], problem)
        flats = to_flat(problem, params)[:, None]
        values, _ = smoothed_lanes._evaluate(stacked, flats, jnp.zeros(1), jnp.full(1, 0.1))
        return values[0], ufm.model.objective(weaker, params)

    value, wanted = both(problem, weaker, params)
    assert float(value) == pytest.approx(float(wanted), rel=1e-13)
