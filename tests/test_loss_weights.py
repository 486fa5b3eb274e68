"""Columns that count more in the loss than their mass in the decay says.

Class-balanced losses, the layer-peeled model.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.flows.central_path import RenormalisedVelocity
from ufm.solvers.first_order import sample_gradient

COUNTS = (6, 3, 2)
WEIGHTS = (0.5, 4.0, 1.5)
EYE = np.eye(3)


def problem(labels, *, loss=None, bias=None, widths=(4,), **options):
    return ufm.Problem(
        labels,
        loss=loss or ufm.CrossEntropy(),
        widths=widths,
        lambda_W=0.02,
        lambda_H=0.01,
        bias=bias,
        **options,
    )


def weighted(*, collapsed: bool):
    return ufm.one_hot(COUNTS, class_weights=WEIGHTS, collapsed=collapsed)


# labels
# ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("masses", "weights", "expected"),
    [
        pytest.param((6, 3, 1), None, (0.6, 0.3, 0.1), id="by-mass"),
        pytest.param((6, 3, 1), (1, 1, 1), (0.6, 0.3, 0.1), id="all-alike"),
        pytest.param((6, 3, 1), (1 / 6, 1 / 3, 1), (1 / 3, 1 / 3, 1 / 3), id="class-balanced"),
        pytest.param((6, 3, 1), (1, 2, 8), (0.3, 0.3, 0.4), id="by-hand"),
        pytest.param((6, 3, 1), (1e300, 2e300, 8e300), (0.3, 0.3, 0.4), id="no-overflow"),
        pytest.param((6, 3, 1), (1e-300, 2e-300, 8e-300), (0.3, 0.3, 0.4), id="no-underflow"),
        pytest.param((1 / 6, 1 / 3, 1), (6, 3, 1), (1 / 3, 1 / 3, 1 / 3), id="layer-peeled"),
    ],
)
def test_column_weights(masses, weights, expected):
    labels = ufm.soft(EYE, masses, weights=weights)
    np.testing.assert_allclose(labels.column_weights, expected, rtol=1e-14)
    np.testing.assert_allclose(jnp.sum(labels.column_weights), 1, rtol=4e-16)
    np.testing.assert_allclose(labels.mass_shares, np.divide(masses, np.sum(masses)), rtol=1e-15)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(
            lambda: ufm.soft(EYE, weights=(1, 1)), r"`weights` must have shape \(3,\)", id="shape"
        ),
        pytest.param(
            lambda: ufm.soft(EYE, weights=(1, 0, 1)),
            r"`weights` must be finite and > 0; got \[1. 0. 1.\]",
            id="zero",
        ),
        pytest.param(
            lambda: ufm.soft(EYE, weights=(1, -2, 1)),
            r"`weights` must be finite and > 0; got \[ 1. -2.  1.\]",
            id="negative",
        ),
        pytest.param(
            lambda: ufm.soft(EYE, weights=(1, np.nan, 1)),
            r"`weights` must be finite and > 0; got \[ 1. nan  1.\]",
            id="nan",
        ),
        pytest.param(
            lambda: ufm.Labels(jnp.eye(3), jnp.ones(3), jnp.ones(3, "float32")),
            "`weights` must have the dtype",
            id="dtype",
        ),
        pytest.param(
            lambda: ufm.one_hot(COUNTS, class_weights=(1, 2)),
            r"`class_weights` must have shape \(3,\), one for each of `class_counts`",
            id="classes",
        ),
        pytest.param(
            lambda: ufm.one_hot(COUNTS, class_weights=(1, 2, np.inf)),
            "`class_weights` must be finite and > 0",
            id="infinite",
        ),
        pytest.param(
            lambda: ufm.labels.smoothed(COUNTS, smoothing=0.1, class_weights=3.0),
            "`class_weights` must be a sequence",
            id="scalar",
        ),
    ],
)
def test_bad_weights(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_constructors_carry_the_weights():
    full, collapsed = weighted(collapsed=False), weighted(collapsed=True)
    np.testing.assert_array_equal(full.weights, np.repeat(WEIGHTS, COUNTS))
    np.testing.assert_array_equal(collapsed.weights, WEIGHTS)
    np.testing.assert_allclose(
        full.targets @ full.column_weights, collapsed.column_weights, rtol=1e-15
    )
    np.testing.assert_array_equal(
        ufm.labels.smoothed(COUNTS, smoothing=0.1, class_weights=WEIGHTS).weights, full.weights
    )
    # counts go by mass alone
    np.testing.assert_array_equal(full.class_counts, COUNTS)


def test_weights_are_traced():
    counted = 0

    @jax.jit
    def value(weights, params):
        nonlocal counted
        counted += 1
        return ufm.model.objective(
            problem(ufm.one_hot(COUNTS, class_weights=weights, collapsed=True)), params
        )

    params = ufm.solvers.random_start(problem(weighted(collapsed=True)), key=jax.random.key(1))
    there = value(jnp.asarray(WEIGHTS), params)
    assert value(jnp.ones(3), params) != there
    # only ratios matter
    np.testing.assert_allclose(value(3.0 * jnp.asarray(WEIGHTS), params), there, rtol=1e-14)
    assert counted == 1


# objective
# ----------------------------------------------------------------------


def plain(labels, params, *, lambda_W, lambda_H):
    """The weighted objective sample by sample, in Python."""
    Z, H = np.asarray(params.logits), np.asarray(params.features)
    share = np.asarray(labels.masses) * np.asarray(labels.weights)
    total = 0.5 * lambda_W * float(np.sum(np.asarray(params.weights[0]) ** 2))
    for c in range(labels.num_columns):
        z, q = Z[:, c], np.asarray(labels.targets)[:, c]
        total += share[c] / share.sum() * (np.log(np.exp(z).sum()) - q @ z)
        total += 0.5 * lambda_H * float(labels.masses[c]) * H[:, c] @ H[:, c]
    return total


def test_objective_and_its_gradient():
    labels = ufm.soft(EYE[:, [0, 0, 1, 2]], (2.0, 1.0, 3.0, 0.5), weights=(1.0, 3.0, 0.2, 5.0))
    here = problem(labels)
    params = ufm.solvers.random_start(here, key=jax.random.key(2))
    assert float(ufm.model.objective(here, params)) == pytest.approx(
        plain(labels, params, lambda_W=0.02, lambda_H=0.01), rel=1e-14
    )
    gradient = jax.grad(lambda p: ufm.model.objective(here, p))(params)
    towards = ufm.solvers.random_start(here, key=jax.random.key(3))
    slope = sum(
        jnp.vdot(g, t)
        for g, t in zip(jax.tree.leaves(gradient), jax.tree.leaves(towards), strict=True)
    )

    def at(step):
        moved = jax.tree.map(lambda p, t: p + step * t, params, towards)
        return plain(labels, moved, lambda_W=0.02, lambda_H=0.01)

    # central differences of a fourth-order rule: error step⁴ and rounding/step, both 1e-12
    step = 1e-3
    difference = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
    assert float(slope) == pytest.approx(difference, rel=1e-9)


KINDS = [
    pytest.param(ufm.CrossEntropy(), None, id="cross-entropy-no-bias"),
    pytest.param(ufm.CrossEntropy(), "free", id="cross-entropy-free-bias"),
    pytest.param(ufm.MeanSquaredError(), 0.3, id="squared-error-penalised-bias"),
]


@functools.cache
def solved(loss, bias, weights=WEIGHTS, collapsed=True) -> ufm.Solution:
    here = problem(
        ufm.one_hot(COUNTS, class_weights=weights, collapsed=collapsed), loss=loss, bias=bias
    )
    solution = ufm.minimise(here, key=jax.random.key(4))
    assert solution.result == ufm.Result.CONVERGED
    return solution


@pytest.mark.parametrize(("loss", "bias"), KINDS)
def test_collapsed_equals_full_and_both_are_certified(loss, bias):
    full, collapsed = (solved(loss, bias, collapsed=c) for c in (False, True))
    for solution in (full, collapsed):
        assert ufm.certify(solution.problem, solution.params).gap < 1e-10
    assert float(full.value) == pytest.approx(float(collapsed.value), rel=1e-12)
    index = np.asarray(full.problem.labels.class_index)
    np.testing.assert_allclose(
        full.logits, np.asarray(collapsed.logits)[:, index], rtol=0, atol=1e-7
    )
    means = ufm.labels.collapse(full.problem.labels, full.params.features)
    np.testing.assert_allclose(full.params.features, means[:, index], rtol=0, atol=1e-7)
    # … and the weights matter
    assert abs(float(solved(loss, bias, (1.0,) * 3).value) / float(collapsed.value) - 1) > 1e-3


@pytest.mark.parametrize(("loss", "bias"), KINDS)
@pytest.mark.parametrize("std", [0.03, 0.3, 3.0])
def test_certificate_is_below_the_minimum_from_any_point(loss, bias, std):
    least = solved(loss, bias)
    anywhere = ufm.solvers.random_start(least.problem, key=jax.random.key(5), std=std)
    certificate = ufm.certify(least.problem, anywhere)
    assert -np.inf < certificate.lower_bound <= least.value
    assert certificate.gap > 1e-3


def test_gradient_of_a_sample_is_the_same_collapsed_and_full():
    """What the papers' recipes and the flow move along: one feature a sample."""
    collapsed, full = (
        problem(weighted(collapsed=True), bias="free"),
        problem(weighted(collapsed=False), bias="free"),
    )
    params = ufm.solvers.random_start(collapsed, key=jax.random.key(6))
    index = full.labels.class_index
    spread = ufm.Params(params.weights, params.features[:, index], params.bias)
    one, many = sample_gradient(collapsed, params), sample_gradient(full, spread)
    np.testing.assert_allclose(one.weights[0], many.weights[0], rtol=0, atol=1e-15)
    np.testing.assert_allclose(one.bias, many.bias, rtol=0, atol=5e-15)
    np.testing.assert_allclose(one.features[:, index], many.features, rtol=0, atol=1e-15)


