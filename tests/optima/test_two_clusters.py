"""Two cluster sizes.

The four-variable problem against the solver on every face, at its thresholds and limits.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import ufm
from tests.optima.test_cross_entropy import assert_agrees, make
from ufm.optima.cross_entropy import etf_scale, zero_strength
from ufm.optima.seli_geometry import seli, seli_distance
from ufm.optima.two_cluster_problem import two_cluster_logits
from ufm.optima.two_clusters import TwoClusters, clusters_of, minority_strength, vanishing_strength

# one K: the solver compiles once
COUNTS = (
    (6, 6, 6, 2, 2),
    (2, 6, 2, 6, 6),
    (10, 2, 2, 2, 2),
    (10, 10, 10, 10, 2),
    (600, 600, 3, 3, 3),
    (12, 12, 11, 11, 11),
)


@pytest.mark.parametrize("fraction", [0.97, 1.0, 1.03])
@pytest.mark.parametrize("threshold", [minority_strength, vanishing_strength, zero_strength])
@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_around_each_threshold(counts, threshold, fraction, key):
    if threshold is minority_strength and counts.count(min(counts)) < 2:
        pytest.skip("one minority class cannot collapse with another")
    strength = fraction * threshold(counts)
    optimum = assert_agrees(make(counts, strength), key)
    logits, minority = optimum.logits, np.asarray(counts) == min(counts)
    columns = logits[:, minority]
    if strength >= zero_strength(counts) * (1 - 1e-12):
        assert not logits.any()
    elif strength >= vanishing_strength(counts) * (1 - 1e-12):
        assert not columns.any()
        assert logits.any()
    else:
        # exactly equal beyond the threshold, clearly different below it
        spread = np.abs(columns - columns[:, :1]).max()
        collapsed = strength >= np.sqrt(min(counts)) * (1 - 1e-12)
        assert spread == 0 if collapsed or minority.sum() < 2 else spread > 1e-3
        assert np.abs(columns).max() > 1e-3


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("fraction", [1e-2, 0.3])
def test_weak_decay(counts, fraction, key):
    assert (
        assert_agrees(make(counts, fraction * np.sqrt(min(counts))), key).regime == "two clusters"
    )


def test_full_columns(key):
    optimum = assert_agrees(make((6, 2, 6, 2, 6), 1.0, collapsed=False), key)
    assert_allclose(optimum.value, ufm.closed_form(make((6, 6, 6, 2, 2), 1.0)).value, rtol=1e-14)


def test_two_classes(key):
    assert_agrees(make((7, 3), 0.5), key)


def test_the_thresholds_by_number():
    # N = 22; the second is confirmed by the certificate above
    assert_allclose(minority_strength((6, 6, 6, 2, 2)) / 22, 0.064282, rtol=0, atol=5e-7)
    assert_allclose(vanishing_strength((6, 6, 6, 2, 2)) / 22, 0.080632, rtol=0, atol=5e-7)
    assert_allclose(zero_strength((6, 6, 6, 2, 2)) / 22, 0.111340, rtol=0, atol=5e-7)


def test_equal_counts_are_the_balanced_form():
    """Two clusters of the same size: a and e are the scale of the simplex ETF."""
    mu = 0.03
    clusters = TwoClusters(majority=(True, True, True, False, False), n_A=4.0, n_B=4.0)
    logits, _, _ = two_cluster_logits(clusters, mu)
    assert_allclose(logits, etf_scale(5, 2 * mu) * (np.eye(5) - 0.2), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("strength", [1e-12, 1e-9, 1e-6, 1e-3])
def test_solved_to_rounding_for_every_decay(strength):
    """The gradient of the original convex problem at the reduced optimum.

    Gᵀ-aligned with unit singular values on the range of Z.
    """
    counts = np.array([6.0, 6, 6, 2, 2])
    mu = strength / counts.sum()
    logits, _, _ = two_cluster_logits(clusters_of(counts), mu)
    e = np.exp(logits - logits.max(axis=0))
    wrong = e / e.sum(axis=0)
    own = np.arange(5)
    wrong[own, own] = 0
    # p − q with the own entry as minus the sum of the others: no cancellation
    wrong[own, own] = -wrong.sum(axis=0)
    gradient = wrong * np.sqrt(counts) / counts.sum()
    left, s, right = np.linalg.svd(logits * np.sqrt(counts))
    polar = left[:, :4] @ right[:4]
    # logits up to 30 with errors of eps make relative errors of 30 eps in p
    assert_allclose(-gradient / mu, polar, rtol=0, atol=1e-13)
    assert s[3] > 1e-3


def test_seli_is_approached_logarithmically():
    """|Z/|Z| − S/|S|| log(1/λ) tends to a constant, 0.588 for (3, 2, 6, 2).

    Halving the distance squares the decay.
    """
    counts = (6, 6, 6, 2, 2)
    decays = np.array([1e-6, 1e-12, 1e-24, 1e-48, 1e-96])
    distances = [seli_distance(two_cluster_logits(clusters_of(counts), mu)[0]) for mu in decays]
    rates = distances * np.log(1 / decays)
    assert (np.diff(distances) < 0).all()
    # extrapolated to first order in 1/log; 0.56 is the product at 1e-12
    assert_allclose(rates[1], 0.5607, rtol=0, atol=5e-5)
    assert_allclose(2 * rates[-1] - rates[-2], 0.588, rtol=0, atol=1e-4)
    # the next order is O(1/log²): the rate settles, each step halving its distance to the limit
    assert (np.abs(np.diff(rates[1:])) < 0.7 * np.abs(np.diff(rates[:-1]))).all()


@pytest.mark.parametrize("counts", [(6, 6, 6, 2, 2), (2, 6, 6), (4, 4, 4), (9, 5, 3, 1)], ids=str)
def test_seli_grams_factor_the_encoded_labels(counts):
    geometry = seli(counts)
    K, D = len(counts), np.diag(counts).astype(float)
    S = np.eye(K) - 1 / K
    assert_allclose(
        geometry.classifier_gram @ geometry.classifier_gram, S @ D @ S, rtol=1e-12, atol=1e-12
    )
    assert_allclose(
        geometry.class_gram, np.linalg.pinv(geometry.classifier_gram), rtol=1e-10, atol=1e-12
    )
    # W Wᵀ and H̄ᵀH̄ belong to one product of margin one: G_W G_H is the projector S
    assert_allclose(geometry.classifier_gram @ geometry.class_gram, S, rtol=0, atol=1e-13)
    assert_allclose(
        geometry.singular_values**2, np.linalg.eigvalsh(S @ D @ S)[::-1], rtol=1e-12, atol=1e-12
    )


def test_seli_step_formulas():
    k_A, k_B, n_A, n_B = 3, 2, 6.0, 2.0
    K, counts = k_A + k_B, (6, 6, 6, 2, 2)
    su = np.sqrt((k_B * n_A + k_A * n_B) / K)
    assert_allclose(
        np.sort(seli(counts).singular_values ** 2),
        np.sort([n_A, n_A, n_B, su**2, 0]),
        rtol=1e-13,
        atol=1e-13,
    )

    def gram(root_A, root_B, between):
        G = np.full((K, K), -between / K)
        G[:k_A, :k_A] = between * k_B / (K * k_A) - root_A / k_A + root_A * np.eye(k_A)
        G[k_A:, k_A:] = between * k_A / (K * k_B) - root_B / k_B + root_B * np.eye(k_B)
        return G

    assert_allclose(
        seli(counts).classifier_gram, gram(np.sqrt(n_A), np.sqrt(n_B), su), rtol=1e-13, atol=1e-14
    )
    assert_allclose(
        seli(counts).class_gram,
        gram(1 / np.sqrt(n_A), 1 / np.sqrt(n_B), 1 / su),
        rtol=1e-13,
        atol=1e-14,
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        pytest.param(
            lambda: minority_strength((4, 4, 2)),
            "two classes of the smallest count",
            id="one-minority-class",
        ),
        pytest.param(lambda: vanishing_strength((4, 4)), "two distinct values", id="one-cluster"),
        pytest.param(
            lambda: vanishing_strength((4, 3, 2)), "two distinct values", id="three-clusters"
        ),
        pytest.param(lambda: seli((4,)), "K >= 2 classes", id="seli-one-class"),
        pytest.param(lambda: seli((4, 0)), "must be finite and > 0", id="seli-empty-class"),
        pytest.param(
            lambda: seli_distance(np.zeros((3, 3))), "must not be zero", id="seli-distance-of-zero"
        ),
        pytest.param(
            lambda: seli_distance(3.0),
            "`class_logits` must be a matrix",
            id="seli-distance-of-a-number",
        ),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()
