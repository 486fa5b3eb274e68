"""Metrics against loops over samples in NumPy, against values by hand, and against what they must
not depend on."""

from __future__ import annotations

import dataclasses
import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.frames import (
    centring_matrix,
    general_orthogonal_frame,
    orthogonal_frame,
    random_orthonormal,
    simplex_etf,
)
from ufm.labels import one_hot, soft
from ufm.losses import CrossEntropy, MeanSquaredError
from ufm.metrics import (
    Metrics,
    between_class_cov,
    cdnv,
    class_gram,
    class_means,
    equiangularity,
    equinorm,
    global_mean,
    measure,
    measure_features,
    measure_params,
    nc1_pinv,
    nc1_trace_ratio,
    nc2_etf,
    nc2_gof,
    nc2_orthogonal,
    nc3_product,
    nc3_self_duality,
    nc4_agreement,
    vector_norms,
    within_class_cov,
)
from ufm.model import Params, Problem
from ufm.solution import Result
from ufm.solvers import minimise

# rounding: sums over at most a few hundred samples of size one, in another order
ROUNDING = 1e-13
# a Gram is first order in the error of a point, which is the gradient tolerance 1e-12 times a
# condition number below 1e3
SOLVED = 1e-9

MSE = MeanSquaredError()


# --- the slow twin: one sample, one pair at a time ---


def samples_of(features, index, k):
    return [features[:, i] for i in range(features.shape[1]) if index[i] == k]


def slow(features, index, W, bias, K, rcond):
    """Every metric of samples of mass one, as a dictionary with the names of `Metrics`."""
    N = features.shape[1]
    means = [
        sum(samples_of(features, index, k)) / len(samples_of(features, index, k)) for k in range(K)
    ]
    grand = sum(features[:, i] for i in range(N)) / N
    within = (
        sum(
            np.outer(features[:, i] - means[index[i]], features[:, i] - means[index[i]])
            for i in range(N)
        )
        / N
    )
    between = sum(np.outer(mean - grand, mean - grand) for mean in means) / K
    variances = [
        np.mean([np.sum((h - means[k]) ** 2) for h in samples_of(features, index, k)])
        for k in range(K)
    ]
    pairs = list(itertools.combinations(range(K), 2))
    agree = 0
    for i in range(N):
        logits = W @ features[:, i] + bias
        agree += np.argmax(logits) == np.argmin(
            [np.linalg.norm(features[:, i] - mean) for mean in means]
        )

    def unit(matrix):
        return matrix / np.linalg.norm(matrix)

    def distance(left, right):
        return np.linalg.norm(unit(left) - unit(right))

    def cosines(vectors):
        return [
            vectors[k] @ vectors[j] / np.linalg.norm(vectors[k]) / np.linalg.norm(vectors[j])
            for k, j in pairs
        ]

    H = np.array(means).T
    C = np.array([mean - grand for mean in means]).T
    P = np.eye(K) - np.ones((K, K)) / K
    out = {
        "nc1_pinv": np.trace(within @ np.linalg.pinv(between, rcond=rcond, hermitian=True)) / K,
        "nc1_trace_ratio": np.trace(within) / np.trace(between),
        "cdnv": np.mean(
            [
                (variances[k] + variances[j]) / (2 * np.sum((means[k] - means[j]) ** 2))
                for k, j in pairs
            ]
        ),
        "nc2_etf_features": distance(C.T @ C, P),
        "nc2_etf_classifier": distance(W @ W.T, P),
        "nc2_orthogonal_features": distance(H.T @ H, np.eye(K)),
        "nc2_orthogonal_classifier": distance(W @ W.T, np.eye(K)),
        "nc2_gof_features": distance(H.T @ H, np.diag([mean @ mean for mean in means])),
        "nc2_gof_classifier": distance(W @ W.T, np.diag([row @ row for row in W])),
        "nc3_self_duality": distance(W, H.T),
        "nc3_self_duality_centred": distance(W, C.T),
        "nc3_orthogonal": distance(W @ H, np.eye(K)),
        "nc3_etf": distance(W @ C, P),
        "nc4_agreement": agree / N,
        "feature_norms": [np.linalg.norm(mean) for mean in means],
        "classifier_norms": [np.linalg.norm(row) for row in W],
        "within_trace": np.trace(within),
        "between_trace": np.trace(between),
        "collapsed": False,
        "collapsed_classes": [False] * K,
    }
    for name, vectors in (("feature", list(C.T)), ("classifier", list(W))):
        norms = [np.linalg.norm(vector) for vector in vectors]
        out[f"{name}_norm_cv"] = np.std(norms) / np.mean(norms)
        out[f"{name}_cosine_mean"] = np.mean(cosines(vectors))
        out[f"{name}_cosine_std"] = np.std(cosines(vectors))
        out[f"{name}_etf_deviation"] = max(abs(c + 1 / (K - 1)) for c in cosines(vectors))
    return out, {"means": H, "grand": grand, "within": within, "between": between}


def random_network(counts, d, seed=0):
    """Features in random order with an offset, so that nothing is centred by accident."""
    rng = np.random.default_rng(seed)
    K = len(counts)
    index = rng.permutation(np.repeat(np.arange(K), counts))
    features = (
        rng.standard_normal((d, K))[:, index] + 0.5 * rng.standard_normal((d, len(index))) + 1.0
    )
    return features, index, rng.standard_normal((K, d)), rng.standard_normal(K)


def assert_same_metrics(actual, expected, *, rtol=ROUNDING, atol=ROUNDING, leave_out=()):
    for field in dataclasses.fields(Metrics):
        if field.name not in leave_out:
            left, right = (
                m[field.name] if isinstance(m, dict) else getattr(m, field.name)
                for m in (actual, expected)
            )
            np.testing.assert_allclose(left, right, rtol=rtol, atol=atol, err_msg=field.name)


# (id, counts, d, rcond)
NETWORKS = (
    ("balanced", (5, 5, 5, 5), 7, 1e-10),
    ("long-tail", (40, 10, 3, 1), 6, 1e-10),
    ("fewer-dimensions-than-classes", (4, 4, 4, 4, 4), 2, 1e-10),
    ("tight", (4, 6, 3), 2, 1e-10),
    ("two-classes", (3, 2), 4, 1e-10),
    ("one-sample-a-class", (1, 1, 1), 5, 1e-10),
    ("one-dimension", (3, 3), 1, 1e-10),
    # drops all but the leading directions of Sigma_B
    ("coarse-rcond", (5, 5, 5, 5), 7, 0.3),
)
networks = pytest.mark.parametrize(
    ("counts", "d", "rcond"), [pytest.param(*case[1:], id=case[0]) for case in NETWORKS]
)


