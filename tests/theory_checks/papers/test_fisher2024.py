"""The formulas of the mixup checks.

Against the library's other form of them, published numbers, and the rates of their limits.
"""

import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from theory_checks.papers.fisher2024 import formulas
from ufm.analysis.calibration import reliability
from ufm.labels.beta_law import beta_quadrature
from ufm.labels.mixtures import mixup
from ufm.optima import channels
from ufm.optima.joint_mixup import mixup_optimum, mixup_threshold

LAM = np.array([1e-6, 0.1, 0.3, 0.5, 0.7, 0.999])


@pytest.mark.parametrize("K", [2, 3, 4, 10, 100])
@pytest.mark.parametrize("s", [1e3, 1.0, 1e-2, 1e-4])
def test_two_forms_of_the_gaps_agree(K, s):
    """Lambert's function, c − W_0(t e^c), against Newton's method on t (e^u − 1) + u = λ/s."""
    here, there = formulas.gaps(K, LAM, s), channels.channel(K, LAM, strength=s)
    # relative to λ/s + t, from which the Lambert form takes a difference
    for ours, theirs in (
        (here.first, there.first_gap),
        (here.second, there.second_gap),
        (here.t, there.t),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15 * (1 / s + 10))
    np.testing.assert_allclose(
        formulas.same_class_gap(K, s), channels.same_class_gap(K, s), rtol=1e-14
    )
    np.testing.assert_allclose(
        formulas.half_gap(K, s), channels.channel(K, 0.5, strength=s).first_gap, rtol=1e-13
    )


@pytest.mark.parametrize("log_x", [-700.0, -2.0, 0.0, 0.9, 1.0, 1.1, 30.0, 1e4, 1e9])
def test_lambert(log_x):
    w = float(formulas.lambert(log_x))
    assert w > 0
    np.testing.assert_allclose(w + np.log(w), log_x, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(("K", "alpha", "decay"), [(3, 1.0, 0.05), (4, 0.2, 0.02), (10, 2.0, 1e-3)])
def test_size_of_the_learned_classifier(K, alpha, decay):
    s = formulas.learned_strength(K, *beta_quadrature(alpha), decay, decay)
    np.testing.assert_allclose(
        s, mixup_optimum(K, alpha, lambda_W=decay, lambda_H=decay).strength, rtol=1e-12
    )


def test_nothing_is_learned_from_the_threshold_on():
    law, limit = beta_quadrature(1.0), mixup_threshold(3, 1.0)
    assert formulas.learned_strength(3, *law, 1.0, 1.01 * limit) == np.inf
    assert np.isfinite(formulas.learned_strength(3, *law, 1.0, 0.99 * limit))


@pytest.mark.parametrize(
    ("K", "decay", "mixed", "plain"),
    [
        pytest.param(3, 0.05, 0.9319, 0.9423, id="lower"),
        pytest.param(10, 0.01, 0.97237, 0.97154, id="higher"),
    ],
)
def test_confidence_in_clean_points_by_number(K, decay, mixed, plain):
    xi = formulas.same_class_gap(
        K, formulas.learned_strength(K, *beta_quadrature(1.0), decay, decay)
    )
    gaps = np.array([float(xi), formulas.unmixed_gap(K, decay, decay)])
    np.testing.assert_allclose(1 / (1 + (K - 1) * np.exp(-gaps)), [mixed, plain], rtol=0, atol=5e-5)


@pytest.mark.parametrize(("mu", "width"), [(1e-2, 0.8867), (0.3, 0.8064)])
def test_amplification_by_number(mu, width):
    """Ten classes, m = 1.

    The width at λ = 0.7 is above logit λ = 0.8473 for small decay and below it for large.
    """
    u = formulas.gaps(10, np.array([0.7]), mu * 9 / 10)
    np.testing.assert_allclose(u.first - u.second, width, rtol=0, atol=5e-5)


@pytest.mark.parametrize("K", [3, 4, 10])
def test_rates_of_the_limit_of_small_decay(K):
    """The laws are off by a factor 1 + O(s t), t ~ log(1/s).

    Over two decades of s that ratio stays, where another power moves by 100.
    """
    lam, strengths = np.array([0.3, 0.8]), np.array([1e-5, 1e-7])
    errors = []
    for s in strengths:
        u, (depth, correction) = (
            channels.channel(K, lam, strength=s),
            formulas.small_decay(K, lam, s),
        )
        width_error = (u.width - np.log(lam / (1 - lam))) / s
        errors.append(
            np.array([np.abs(u.depth / depth - 1), np.abs(width_error / correction - 1)])
            / (s * u.t)
        )
        # twice the gap of one class, up to a constant: 2 log(√(λ(1−λ))/2) at the speed of a
        # logarithm
        constant = u.depth - 2 * channels.same_class_gap(K, s)
        assert np.all((constant < 0) & (constant > 2 * np.log(np.sqrt(lam * (1 - lam)) / 2)))
    change = errors[1] / errors[0]
    assert np.all((change > 0.3) & (change < 3)), change


def test_translation_of_the_normalisation():
    """A sum over N² pairs of samples with decay un-normalised is the problem of `ufm.mixup` with μ
    = N² λ'."""
    counts, d, lambda_W, decay = (2, 2, 2), 4, 0.3, 0.01
    K, N = len(counts), sum(counts)
    rng = np.random.default_rng(0)
    labels = mixup(K, np.inf)
    W, H = rng.normal(size=(K, d)), rng.normal(size=(d, labels.num_columns))
    problem = ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=(d,), lambda_W=lambda_W, lambda_H=N**2 * decay
    )
    targets = np.asarray(labels.targets)
    classes = np.repeat(np.arange(K), counts)
    total = lambda_W / 2 * np.sum(W**2)
    for i in classes:
        for j in classes:
            q = 0.5 * np.eye(K)[i] + 0.5 * np.eye(K)[j]
            h = H[:, np.flatnonzero((targets == q[:, None]).all(axis=0))[0]]
            z = W @ h
            total += (np.log(np.exp(z).sum()) - q @ z) / N**2 + decay / 2 * h @ h
    np.testing.assert_allclose(
        ufm.model.objective(problem, ufm.Params((jnp.asarray(W),), jnp.asarray(H))),
        total,
        rtol=1e-13,
    )


def test_calibration_error_is_that_of_the_library():
    rng = np.random.default_rng(0)
    p, y, m = (
        rng.dirichlet(np.ones(4), 300).T,
        rng.dirichlet(np.ones(4), 300).T,
        rng.uniform(0.1, 1, 300),
    )
    np.testing.assert_allclose(
        formulas.calibration_error(p, y, m), float(reliability(p, ufm.soft(y, m)).ece), rtol=1e-13
    )