def test_typical_size_is_that_of_the_pull():
    """The root mean square singular value of N ω_c q_c / √m_c, whatever the scale of the
    weights."""
    labels = weighted(collapsed=True)
    pull = np.asarray(labels.num_samples * labels.column_weights / jnp.sqrt(labels.masses))
    expected = np.sqrt(np.mean(np.linalg.svd(EYE * pull, compute_uv=False) ** 2))
    assert float(problem(labels).sizes[1]) == pytest.approx(expected, rel=1e-14)
    alike, none = (ufm.one_hot(COUNTS, class_weights=w, collapsed=True) for w in ((7.0,) * 3, None))
    assert float(problem(alike).sizes[1]) == pytest.approx(float(problem(none).sizes[1]), rel=1e-14)


def test_renormalised_features_keep_their_covariance():
    """Σ_W counts samples, whatever they weigh in the loss: the velocity is tangent to Σ_W = I."""
    labels = ufm.one_hot((4, 4, 4), class_weights=WEIGHTS)
    here = ufm.Problem(
        labels, loss=ufm.MeanSquaredError(), widths=(3,), lambda_W=0.0, lambda_H=0.0, bias="free"
    )
    features = jax.random.normal(jax.random.key(7), (3, 12))
    velocity = RenormalisedVelocity()
    state = velocity.state_of(here, ufm.Params((jnp.zeros((3, 3)),), features, jnp.zeros(3)))

    def covariance(X):
        deviations = X - ufm.labels.collapse(labels, X)[:, labels.class_index]
        return deviations @ deviations.T / 12

    np.testing.assert_allclose(covariance(state), np.eye(3), rtol=0, atol=1e-12)
    moving = velocity(here, state)
    assert float(jnp.max(jnp.abs(moving))) > 1e-3
    np.testing.assert_allclose(
        jax.jvp(covariance, (state,), (moving,))[1], np.zeros((3, 3)), rtol=0, atol=1e-12
    )


