"""The duality certificate.

True at every point, tight at every optimum of a convex problem, silent where theory has nothing to
say.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

import ufm
from ufm.certificates.bound import certify
from ufm.labels import exponential_counts, one_hot, soft, step_counts
from ufm.losses import (
    AbstractLoss,
    AdjustedCrossEntropy,
    CrossEntropy,
    MeanSquaredError,
    RescaledSquaredError,
)
from ufm.model import Params, Problem
from ufm.solution import Certificate, Result
from ufm.solvers import minimise

MSE, CE = MeanSquaredError(), CrossEntropy()
# one K, so that the problems share their compiled code
BALANCED, TAIL = (6, 6, 6, 6), exponential_counts(4, largest=100, ratio=50)

# rounding: sums of a few terms of size one, by two routes
ROUNDING = 1e-14
# A gap is first order in the relative gradient norm, which stops at 1e-12. Factors measured: 0.4 to
# 2, and up to 35 on the tail with a free bias, where solving for the bias moves the point by the
# gradient over a small curvature.
SOLVED = 1e-10


def problem_of(counts, *, loss, lam=1e-3, bias=None, d=8, collapsed=True):
    return Problem(
        one_hot(counts, collapsed=collapsed),
        loss=loss,
        widths=(d,),
        lambda_W=5 * lam,
        lambda_H=lam / 5,
        bias=bias,
    )


def random_params(problem, rng, scale=1.0):
    K, d, C = problem.labels.num_classes, problem.feature_dim, problem.labels.num_columns
    return Params(
        weights=(jnp.asarray(scale * rng.standard_normal((K, d))),),
        features=jnp.asarray(scale * rng.standard_normal((d, C))),
        bias=jnp.asarray(scale * rng.standard_normal(K)) if problem.has_bias else None,
    )


def origin(problem):
    return jax.tree.map(jnp.zeros_like, random_params(problem, np.random.default_rng(0)))


def solved(problem, seed=0):
    solution = minimise(problem, key=jax.random.key(seed))
    assert solution.result is Result.CONVERGED
    return solution


# --- optimal values by hand (theory: linear_networks 1.1, 1.2, 1.4; balanced 2.1) ---


def mse_value(counts, mu, *, centred=False):
    """N**2 mu**2 over the mass of a direction is t.

    The direction contributes mass (2 sqrt t - t) / 2N below t = 1 and mass / 2N above.
    """
    n = np.asarray(counts, float)
    N = n.sum()
    mass = np.clip(np.linalg.eigvalsh(np.diag(n) - np.outer(n, n) / N), 0, None) if centred else n
    root_t = np.minimum(N * mu / np.sqrt(np.where(mass > 1e-9, mass, 1e-300)), 1)
    return float(np.sum(mass * (2 * root_t - root_t**2)) / (2 * N))


def mse_penalised_value(K, n, mu, lambda_b):
    omega = lambda_b / (1 + lambda_b)
    c0 = K * np.sqrt(n) * mu
    contrast, mean = min(c0, 1), min(c0 / omega, 1)
    return ((K - 1) * (2 * contrast - contrast**2) + omega * (2 * mean - mean**2)) / (2 * K)


def ce_value(K, n, mu):
    root = np.sqrt(n) * mu
    a = np.log(max(1 / root - K + 1, 1))
    return np.log1p((K - 1) * np.exp(-a)) + root * (K - 1) * a


LAM = 1e-3  # so mu = sqrt(5 LAM * LAM / 5) = LAM
OPTIMA = [
    pytest.param(problem_of(BALANCED, loss=MSE), mse_value(BALANCED, LAM), id="mse-balanced"),
    pytest.param(
        problem_of(BALANCED, loss=MSE, collapsed=False),
        mse_value(BALANCED, LAM),
        id="mse-balanced-full",
    ),
    pytest.param(
        problem_of(BALANCED, loss=MSE, bias="free"),
        mse_value(BALANCED, LAM, centred=True),
        id="mse-balanced-free-bias",
    ),
    pytest.param(
        problem_of(BALANCED, loss=MSE, bias=0.01),
        mse_penalised_value(4, 6, LAM, 0.01),
        id="mse-penalised-bias-etf",
    ),
    pytest.param(
        problem_of(BALANCED, loss=MSE, bias=0.5),
        mse_penalised_value(4, 6, LAM, 0.5),
        id="mse-penalised-bias-between",
    ),
    pytest.param(problem_of(TAIL, loss=MSE), mse_value(TAIL, LAM), id="mse-tail"),
    pytest.param(
        problem_of(TAIL, loss=MSE, lam=1e-5), mse_value(TAIL, 1e-5), id="mse-tail-small-decay"
    ),
    pytest.param(
        problem_of(TAIL, loss=MSE, bias="free"),
        mse_value(TAIL, LAM, centred=True),
        id="mse-tail-free-bias",
    ),
    # N mu = 40 * 0.06 = 2.4: above the roots of the minority counts 4 (collapsed), below sqrt(16)
    pytest.param(
        problem_of((16, 16, 4, 4), loss=MSE, lam=0.06),
        mse_value((16, 16, 4, 4), 0.06),
        id="mse-minority-collapse",
    ),
    pytest.param(problem_of(BALANCED, loss=CE), ce_value(4, 6, LAM), id="ce-balanced"),
    pytest.param(
        problem_of(BALANCED, loss=CE, collapsed=False, bias="free"),
        ce_value(4, 6, LAM),
        id="ce-balanced-full-free-bias",
    ),
    pytest.param(
        problem_of(BALANCED, loss=CE, bias="free"), ce_value(4, 6, LAM), id="ce-balanced-free-bias"
    ),
    pytest.param(
        problem_of(BALANCED, loss=CE, bias=0.01),
        ce_value(4, 6, LAM),
        id="ce-balanced-penalised-bias",
    ),
    pytest.param(
        problem_of(BALANCED, loss=CE, lam=1e-5), ce_value(4, 6, 1e-5), id="ce-balanced-small-decay"
    ),
]
NO_CLOSED_FORM = [
    pytest.param(problem_of(TAIL, loss=MSE, bias=0.1), None, id="mse-tail-penalised-bias"),
    pytest.param(problem_of(TAIL, loss=CE), None, id="ce-tail"),
    pytest.param(problem_of(TAIL, loss=CE, bias="free"), None, id="ce-tail-free-bias"),
    pytest.param(problem_of(TAIL, loss=CE, bias=0.01), None, id="ce-tail-penalised-bias"),
    pytest.param(
        problem_of(step_counts(2, 2, majority=30, minority=10), loss=CE, collapsed=False),
        None,
        id="ce-step-full",
    ),
]


@pytest.mark.parametrize(("problem", "value"), OPTIMA + NO_CLOSED_FORM)
@pytest.mark.parametrize("seed", [0, 1])
def test_gap_closes_at_the_minimiser(problem, value, seed):
    solution = solved(problem, seed)
    certificate = certify(problem, solution.params)
    assert 0 <= certificate.gap < SOLVED
    assert certificate.closes(SOLVED)
    np.testing.assert_allclose(certificate.spectral_ratio, 1, rtol=SOLVED)
    np.testing.assert_allclose(certificate.value, solution.value, rtol=1e-13)
    assert certificate.bias_residual < 1e-15
    if value is not None:
        np.testing.assert_allclose(certificate.lower_bound, value, rtol=SOLVED)


@pytest.mark.parametrize(("problem", "value"), OPTIMA)
def test_bound_is_below_the_optimum_at_random_points(problem, value):
    rng = np.random.default_rng(1)
    for scale in (1e-3, 1e-1, 0.5, 1.0, 3.0, 30.0):
        certificate = certify(problem, random_params(problem, rng, scale))
        assert np.isfinite(certificate.lower_bound)
        assert certificate.lower_bound <= value * (1 + ROUNDING)
        assert certificate.value >= value * (1 - ROUNDING)
        assert certificate.gap > 0


@pytest.mark.parametrize("loss", [pytest.param(MSE, id="mse"), pytest.param(CE, id="ce")])
@pytest.mark.parametrize("bias", [None, "free", 0.1])
@settings(deadline=None, max_examples=15, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    log_lam=st.floats(-5, -1),
    log_ratio=st.floats(-2, 2),
    scale=st.floats(1e-3, 5),
)
def test_weak_duality_on_random_problems(loss, bias, seed, log_lam, log_ratio, scale):
    rng = np.random.default_rng(seed)
    K, C, lam, ratio = 3, 5, 10**log_lam, 10**log_ratio
    labels = soft(rng.dirichlet(0.3 * np.ones(K), size=C).T, rng.uniform(0.1, 10, size=C))
    problem = Problem(
        labels, loss=loss, widths=(4,), lambda_W=lam * ratio, lambda_H=lam / ratio, bias=bias
    )
    best = minimise(problem, key=jax.random.key(seed % 1000))
    certificate = certify(problem, random_params(problem, rng, scale))
    assert np.isfinite(certificate.lower_bound)
    assert certificate.lower_bound <= best.value * (1 + 1e-12)
    assert certificate.value >= best.value * (1 - 1e-9)
    at_best = certify(problem, best.params)
    assert at_best.lower_bound <= best.value * (1 + 1e-12)
    if best.result is Result.CONVERGED:
        # soft targets, any masses, d >= K: the convex problem is solved, wherever the ratio of the
        # decays puts it
        assert at_best.gap < 1e-9


@pytest.mark.parametrize(("problem", "value"), OPTIMA[:1] + OPTIMA[9:10])
def test_gap_is_first_order_in_the_error(problem, value):
    params, rng = solved(problem).params, np.random.default_rng(0)
    direction = random_params(problem, rng)
    gaps = []
    for size in (1e-4, 1e-6, 1e-8):
        moved = jax.tree.map(lambda x, v, size=size: x + size * v, params, direction)
        gaps.append(float(certify(problem, moved).gap))
    assert gaps[0] > 1e-6
    # two digits of error, two digits of gap
    np.testing.assert_allclose(np.log10(np.divide(gaps[:-1], gaps[1:])), 2, rtol=0, atol=0.1)


# --- the origin: stationary for every problem, optimal only in the trivial regime ---


def centred_root(counts):
    n = np.asarray(counts, float)
    return np.sqrt(np.linalg.eigvalsh(np.diag(n) - np.outer(n, n) / n.sum())[-1])


def ce_root(counts):
    K = len(counts)
    return np.linalg.norm((np.eye(K) - 1 / K) * np.sqrt(np.asarray(counts, float)), 2)


# mu at which the origin (with the best bias) becomes optimal: linear_networks 1.1, 1.2, 1.4;
# balanced 2.1; imbalanced 3.2, 3.3, 3.5
THRESHOLDS = [
    pytest.param(MSE, None, BALANCED, 1 / (4 * np.sqrt(6)), id="mse-balanced"),
    pytest.param(MSE, None, TAIL, np.sqrt(100) / sum(TAIL), id="mse-tail"),
    pytest.param(MSE, "free", BALANCED, 1 / (4 * np.sqrt(6)), id="mse-balanced-free-bias"),
    pytest.param(MSE, "free", TAIL, centred_root(TAIL) / sum(TAIL), id="mse-tail-free-bias"),
    pytest.param(CE, None, BALANCED, 1 / (4 * np.sqrt(6)), id="ce-balanced"),
    pytest.param(CE, "free", BALANCED, 1 / (4 * np.sqrt(6)), id="ce-balanced-free-bias"),
    pytest.param(CE, 0.1, BALANCED, 1 / (4 * np.sqrt(6)), id="ce-balanced-penalised-bias"),
    pytest.param(CE, None, TAIL, ce_root(TAIL) / sum(TAIL), id="ce-tail"),
    pytest.param(CE, "free", TAIL, centred_root(TAIL) / sum(TAIL), id="ce-tail-free-bias"),
]


@pytest.mark.parametrize(("loss", "bias", "counts", "threshold"), THRESHOLDS)
@pytest.mark.parametrize("collapsed", [True, False])
def test_origin_is_certified_exactly_in_the_trivial_regime(
    loss, bias, counts, threshold, collapsed
):
    def at_origin(relative):
        problem = problem_of(
            counts, loss=loss, bias=bias, lam=threshold * relative, collapsed=collapsed
        )
        return certify(problem, origin(problem))

    for relative in (1, 1.0001, 1.5, 100):
        # the bound is lowered by what the rounding of a mean over the columns can hide
        columns = sum(counts) if not collapsed else len(counts)
        assert 0 <= at_origin(relative).gap < ROUNDING * (4 + columns)
        np.testing.assert_allclose(at_origin(relative).spectral_ratio, 1 / relative, rtol=1e-12)
    gaps = [at_origin(relative).gap for relative in (0.99, 0.5, 0.01)]
    assert (
        gaps[0] > 1e-5
    )  # second order in the distance to the threshold: (1 - 0.99)**2 = 1e-4 for squared error
    assert gaps[0] < gaps[1] < gaps[2]


@pytest.mark.parametrize("relative", [0.2, 0.9])
def test_gap_at_the_origin_by_hand(relative):
    lam = relative / (4 * np.sqrt(6))
    problem = problem_of(BALANCED, loss=MSE, lam=lam)
    # u = -t q with t = relative, so D = t - t**2 / 2 against the value 1/2
    np.testing.assert_allclose(
        certify(problem, origin(problem)).gap, (1 - relative) ** 2, rtol=1e-12
    )
    problem = problem_of(BALANCED, loss=CE, lam=lam)
    point = relative / 4 + (1 - relative) * np.array([1.0, 0, 0, 0])
    entropy = -np.sum(point * np.log(point))
    np.testing.assert_allclose(
        certify(problem, origin(problem)).gap, 1 - entropy / np.log(4), rtol=1e-12
    )


def test_gap_below_the_rank_of_the_optimum_stays_open_by_the_true_amount():
    # two of four directions cannot be fitted: each costs g(0) - g(x) = (1 - c0)**2 of its share 1 /
    # 2K; c0 = 4 sqrt(6) mu
    problem = problem_of(BALANCED, loss=MSE, d=2)
    solution = solved(problem)
    certificate = certify(problem, solution.params)
    excess = 2 * (1 - 4 * np.sqrt(6) * LAM) ** 2 / 8
    optimum = mse_value(BALANCED, LAM) + excess
    np.testing.assert_allclose(certificate.value, optimum, rtol=1e-12)
    assert certificate.spectral_ratio > 1.1
    assert excess / optimum <= certificate.gap < 1
    assert not certificate.closes()


# --- invariances ---


@pytest.mark.parametrize("loss", [pytest.param(MSE, id="mse"), pytest.param(CE, id="ce")])
@pytest.mark.parametrize("bias", [None, "free", 0.1])
def test_collapsed_and_full_columns_give_one_certificate(loss, bias):
    collapsed = problem_of((3, 2, 1), loss=loss, bias=bias)
    full = problem_of((3, 2, 1), loss=loss, bias=bias, collapsed=False)
    params = random_params(collapsed, np.random.default_rng(0))
    repeated = eqx.tree_at(
        lambda p: p.features, params, jnp.repeat(params.features, jnp.array([3, 2, 1]), axis=1)
    )
    one, other = certify(collapsed, params), certify(full, repeated)
    for name in ("value", "lower_bound", "gap", "spectral_ratio", "bias_residual"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-12, atol=1e-15)
    # sums of more terms can hide more
    assert 0 < one.rounding < other.rounding < 1e-12 * one.value


@pytest.mark.parametrize("loss", [pytest.param(MSE, id="mse"), pytest.param(CE, id="ce")])
def test_only_relative_masses_matter_when_the_decay_follows(loss):
    rng = np.random.default_rng(0)
    targets, masses = rng.dirichlet(np.ones(3), size=7).T, rng.uniform(0.5, 5, size=7)
    one, other = (
        Problem(soft(targets, c * masses), loss=loss, widths=(4,), lambda_W=1e-2, lambda_H=1e-2 / c)
        for c in (1, 1000)
    )
    params = random_params(one, rng)
    for a, b in zip(
        jax.tree.leaves(certify(one, params)), jax.tree.leaves(certify(other, params)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("loss", [pytest.param(MSE, id="mse"), pytest.param(CE, id="ce")])
def test_a_free_bias_is_solved_again_whatever_came(loss):
    problem = problem_of(TAIL, loss=loss, bias="free")
    params = random_params(problem, np.random.default_rng(0))
    other = eqx.tree_at(lambda p: p.bias, params, params.bias - jnp.linspace(0, 80, 4))
    np.testing.assert_allclose(
        certify(problem, params).value, certify(problem, other).value, rtol=1e-13
    )
    np.testing.assert_allclose(
        certify(problem, params).lower_bound, certify(problem, other).lower_bound, rtol=1e-12
    )


# --- the slow twin: NumPy, full SVD, bound written out ---


def entropy(points):
    return -np.sum(points * np.log(np.where(points > 0, points, 1)), axis=0)


@pytest.mark.parametrize("bias", [None, 0.1])
@pytest.mark.parametrize("seed", range(4))
def test_bound_equals_its_slow_twin(bias, seed):
    rng = np.random.default_rng(seed)
    q, m = rng.dirichlet(np.ones(3), size=6).T, rng.uniform(0.5, 5, size=6)
    w, lambda_W, lambda_H = m / m.sum(), 0.02, 0.003
    for loss in (MSE, CE):
        problem = Problem(
            soft(q, m), loss=loss, widths=(4,), lambda_W=lambda_W, lambda_H=lambda_H, bias=bias
        )
        params = random_params(problem, rng)
        certificate = certify(problem, params)
        z = np.asarray(params.logits)
        p = np.exp(z) / np.exp(z).sum(0)
        u = z - q if loss is MSE else p - q
        ratio = np.linalg.norm(u * w / np.sqrt(m), 2) / np.sqrt(lambda_W * lambda_H)

        def bound(t, u=u, loss=loss):
            lack = 0 if bias is None else np.sum((t * u @ w) ** 2) / (2 * bias)
            per_column = (
                entropy(q + t * u)
                if loss is CE
                else -(t**2 * np.sum(u**2, 0) / 2 + t * np.sum(q * u, 0))
            )
            return w @ per_column - lack

        ts = np.linspace(0, min(1, 1 / ratio), 100_001)
        # the parabola of squared error may peak inside the interval; a grid of 1e5 points misses
        # its peak by less than 1e-9
        expected = (
            max(bound(t) for t in ts[:: 1000 if loss is CE else 100])
            if loss is MSE
            else bound(ts[-1])
        )
        np.testing.assert_allclose(certificate.spectral_ratio, ratio, rtol=1e-13)
        np.testing.assert_allclose(
            certificate.lower_bound, expected, rtol=1e-6 if loss is MSE else 1e-12
        )
        if loss is MSE:
            assert certificate.lower_bound >= expected - 1e-15


@pytest.mark.parametrize(("problem", "value"), OPTIMA[-5:])
def test_no_smaller_scale_is_better_at_an_optimum(problem, value):
    labels, params = problem.labels, solved(problem).params
    dual = jax.nn.softmax(params.logits, axis=0) - labels.targets
    bounds = [
        float(labels.column_weights @ entropy(np.asarray(labels.targets + t * dual)))
        for t in (0.25, 0.5, 0.75, 0.9, 1)
    ]
    assert bounds == sorted(bounds)


# --- the bias that a loss supplies ---


@pytest.mark.parametrize("scale", [1, 10, 100, 1000])
@pytest.mark.parametrize("loss", [pytest.param(MSE, id="mse"), pytest.param(CE, id="ce")])
def test_best_bias_zeroes_the_mean_gradient(loss, scale):
    # logits of 1000 saturate every softmax: the Hessian is 0 almost everywhere and plain Newton
    # would fly off
    rng = np.random.default_rng(scale)
    q, w = (
        jnp.asarray(rng.dirichlet(0.3 * np.ones(4), size=12).T),
        jnp.asarray(rng.dirichlet(np.ones(12))),
    )
    z = jnp.asarray(scale * rng.standard_normal((4, 12)))
    bias = jax.jit(loss.best_bias)(z, q, w)
    gradient = jax.vmap(jax.grad(loss), in_axes=1, out_axes=1)(z + bias[:, None], q) @ w
    assert jnp.max(jnp.abs(gradient)) < 16 * jnp.finfo(float).eps * scale

    def mean_loss(b):
        return jnp.dot(w, jax.vmap(loss, in_axes=1)(z + b[:, None], q))

    if scale == 1:
        other = scipy.optimize.minimize(
            jax.jit(jax.value_and_grad(mean_loss)), np.zeros(4), jac=True, tol=1e-10
        )
        np.testing.assert_allclose(mean_loss(bias), other.fun, rtol=1e-12)


# --- what it refuses, and what a newcomer may bring ---


@pytest.mark.parametrize("bias", [None, "free"])
def test_refuses_targets_that_are_no_probabilities(bias):
    # sums of 1.1: raising all logits together lowers the loss for ever; a negative entry does so
    # alone
    for targets in (1.1 * np.eye(3), np.eye(3) - 1 / 3, 2 * np.ones((3, 3)), np.eye(3) - 1e-9):
        with pytest.raises(ValueError, match=r"`labels.targets` must (be >= 0|sum to one)"):
            Problem(soft(targets), loss=CE, widths=(4,), lambda_W=1e-2, lambda_H=1e-2, bias=bias)


def test_refuses_a_squared_error_with_a_falling_logit():
    # 1 + (5 - 1)(-1/3) < 0
    labels = soft(np.eye(3) - 1 / 3)
    with pytest.raises(ValueError, match=r"`labels.targets` must leave every weight"):
        Problem(
            labels, loss=RescaledSquaredError(weight=5.0), widths=(3,), lambda_W=1.0, lambda_H=1.0
        )
    # while the same targets are no harm to a weight that keeps its sign
    Problem(labels, loss=RescaledSquaredError(weight=2.0), widths=(3,), lambda_W=1.0, lambda_H=1.0)


class Shifted(AbstractLoss):
    """Squared error whose conjugate is off by a constant, whose value is concave in one logit, or
    whose domain is wrong."""

    constant: float = 0.0
    bend: float = 0.0

    def __call__(self, logits, targets):
        return MSE(logits, targets) - self.bend * logits[0] ** 2

    def conjugate(self, dual, targets):
        return MSE.conjugate(dual, targets) + self.constant

    def best_bias(self, logits, targets, column_weights):
        return MSE.best_bias(logits, targets, column_weights)


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(
            Shifted(constant=jnp.asarray(-1e-3), bend=jnp.asarray(0.0)), id="conjugate-too-low"
        ),
        pytest.param(
            Shifted(constant=jnp.asarray(1e-3), bend=jnp.asarray(0.0)), id="conjugate-too-high"
        ),
        pytest.param(Shifted(constant=jnp.asarray(0.0), bend=jnp.asarray(1.0)), id="not-convex"),
    ],
)
def test_a_wrong_loss_certifies_nothing(loss):
    problem = Problem(
        one_hot((3, 3, 3), collapsed=True), loss=loss, widths=(4,), lambda_W=1e-2, lambda_H=1e-2
    )
    certificate = certify(problem, random_params(problem, np.random.default_rng(0), scale=1.0))
    assert not certificate.valid
    assert certificate.gap == jnp.inf
    assert not certificate.closes(1e300)
    assert str(certificate).startswith("INVALID")
    assert "conjugate of Shifted" in str(certificate)


class OneWrong(AbstractLoss):
    """Squared error whose conjugate is off by a constant for one class."""

    constant: float
    wrong: int

    def __call__(self, logits, targets):
        return MSE(logits, targets)

    def conjugate(self, dual, targets):
        return MSE.conjugate(dual, targets) + self.constant * targets[self.wrong]


@pytest.mark.parametrize(
    ("constant", "wrong", "valid"),
    [(-1e-9, 1, False), (-1e-9, 30, False), (1e-9, 2, False), (1e-9, 1, True)],
)
def test_a_conjugate_that_is_wrong_in_one_of_32_columns(constant, wrong, valid):
    # Fenchel–Young with >= is asked of all columns, with = of every other: one that is too high
    # only lowers the bound
    loss = OneWrong(jnp.asarray(constant), jnp.asarray(wrong))
    problem = Problem(
        one_hot((3,) * 32, collapsed=True), loss=loss, widths=(32,), lambda_W=1e-2, lambda_H=1e-2
    )
    # the minimiser has W H diag(sqrt(n)) = sqrt(n) - N mu
    half = np.sqrt(np.sqrt(3) - 96 * 1e-2)
    params = Params(
        weights=(jnp.asarray(half * np.eye(32)),),
        features=jnp.asarray(half / np.sqrt(3) * np.eye(32)),
    )
    certificate = certify(problem, params)
    assert certificate.valid == valid
    assert certificate.closes(1e-8) == valid
    assert not valid or certificate.lower_bound < mse_value((3,) * 32, 1e-2)


def test_closing_means_both_sides_and_a_billionth():
    def certificate(value, lower, rounding=0.0):
        numbers = {
            "value": value,
            "lower_bound": lower,
            "gap": max(value - lower, 0) / value,
            "spectral_ratio": 1.0,
            "bias_residual": 0.0,
            "rounding": rounding,
            "contradiction": 0.0,
        }
        return Certificate(
            **{name: jnp.asarray(number) for name, number in numbers.items()},
            lowering=jnp.asarray(0),
            dim=2,
            full_rank=2,
            loose=(),
            local_minima=False,
            loss="X",
        )

    assert certificate(1.0, 1 - 5e-10).closes()
    assert not certificate(1.0, 1 - 1.005e-9).closes()
    assert certificate(1.0, 1 - 2e-9).closes(1e-8)
    # a bound above the value is a defect, not a proof; unless rounding of the value explains it
    assert not certificate(1.0, 1 + 1e-12).closes()
    assert not certificate(1.0, 1 + 1e-12).valid
    assert certificate(1.0, 1 + 1e-12, rounding=2e-12).closes()
    # what is not known of the value is not known of the gap
    assert not certificate(1.0, 1.0, rounding=2e-9).closes()
    assert not certificate(1.0, 1 - 6e-10, rounding=6e-10).closes()
    # relative to the value, and met where it is met exactly
    assert certificate(8.0, 8 - 2.0**-28).closes()
    assert not certificate(0.125, 0.125 - 2.0**-31).closes()
    assert certificate(1.0, 0.75).closes(0.25)


@pytest.mark.parametrize("bias", [None, "free", 0.5])
@pytest.mark.parametrize("lam", [1e-12, 1e-10, 1e-6])
def test_tiny_values_are_certified_to_their_own_size(lam, bias):
    # the value is 1e-10 where lam is 1e-12, with logits of size 27
    problem = problem_of(BALANCED, loss=CE, lam=lam, bias=bias)
    solution = solved(problem)
    certificate = certify(problem, solution.params)
    right = ce_value(4, 6, lam)
    np.testing.assert_allclose(solution.value, right, rtol=1e-12)
    assert certificate.lower_bound <= right
    assert certificate.closes(1e-10)


def test_zero_targets_are_solved_by_the_origin():
    problem = Problem(soft(np.zeros((3, 2))), loss=MSE, widths=(4,), lambda_W=1e-2, lambda_H=1e-2)
    certificate = certify(problem, origin(problem))
    assert (certificate.value, certificate.gap, certificate.spectral_ratio) == (0, 0, 0)


@pytest.mark.parametrize(
    ("classifier", "features"),
    [
        (ufm.domains.Ball(5.0), None),
        (None, ufm.domains.Ball(5.0)),
        (ufm.domains.Budget(50.0), ufm.domains.Budget(50.0)),
    ],
)
def test_a_vector_that_is_rounding_has_its_decay(classifier, features, key):
    """Inside a ball, where its slope over its length is rounding over rounding, which the radius
    squared would have multiplied."""
    real = ufm.domains.Real()
    problem = ufm.Problem(
        ufm.one_hot([10, 1], collapsed=True),
        loss=ufm.MeanSquaredError(),
        widths=(4,),
        lambda_W=0.15,
        lambda_H=0.15,
        classifier=classifier or real,
        features=features or real,
    )
    optimum = ufm.minimise(problem.replace(classifier=real, features=real), key=key).params
    W, H = np.array(optimum.weights[0]), np.array(optimum.features)
    for row, column in 1e-15 * np.random.default_rng(0).standard_normal((6, 2, 4)):
        W[1], H[:, 1] = row, column
        certificate = ufm.certify(problem, ufm.Params((W,), H))
        assert certificate.gap < 1e-10


def test_overflow_closes_nothing():
    problem = problem_of(BALANCED, loss=MSE)
    certificate = certify(problem, random_params(problem, np.random.default_rng(0), scale=1e160))
    assert certificate.gap == jnp.inf
    # what no point is below by its losses alone
    assert certificate.lower_bound == 0
    assert certificate.contradiction == 0


GOOD = {"loss": MSE, "widths": (4,), "lambda_W": 1e-3, "lambda_H": 1e-3}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"widths": (4, 4, 4)}, r"one linear layer \(M = 1\).*not convex; got M=3", id="depth"
        ),
        pytest.param(
            {"lambda_W": 0.0}, r"`lambda_W` must be finite and > 0.*got", id="no-decay-on-W"
        ),
        pytest.param(
            {"lambda_H": 0.0}, r"`lambda_H` must be finite and > 0.*got", id="no-decay-on-H"
        ),
    ],
)
def test_problems_without_a_certificate(changes, message):
    problem = Problem(one_hot([2, 2, 2], collapsed=True), **(GOOD | changes))
    widths = problem.widths
    weights = tuple(jnp.ones(shape) for shape in problem.weight_shapes)
    with pytest.raises(ValueError, match=message):
        certify(problem, Params(weights=weights, features=jnp.ones((widths[0], 3))))


def test_params_of_another_problem_are_named():
    problem = Problem(one_hot([2, 2, 2], collapsed=True), **GOOD)
    with pytest.raises(
        ValueError, match=r"`params.features` must have shape \(4, 3\); got \(4, 6\)"
    ):
        certify(problem, Params(weights=(jnp.ones((3, 4)),), features=jnp.ones((4, 6))))


class Weighted(AbstractLoss):
    """a times the squared error, with no scale of its own.

    What a new loss must bring, and a count of the traces.
    """

    a: float
    traces: list = eqx.field(static=True)

    def __call__(self, logits, target):
        self.traces.append(1)
        return self.a * MSE(logits, target)

    def conjugate(self, dual, target):
        return self.a * MSE.conjugate(dual / self.a, target)

    def best_bias(self, logits, targets, column_weights):
        return MSE.best_bias(logits, targets, column_weights)


class Counter(list):
    __hash__ = object.__hash__
    __eq__ = object.__eq__


@pytest.mark.parametrize("bias", [None, "free"])
def test_a_new_loss_is_certified_and_compiled_once(bias):
    # a times the whole objective: same minimiser, a times the value
    plain, counter = problem_of(TAIL, loss=MSE, bias=bias), Counter()
    params = solved(plain).params
    seen = []
    for a in (2.0, 3.0, 7.0):
        scaled = problem_of(TAIL, loss=Weighted(jnp.asarray(a), counter), lam=a * LAM, bias=bias)
        certificate = certify(scaled, params)
        assert certificate.closes(SOLVED)
        np.testing.assert_allclose(
            certificate.lower_bound, a * mse_value(TAIL, LAM, centred=bias == "free"), rtol=SOLVED
        )
        seen.append(len(counter))
    assert seen[0] > 0
    assert seen[0] == seen[-1]


@pytest.mark.parametrize("loss", [pytest.param(MSE, id="mse"), pytest.param(CE, id="ce")])
def test_runs_batched_over_decays(loss):
    params = random_params(problem_of(TAIL, loss=loss, bias="free"), np.random.default_rng(0))
    lams = jnp.array([1e-4, 1e-3, 1e-2])
    batched = jax.vmap(
        lambda lam: certify(problem_of(TAIL, loss=loss, bias="free", lam=lam), params).gap
    )(lams)
    single = [
        certify(problem_of(TAIL, loss=loss, bias="free", lam=lam), params).gap for lam in lams
    ]
    np.testing.assert_allclose(batched, np.stack(single), rtol=1e-12)


@pytest.mark.parametrize(
    "loss",
    [CrossEntropy(), AdjustedCrossEntropy(multiplicative=[1, 2, 0.5, 1])],
    ids=["cross-entropy", "adjusted"],
)
def test_logits_that_cost_nothing_contradict_nothing(loss, key):
    """However large: dual columns are orthogonal to them up to rounding only."""
    rng = np.random.default_rng(0)
    problem = Problem(
        soft(rng.dirichlet(np.ones(4), 7).T),
        loss=loss,
        widths=(4,),
        lambda_W=1e-3,
        lambda_H=1e-3,
    )
    point, flat = minimise(problem, key=key).params, loss.flat_direction(4)
    for size in 10.0 ** rng.uniform(1, 6, 20):
        added = size * flat[:, None] * rng.standard_normal(4)[None, :]
        certificate = certify(problem, Params((point.weights[0] + added,), point.features))
        assert certificate.valid
        assert float(certificate.contradiction) < 0.1


@pytest.mark.parametrize("below", [1e2, 1e3, 1e5, 1e7])
def test_nor_do_those_of_a_class_far_below(below):
    """What its logit is less than the others is nearly all of the norm."""
    rng = np.random.default_rng(0)
    targets = np.vstack([np.full(7, 1e-12), rng.dirichlet(np.ones(3), 7).T])
    targets /= targets.sum(axis=0)
    problem = Problem(soft(targets), loss=CrossEntropy(), widths=(4,), lambda_W=1e-9, lambda_H=1e-9)
    logits = np.log(targets) + 1e-4 * rng.standard_normal(targets.shape)
    logits[0] = logits[1] - below
    for shift in (0.0, 300.0, 1e4):
        certificate = certify(problem, Params((jnp.eye(4),), jnp.asarray(logits + shift)))
        assert certificate.valid
        assert float(certificate.contradiction) < 0.1


def test_single_precision_is_said_and_its_rounding_is_no_direction(key):
    """Two directions of rounding were called a proof that a converged point is no minimum."""
    problem = ufm.Problem(
        ufm.one_hot([5] * 4, dtype="float32"),
        loss=ufm.MeanSquaredError(),
        widths=(6,),
        lambda_W=1e-4,
        lambda_H=1e-4,
    )
    solution = ufm.minimise(problem, key=key)
    certificate = ufm.certify(problem, solution.params)
    assert float(certificate.spectral_ratio) - 1 < 1e-3
    assert int(certificate.lowering) == 0
    for words in (str(solution), str(certificate)):
        assert "dtype: float32, which never verifies a theorem" in words
    double = ufm.Problem(
        ufm.one_hot([5] * 4), loss=ufm.MeanSquaredError(), widths=(6,), lambda_W=1e-4, lambda_H=1e-4
    )
    assert "dtype" not in str(ufm.minimise(double, key=key, gap=1e-9))