@pytest.mark.lean(
    "fewer-dimensions-than-classes", "two-classes", "one-sample-a-class", "coarse-rcond"
)
@networks
def test_all_metrics_equal_the_loops(counts, d, rcond):
    features, index, W, bias = random_network(counts, d)
    expected, _ = slow(features, index, W, bias, len(counts), rcond)
    assert_same_metrics(
        measure_features(features, index, W, bias, num_classes=len(counts), rcond=rcond),
        expected,
        rtol=1e-11,
    )


@networks
def test_each_function_equals_the_loops(counts, d, rcond):
    features, index, W, bias = random_network(counts, d, seed=1)
    K = len(counts)
    expected, moments = slow(features, index, W, bias, K, rcond)
    given = (features, jnp.asarray(index))
    for function, name in (
        (class_means, "means"),
        (global_mean, "grand"),
        (within_class_cov, "within"),
        (between_class_cov, "between"),
    ):
        np.testing.assert_allclose(
            function(*given, num_classes=K),
            moments[name],
            rtol=ROUNDING,
            atol=ROUNDING,
            err_msg=name,
        )
    gram, centred = (
        class_gram(*given, num_classes=K),
        class_gram(*given, num_classes=K, centre=True),
    )
    angles = equiangularity(centred)
    actual = {
        "nc1_pinv": nc1_pinv(*given, num_classes=K, rcond=rcond),
        "nc1_trace_ratio": nc1_trace_ratio(*given, num_classes=K),
        "cdnv": cdnv(*given, num_classes=K),
        "nc2_etf_features": nc2_etf(centred),
        "nc2_etf_classifier": nc2_etf(W @ W.T),
        "nc2_orthogonal_features": nc2_orthogonal(gram),
        "nc2_gof_features": nc2_gof(gram),
        "nc3_self_duality": nc3_self_duality(*given, W, num_classes=K),
        "nc3_self_duality_centred": nc3_self_duality(*given, W, num_classes=K, centre=True),
        "nc3_orthogonal": nc3_product(*given, W, num_classes=K, target=np.eye(K)),
        "nc3_etf": nc3_product(*given, W, num_classes=K, centre=True, target=centring_matrix(K)),
        "nc4_agreement": nc4_agreement(*given, W, bias, num_classes=K),
        "classifier_norms": vector_norms(W @ W.T),
        "feature_norm_cv": equinorm(centred),
        "feature_cosine_mean": angles.mean,
        "feature_cosine_std": angles.std,
        "feature_etf_deviation": angles.etf_deviation,
    }
    for name, value in actual.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-11, atol=ROUNDING, err_msg=name)


def test_default_rcond_is_that_of_the_pseudo_inverse():
    """An eigenvalue of Sigma_B just below d eps times the largest is dropped, one just above it is
    kept."""
    eps, d = np.finfo(float).eps, 3
    for factor, kept in ((0.5, False), (2.0, True)):
        size = np.sqrt(factor * d * eps)
        # means (1, 0, 0), (-1, 0, 0), (0, s, 0), (0, -s, 0): eigenvalues of Sigma_B 1 to s²;
        # samples spread by s along the second
        means = np.array([[1, -1, 0, 0], [0, 0, size, -size], [0, 0, 0, 0]])
        spread = np.array([0, size, 0])[:, None]
        features = np.concatenate([means + spread, means - spread], axis=1)
        value = nc1_pinv(features, np.tile(np.arange(4), 2), num_classes=4)
        # variance s² over the eigenvalue 2 s² / 4, over K = 4
        np.testing.assert_allclose(value, 0.5 if kept else 0, rtol=0, atol=1e-6)


# --- values by hand ---


def spread_out(frame, epsilon, direction=None):
    """Two samples a class, at the class mean plus and minus epsilon times a direction (the mean
    itself unless given)."""
    shift = epsilon * (frame if direction is None else direction[:, None] * np.ones(frame.shape[1]))
    return np.concatenate([frame + shift, frame - shift], axis=1), np.tile(
        np.arange(frame.shape[1]), 2
    )


@pytest.mark.parametrize(("epsilon", "rtol"), [(0.5, 1e-12), (1e-5, 1e-9), (1e-14, 0.05)])
def test_nc1_of_an_etf_spread_along_its_means(epsilon, rtol, key):
    """Down to 1e-28: at epsilon = 1e-14 the samples themselves are rounded by a hundredth of their
    spread."""
    K = 5
    features, index = spread_out(
        np.asarray(simplex_etf(K, multiplier=3.0, dim=8, key=key)), epsilon
    )
    # Sigma_W = epsilon² Sigma_B, of rank K - 1
    np.testing.assert_allclose(
        nc1_pinv(features, index, num_classes=K), epsilon**2 * (K - 1) / K, rtol=rtol
    )
    np.testing.assert_allclose(
        nc1_trace_ratio(features, index, num_classes=K), epsilon**2, rtol=rtol
    )
    # squared distance of two means: 2 K / (K - 1) times their squared length
    np.testing.assert_allclose(
        cdnv(features, index, num_classes=K), epsilon**2 * (K - 1) / (2 * K), rtol=rtol
    )


def test_nc1_pinv_does_not_see_variability_off_the_means():
    features, index = spread_out(np.asarray(simplex_etf(4, dim=6)), 0.1, direction=np.eye(6)[5])
    assert nc1_pinv(features, index, num_classes=4) < ROUNDING
    np.testing.assert_allclose(nc1_trace_ratio(features, index, num_classes=4), 0.01, rtol=1e-12)


def test_identical_samples_have_no_variability_whatever_their_number():
    # a mean of n equal numbers that is wrong in its last digits would show as 1e-30 here
    features = (
        np.random.default_rng(0).standard_normal((16, 5))[:, np.repeat(np.arange(5), 999)] + 10.0
    )
    labels = one_hot((999,) * 5)
    assert nc1_trace_ratio(features, labels) < 1e-31
    assert nc1_pinv(features, labels) < 1e-31
    assert cdnv(features, labels) < 1e-31


def test_global_mean_is_that_of_the_samples():
    features = np.array([[0.0, 4.0]])
    labels = one_hot((3, 1), collapsed=True)
    np.testing.assert_allclose(global_mean(features, labels), [1.0], rtol=1e-14)
    # ((0 - 1)² + (4 - 1)²) / 2, classes weighing the same
    np.testing.assert_allclose(between_class_cov(features, labels), [[5.0]], rtol=1e-14)


