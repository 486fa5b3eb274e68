"""What rounding can amount to, term by term: at a roundoff so coarse that every term shows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm.domains
import ufm.losses.adjusted
import ufm.losses.rounding
import ufm.losses.softmax
import ufm.losses.squared
import ufm.model.value
from ufm.certificates import bound, contradictions, dual_bound, spectral
from ufm.labels import soft
from ufm.losses import AbstractLoss, CrossEntropy, MeanSquaredError, loss_and_dual
from ufm.model import Params, Problem, decay, require_certifiable

MSE, CE = MeanSquaredError(), CrossEntropy()
UNIT = 1e-4
MODULES = (
    contradictions,
    dual_bound,
    spectral,
    ufm.model.value,
    ufm.losses.rounding,
    ufm.losses.adjusted,
    ufm.losses.softmax,
    ufm.losses.squared,
)


@pytest.fixture
def coarse(monkeypatch):
    for module in MODULES:
        monkeypatch.setattr(module, "unit_roundoff", lambda dtype: UNIT)
    # (which would hide them)
    monkeypatch.setattr(bound, "least_objective", lambda problem: -jnp.inf)


class Off(AbstractLoss):
    """Squared error whose conjugate is off by a constant, and whose best bias is off by a
    number."""

    constant: float
    bias: float

    def __call__(self, logits, targets):
        return MSE(logits, targets)

    def conjugate(self, dual, targets):
        return MSE.conjugate(dual, targets) + self.constant

    def best_bias(self, logits, targets, column_weights):
        return MSE.best_bias(logits, targets, column_weights) + self.bias

    def value_error(self, logits, targets):
        return MSE.value_error(logits, targets)

    def conjugate_error(self, dual, targets):
        return MSE.conjugate_error(dual, targets)


def off(constant=0.0, bias=0.0):
    return Off(jnp.asarray(constant), jnp.asarray(bias))


def drawn(loss, bias, columns, *, lam=0.02, d=5, size=1.0):
    rng = np.random.default_rng(0)
    labels = soft(rng.dirichlet(np.ones(3), size=columns).T, rng.uniform(0.5, 5, size=columns))
    problem = Problem(labels, loss=loss, widths=(d,), lambda_W=lam, lambda_H=lam / 7, bias=bias)
    b = None if bias is None else jnp.asarray(rng.standard_normal(3))
    W, H = (
        jnp.asarray(size * rng.standard_normal((3, d))),
        jnp.asarray(size * rng.standard_normal((d, columns))),
    )
    return problem, Params(weights=(W,), features=H, bias=b)


def roundings(number):
    return min(number, 64 + 8 * number**0.5)


def at(problem, params):
    """The point with its best bias: logits, losses, gradients, in NumPy."""
    best = bound.with_best_bias(problem, params)
    z, q = best.logits, problem.labels.targets
    return best, np.asarray(z), np.asarray(q), np.asarray(loss_and_dual(problem.loss, z, q)[1])


def slow_bound(problem, params):
    """`ufm.certify`'s lower bound, written out with every term of its rounding."""
    loss, m, w = (
        problem.loss,
        np.asarray(problem.labels.masses),
        np.asarray(problem.labels.column_weights),
    )
    _, z, q, u = at(problem, params)
    (K, C), mu = q.shape, float(np.sqrt(problem.lambda_W[0] * problem.lambda_H))
    many, share = roundings(C) + 4, w / np.sqrt(m)
    mean, hidden = u @ w, UNIT * (many + K) * (np.abs(u) @ w)
    residual = 0.0
    if problem.bias == "free":
        residual = np.linalg.norm(mean) / (np.sqrt(np.sum(z**2 @ w)) + np.sqrt(np.sum(q**2 @ w)))
        if np.any(8 * np.abs(mean) > hidden):
            assert isinstance(loss, Off)
            u = u - mean[:, None]
            mean, hidden = u @ w, UNIT * (many + K) * (np.abs(u) @ w)
    V = u * share
    norm = np.linalg.norm(V, 2)
    of_gram = max(many, roundings(max(K, C)) + 4) * np.abs(V).sum(0).max() * np.abs(V).sum(1).max()
    off = np.sqrt(norm**2 + UNIT * (of_gram + 4 * roundings(min(K, C)) * norm**2)) - norm
    off += UNIT * (K + 8) * np.linalg.norm(V)
    if problem.bias == "free":
        pattern = np.asarray(loss.centring_pattern(jnp.asarray(u), problem.labels.targets))
        left = np.abs(mean) + hidden
        off += 2 * left @ (np.linalg.norm(pattern * share, axis=1) / (pattern @ w))
    limit = mu * (1 - 8 * UNIT) / (norm + off)
    lambda_b = np.inf if problem.lambda_b is None else float(problem.lambda_b)
    quadratic = mean @ mean / lambda_b
    t = min(1, limit)
    if loss.least_squares:
        t = np.clip(-np.sum(q * u @ w) / (np.sum(u**2 @ w) + quadratic), 0, limit)
    conjugates = np.asarray(loss.conjugate(jnp.asarray(t * u), problem.labels.targets))
    errors = np.asarray(loss.conjugate_error(jnp.asarray(t * u), problem.labels.targets))
    lower = -w @ conjugates - t**2 * quadratic / 2
    slack = w @ errors + UNIT * (many * w @ np.abs(conjugates) + 4 * abs(lower))
    slack += (
        t**2 / 2 * (hidden @ (2 * np.abs(mean) + hidden) / lambda_b + (K + 8) * UNIT * quadratic)
    )
    if problem.bias == "free":
        steep = max(t, 1) * (2 * np.abs(z).max() + np.abs(q).max() + np.log(K) + 1) - np.log(
            min(t, 1)
        )
        slack += t * steep * left.sum()
    return lower - slack, norm / mu, residual, t


