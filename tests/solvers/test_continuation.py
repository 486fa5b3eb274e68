"""ReLU by continuation: from random starts to collapse, and from structures to below them."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.solvers import continuation

_SHARE = 0.3


def rectified(K, L, width):
    """A problem at .3 of the strength at which collapse is no better than zero, and the value of
    collapse there."""
    Lam = _SHARE * ufm.laws.rectified_scale(K, strength=1.0, depth=L).threshold
    problem = ufm.Problem(
        ufm.one_hot((1,) * K),
        loss=ufm.MeanSquaredError(),
        widths=(width,) * L,
        lambda_W=Lam,
        lambda_H=Lam,
        activation="relu",
    )
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
    assert float(jnp.max(found.values)) <= collapsed * (1 + 1e-6)
    assert float(found.value) == float(jnp.min(found.values))
    assert float(ufm.model.objective(problem, found.params)) == pytest.approx(
        float(found.value), rel=1e-14
    )
    # the triple is lower, and lower still where its output is no multiple of the identity
    triple = ufm.laws.rectified_structures(3, 4)[0]
    start = near(problem, Lam, triple)
    below = ufm.solvers.minimise_rectified(problem, start=start, progress=False)
    assert float(below.value) / collapsed == pytest.approx(0.977422, abs=2e-6)
    exact = ufm.laws.rectified_scale(triple.complexity, strength=Lam, depth=4).value
    assert float(below.value) < exact < collapsed
    start = near(problem, Lam, triple, seed=1, noise=0.1)
    lower = ufm.solvers.minimise_rectified(problem, start=start, progress=False)
    assert float(lower.value) / collapsed == pytest.approx(0.972724, abs=2e-6)


def test_pairs_descend_below_the_triple():
    problem, Lam, collapsed = rectified(4, 4, 6)
    pairs = next(s for s in ufm.laws.rectified_structures(4, 4) if s.blocks == (("pairs", 4),))
    found = ufm.solvers.minimise_rectified(problem, start=near(problem, Lam, pairs), progress=False)
    # their own value is above collapse; with the triple and a class alone .983066 is reached
    assert float(found.value) / collapsed == pytest.approx(0.978958, abs=2e-6)
    entering = np.asarray(found.params.features)
    for W in found.params.weights[:0:-1]:
        entering = np.maximum(np.asarray(W) @ entering, 0)
    fit = np.sum((np.asarray(found.params.weights[0]) @ entering - np.eye(4)) ** 2) / 8
    factors = (*found.params.weights, found.params.features)
    decay = Lam / 2 * sum(float(np.sum(np.asarray(factor) ** 2)) for factor in factors)
    assert fit + decay == pytest.approx(float(found.value), rel=1e-12)


@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_ctrl_c_keeps_what_is_of_this_problem(stage, key, monkeypatch):
    problem, *_ = rectified(3, 3, 3)
    calls = []

    def through(stage_problem, start, solver, widths):
        calls.append(stage_problem)
        solution = ufm.minimise(stage_problem, start=start, solver=ufm.solvers.Newton(max_steps=1))
        if len(calls) < stage:
            return solution
        return dataclasses.replace(solution, code=jnp.asarray(int(ufm.Result.INTERRUPTED)))

    monkeypatch.setattr(continuation, "_through", through)
    if stage == 1:
        with pytest.raises(KeyboardInterrupt):
            ufm.solvers.minimise_rectified(problem, key=key, starts=3)
        return
    found = ufm.solvers.minimise_rectified(problem, key=key, starts=3)
    assert found.result is ufm.Result.INTERRUPTED
    assert len(calls) == stage
    assert found.values.shape == (stage // 2,)
    assert float(found.value) == pytest.approx(
        float(ufm.model.objective(problem, found.params)), rel=1e-12
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"map": ufm.maps.Activated("tanh")}, "`problem.map` must be", id="map"),
        pytest.param({"lambda_H": 0.0}, "`lambda_H` must be", id="decay"),
    ],
)
def test_what_is_refused(change, words, key):
    problem, *_ = rectified(3, 3, 3)
    with pytest.raises(ValueError, match=words):
        ufm.solvers.minimise_rectified(problem.replace(**change), key=key)