OF, ETF = np.eye(4), np.asarray(simplex_etf(4))


@pytest.mark.parametrize(
    ("function", "vectors", "expected"),
    [
        pytest.param(nc2_etf, ETF, 0, id="etf-is-etf"),
        pytest.param(nc2_orthogonal, OF, 0, id="of-is-of"),
        pytest.param(nc2_gof, np.diag([3.0, 2.0, 1.0, 0.0]), 0, id="gof-is-gof"),
        pytest.param(nc2_etf, OF, np.sqrt(2 - np.sqrt(3)), id="of-is-not-etf"),
        pytest.param(nc2_orthogonal, ETF, np.sqrt(2 - np.sqrt(3)), id="etf-is-not-of"),
        pytest.param(nc2_gof, ETF, np.sqrt(2 - np.sqrt(3)), id="etf-is-not-gof"),
        # (16, 1) . (1, 1) / (sqrt 257 sqrt 2)
        pytest.param(
            nc2_orthogonal, np.diag([4.0, 1.0]), np.sqrt(2 - 34 / np.sqrt(514)), id="gof-is-not-of"
        ),
        pytest.param(
            lambda gram: nc2_gof(gram, lengths=[8.0, 2.0]),
            np.diag([4.0, 1.0]),
            0,
            id="gof-of-these-lengths",
        ),
        pytest.param(
            lambda gram: nc2_gof(gram, lengths=[1.0, 1.0]),
            np.diag([4.0, 1.0]),
            np.sqrt(2 - 34 / np.sqrt(514)),
            id="gof-others",
        ),
        # all of the same direction: the Gram of ones has cosine 0 with P
        pytest.param(nc2_etf, np.ones((1, 4)), np.sqrt(2), id="parallel-is-not-etf"),
        pytest.param(equinorm, np.diag([3.0, 1.0]), 0.5, id="lengths-3-and-1"),
        pytest.param(equinorm, ETF, 0, id="etf-has-one-length"),
        pytest.param(lambda gram: equiangularity(gram).mean, ETF, -1 / 3, id="etf-cosine"),
        pytest.param(lambda gram: equiangularity(gram).std, ETF, 0, id="etf-has-one-angle"),
        pytest.param(lambda gram: equiangularity(gram).etf_deviation, ETF, 0, id="etf-angles"),
        pytest.param(lambda gram: equiangularity(gram).etf_deviation, OF, 1 / 3, id="of-angles"),
        # cosines 1, 0, 0: mean 1/3, deviations 2/3, 1/3, 1/3, and 1 is 3/2 from -1/2
        pytest.param(
            lambda gram: equiangularity(gram).mean,
            np.array([[1, 2, 0], [0, 0, 1]]),
            1 / 3,
            id="cosine-mean",
        ),
        pytest.param(
            lambda gram: equiangularity(gram).std,
            np.array([[1, 2, 0], [0, 0, 1]]),
            np.sqrt(2) / 3,
            id="cosine-std",
        ),
        pytest.param(
            lambda gram: equiangularity(gram).etf_deviation,
            np.array([[1, 2, 0], [0, 0, 1]]),
            1.5,
            id="cosine-deviation",
        ),
    ],
)
def test_shapes_by_hand(function, vectors, expected):
    np.testing.assert_allclose(
        function((vectors.T @ vectors).astype(float)), expected, rtol=0, atol=ROUNDING
    )


def test_a_centred_orthogonal_frame_is_an_etf(key):
    features, labels = orthogonal_frame(5, dim=9, key=key), one_hot((1,) * 5)
    assert nc2_etf(class_gram(features, labels, centre=True)) < ROUNDING
    assert nc2_etf(class_gram(features, labels)) > 0.1


def test_self_duality_by_hand(key):
    counts, ratios = (4, 2, 1), np.array([3.0, 2.0, 1.0])
    H = general_orthogonal_frame((1.0, 2.0, 3.0), dim=5, key=key)
    labels = one_hot(counts, collapsed=True)
    W = 0.1 * ratios[:, None] * H.T
    assert nc3_self_duality(H, labels, W, ratios=ratios) < ROUNDING
    # rows of norms (3, 4, 3) against (1, 2, 3)
    np.testing.assert_allclose(
        nc3_self_duality(H, labels, W), np.sqrt(2 - 40 / np.sqrt(34 * 14)), rtol=1e-12
    )
    np.testing.assert_allclose(nc3_self_duality(H, labels, -W, ratios=ratios), 2, rtol=1e-12)
    assert nc3_product(H, labels, W, target=np.diag([3.0, 8.0, 9.0])) < ROUNDING
    np.testing.assert_allclose(
        nc3_product(H, labels, W, target=np.eye(3)), np.sqrt(2 - 40 / np.sqrt(154 * 3)), rtol=1e-12
    )


def test_agreement_by_hand():
    # means at 0 and 4 on the line; the network decides at 1, so the two samples at 1.5 disagree
    # with the nearest mean
    features = np.array([[-1.5, 1.5, 3.0, 5.0, 4.0]])
    labels = soft(np.array([[1, 1, 0, 0, 0], [0, 0, 1, 1, 1]]), [2.0, 2.0, 1.0, 1.0, 6.0])
    np.testing.assert_allclose(class_means(features, labels), [[0.0, 4.0]], rtol=1e-14)
    classifier, bias = np.array([[0.0], [1.0]]), np.array([1.0, 0.0])
    np.testing.assert_allclose(
        nc4_agreement(features, labels, classifier, bias), 10 / 12, rtol=1e-14
    )
    # without bias it decides at 0, and only those at 1.5 disagree still; with the opposite sign all
    # that differ swap
    np.testing.assert_allclose(nc4_agreement(features, labels, classifier), 10 / 12, rtol=1e-14)
    np.testing.assert_allclose(nc4_agreement(features, labels, -classifier), 2 / 12, rtol=1e-14)
    # ties up to a tolerance: logits at 1.5 differ by 0.5, of a spread of 6.5 over all
    np.testing.assert_allclose(
        nc4_agreement(features, labels, classifier, bias, tolerance=0.08), 1, rtol=1e-14
    )
    np.testing.assert_allclose(
        nc4_agreement(features, labels, classifier, bias, tolerance=0.07), 10 / 12, rtol=1e-14
    )


# --- what the metrics must not depend on ---


