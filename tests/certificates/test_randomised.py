"""The bound by random vectors against the exact one at small size, and that it holds."""

from __future__ import annotations

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import ufm
from tests.model.large import large, random_point, solvable, twin
from ufm.certificates import Randomised, RandomisedCertificate
from ufm.certificates.random_norm import bound_on_rest
from ufm.losses import AbstractLoss

MSE = ufm.MeanSquaredError()


@pytest.mark.parametrize(
    "problem",
    [
        pytest.param(solvable, id="long-tail"),
        pytest.param(
            lambda: large("next-token", decay=1e-2, d=9, chunk=4, bias=0.3),
            id="next-token-penalised-bias",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_minimiser_certificate_and_dense_twin_agree(problem, key):
    """Decay so strong that the optimum has a rank of at most d: the gap closes."""
    problem = problem()
    solution = ufm.minimise(problem, key=key)
    assert solution.result is ufm.Result.CONVERGED
    dense = ufm.minimise(twin(problem), key=key)
    assert dense.result is ufm.Result.CONVERGED
    np.testing.assert_allclose(solution.value, dense.value, rtol=1e-12)

    whole = ufm.certify(twin(problem), solution.params)
    certificate = ufm.certify(problem, solution.params, randomised=Randomised(key))
    # the gap is first order in the gradient, whose relative norm is 1e-12: `test_certificate` asks
    # the same of the dense one
    assert whole.gap < 1e-10
    assert certificate.gap < 1e-10
    assert certificate.closes()
    np.testing.assert_allclose(certificate.value, whole.value, rtol=1e-12)
    np.testing.assert_allclose(certificate.spectral_ratio, whole.spectral_ratio, rtol=1e-9)


@pytest.mark.lean("probabilities-moved")
@pytest.mark.parametrize(
    ("labels", "loss", "bias"),
    [
        pytest.param("long-tail", "cross-entropy", None, id="long-tail"),
        pytest.param("smoothed", "cross-entropy", "free", id="probabilities-moved"),
        pytest.param("long-tail", "squared-error", "free", id="mean-subtracted"),
        pytest.param("next-token", "squared-error", 0.3, id="penalised-bias"),
    ],
)
def test_bound_holds_at_any_point_and_the_norm_lies_between(labels, loss, bias, key):
    """From the origin, where nothing is known of the range of W, to points far out.

    The dense certificate knows the norm exactly.
    """
    problem = large(labels, loss, bias=bias, chunk=16)
    # with a free bias the dense certificate judges another point, the one with the best bias: there
    # the closed form is the witness
    best = (
        ufm.closed_form(large(labels, loss, bias=bias, d=problem.labels.num_classes)).value
        if bias == "free"
        else np.inf
    )
    for scale in (0.0, 0.1, 1.0, 5.0):
        point = random_point(problem, key, scale)
        certificate = ufm.certify(problem, point, randomised=Randomised(key))
        assert certificate.spectral_ratio <= certificate.spectral_bound
        assert float(certificate.lower_bound) <= best * (1 + 1e-12)
        if bias == "free":
            continue
        whole = ufm.certify(twin(problem), point)
        # rounding of the products, as between any two ways to the same norm
        exact = float(whole.spectral_ratio)
        assert (
            float(certificate.spectral_ratio) * (1 - 1e-12)
            <= exact
            <= float(certificate.spectral_bound) * (1 + 1e-12)
        )
        # (log(K/δ^(2/s))/4k)² of the squared norm is below a per cent for 40 steps of 16 vectors
        assert certificate.spectral_bound <= 1.01 * exact
        # a dual point scaled by less is no better, and squared error has a better scale where all
        # is at hand
        assert float(certificate.lower_bound) <= float(whole.lower_bound) + 1e-12 * float(
            whole.value
        )
        np.testing.assert_allclose(certificate.value, whole.value, rtol=1e-12)


@pytest.mark.lean("adjusted")
@pytest.mark.parametrize("loss", ["adjusted", "rescaled"])
def test_any_convex_loss_with_a_free_bias_is_certified(loss, key):
    problem = large("long-tail", loss, bias="free", decay=1e-3, d=11, chunk=99)
    solution = ufm.minimise(problem, key=key)
    assert solution.result is ufm.Result.CONVERGED
    assert ufm.certify(problem, solution.params, randomised=Randomised(key)).gap < 1e-10
    # away from the optimum the bound still holds, and does not close
    moved = jax.tree.map(lambda leaf: 1.1 * leaf, solution.params)
    certificate = ufm.certify(problem, moved, randomised=Randomised(key))
    assert -jnp.inf < certificate.lower_bound <= solution.value * (1 + 1e-12)
    assert certificate.gap > 1e-6


def test_too_few_dimensions_leave_the_gap_open_and_say_so(key):
    problem = solvable(decay=1e-4)
    solution = ufm.minimise(problem, key=key)
    assert solution.result is ufm.Result.CONVERGED
    certificate = ufm.certify(problem, solution.params, randomised=Randomised(key))
    assert certificate.gap > 0.05
    assert not certificate.closes()
    assert certificate.spectral_ratio > 1.1
    assert "except with probability 1e-12" in str(certificate)
    likelier = dataclasses.replace(certificate, failure_probability=0.149)
    assert "except with probability 2e-01" in str(likelier)


def test_more_steps_and_vectors_sharpen_the_bound(key):
    problem = solvable()
    point = random_point(problem, key, 0.1)
    exact = float(ufm.certify(twin(problem), point).spectral_ratio)
    excess = [
        float(
            ufm.certify(
                problem, point, randomised=Randomised(key, steps=steps, block=block)
            ).spectral_bound
        )
        / exact
        - 1
        for steps, block in ((4, 1), (4, 16), (40, 16))
    ]
    assert excess[0] > 3 * excess[1] > 9 * excess[2] > 0


def test_a_norm_that_is_no_number_bounds_by_the_losses_alone(key, monkeypatch):
    labels = ufm.one_hot([9, 3, 1], collapsed=True, sparse=True)
    problem = ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=(2,), lambda_W=0.01, lambda_H=0.01
    )
    point = ufm.solvers.random_start(twin(problem), key=key)
    monkeypatch.setattr("ufm.certificates.random_norm._largest", lambda *numbers: np.nan)
    certificate = ufm.certify(problem, point, randomised=Randomised(key, steps=2, block=2))
    # the losses of one-hot labels are >= 0 all the same
    assert certificate.lower_bound == 0
    assert certificate.gap == 1


@pytest.mark.parametrize("labels", ["long-tail", "smoothed"])
def test_no_bound_is_below_what_the_losses_are_never_below(labels, key):
    """Far out, where a weakly penalised bias takes all from the dual value: 0, or the entropy of
    soft targets, which the exact certificate has too."""
    problem = large(labels, bias=1e-6)
    point = random_point(problem, key, 3.0)
    certificate = ufm.certify(problem, point, randomised=Randomised(key))
    whole = ufm.certify(twin(problem), point)
    targets = np.asarray(twin(problem).labels.targets)
    entropy = -np.sum(targets * np.log(np.where(targets > 0, targets, 1)), axis=0)
    least = float(entropy @ np.asarray(problem.labels.column_weights))
    assert (least > 0) == (labels == "smoothed")
    # below by what rounding can amount to, some tens of roundings of the sizes of a column
    assert 0 <= least - certificate.lower_bound <= 1e-13
    np.testing.assert_allclose(certificate.lower_bound, whole.lower_bound, rtol=0, atol=1e-13)
    assert certificate.valid


class Shifted(AbstractLoss):
    """Squared error whose conjugate is off by a constant, of every class or of one."""

    constant: Array
    wrong: int | None = eqx.field(static=True, default=None)

    def __call__(self, logits, targets):
        return MSE(logits, targets)

    def conjugate(self, dual, targets):
        share = jnp.ones_like(targets[0]) if self.wrong is None else targets[self.wrong]
        return MSE.conjugate(dual, targets) + self.constant * share

    def best_bias(self, logits, targets, column_weights):
        return MSE.best_bias(logits, targets, column_weights)


@pytest.mark.parametrize("bias", [None, "free"])
@pytest.mark.parametrize(
    ("constant", "wrong"),
    [
        # a bound that is too high, everywhere or in one column of one chunk, and one that is too
        # low
        pytest.param(-0.02, None, id="too-low"),
        pytest.param(-0.02, 6, id="one-too-low"),
        pytest.param(0.02, None, id="too-high"),
    ],
)
def test_a_conjugate_that_contradicts_its_loss_certifies_nothing(constant, wrong, bias, key):
    """Columns in chunks of three, and the same as the exact certificate."""
    loss = Shifted(jnp.asarray(constant), wrong)
    right = large("long-tail", "squared-error", d=11, chunk=3, bias=bias)
    params = ufm.minimise(right, key=key).params
    certificate = ufm.certify(right, params, randomised=Randomised(key))
    assert certificate.closes(1e-9)
    # in units of what rounding can explain, a hundred times fewer
    assert certificate.contradiction < 0.1
    problem = right.replace(loss=loss)
    certificate = ufm.certify(problem, params, randomised=Randomised(key))
    whole = ufm.certify(twin(problem), params)
    assert not certificate.valid
    assert not whole.valid
    # the exact one solves for the bias again and takes another scale
    np.testing.assert_allclose(certificate.contradiction, whole.contradiction, rtol=0.2)
    assert certificate.gap == jnp.inf
    assert not certificate.closes(1e300)
    assert str(certificate).startswith("INVALID: value and conjugate contradict each other")


def test_the_residual_of_a_free_bias_is_relative_to_logits_and_targets(key):
    """At the bias that is given."""
    problem = large("weighted", "squared-error", bias="free")
    point = random_point(problem, key, 2.0)
    certificate = ufm.certify(problem, point, randomised=Randomised(key, steps=2, block=2))
    labels = twin(problem).labels
    weights, q = np.asarray(labels.column_weights), np.asarray(labels.targets)
    z = np.asarray(twin(problem).logits(point))
    size = np.sqrt(np.sum(z**2 @ weights)) + np.sqrt(np.sum(q**2 @ weights))
    residual = np.linalg.norm((z - q) @ weights) / size
    assert residual > 0.1
    np.testing.assert_allclose(certificate.bias_residual, residual, rtol=1e-12)


def test_the_loss_has_its_name(key):
    problem = large("long-tail")
    point = random_point(problem, key)
    certificate = ufm.certify(problem, point, randomised=Randomised(key, steps=2, block=2))
    assert certificate.loss == ufm.certify(twin(problem), point).loss == "cross-entropy"


def test_probability_of_a_false_bound_is_as_stated(key):
    """One step on one vector, θ far too low, failures allowed in half of the cases.

    Some bounds must fail, and fewer than half.
    """
    K, top, theta = 12, 1.0, 0.05
    spectrum = np.linspace(0, 0.05, K)
    spectrum[-1] = top
    vectors = np.random.default_rng(1).standard_normal((4000, K))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    applied = (2 * spectrum / theta - 1) * vectors
    failures = np.mean([bound_on_rest(x[:, None], theta, K, 1, 0.5) < top for x in applied])
    assert 0.1 < failures < 0.5


def test_the_bound_of_weighted_samples_holds(key):
    problem = large("weighted", d=4, bias=0.3)
    solution = ufm.minimise(problem, key=key)
    whole = ufm.certify(twin(problem), solution.params)
    certificate = ufm.certify(problem, solution.params)
    assert whole.closes()
    assert certificate.closes()
    np.testing.assert_allclose(certificate.spectral_ratio, whole.spectral_ratio, rtol=1e-8)
    # of a problem whose logits fit too, where it is asked for
    again = ufm.certify(twin(problem), solution.params, randomised=Randomised(key))
    assert isinstance(again, RandomisedCertificate)
    assert again.closes()


def test_closing_means_both_sides_and_a_billionth():
    def certificate(value, lower, rounding=0.0):
        gap = max(value - lower, 0) / value
        names = (
            "value",
            "lower_bound",
            "gap",
            "spectral_ratio",
            "spectral_bound",
            "bias_residual",
            "rounding",
            "contradiction",
        )
        numbers = (value, lower, gap, 1.0, 1.0, 0.0, rounding, 0.0)
        arrays = dict(zip(names, map(jnp.asarray, numbers), strict=True))
        return RandomisedCertificate(**arrays, failure_probability=1e-12, loss="X")

    # 2 ** -30 is 9.3e-10, and a value of a power of two leaves no rounding
    assert certificate(1.0, 1 - 2.0**-30).closes()
    assert not certificate(1.0, 1 - 1.005e-9).closes()
    assert certificate(1.0, 1 - 2e-9).closes(1e-8)
    # relative to the value
    assert certificate(8.0, 8 - 2.0**-28).closes()
    assert not certificate(0.125, 0.125 - 2.0**-31).closes()
    # a tolerance that is met exactly is met
    assert certificate(1.0, 0.75).closes(0.25)
    assert not certificate(1.0, 0.75).closes(0.249)
    # a bound above the value is a defect, not a proof; unless rounding of the value explains it
    assert not certificate(1.0, 1 + 1e-12).closes()
    assert not certificate(1.0, 1 + 1e-12).valid
    assert certificate(1.0, 1 + 1e-12, rounding=2e-12).closes()
    # what is not known of the value is not known of the gap
    assert not certificate(1.0, 1.0, rounding=2e-9).closes()
    assert not certificate(1.0, 1 - 6e-10, rounding=6e-10).closes()


def test_what_is_chosen_unless_given():
    """A bound that is wrong once in 1e12, as the docstring promises."""
    plain = Randomised()
    assert (plain.steps, plain.block, plain.failure_probability) == (40, 16, 1e-12)