def slow_rounding(problem, params):
    """`objective_error`, written out."""
    best, z, q, u = at(problem, params)
    w, (W,), H = np.asarray(problem.labels.column_weights), best.weights, np.asarray(best.features)
    W, (K, C), d = np.asarray(W), q.shape, len(H)
    b = np.zeros(K) if best.bias is None else np.asarray(best.bias)
    product = (
        UNIT
        * (roundings(d + 6) + 2)
        * np.outer(np.linalg.norm(W, axis=1), np.linalg.norm(H, axis=0))
    )
    bias = 2 * UNIT * np.abs(b)[:, None]
    moved = np.sum(np.abs(u) * (product + bias) + 2 * (product**2 + bias**2), axis=0)
    losses = np.asarray(problem.loss(jnp.asarray(z), problem.labels.targets))
    errors = np.asarray(problem.loss.value_error(jnp.asarray(z), problem.labels.targets))
    of_decay = float(decay(problem, best)) * roundings(max(W.size, H.size) + 2 * C + 8)
    return w @ (moved + errors + UNIT * roundings(2 * C + 4) * losses) + UNIT * of_decay


# columns on either side of K, whose smaller Gram is taken, and so many that errors of a sum are not
# all of one sign
@pytest.mark.parametrize(
    ("loss", "bias", "columns", "size"),
    [
        pytest.param(CE, "free", 4, 1.0, id="ce-free"),
        pytest.param(CE, 0.3, 120, 1.0, id="ce-penalised"),
        pytest.param(MSE, 0.3, 2, 1.0, id="mse-penalised"),
        # a mean of the dual columns that is taken away, and one that the bound hides
        pytest.param(off(bias=-0.3), "free", 120, 0.1, id="not-solved"),
        pytest.param(off(bias=1e-3), "free", 120, 1.0, id="nearly-solved"),
    ],
)
def test_every_term_of_the_rounding(coarse, loss, bias, columns, size):
    problem, params = drawn(loss, bias, columns, size=size)
    certificate = jax.jit(bound._certify.__wrapped__)(problem, params)
    lower, ratio, residual, _ = slow_bound(problem, params)
    np.testing.assert_allclose(certificate.lower_bound, lower, rtol=1e-10)
    np.testing.assert_allclose(certificate.spectral_ratio, ratio, rtol=1e-12)
    np.testing.assert_allclose(certificate.bias_residual, residual, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(certificate.rounding, slow_rounding(problem, params), rtol=1e-10)


@pytest.mark.parametrize("rest", [-3.0, 2.0])
def test_the_rounding_of_what_is_added_to_the_conjugates(coarse, monkeypatch, rest):
    problem, params = drawn(MSE, None, 4)
    problem = problem.replace(features=ufm.domains.Ball(100.0))
    real = dual_bound.lifted

    def lower(rest, slack):
        added = {"rest": jnp.asarray(rest), "slack": jnp.asarray(slack)}
        monkeypatch.setattr(dual_bound, "lifted", lambda *args: real(*args)._replace(**added))
        return float(bound._certify.__wrapped__(problem, params).lower_bound)

    wanted = rest - 4 * UNIT * abs(rest) - 0.25
    np.testing.assert_allclose(lower(rest, 0.25) - lower(0.0, 0.0), wanted, rtol=1e-10)


def test_more_than_the_gradient(coarse):
    # near half the targets the best t is 2, beyond the gradient itself, whose logits are farther
    # than those here
    problem, _ = drawn(MSE, "free", 4, lam=3.0)
    W = jnp.eye(3, 5)
    params = Params(weights=(W,), features=0.45 * W.T @ problem.labels.targets, bias=jnp.zeros(3))
    lower, _, residual, t = slow_bound(problem, params)
    certificate = jax.jit(bound._certify.__wrapped__)(problem, params)
    assert 1.5 < t < 2
    np.testing.assert_allclose(certificate.lower_bound, lower, rtol=1e-10)
    np.testing.assert_allclose(certificate.bias_residual, residual, rtol=0, atol=1e-15)


# one that is too low shows in every column of the dual point, one that is too high in every other
# of seventeen
@pytest.mark.parametrize("constant", [0.5, -0.5])
def test_a_contradiction_in_units_of_rounding(coarse, constant):
    problem, params = drawn(off(constant=constant), None, 17, d=6)
    certificate = jax.jit(bound._certify.__wrapped__)(problem, params)
    *_, t = slow_bound(problem, params)
    _, z, q, u = at(problem, params)

    def measure(t):
        losses, conjugates = (u**2).sum(0) / 2, ((t * u) ** 2 / 2 + q * t * u).sum(0) + constant
        terms = losses + np.abs(conjugates) + t * np.abs(u).sum(0) * np.abs(z).max(0)
        errors = 7 * losses + 7 * ((t * u) ** 2 / 2 + np.abs(q * t * u)).sum(0) + 7 * terms
        return (losses + conjugates - t * np.sum(u * z, axis=0)) / (16 * UNIT * errors)

    assert np.argmax(np.abs(measure(1))) % 2 == 1
    expected = max(np.max(-measure(t)), np.max(np.abs(measure(1)[::2])))
    np.testing.assert_allclose(certificate.contradiction, expected, rtol=1e-12)


@pytest.mark.parametrize(("units", "valid"), [(0.9, True), (1.5, False)])
def test_a_contradiction_is_more_than_one_unit(coarse, units, valid):
    certify = jax.jit(bound._certify.__wrapped__)
    problem, params = drawn(off(constant=1e-6), None, 17)
    one = 1e-6 / float(certify(problem, params).contradiction)
    certificate = certify(drawn(off(constant=units * one), None, 17)[0], params)
    np.testing.assert_allclose(certificate.contradiction, units, rtol=0.05)
    assert certificate.valid == valid
    assert jnp.isfinite(certificate.gap) == valid


def test_a_bound_above_the_value_that_no_column_shows():
    # at the optimum even less than one unit of contradiction is more than rounding in the sum of
    # all columns
    def certificate(constant):
        loss = off(constant=constant)
        problem = Problem(
            soft(np.eye(3), 3 * np.ones(3)), loss=loss, widths=(3,), lambda_W=1e-2, lambda_H=1e-2
        )
        half = np.sqrt(np.sqrt(3) - 9 * 1e-2) * np.eye(3)
        return bound.certify(
            problem, Params(weights=(jnp.asarray(half),), features=jnp.asarray(half / np.sqrt(3)))
        )

    assert certificate(0.0).closes(1e-14)
    found = certificate(-0.9e-13 / float(certificate(-1e-13).contradiction))
    assert 0.8 < found.contradiction < 1
    assert found.lower_bound - found.value > found.rounding
    assert found.gap == jnp.inf
    assert not found.valid


def test_a_norm_that_is_no_number_bounds_by_the_losses_alone(monkeypatch):
    monkeypatch.setattr(jnp.linalg, "eigvalsh", lambda gram: jnp.full(len(gram), jnp.nan))
    for loss in (CE, MSE):
        problem, params = drawn(loss, None, 4)
        certificate = bound._certify.__wrapped__(problem, params)
        entropy = -jnp.sum(problem.labels.targets * jnp.log(problem.labels.targets), axis=0)
        least = jnp.dot(problem.labels.column_weights, entropy) if loss is CE else 0
        assert least - 1e-13 < certificate.lower_bound <= least
        assert certificate.lower_bound < certificate.value


class Bare(AbstractLoss):
    """Squared error and its conjugate."""

    def __call__(self, logits, targets):
        return MSE(logits, targets)

    def conjugate(self, dual, targets):
        return MSE.conjugate(dual, targets)


def test_a_best_bias_is_asked_of_a_free_one_alone():
    require_certifiable(drawn(Bare(), None, 2)[0])
    require_certifiable(drawn(Bare(), 0.3, 2)[0])
    with pytest.raises(ValueError, match=r"`problem.loss` must define `best_bias`"):
        require_certifiable(drawn(Bare(), "free", 2)[0])


def test_nothing_to_bound():
    # all is zero: no scale, no spread and no size to divide by
    problem = Problem(
        soft(np.zeros((3, 2))), loss=MSE, widths=(4,), lambda_W=1e-2, lambda_H=1e-2, bias="free"
    )
    zero = Params(weights=(jnp.zeros((3, 4)),), features=jnp.zeros((4, 2)), bias=jnp.zeros(3))
    certificate = bound.certify(problem, zero)
    for name in ("value", "lower_bound", "gap", "spectral_ratio", "bias_residual", "contradiction"):
        assert getattr(certificate, name) == 0, name


def test_a_class_that_has_no_probability_at_all():
    labels = soft(np.eye(3)[:, :2])
    problem = Problem(labels, loss=CE, widths=(4,), lambda_W=1e-2, lambda_H=1e-2, bias="free")
    params = Params(
        weights=(jnp.zeros((3, 4)),), features=jnp.zeros((4, 2)), bias=jnp.asarray([0.0, 0.0, -1e4])
    )
    certificate = bound.certify(problem, params)
    # two classes at the origin, whose norm is above mu = 0.01
    np.testing.assert_allclose(certificate.value, np.log(2), rtol=1e-15)
    assert 0 < certificate.lower_bound < certificate.value


_certified = jax.jit(bound._certify.__wrapped__)


@pytest.mark.parametrize("seed", [1324, 1966, 2282, 2429])
def test_what_underflows_contradicts_nothing(seed):
    """Entries of the dual columns below the smallest normal number are zero, and logits of some
    hundreds are multiplied by them."""
    numbers = np.random.default_rng(seed)
    ball, size = ufm.domains.Ball(60.0), numbers.uniform(690, 725)
    problem = ufm.Problem(
        ufm.one_hot((1, 1, 1, 1), collapsed=True),
        loss=ufm.losses.AdjustedCrossEntropy(
            multiplicative=np.array([0.7, 1.9, 0.5, 0.3]), additive=np.array([1.0, 4.0, -4.0, 1.0])
        ),
        widths=(4,),
        lambda_W=0.0,
        lambda_H=0.0,
        features=ball,
        classifier=ball,
        bias="free",
    )
    W, H = (np.sqrt(size) * np.eye(4) + 0.3 * numbers.normal(size=(4, 4)) for _ in range(2))
    W = W + 10 * numbers.normal(size=(1, 4))
    point = problem.projected(ufm.Params((jnp.asarray(W),), jnp.asarray(H), jnp.zeros(4)))
    # (compiled: NumPy keeps what is below the normal numbers)
    assert _certified(problem, point).valid