def test_a_classifier_says_how_many_classes_there_are():
    rng = np.random.default_rng(0)
    features, index, W = (
        rng.standard_normal((5, 12)),
        np.arange(12) % 3,
        rng.standard_normal((3, 5)),
    )
    assert_same_metrics(
        measure_features(features, index, W), measure_features(features, index, W, num_classes=3)
    )
    with pytest.raises(ValueError, match=r"`labels` must .*one column a sample: pass `features.T`"):
        measure_features(features.T, index, W)
    with pytest.raises(ValueError, match=r"`classifier` must .* pass `classifier.T`; got \(5, 3\)"):
        measure_features(features, index, W.T)
    rare = np.minimum(index, 1)
    with pytest.raises(ValueError, match=r"ufm\.metrics\.stream .* without one; got \[2\]"):
        measure_features(features, rare, W)
    seen = ufm.metrics.stream(3, 5)
    seen.update(features, rare)
    assert np.isfinite(seen.finish(W).nc1_trace_ratio)


def test_collapsed_columns_equal_repeated_samples():
    """Masses stand for samples, also with several columns a class."""
    rng = np.random.default_rng(0)
    index, masses = np.array([0, 1, 2, 0, 1, 2, 2]), np.array([3, 1, 2, 5, 4, 1, 1])
    columns, W, bias = (
        rng.standard_normal((4, 7)) + 1,
        rng.standard_normal((3, 4)),
        rng.standard_normal(3),
    )
    merged = measure_features(columns, soft(np.eye(3)[:, index], masses), W, bias)
    repeated = measure_features(
        np.repeat(columns, masses, axis=1), np.repeat(index, masses), W, bias, num_classes=3
    )
    assert merged.within_trace > 0.1
    assert_same_metrics(merged, repeated, rtol=1e-12)


@pytest.mark.parametrize("counts", [(6, 6, 6), (100, 10, 1)], ids=["balanced", "long-tail"])
def test_a_collapsed_solution_equals_the_full_one(counts):
    rng = np.random.default_rng(1)
    means, W, bias = (
        rng.standard_normal((5, 3)),
        rng.standard_normal((3, 5)),
        rng.standard_normal(3),
    )

    def at(collapsed):
        problem = Problem(
            one_hot(counts, collapsed=collapsed),
            loss=MSE,
            widths=(5,),
            lambda_W=1e-3,
            lambda_H=1e-3,
            bias="free",
        )
        features = means if collapsed else np.repeat(means, counts, axis=1)
        return measure_params(
            problem,
            Params(
                weights=(jnp.asarray(W),), features=jnp.asarray(features), bias=jnp.asarray(bias)
            ),
        )

    assert_same_metrics(at(True), at(False))
    assert at(True).nc1_pinv == 0


@pytest.mark.parametrize("counts", [(5, 5, 5, 5), (9, 4, 2, 1)], ids=["balanced", "long-tail"])
def test_rotation_and_scale_change_nothing(counts, key):
    features, index, W, _ = random_network(counts, 6)
    Q = np.asarray(random_orthonormal(9, 6, key=key))
    plain = measure_features(features, index, W, num_classes=4, rcond=1e-10)
    moved = measure_features(1e3 * Q @ features, index, 1e-4 * W @ Q.T, num_classes=4, rcond=1e-10)
    with_size = ("feature_norms", "classifier_norms", "within_trace", "between_trace")
    assert_same_metrics(moved, plain, rtol=1e-11, leave_out=with_size)
    for name, factor in zip(with_size, (1e3, 1e-4, 1e6, 1e6), strict=True):
        np.testing.assert_allclose(getattr(moved, name), factor * getattr(plain, name), rtol=1e-12)


def test_the_names_of_the_classes_change_nothing():
    features, index, W, bias = random_network((9, 4, 2, 1), 6)
    order = np.array([2, 0, 3, 1])
    plain = measure_features(features, index, W, bias, num_classes=4)
    renamed = measure_features(
        features, np.argsort(order)[index], W[order], bias[order], num_classes=4
    )
    by_class = ("feature_norms", "classifier_norms", "collapsed_classes")
    assert_same_metrics(renamed, plain, rtol=1e-11, leave_out=by_class)
    for name in by_class:
        np.testing.assert_allclose(getattr(renamed, name), getattr(plain, name)[order], rtol=1e-12)


def test_labels_and_integers_say_the_same():
    features, index, W, bias = random_network((5, 3, 4), 6)
    by_integers = measure_features(features, index, W, bias, num_classes=3)
    assert_same_metrics(
        measure_features(features, soft(np.eye(3)[:, index]), W, bias), by_integers, rtol=0, atol=0
    )
    # smoothed targets name the same class
    assert_same_metrics(
        measure_features(features, soft(0.7 * np.eye(3)[:, index] + 0.1), W, bias),
        by_integers,
        rtol=0,
        atol=0,
    )


# --- 0/0 ---

SCALE_FREE = [
    field.name
    for field in dataclasses.fields(Metrics)
    if field.name.startswith(("nc", "cdnv"))
    or field.name.endswith(("_cv", "_mean", "_std", "_deviation"))
]
OF_CLASSIFIER = [name for name in SCALE_FREE if "classifier" in name]


def assert_nan_exactly(metrics, names):
    assert {name for name in SCALE_FREE if jnp.isnan(getattr(metrics, name))} == set(names)


def params_of(problem, rng, *, feature_size, weight_size):
    return Params(
        weights=tuple(
            jnp.asarray(weight_size * rng.standard_normal(shape)) for shape in problem.weight_shapes
        ),
        features=jnp.asarray(
            feature_size * rng.standard_normal((problem.feature_dim, problem.labels.num_columns))
        ),
        bias=jnp.zeros(problem.labels.num_classes) if problem.has_bias else None,
    )