# predictions
# ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="cross-entropy"),
        pytest.param({"loss": ufm.MeanSquaredError()}, id="squared-error"),
        pytest.param({"loss": ufm.MeanSquaredError(), "widths": (4, 4)}, id="squared-error-deep"),
        pytest.param({"loss": ufm.losses.Focal(2.0)}, id="focal"),
        pytest.param({"features": ufm.domains.Nonnegative()}, id="nonnegative"),
        pytest.param(
            {"features": ufm.domains.Nonnegative(), "loss": ufm.MeanSquaredError()},
            id="nonnegative-squared-error",
        ),
    ],
)
def test_no_closed_form_where_weights_differ(options):
    balanced = (3, 3, 3)
    alike = ufm.closed_form(
        problem(ufm.one_hot(balanced, class_weights=(2.0, 2.0, 2.0)), **options)
    )
    assert alike.value == ufm.closed_form(problem(ufm.one_hot(balanced), **options)).value
    with pytest.raises(
        ufm.NoClosedForm,
        match=r"needs equal loss weights of all samples; got `weights` from 0.5 to 4",
    ):
        ufm.closed_form(problem(ufm.one_hot(balanced, class_weights=WEIGHTS), **options))


def test_no_deep_candidates_where_weights_differ():
    deep = problem(ufm.one_hot((3, 3, 3), class_weights=WEIGHTS), widths=(4, 4))
    with pytest.raises(ufm.NoClosedForm, match="needs equal loss weights"):
        ufm.laws.etf_branch(deep)


def test_no_mixture_form_where_weights_differ():
    targets = ufm.labels.smoothed((2, 2, 2), smoothing=0.3).targets
    with pytest.raises(ufm.NoClosedForm, match="needs equal loss weights"):
        ufm.closed_form(problem(ufm.soft(targets, weights=(1, 2, 1, 2, 1, 2))))
