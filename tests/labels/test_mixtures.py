"""Label matrices of mixup.

The quadrature against exact moments, masses against the law of pairs, limits, and what is refused.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import roots_jacobi

import ufm
from ufm.labels.beta_law import beta_quadrature, mixing_moment
from ufm.labels.mixed_pairs import mixed_pairs
from ufm.labels.mixtures import mixup, sampled_mixup

ALPHAS = (0.01, 0.1, 0.5, 1.0, 2.0, 50.0, 1e4)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("nodes", [2, 3, 16, 64, 200])
def test_quadrature_is_exact_for_polynomials(alpha, nodes):
    lam, weights = beta_quadrature(alpha, nodes=nodes)
    assert lam.shape == weights.shape == (nodes,)
    assert lam[0] > 0
    assert np.all(np.diff(lam) > 0)
    assert np.all(weights > 0)
    assert_allclose(lam + lam[::-1], 1, rtol=1e-15)
    assert_array_equal(weights, weights[::-1])
    assert_allclose(weights.sum(), 1, rtol=1e-14)
    # E[λ^k] = Π (α + j)/(2α + j), j < k; at α = 0.01 the end nodes are 1e-6 from 0 and 1, which
    # costs the weights three digits
    for degree in (1, 2, 3, min(2 * nodes - 1, 31)):
        j = np.arange(degree)
        assert_allclose(weights @ lam**degree, np.prod((alpha + j) / (2 * alpha + j)), rtol=3e-12)


@pytest.mark.parametrize("alpha", [1e-320, 1e-300, 1e-16, 1e-15, 1e-12, 1e-6])
@pytest.mark.parametrize("nodes", [2, 3, 64])
def test_quadrature_of_next_to_no_mixing(alpha, nodes):
    """Two atoms to rounding, and nodes between them, whose masses are α over a distance each."""
    lam, weights = beta_quadrature(alpha, nodes=nodes)
    assert np.all((lam >= 0) & (lam <= 1))
    assert np.all(np.diff(lam) > 0)
    assert np.all(weights > 0)
    assert_allclose(weights[0], 0.5, rtol=0, atol=np.log(nodes) * alpha + 1e-14)
    for degree in (1, 2, 3):
        moment = np.prod([(alpha + j) / (2 * alpha + j) for j in range(1, degree)]) / 2
        assert_allclose(weights @ lam**degree, moment, rtol=1e-14)


def test_quadrature_against_scipy():
    for alpha in (0.1, 1.0, 3.0):
        lam, weights = beta_quadrature(alpha, nodes=40)
        x, w = roots_jacobi(40, alpha - 1, alpha - 1)
        assert_allclose(lam, (1 + x) / 2, rtol=0, atol=5e-15)
        assert_allclose(weights, w / w.sum(), rtol=1e-10)


@pytest.mark.parametrize(("alpha", "moment"), [(0, 1.0), (1.0, 2 / 3), (2, 0.6), (math.inf, 0.5)])
def test_moment(alpha, moment):
    assert mixing_moment(alpha) == pytest.approx(moment, rel=1e-15)


@pytest.mark.parametrize("counts", [None, (1, 1, 1, 1), (40, 10, 5, 1)])
@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0, math.inf])
def test_masses_follow_the_law_of_pairs(counts, alpha):
    labels = mixup(4, alpha, nodes=10, class_counts=counts)
    shares = np.asarray(counts or (1,) * 4) / sum(counts or (1,) * 4)
    pairs, masses = mixed_pairs(labels), np.asarray(labels.masses)
    assert_allclose(masses.sum(), 1, rtol=1e-15)
    joint = np.zeros((4, 4))
    np.add.at(joint, (pairs.first, pairs.second), masses)
    assert_allclose(
        joint, np.triu(2 * np.outer(shares, shares)) - np.diag(shares**2), rtol=0, atol=1e-15
    )
    # mixing moves no mass between classes, and E[qqᵀ] has the moment of the law
    assert_allclose(labels.class_counts, shares, rtol=1e-14)
    targets, rho = np.asarray(labels.targets), mixing_moment(alpha)
    second = (targets * masses) @ targets.T
    expected = np.outer(shares, shares) * (1 - rho) + np.diag(
        shares**2 + rho * (shares - shares**2) - (1 - rho) * shares**2
    )
    assert_allclose(second, expected, rtol=0, atol=1e-14)


def test_columns_by_hand():
    # λ uniform, two nodes: (1 ∓ 1/√3)/2 of weight 1/2; K = 3: pure mass 1/9, each pair 2/9
    labels = mixup(3, 1.0, nodes=2)
    low, high = (1 - 1 / np.sqrt(3)) / 2, (1 + 1 / np.sqrt(3)) / 2
    columns = [
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 1],
        [low, high, 0],
        [high, low, 0],
        [low, 0, high],
        [high, 0, low],
        [0, low, high],
        [0, high, low],
    ]
    assert_allclose(labels.targets, np.array(columns).T, rtol=1e-15)
    assert_allclose(labels.masses, np.full(9, 1 / 9), rtol=1e-15)
    pairs = mixed_pairs(labels)
    assert_array_equal(pairs.first, [0, 1, 2, 0, 0, 0, 0, 1, 1])
    assert_array_equal(pairs.second, [0, 1, 2, 1, 1, 2, 2, 2, 2])
    assert_array_equal(pairs.same, [True] * 3 + [False] * 6)
    assert_array_equal(pairs.lam + pairs.other, np.ones(9))


def test_no_mixup_is_one_hot():
    labels = mixup(3, 0, class_counts=(5, 3, 2))
    assert labels.is_one_hot()
    assert_allclose(labels.masses, [0.5, 0.3, 0.2], rtol=1e-15)


def test_half_and_half():
    labels = mixup(3, math.inf)
    assert labels.num_columns == 6
    assert_allclose(
        np.asarray(labels.targets)[:, 3:], [[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]], rtol=0
    )


def test_the_limits_are_approached():
    """As α → ∞ nodes close in on 1/2 like 1/√(8α); as α → 0 the moment tends to 1 like 1 − α."""
    spread = [
        np.sqrt(np.dot((lam - 0.5) ** 2, w))
        for lam, w in (beta_quadrature(alpha, nodes=8) for alpha in (1e4, 1e6))
    ]
    assert_allclose(spread, [1 / np.sqrt(8e4), 1 / np.sqrt(8e6)], rtol=1e-4)
    for alpha in (1e-3, 1e-5):
        lam, weights = beta_quadrature(alpha, nodes=8)
        assert_allclose(weights @ (lam**2 + (1 - lam) ** 2), 1 - alpha, rtol=0, atol=3 * alpha**2)


def test_weights_below_rounding_are_left_out():
    double, single = mixup(2, 200.0, nodes=200), mixup(2, 200.0, nodes=200, dtype=np.float32)
    assert 2 < single.num_columns < double.num_columns < 202
    assert single.targets.dtype == np.float32
    assert np.all(np.asarray(single.masses) > 0)


@pytest.mark.thorough
def test_samples_follow_the_same_law(key):
    draws = 200_000
    labels = sampled_mixup((3, 2, 1), 0.5, draws=draws, key=key)
    exact = mixup(3, 0.5, class_counts=(3, 2, 1))
    assert labels.num_columns == draws
    assert_allclose(labels.masses, 1 / draws, rtol=1e-15)
    pairs = mixed_pairs(labels)
    assert_array_equal(pairs.lam[pairs.same], 1)

    def moments(labels):
        targets = np.asarray(labels.targets)
        return np.concatenate(
            [np.ravel((targets * np.asarray(labels.masses)) @ (targets**k).T) for k in (0, 1, 2)]
        )

    # five standard deviations of a mean of numbers in [0, 1]
    assert np.abs(moments(labels) - moments(exact)).max() < 5 * 0.5 / np.sqrt(draws)
    other = sampled_mixup((3, 2, 1), 0.5, draws=draws, key=jax.random.key(7))
    assert np.any(np.asarray(other.targets) != np.asarray(labels.targets))


@pytest.mark.parametrize("alpha", [0, math.inf])
def test_sampled_limits(alpha, key):
    targets = np.unique(
        np.asarray(sampled_mixup((1, 1, 1), alpha, draws=500, key=key).targets), axis=1
    )
    assert targets.shape[1] == (3 if alpha == 0 else 6)
    assert set(np.ravel(targets)) == ({0, 1} if alpha == 0 else {0, 0.5, 1})


REFUSED = (
    ("one-class", lambda: mixup(1, 1.0), "`num_classes` must be a whole number >= 2; got 1"),
    ("alpha-negative", lambda: mixup(3, -0.1), "`alpha` must be a number >= 0.*; got -0.1"),
    ("alpha-nan", lambda: mixup(3, math.nan), "`alpha` must be a number >= 0.*; got nan"),
    ("alpha-bool", lambda: mixup(3, True), "`alpha` must be one real number; got True"),
    ("one-node", lambda: mixup(3, 1.0, nodes=1), "`nodes` must be a whole number >= 2; got 1"),
    (
        "counts-too-few",
        lambda: mixup(3, 1.0, class_counts=(1, 2)),
        "`class_counts` must hold K = 3 counts; got 2",
    ),
    (
        "counts-zero",
        lambda: mixup(2, 1.0, class_counts=(1, 0)),
        r"`class_counts` must be finite and > 0; got \(1, 0\)",
    ),
    (
        "counts-traced",
        lambda: jax.jit(lambda n: mixup(2, 1.0, class_counts=n))(jnp.ones(2)),
        "`class_counts` must be concrete",
    ),
    (
        "no-draws",
        lambda: sampled_mixup((1, 1), 1.0, draws=0, key=jax.random.key(0)),
        "`draws` must be a whole number >= 1; got 0",
    ),
    ("rule-of-nothing", lambda: beta_quadrature(0), "`alpha` must be > 0"),
    (
        "three-classes",
        lambda: mixed_pairs(ufm.soft(np.full((3, 1), 1 / 3))),
        "at most two classes in a column; got 3",
    ),
    ("no-distribution", lambda: mixed_pairs(ufm.soft([[0.5], [0.4]])), "sum to one"),
)


@pytest.mark.parametrize(
    ("call", "message"), [pytest.param(*case[1:], id=case[0]) for case in REFUSED]
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