@pytest.mark.parametrize(
    "size", [0.0, 1e-300, 1e-12], ids=["zero", "denormal-squares", "noise-of-a-solver"]
)
@pytest.mark.parametrize(
    ("widths", "bias", "collapsed"),
    [
        pytest.param((6,), None, False, id="one-layer-full"),
        pytest.param((6,), "free", True, id="one-layer-bias-collapsed"),
        pytest.param((6, 5, 6), "free", False, id="three-layers-bias-full"),
    ],
)
def test_the_zero_solution_is_flagged(size, bias, widths, collapsed):
    problem = Problem(
        one_hot((4, 4, 4), collapsed=collapsed),
        loss=MSE,
        widths=widths,
        lambda_W=0.5,
        lambda_H=0.5,
        bias=bias,
    )
    metrics = measure_params(
        problem, params_of(problem, np.random.default_rng(0), feature_size=size, weight_size=size)
    )
    assert metrics.collapsed
    assert metrics.collapsed_classes.all()
    assert_nan_exactly(metrics, SCALE_FREE)
    assert jnp.all(jnp.isfinite(metrics.feature_norms))
    assert jnp.isfinite(metrics.within_trace)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_zero_is_relative_to_the_problem(scale):
    """λ_W s² with λ_H / s² is the same problem in other units of length.

    Sizes that are zero in one are zero in all.
    """
    rng = np.random.default_rng(0)
    problem = Problem(
        one_hot((4, 4, 4)),
        loss=MSE,
        widths=(6,),
        lambda_W=1e-3 * scale**2,
        lambda_H=1e-3 / scale**2,
    )
    normal = measure_params(
        problem, params_of(problem, rng, feature_size=scale, weight_size=1 / scale)
    )
    assert not normal.collapsed
    assert not normal.collapsed_classes.any()
    assert_nan_exactly(normal, [])
    # four digits above the root of machine epsilon, where a point is small and yet has a shape
    small = measure_params(
        problem, params_of(problem, rng, feature_size=1e-3 * scale, weight_size=1e-3 / scale)
    )
    assert not small.collapsed
    noise = measure_params(
        problem, params_of(problem, rng, feature_size=1e-10 * scale, weight_size=1e-10 / scale)
    )
    assert noise.collapsed
    looser = measure_params(
        problem,
        params_of(problem, rng, feature_size=1e-3 * scale, weight_size=1e-3 / scale),
        tolerance=1e-2,
    )
    assert looser.collapsed


def test_zero_classifier_leaves_the_metrics_of_the_features():
    problem = Problem(one_hot((4, 4, 4)), loss=MSE, widths=(6, 6), lambda_W=1e-3, lambda_H=1e-3)
    metrics = measure_params(
        problem, params_of(problem, np.random.default_rng(0), feature_size=1.0, weight_size=1e-12)
    )
    assert metrics.collapsed
    assert_nan_exactly(
        metrics, [*OF_CLASSIFIER, *(name for name in SCALE_FREE if name.startswith(("nc3", "nc4")))]
    )


def test_zero_features_leave_the_metrics_of_the_classifier():
    problem = Problem(one_hot((4, 4, 4)), loss=MSE, widths=(6,), lambda_W=1e-3, lambda_H=1e-3)
    metrics = measure_params(
        problem, params_of(problem, np.random.default_rng(0), feature_size=1e-12, weight_size=1.0)
    )
    assert metrics.collapsed
    assert_nan_exactly(metrics, set(SCALE_FREE) - set(OF_CLASSIFIER))


@pytest.mark.parametrize("offset", [1.0, 1e8])
def test_coinciding_class_means_are_flagged(offset):
    """Samples vary, classes do not.

    Every ratio to the between-class scatter is undefined, orthogonality is not.
    """
    rng = np.random.default_rng(0)
    deviation = rng.standard_normal((4, 3))
    block = offset + np.concatenate([deviation, -deviation], axis=1)
    metrics = measure_features(
        np.concatenate([block, block], axis=1),
        np.repeat([0, 1], 6),
        rng.standard_normal((2, 4)),
        num_classes=2,
    )
    assert metrics.collapsed
    assert not metrics.collapsed_classes.any()
    assert metrics.within_trace > 0.1
    defined = {
        "nc2_orthogonal_features",
        "nc2_gof_features",
        "nc3_self_duality",
        "nc3_orthogonal",
        *OF_CLASSIFIER,
    }
    assert_nan_exactly(metrics, set(SCALE_FREE) - defined)


def test_minority_collapse_keeps_the_rest():
    problem = Problem(one_hot((9, 5, 1, 1)), loss=MSE, widths=(6,), lambda_W=1e-2, lambda_H=1e-2)
    rng = np.random.default_rng(0)
    means = np.asarray(
        general_orthogonal_frame((1.0, 0.5, 0.0, 0.0), dim=6)
    ) + 1e-13 * rng.standard_normal((6, 4))
    params = Params(
        weights=(jnp.asarray(2 * means.T),),
        features=jnp.asarray(np.repeat(means, (9, 5, 1, 1), axis=1)),
    )
    metrics = measure_params(problem, params)
    assert not metrics.collapsed
    np.testing.assert_array_equal(metrics.collapsed_classes, [False, False, True, True])
    # two means coincide; two rows of the classifier have no direction. Centred means all have one
    assert_nan_exactly(
        metrics,
        ["cdnv", "classifier_cosine_mean", "classifier_cosine_std", "classifier_etf_deviation"],
    )
    assert metrics.nc2_gof_features < 1e-12
    assert metrics.nc3_self_duality < 1e-12
    # a minority sample is as near to one empty mean as to the other, and all its logits are equal:
    # a tie, not a disagreement
    assert metrics.nc4_agreement == 1


def test_without_decay_only_rounding_counts_as_zero():
    problem = Problem(one_hot((4, 4, 4)), loss=MSE, widths=(6,), lambda_W=0.0, lambda_H=0.0)
    rng = np.random.default_rng(0)
    tiny = measure_params(problem, params_of(problem, rng, feature_size=1e-12, weight_size=1e-12))
    assert not tiny.collapsed
    assert_nan_exactly(tiny, [])
    zero = measure_params(problem, params_of(problem, rng, feature_size=0.0, weight_size=0.0))
    assert zero.collapsed
    assert_nan_exactly(zero, SCALE_FREE)


def test_a_fixed_classifier_does_not_count_its_decay():
    W = 1e-12 * simplex_etf(3, dim=5).T
    problem = Problem(
        one_hot((2, 2, 2)), loss=MSE, widths=(5,), lambda_W=1.0, lambda_H=1e-3, fixed_weights=(W,)
    )
    features = jnp.repeat(simplex_etf(3, dim=5), 2, axis=1)
    metrics = measure_params(problem, Params(weights=(W,), features=features))
    assert not metrics.collapsed
    assert metrics.nc3_self_duality < ROUNDING


def test_a_diverged_point_is_nan_and_not_collapsed():
    problem = Problem(one_hot((2, 2)), loss=MSE, widths=(3,), lambda_W=1e-3, lambda_H=1e-3)
    metrics = measure_params(
        problem,
        params_of(problem, np.random.default_rng(0), feature_size=np.nan, weight_size=np.nan),
    )
    assert_nan_exactly(metrics, SCALE_FREE)
    assert not metrics.collapsed


