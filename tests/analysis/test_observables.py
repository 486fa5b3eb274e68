"""Ready-made observables: what they are, and that they run along a flow without compiling twice."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm import observables
from ufm.flows import flow, integrate
from ufm.metrics import measure_params

READY = {
    name: f
    for name, f in vars(observables).items()
    if inspect.isfunction(f) and f.__module__ == observables.__name__ and name[0] != "_"
}


def problem_of(*, collapsed=False, widths=(4,), lam=1e-2, counts=(3, 4, 5), bias="free"):
    return ufm.Problem(
        ufm.one_hot(counts, collapsed=collapsed),
        loss=ufm.CrossEntropy(),
        widths=widths,
        lambda_W=lam,
        lambda_H=lam,
        bias=bias,
    )


def pair(widths=(4,), key=None):
    """The same point on collapsed and on full labels."""
    collapsed, full = problem_of(collapsed=True, widths=widths), problem_of(widths=widths)
    params = ufm.solvers.random_start(collapsed, key=key, std=0.5)
    return (collapsed, params), (
        full,
        ufm.Params(params.weights, params.features[:, full.labels.class_index], params.bias),
    )


def test_the_list_is_what_is_documented():
    assert set(READY) == {
        "loss",
        "penalty",
        "gradient_norm",
        "classifier_spectrum",
        "logits_spectrum",
        "factor_spectra",
        "imbalance",
        "imbalance_norm",
        "alignment",
        "nc1_pinv",
        "nc1_trace_ratio",
        "cdnv",
        "nc2_etf",
        "nc2_orthogonal",
        "nc3_self_duality",
        "nc4_agreement",
    }


def test_all_run_along_one_flow_and_compile_once(key):
    problem = problem_of(widths=(4, 5))
    everything = READY | {"metrics": measure_params}
    ts = np.linspace(0, 5, 4)
    trajectory = flow(problem, ts=ts, key=key, observables=everything)
    before = integrate.integrate_piece._cache_size()
    flow(problem_of(widths=(4, 5), lam=2e-2), ts=2 * ts, key=key, observables=dict(everything))
    assert integrate.integrate_piece._cache_size() == before

    @jax.jit
    def at(point):
        return {name: function(problem, point) for name, function in everything.items()}

    params, observed = jax.device_get((trajectory.params, trajectory.observables))
    for t in range(len(ts)):
        found = at(jax.tree.map(lambda leaf, t=t: leaf[t], params))
        for name in everything:
            seen = jax.tree.map(lambda leaf, t=t: leaf[t], observed[name])
            for a, b in zip(jax.tree.leaves(seen), jax.tree.leaves(found[name]), strict=True):
                # nc1 of spread features is of order one; a sum of squares rounds at 1e-13
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(READY) - {"gradient_norm"}))
def test_collapsed_and_full_labels_agree(name, key):
    # (the norm of the gradient counts columns, and there are more of them)
    collapsed, full = pair((4, 5), key)
    for a, b in zip(
        jax.tree.leaves(READY[name](*collapsed)), jax.tree.leaves(READY[name](*full)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


def test_value_is_loss_and_penalty(key):
    problem, params = pair(key=key)[1]
    total = observables.loss(problem, params) + observables.penalty(problem, params)
    np.testing.assert_allclose(total, ufm.model.objective(problem, params), rtol=1e-15)
    logits, index = np.asarray(params.logits), np.asarray(problem.labels.class_index)
    by_hand = np.mean(np.log(np.exp(logits).sum(0)) - logits[index, np.arange(12)])
    np.testing.assert_allclose(observables.loss(problem, params), by_hand, rtol=1e-14)


def test_gradient_norm_is_that_of_all_free_factors(key):
    problem, params = pair(key=key)[1]
    gradient = jax.grad(ufm.model.objective, argnums=1)(problem, params)
    by_hand = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(gradient)))
    np.testing.assert_allclose(observables.gradient_norm(problem, params), by_hand, rtol=1e-14)
    frozen = ufm.Problem(
        problem.labels,
        loss=problem.loss,
        widths=(4,),
        lambda_W=1e-2,
        lambda_H=1e-2,
        bias="free",
        fixed_weights=params.weights,
    )
    rest = np.sqrt(np.sum(np.square(gradient.features)) + np.sum(np.square(gradient.bias)))
    np.testing.assert_allclose(observables.gradient_norm(frozen, params), rest, rtol=1e-14)


def test_spectra(key):
    problem, params = pair((4, 2), key)[0]
    m = np.sqrt(np.asarray(problem.labels.masses))
    expected = [params.weights[0], params.weights[1], np.asarray(params.features) * m]
    measured = observables.factor_spectra(problem, params)
    assert measured.shape == (3, 3)
    for row, factor in zip(measured, expected, strict=True):
        singular = np.linalg.svd(factor, compute_uv=False)
        np.testing.assert_allclose(
            row, np.append(singular, np.zeros(3 - len(singular))), rtol=0, atol=1e-14
        )
    W = np.asarray(params.weights[0]) @ np.asarray(params.weights[1])
    np.testing.assert_allclose(
        observables.classifier_spectrum(problem, params),
        np.linalg.svd(W, compute_uv=False),
        rtol=0,
        atol=1e-14,
    )
    np.testing.assert_allclose(
        observables.logits_spectrum(problem, params),
        np.linalg.svd(W @ expected[2], compute_uv=False),
        rtol=0,
        atol=1e-14,
    )


def test_imbalance(key):
    problem, params = pair((4, 5), key)[0]
    W2, W1, H, m = (
        *map(np.asarray, params.weights),
        np.asarray(params.features),
        np.asarray(problem.labels.masses),
    )
    outer, inner = observables.imbalance(problem, params)
    np.testing.assert_allclose(outer, W2.T @ W2 - W1 @ W1.T, rtol=0, atol=1e-14)
    np.testing.assert_allclose(inner, W1.T @ W1 - (H * m) @ H.T, rtol=0, atol=5e-14)
    np.testing.assert_allclose(
        observables.imbalance_norm(problem, params),
        [np.linalg.norm(outer), np.linalg.norm(inner)],
        rtol=1e-14,
    )
    outer, inner = observables.imbalance(
        problem, params, rates={"weights": [2.0, 3.0], "features": 5.0}
    )
    np.testing.assert_allclose(outer, W2.T @ W2 / 2 - W1 @ W1.T / 3, rtol=0, atol=1e-14)
    np.testing.assert_allclose(inner, W1.T @ W1 / 3 - (H * m) @ H.T / 5, rtol=0, atol=1e-14)


def test_alignment(key):
    problem = ufm.Problem(
        ufm.one_hot([4, 4, 4]),
        loss=ufm.MeanSquaredError(),
        widths=(5,),
        lambda_W=1e-2,
        lambda_H=1e-2,
    )
    start, optimum = (
        ufm.solvers.random_start(problem, key=key),
        ufm.minimise(problem, key=key).params,
    )
    assert abs(observables.alignment(problem, start)) < 0.8
    np.testing.assert_allclose(observables.alignment(problem, optimum), 1, rtol=0, atol=1e-12)
    for params in (start, optimum):
        duality = observables.nc3_self_duality(problem, params)
        np.testing.assert_allclose(
            observables.alignment(problem, params), 1 - duality**2 / 2, rtol=0, atol=1e-12
        )
    turned = ufm.Params((-optimum.weights[0],), optimum.features)
    np.testing.assert_allclose(observables.alignment(problem, turned), -1, rtol=0, atol=1e-12)
    assert jnp.isnan(
        observables.alignment(problem, ufm.Params((0 * optimum.weights[0],), optimum.features))
    )
