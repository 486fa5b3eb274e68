"""What rounding can amount to, term by term: at a roundoff so coarse that every term shows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm.losses.base
import ufm.losses.softmax
import ufm.losses.squared
import ufm.problem
from ufm.certificates import bound
from ufm.labels import soft
from ufm.losses import AbstractLoss, CrossEntropy, MeanSquaredError, loss_and_dual
from ufm.problem import Params, Problem

MSE, CE = MeanSquaredError(), CrossEntropy()
UNIT = 1e-4
MODULES = (bound, ufm.problem, ufm.losses.base, ufm.losses.softmax, ufm.losses.squared)


@pytest.fixture
def coarse(monkeypatch):
    for module in MODULES:
        monkeypatch.setattr(module, "unit_roundoff", lambda dtype: UNIT)


class Off(AbstractLoss):
    """Squared error whose conjugate is off by a constant, and whose best bias is none."""

    constant: float

    def __call__(self, logits, targets):
        return MSE(logits, targets)

    def conjugate(self, dual, targets):
        return MSE.conjugate(dual, targets) + self.constant

    def best_bias(self, logits, targets, column_weights):
        return jnp.zeros(len(logits))

    def value_error(self, logits, targets):
        return MSE.value_error(logits, targets)

    def conjugate_error(self, dual, targets):
        return MSE.conjugate_error(dual, targets)


def drawn(loss, bias, columns, *, lam=0.02, d=5):
    rng = np.random.default_rng(0)
    labels = soft(rng.dirichlet(np.ones(3), size=columns).T, rng.uniform(0.5, 5, size=columns))
    problem = Problem(labels, loss=loss, widths=(d,), lambda_W=lam, lambda_H=lam / 7, bias=bias)
    b = None if bias is None else jnp.asarray(rng.standard_normal(3))
    W, H = jnp.asarray(rng.standard_normal((3, d))), jnp.asarray(rng.standard_normal((d, columns)))
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
    loss, m, w = problem.loss, np.asarray(problem.labels.masses), np.asarray(problem.labels.column_weights)
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
    slack += t**2 / 2 * (hidden @ (2 * np.abs(mean) + hidden) / lambda_b + (K + 8) * UNIT * quadratic)
    if problem.bias == "free":
        slack += t * (2 * np.abs(z).max() + np.abs(q).max() + np.log(K) + 1 - np.log(t)) * left.sum()
    return lower - slack, norm / mu, residual


def slow_rounding(problem, params):
    """`objective_error`, written out."""
    best, z, q, u = at(problem, params)
    w, (W,), H = np.asarray(problem.labels.column_weights), best.weights, np.asarray(best.features)
    W, (K, C), d = np.asarray(W), q.shape, len(H)
    b = np.zeros(K) if best.bias is None else np.asarray(best.bias)
    product = UNIT * (roundings(d + 6) + 2) * np.outer(np.linalg.norm(W, axis=1), np.linalg.norm(H, axis=0))
    bias = 2 * UNIT * np.abs(b)[:, None]
    moved = np.sum(np.abs(u) * (product + bias) + 2 * (product**2 + bias**2), axis=0)
    losses = np.asarray(problem.loss(jnp.asarray(z), problem.labels.targets))
    errors = np.asarray(problem.loss.value_error(jnp.asarray(z), problem.labels.targets))
    decay = float(ufm.problem.decay(problem, best)) * roundings(max(W.size, H.size) + 2 * C + 8)
    return w @ (moved + errors + UNIT * roundings(2 * C + 4) * losses) + UNIT * decay


# columns on either side of K, whose smaller Gram is taken, and so many that errors of a sum are not all of one sign
@pytest.mark.parametrize(
    ("loss", "bias", "columns"),
    [(CE, "free", 4), (CE, 0.3, 120), (MSE, 0.3, 2), (Off(jnp.asarray(0.0)), "free", 120)],
)
def test_every_term_of_the_rounding(coarse, loss, bias, columns):
    problem, params = drawn(loss, bias, columns)
    certificate = jax.jit(bound._certify.__wrapped__)(problem, params)
    lower, ratio, residual = slow_bound(problem, params)
    np.testing.assert_allclose(certificate.lower_bound, lower, rtol=1e-10)
    np.testing.assert_allclose(certificate.spectral_ratio, ratio, rtol=1e-12)
    np.testing.assert_allclose(certificate.bias_residual, residual, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(certificate.rounding, slow_rounding(problem, params), rtol=1e-10)


def test_a_contradiction_in_units_of_rounding(coarse):
    problem, params = drawn(Off(jnp.asarray(0.5)), None, 20)
    certify = jax.jit(bound._certify.__wrapped__)
    _, z, q, _ = at(problem, params)
    u = z - q
    losses, conjugates = (u**2).sum(0) / 2, (u**2 / 2 + q * u).sum(0) + 0.5
    terms = losses + np.abs(conjugates) + np.abs(u).sum(0) * np.abs(z).max(0)
    errors = 7 * losses + 7 * (u**2 / 2 + np.abs(q * u)).sum(0) + 7 * terms
    # equality is asked of every other of twenty columns
    expected = np.max(0.5 / (16 * UNIT * errors[::2]))
    np.testing.assert_allclose(certify(problem, params).contradiction, expected, rtol=1e-12)