# --- on solutions ---


def solved(counts, *, loss=MSE, widths=(8,), lam, bias=None, collapsed=False):
    problem = Problem(
        one_hot(counts, collapsed=collapsed),
        loss=loss,
        widths=widths,
        lambda_W=lam,
        lambda_H=lam,
        bias=bias,
    )
    solution = minimise(problem, key=jax.random.key(0))
    assert solution.result == Result.CONVERGED
    return solution


def test_balanced_squared_error_without_bias_is_an_orthogonal_frame():
    metrics = measure(solved((5, 5, 5, 5), lam=1e-2))
    assert metrics.nc1_pinv < 1e-20
    assert metrics.cdnv < 1e-20
    for name in (
        "nc2_orthogonal_features",
        "nc2_orthogonal_classifier",
        "nc2_etf_features",
        "nc3_self_duality",
        "nc3_orthogonal",
    ):
        assert getattr(metrics, name) < SOLVED, name
    assert metrics.nc4_agreement == 1
    assert metrics.nc2_etf_classifier > 0.1
    # theory, linear_networks 1.1: ‖h‖² = (1 - c) sqrt(λ_W / (n λ_H)) with c = K sqrt(n λ_W λ_H)
    expected = np.sqrt((1 - 4 * np.sqrt(5) * 1e-2) / np.sqrt(5))
    np.testing.assert_allclose(metrics.feature_norms, expected, rtol=SOLVED)
    np.testing.assert_allclose(
        metrics.classifier_norms,
        np.sqrt(5) ** 0.5 * np.sqrt(1 - 4 * np.sqrt(5) * 1e-2),
        rtol=SOLVED,
    )


@pytest.mark.parametrize("loss", [MSE, CrossEntropy()], ids=["squared-error", "cross-entropy"])
def test_balanced_with_bias_is_an_etf(loss):
    metrics = measure(solved((5, 5, 5, 5), loss=loss, lam=1e-2, bias="free"))
    assert metrics.nc1_trace_ratio < 1e-20
    for name in (
        "nc2_etf_features",
        "nc2_etf_classifier",
        "nc3_self_duality",
        "nc3_self_duality_centred",
        "nc3_etf",
        "feature_norm_cv",
    ):
        assert getattr(metrics, name) < SOLVED, name
    assert metrics.feature_etf_deviation < SOLVED
    assert metrics.classifier_etf_deviation < SOLVED
    np.testing.assert_allclose(metrics.feature_cosine_mean, -1 / 3, rtol=SOLVED)
    assert metrics.nc2_orthogonal_features > 0.1


@pytest.mark.parametrize(
    "counts", [(20, 10, 5, 2), (10, 10, 10, 10)], ids=["long-tail", "equal-counts"]
)
def test_imbalanced_squared_error_is_the_predicted_frame(counts):
    """The shapes of linear_networks 1.4, with the formulas written here."""
    lam, n = 2e-3, np.array(counts, float)
    solution = solved(counts, lam=lam)
    N = n.sum()
    s2 = np.sqrt(n) - N * lam
    assert (s2 > 0).all()
    features, labels, W = (
        solution.params.features,
        solution.problem.labels,
        solution.params.classifier,
    )
    ratios = s2 + N * lam
    gram = class_gram(features, labels)
    assert nc2_gof(W @ W.T, lengths=np.sqrt(s2)) < SOLVED
    assert nc2_gof(gram, lengths=np.sqrt(s2) / ratios) < SOLVED
    assert nc3_product(features, labels, W, target=np.diag(s2 / ratios)) < SOLVED
    assert nc3_self_duality(features, labels, W, ratios=ratios) < SOLVED
    assert measure(solution).nc2_gof_features < SOLVED
    # teeth: for unequal counts the balanced shapes do not fit
    if len(set(counts)) > 1:
        assert nc2_orthogonal(gram) > 0.05
        assert nc3_self_duality(features, labels, W) > 0.05


def test_a_solution_with_minority_collapse_is_measured():
    # N λ = 0.036 * 36 = 1.3 > sqrt(1): the last two classes are gone, sqrt(4) and sqrt(30) are not
    metrics = measure(solved((30, 4, 1, 1), lam=1.3 / 36))
    assert not metrics.collapsed
    np.testing.assert_array_equal(metrics.collapsed_classes, [False, False, True, True])
    assert jnp.isnan(metrics.cdnv)
    assert metrics.nc2_gof_features < SOLVED
    assert metrics.nc4_agreement == 1


@pytest.mark.parametrize(
    ("excess", "collapsed"),
    [
        pytest.param(1.5, True, id="beyond-the-threshold"),
        pytest.param(1 + 1e-3, True, id="just-beyond"),
        pytest.param(1 - 1e-3, False, id="just-before"),
        pytest.param(0.1, False, id="far-before"),
    ],
)
@pytest.mark.parametrize("bias", [None, "free"])
def test_the_flag_follows_the_collapse_threshold(excess, collapsed, bias):
    # c = K sqrt(n) λ, with equal λ; K = 3, n = 4
    metrics = measure(solved((4, 4, 4), lam=excess / 6, bias=bias))
    assert metrics.collapsed == collapsed
    assert_nan_exactly(metrics, SCALE_FREE if collapsed else [])


def test_a_deep_solution_is_measured_through_its_product():
    solution = solved((5, 5, 5), widths=(6, 6, 6), lam=2e-3)
    metrics = measure(solution)
    assert not metrics.collapsed
    assert metrics.nc2_orthogonal_classifier < SOLVED
    assert metrics.nc3_self_duality < SOLVED
    np.testing.assert_allclose(
        metrics.classifier_norms, np.linalg.norm(solution.params.classifier, axis=1), rtol=ROUNDING
    )


# --- transformations ---


