"""Columns of clients, and balanced softmax on a fixed simplex ETF against its closed form."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import ufm
from ufm.labels import federated
from ufm.solvers.fixed_classifier import fit_features

COUNTS = np.array([[5.0, 3.0, 0.0, 2.0], [1.0, 1.0, 7.0, 4.0], [0.0, 0.0, 6.0, 0.5]])
CLIENT, LABEL = np.nonzero(COUNTS)
K = 4
W = 1.5 * np.asarray(ufm.simplex_etf(K, dim=5, key=jax.random.key(1)).T)
A = 1.5**2 * K / (K - 1)


def problem_of(labels, **options) -> ufm.Problem:
    settings = {"lambda_W": 0.0, "lambda_H": 2e-3, "fixed_weights": (W,)}
    return ufm.Problem(labels, loss=ufm.CrossEntropy(), widths=(5,), **settings | options)


@pytest.mark.parametrize("weighting", ["samples", "uniform"])
def test_columns(weighting):
    labels = federated(COUNTS, weighting=weighting, balanced=True)
    assert_allclose(labels.masses, COUNTS[CLIENT, LABEL], rtol=1e-14)
    assert np.array_equal(labels.class_index, LABEL)
    with np.errstate(divide="ignore"):
        assert_allclose(np.asarray(labels.offsets), np.log(COUNTS[CLIENT]).T, rtol=1e-15)
    shares = np.bincount(CLIENT, weights=np.asarray(labels.column_weights))
    sizes = COUNTS.sum(axis=1)
    assert_allclose(shares, sizes / sizes.sum() if weighting == "samples" else 1 / 3, rtol=1e-14)
    assert federated(COUNTS).offsets is None


def test_the_closed_form_is_what_is_minimised():
    problem = problem_of(federated(COUNTS, balanced=True))
    solution = fit_features(problem)
    assert solution.result is ufm.Result.CONVERGED
    s = 2e-3 * COUNTS.sum() / A
    predicted = ufm.laws.balanced_softmax_logits(COUNTS, strength=s)[CLIENT, :, LABEL].T
    assert_allclose(solution.logits, predicted, rtol=0, atol=1e-12)
    assert_allclose(solution.params.features, W.T @ predicted / A, rtol=0, atol=1e-12)
    assert ufm.certify(problem, solution.params).gap < 1e-12
    # a client of every s of its own, weighted uniformly: a sample of a small one is decayed less
    uniform = problem_of(federated(COUNTS, weighting="uniform", balanced=True))
    solution = ufm.minimise(uniform, key=jax.random.key(0), progress=False)
    assert solution.result is ufm.Result.CONVERGED
    s = 2e-3 * len(COUNTS) * COUNTS.sum(axis=1) / A
    predicted = ufm.laws.balanced_softmax_logits(COUNTS, strength=s)[CLIENT, :, LABEL].T
    assert_allclose(solution.logits, predicted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("beta", [0.5, 4.0, 50.0])
def test_features_of_one_length(beta):
    unit = W / 1.5
    problem = problem_of(
        federated(COUNTS, balanced=True),
        lambda_H=0.0,
        features=ufm.domains.Sphere(1.0),
        fixed_weights=(beta * unit,),
    )
    length = beta * np.sqrt(K / (K - 1))
    predicted = ufm.laws.balanced_softmax_logits(COUNTS, length=length)[CLIENT, :, LABEL].T
    assert_allclose(np.linalg.norm(predicted, axis=0), length, rtol=1e-14)
    features = (K - 1) / K * unit.T @ predicted / beta
    # the closed form is the minimum: no slope along the sphere, and a certificate
    params = ufm.Params((beta * unit,), jnp.asarray(features), None)
    assert ufm.certify(problem, params).gap < 1e-10
    if beta < 10:
        found = ufm.minimise(problem, key=jax.random.key(0), progress=False)
        assert_allclose(found.logits, predicted, rtol=0, atol=1e-7)
    # the own count does not enter
    more = COUNTS.copy()
    more[0, 0] *= 9
    again = ufm.laws.balanced_softmax_logits(more, length=length)
    assert_allclose(again[0, :, 0], predicted[:, 0], rtol=1e-13)


@pytest.mark.parametrize("strength", [1e-12, 1e-6, 1e-2, 1.0, 1e6])
def test_stationary_over_all_strengths(strength):
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 1000, (50, 7)) * (rng.random((50, 7)) < 0.5)
    counts[:, 0] += 1
    z = ufm.laws.balanced_softmax_logits(counts, strength=strength)
    client, label = np.nonzero(counts)
    z = z[client, :, label]
    powers = counts[client] * np.exp(z - z.max(axis=1, keepdims=True))
    p = powers / powers.sum(axis=1, keepdims=True)
    assert_allclose(p + strength * z, np.eye(7)[label], rtol=0, atol=2e-13)
    assert_allclose(z.sum(axis=1), 0, rtol=0, atol=1e-13)


def test_limits():
    K, counts = 10, np.zeros(10)
    counts[[0, 4]] = 3, 8
    # one class beside its own: the angle is the same at every temperature
    for length in (1e-3, 1.0, 1e3):
        z = ufm.laws.balanced_softmax_logits(counts, length=length)[:, 0]
        cosine = z[0] * np.sqrt(K / (K - 1)) / np.linalg.norm(z)
        assert_allclose(cosine, np.sqrt(K / (K - 1) / 2), rtol=1e-13)
    # equal counts: plain cross-entropy
    z = ufm.laws.balanced_softmax_logits(np.full(K, 7.0), strength=0.01)
    gap = ufm.channels.same_class_gap(K, 0.01)
    assert_allclose(z, gap * (np.eye(K) - 1 / K), rtol=0, atol=1e-13)
    # one class alone has nothing to learn
    assert_allclose(
        ufm.laws.balanced_softmax_logits([0, 4.0], strength=0.1)[:, 1], 0, rtol=0, atol=0
    )


WRONG = (
    ("negative", {"client_counts": -COUNTS}, "`client_counts` must be >= 0"),
    ("vector", {"client_counts": COUNTS[0]}, "`client_counts` must be a matrix"),
    ("idle", {"client_counts": COUNTS * [[1], [0], [1]]}, "every client some samples"),
    ("weighting", {"client_counts": COUNTS, "weighting": "mean"}, "`weighting` must be one of"),
)


@pytest.mark.parametrize(("given", "words"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_refused(given, words):
    with pytest.raises(ValueError, match=words):
        federated(**given)


def test_the_law_refuses():
    law = ufm.laws.balanced_softmax_logits
    with pytest.raises(ValueError, match="two classes or more"):
        law([3, 0, 0], length=1.0)
    for given in ({}, {"strength": 1.0, "length": 1.0}):
        with pytest.raises(ValueError, match="`strength`"):
            law([3, 1, 0], **given)