def test_flows_can_observe_it():
    """Under jit and vmap, with labels, λ and params traced, and with integer labels traced.

    And no retracing when they change.
    """
    traces = []

    @eqx.filter_jit
    def observe(problems, params):
        traces.append(None)
        return jax.vmap(measure_params)(problems, params)

    def batch(lam, counts):
        problems = [
            Problem(one_hot(c, collapsed=True), loss=MSE, widths=(5,), lambda_W=lam, lambda_H=lam)
            for c in counts
        ]
        params = [
            params_of(problem, np.random.default_rng(0), feature_size=1.0, weight_size=size)
            for problem, size in zip(problems, (1, 0), strict=True)
        ]
        return problems, params

    for lam, counts in ((1e-3, ((3, 2, 1), (4, 4, 4))), (1e-2, ((7, 7, 1), (1, 1, 1)))):
        problems, params = batch(lam, counts)
        stacked = [
            jax.tree.map(lambda *leaves: jnp.stack(leaves), *items) for items in (problems, params)
        ]
        together = observe(*stacked)
        np.testing.assert_array_equal(together.collapsed, [False, True])
        for i, (problem, point) in enumerate(zip(problems, params, strict=True)):
            assert_same_metrics(
                jax.tree.map(lambda leaf, i=i: leaf[i], together),
                measure_params(problem, point),
                rtol=1e-11,
            )
    assert len(traces) == 1

    features, index, W, bias = random_network((4, 3, 2), 5)
    traced = jax.jit(lambda h, labels: measure_features(h, labels, W, bias, num_classes=3))(
        features, index
    )
    assert_same_metrics(
        traced, measure_features(features, index, W, bias, num_classes=3), rtol=1e-11
    )


def test_dtype_is_kept():
    features, index, W, bias = (
        x.astype(np.float32) if x.dtype == np.float64 else x for x in random_network((5, 4, 3), 6)
    )
    single = measure_features(features, index, W, bias, num_classes=3)
    assert {leaf.dtype for leaf in jax.tree.leaves(single)} == {
        np.dtype(np.float32),
        np.dtype(bool),
    }
    double = measure_features(
        *(x.astype(float) if x.dtype == np.float32 else x for x in (features, index, W, bias)),
        num_classes=3,
    )
    # a hundred roundings of single precision
    assert_same_metrics(single, double, rtol=1e-5, atol=1e-5)
    collapsed = measure_features(features[:, index * 0], index, W, bias, num_classes=3)
    assert collapsed.collapsed


def test_it_prints_a_table():
    features, index, W, bias = random_network((5, 4, 3), 6)
    header, *lines = str(measure_features(features, index, W, bias, num_classes=3)).splitlines()
    assert len(lines) == len(dataclasses.fields(Metrics))
    starts = [header.index(word) for word in ("value", "at collapse", "scale")]
    assert len({line.index(line.split()[1]) for line in lines}) == 1
    table = {line.split()[0]: line[starts[0] : starts[1]].strip() for line in lines}
    words = {line.split()[0]: line[starts[1] :] for line in lines}
    assert words["nc1_pinv"].split()[:2] == ["0", "1:"]
    assert words["feature_cosine_mean"].startswith("-0.5 at a simplex ETF")
    assert words["nc4_agreement"].split() == ["1", "0.333:", "by", "chance"]
    assert float(table["nc1_pinv"]) == pytest.approx(
        float(nc1_pinv(features, index, num_classes=3)), rel=1e-3
    )
    assert table["collapsed"] == "no"
    assert table["collapsed_classes"] == "0 of 3"
    assert "…" in table["feature_norms"]
    zero = str(measure_features(0 * features, index, W, bias, num_classes=3)).splitlines()
    assert zero[1].split()[:2] == ["nc1_pinv", "nan"]
    assert zero[-2].split()[:2] == ["collapsed", "yes"]


def test_what_is_printed_of_collapse_is_so():
    """At a collapsed simplex ETF every metric has the value that stands beside it."""
    means = centring_matrix(4)
    index = np.repeat(np.arange(4), 3)
    metrics = measure_features(means[:, index], index, means, num_classes=4)
    header, *lines = str(metrics).splitlines()
    start = header.index("at collapse")
    seen = 0
    for line in lines:
        name, said = line.split()[0], line[start:].split("  ")[0]
        if said in ("0", "1") or said.endswith(("simplex ETF", "balanced")):
            number = 0.0 if said.startswith("equal") else float(said.split()[0])
            value = np.ptp(metrics.feature_norms) if "equal" in said else getattr(metrics, name)
            np.testing.assert_allclose(value, number, rtol=0, atol=2e-3, err_msg=name)
            seen += 1
    assert seen > 15


# --- refusals ---

H, INDEX, W2 = np.ones((3, 4)), np.array([0, 1, 0, 1]), np.ones((2, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda: class_means(H, INDEX), "`num_classes` .*; got None", id="no-number-of-classes"
        ),
        pytest.param(
            lambda: class_means(H, INDEX, num_classes=1),
            "`num_classes` must be a whole number >= 2; got 1",
            id="one-class",
        ),
        pytest.param(
            lambda: class_means(H, one_hot((2, 2)), num_classes=3),
            "`num_classes` must be the 2 classes",
            id="other-number",
        ),
        pytest.param(
            lambda: class_means(H, INDEX[:3], num_classes=2),
            "`labels` must have length 4, .*; got 3",
            id="too-few-labels",
        ),
        pytest.param(
            lambda: class_means(H, one_hot((2, 3))),
            "`labels` must have 4 columns, like `features`; got 5",
            id="too-many-columns",
        ),
        pytest.param(
            lambda: class_means(H, INDEX - 1, num_classes=2),
            "`labels` must lie in \\[0, 2\\); got .*-1",
            id="negative-label",
        ),
        pytest.param(
            lambda: class_means(H, 2 * INDEX, num_classes=2),
            "`labels` must lie in \\[0, 2\\); got .*2",
            id="label-too-large",
        ),
        pytest.param(
            lambda: class_means(H, INDEX, num_classes=4),
            "`labels` must hold .* got \\[2 3\\]",
            id="classes-without-samples",
        ),
        pytest.param(
            lambda: class_means(H, soft(np.eye(3)[:, INDEX])),
            "`labels` must hold .* got \\[2\\]",
            id="label-class-without-column",
        ),
        pytest.param(
            lambda: class_means(H, INDEX * 1.0, num_classes=2),
            "`labels` must be ufm.Labels or integers; got float64",
            id="float-labels",
        ),
        pytest.param(
            lambda: class_means(H, np.eye(4), num_classes=4),
            "`labels` must be a sequence",
            id="matrix-labels",
        ),
        pytest.param(
            lambda: class_means(H[0], INDEX, num_classes=2),
            "`features` must be a matrix; got shape",
            id="feature-rank",
        ),
        pytest.param(
            lambda: class_means(H.astype(int), INDEX, num_classes=2),
            "`features` must be an array of floats",
            id="integer-features",
        ),
        pytest.param(
            lambda: nc1_pinv(H, INDEX, num_classes=2, rcond=-1.0),
            "`rcond` must be finite and >= 0; got -1.0",
            id="rcond",
        ),
        pytest.param(
            lambda: nc2_etf(np.ones((2, 3))), "`gram` must be a square matrix", id="gram-shape"
        ),
        pytest.param(
            lambda: nc2_etf(np.ones((1, 1))),
            "`gram` must be a square matrix of size K >= 2",
            id="gram-of-one",
        ),
        pytest.param(
            lambda: nc2_gof(np.array([[1.0, 2.0], [0.0, 1.0]])),
            "`gram` must be symmetric .*; got 2.0",
            id="not-a-gram",
        ),
        pytest.param(
            lambda: nc2_gof(np.eye(2), lengths=[1.0, 1.0, 1.0]),
            "`lengths` must have length 2",
            id="lengths",
        ),
        pytest.param(
            lambda: nc2_gof(np.eye(2), lengths=[1.0, -1.0]),
            "`lengths` must be finite and >= 0",
            id="negative-length",
        ),
        pytest.param(
            lambda: nc3_self_duality(H, INDEX, W2.T, num_classes=2),
            "`classifier` must have shape \\(K, d\\) = \\(2, 3\\)",
            id="classifier",
        ),
        pytest.param(
            lambda: nc3_self_duality(H, INDEX, W2, num_classes=2, ratios=[1.0]),
            "`ratios` must have shape \\(2,\\)",
            id="ratios",
        ),
        pytest.param(
            lambda: nc3_product(H, INDEX, W2, num_classes=2, target=np.eye(3)),
            "`target` must have the shape",
            id="target",
        ),
        pytest.param(
            lambda: nc4_agreement(H, INDEX, W2, np.ones(3), num_classes=2),
            "`bias` must have shape \\(2,\\)",
            id="bias",
        ),
        pytest.param(
            lambda: nc4_agreement(H, INDEX, W2, num_classes=2, tolerance=-1),
            "`tolerance` must be finite",
            id="tie-tolerance",
        ),
        pytest.param(
            lambda: measure_features(H, INDEX, W2, num_classes=2, feature_floor=-1),
            "`feature_floor`",
            id="floor",
        ),
        pytest.param(
            lambda: measure_features(H, INDEX, W2, np.ones((2, 1)), num_classes=2),
            "`bias` must be a sequence",
            id="bias-rank",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        pytest.param(
            Params(weights=(jnp.ones((2, 3)),), features=jnp.ones((3, 5))),
            "`params.features` must have shape .*4\\); got \\(3, 5",
            id="columns",
        ),
        pytest.param(
            Params(weights=(jnp.ones((2, 3)),), features=jnp.ones((2, 4))),
            "`params.features` must have shape .*\\(3, 4\\); got",
            id="rows",
        ),
        pytest.param(
            Params(weights=(jnp.ones((3, 2)),), features=jnp.ones((3, 4))),
            "`params.weights\\[0\\]` must have shape",
            id="weights",
        ),
    ],
)
def test_params_of_another_problem_are_refused(params, message):
    problem = Problem(one_hot((2, 2)), loss=MSE, widths=(3,), lambda_W=1e-3, lambda_H=1e-3)
    with pytest.raises(ValueError, match=message):
        measure_params(problem, params)


def test_the_global_mean_of_unequal_classes_far_from_zero():
    """Against `math.fsum`.

    The first pass is off by a few eps of the offset, which the second removes.
    """
    rng = np.random.default_rng(0)
    counts = rng.choice([1, 2, 4, 8], size=60)
    # samples of a class alike and their numbers powers of two, so that class means are exact
    points = 1e8 + rng.normal(size=(3, 60))
    features, labels = np.repeat(points, counts, axis=1), np.repeat(np.arange(60), counts)
    right = np.array([math.fsum(row) for row in features]) / counts.sum()
    np.testing.assert_allclose(
        ufm.metrics.global_mean(features, labels, num_classes=60),
        right,
        rtol=2 * np.finfo(float).eps,
        atol=0,
    )


def test_means_on_a_line_are_a_scatter_of_rank_one():
    """With `rcond=0` nothing is cut off but what is zero exactly, which must not be divided by."""
    labels = np.arange(12) % 3
    features = np.zeros((4, 12))
    features[0] = np.array([-4.0, 0.0, 4.0])[labels] + np.where(np.arange(12) < 6, 1.0, -1.0)
    measured = ufm.metrics.nc1_pinv(features, labels, num_classes=3, rcond=0)
    # variance 1 within, (16 + 0 + 16)/3 between, over K = 3
    np.testing.assert_allclose(measured, 3 / 32 / 3, rtol=1e-14)


def test_the_pull_of_an_anchor_counts_in_what_is_zero():
    """A feature is zero below a share of the length sqrt(2 f / ((lambda_H + beta) N)).

    Without beta twice as many would be.
    """
    labels = ufm.one_hot([5, 5], collapsed=True)
    tolerance = 1e-3

    def collapsed(length):
        features = jnp.array([[1.0, 0.0], [0.0, length]])
        problem = ufm.Problem(
            labels,
            loss=ufm.MeanSquaredError(),
            widths=(2,),
            lambda_W=1e-2,
            lambda_H=1e-4,
            anchor=jnp.zeros((2, 2)),
            beta=1e2,
        )
        params = ufm.Params((jnp.eye(2),), features)
        value = float(ufm.model.objective(problem, params))
        reach = tolerance * np.sqrt(2 * value / ((1e-4 + 1e2) * 10))
        return bool(
            ufm.metrics.measure_params(problem, params, tolerance=tolerance).collapsed_classes[1]
        ), length / reach

    for factor, wanted in ((0.9, True), (1.1, False)):
        # the value hardly depends on a length of a thousandth
        _, ratio = collapsed(1e-3)
        found, met = collapsed(1e-3 / ratio * factor)
        assert abs(met - factor) < 1e-3
        assert found is wanted


def test_an_offset_that_all_columns_share_is_not_seen():
    # whole numbers, which the offset does not round
    rng = np.random.default_rng(0)
    features, labels = rng.integers(-50, 50, (4, 12)).astype(float), np.arange(12) % 3
    for metric in (nc1_pinv, nc1_trace_ratio, cdnv):
        plain, moved = (metric(features + by, labels, num_classes=3) for by in (0.0, 2.0**40))
        np.testing.assert_allclose(moved, plain, rtol=1e-12)


def test_masked_features_are_refused():
    hidden = np.ma.masked_array(np.eye(3), np.eye(3) > 0)
    with pytest.raises(ValueError, match="`features` must have no masked entries"):
        nc1_trace_ratio(hidden, np.arange(3), num_classes=3)
