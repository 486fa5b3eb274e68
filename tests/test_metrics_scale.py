"""Numbers near the ends of what a dtype holds, and numbers in half precision.

The answers are those of the same numbers.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm import metrics, observables
from ufm.metrics import measure_features, measure_params

# of Metrics: what has the size of the features, of the classifier, and of squared features
FEATURES, CLASSIFIER, SQUARES = (
    ("feature_norms",),
    ("classifier_norms",),
    ("within_trace", "between_trace"),
)
K, D = 4, 5
RNG = np.random.default_rng(0)
INDEX = np.arange(24) % K
F = RNG.standard_normal((D, 24)) + 3 * RNG.standard_normal((D, K))[:, INDEX]
W, BIAS = RNG.standard_normal((K, D)), 3 * RNG.standard_normal(K)

# powers of two, near 1e±20 and 1e±160: an exact change of unit
FAR = {np.float32: (2.0**66, 2.0**-66), np.float64: (2.0**532, 2.0**-532)}
scales = pytest.mark.parametrize(
    ("dtype", "by_F", "by_W"),
    [
        pytest.param(dtype, by_F, by_W, id=f"{np.dtype(dtype)}-{by_F:.0e}-{by_W:.0e}")
        for dtype, (large, tiny) in FAR.items()
        for by_F, by_W in ((large, 1.0), (tiny, 1.0), (1.0, large), (1.0, tiny), (large, tiny))
    ],
)


@scales
def test_the_record_is_blind_to_scale(dtype, by_F, by_W):
    """To the last bit, but for the sizes, which scale."""
    arrays = F.astype(dtype), W.astype(dtype), BIAS.astype(dtype)
    here = measure_features(arrays[0], INDEX, arrays[1], num_classes=K)
    there = measure_features(dtype(by_F) * arrays[0], INDEX, dtype(by_W) * arrays[1], num_classes=K)
    assert not there.collapsed
    for field in dataclasses.fields(here):
        name = field.name
        factors = (
            (by_F,)
            if name in FEATURES
            else (by_W,)
            if name in CLASSIFIER
            else (by_F, by_F)
            if name in SQUARES
            else ()
        )
        with np.errstate(over="ignore", under="ignore"):
            expected = functools.reduce(
                np.multiply, map(dtype, factors), np.asarray(getattr(here, name))
            )
        # (what is below the least normal number may become zero)
        np.testing.assert_allclose(
            getattr(there, name), expected, rtol=0, atol=np.finfo(dtype).tiny, err_msg=name
        )


@scales
def test_each_function_is_blind_to_scale(dtype, by_F, by_W):
    given = {"labels": INDEX, "num_classes": K}
    calls = {
        "means": (lambda F, W: metrics.class_means(F, **given), by_F),
        "global": (lambda F, W: metrics.global_mean(F, **given), by_F),
        "duality": (
            lambda F, W: metrics.nc3_self_duality(
                F, classifier=W, **given, ratios=[1.0, 2.0, 3.0, 4.0]
            ),
            1,
        ),
        "huge ratios": (
            lambda F, W: metrics.nc3_self_duality(
                F, classifier=W, **given, ratios=by_W * np.arange(K)
            ),
            1,
        ),
        "product": (
            lambda F, W: metrics.nc3_product(
                F, classifier=W, **given, target=np.eye(K, dtype=dtype)
            ),
            1,
        ),
        "agreement": (lambda F, W: metrics.nc4_agreement(F, classifier=W, **given), 1),
        "etf": (lambda F, W: metrics.nc2_etf(W[:, :K] + W[:, :K].T), 1),
        "lengths": (lambda F, W: metrics.nc2_gof(gram, lengths=jnp.abs(W[:, 0])), 1),
        "norm cv": (lambda F, W: metrics.equinorm(jnp.diag(jnp.abs(W[:, 0]))), 1),
        "angles": (lambda F, W: metrics.equiangularity(gram * jnp.abs(W[0, 0])).std, 1),
        "frames": (lambda F, W: ufm.frames.frame_distance(W.T, np.eye(K, dtype=dtype)), 1),
        "nearest": (lambda F, W: ufm.frames.nearest_etf(W.T), by_W),
        "origin": (lambda F, W: ufm.analysis.three_class_projection(W).origin, by_W),
        "plane": (lambda F, W: ufm.analysis.three_class_projection(W).matrix, 1),
        "columns": (lambda F, W: ufm.analysis.three_class_projection(W)(W.T), by_W),
        "collapse": (
            lambda F, W: ufm.labels.collapse(ufm.soft(np.eye(K)[:, INDEX], dtype=dtype), F),
            by_F,
        ),
    }
    here, there = jnp.asarray(F, dtype), jnp.asarray(W, dtype)
    gram = there @ there.T
    for name, (call, factor) in calls.items():
        if name == "huge ratios":
            expected = metrics.nc3_self_duality(
                here, INDEX, there, num_classes=K, ratios=np.arange(K)
            )
        else:
            expected = call(here, there) * dtype(factor)
        np.testing.assert_array_equal(
            call(here * dtype(by_F), there * dtype(by_W)), expected, err_msg=name
        )


@scales
def test_agreement_weighs_the_bias_against_the_logits(dtype, by_F, by_W):
    """In one unit, whichever of the two is the larger; their product need not be a number."""
    arrays = F.astype(dtype), W.astype(dtype), BIAS.astype(dtype)
    agree = [
        metrics.nc4_agreement(arrays[0], INDEX, arrays[1], b, num_classes=K)
        for b in (None, arrays[2])
    ]
    assert agree[0] != agree[1]
    moved = dtype(by_F) * arrays[0], dtype(by_W) * arrays[1]
    together = by_F * by_W
    np.testing.assert_array_equal(
        metrics.nc4_agreement(
            moved[0], INDEX, moved[1], dtype(together) * arrays[2], num_classes=K
        ),
        agree[1],
    )
    # a bias of the size of one is all or nothing
    fixed = metrics.nc4_agreement(moved[0], INDEX, moved[1], arrays[2], num_classes=K)
    only_bias = np.mean(np.argmax(arrays[2]) == _nearest(arrays[0]))
    np.testing.assert_allclose(
        fixed,
        {True: agree[0], False: only_bias}[together > 1] if together != 1 else agree[1],
        rtol=1e-14,
    )


@pytest.mark.parametrize("dtype", FAR)
def test_no_bias_is_none_however_small_the_logits_are(dtype):
    small = dtype(FAR[dtype][1])
    found = metrics.nc4_agreement(
        small * F.astype(dtype), INDEX, small * W.astype(dtype), np.zeros(K, dtype), num_classes=K
    )
    assert found == float(metrics.nc4_agreement(F, INDEX, W, num_classes=K))


def _nearest(features):
    means = np.stack([features[:, k == INDEX].mean(1) for k in range(K)], axis=1)
    return np.argmin(np.sum((features[:, :, None] - means[:, None, :]) ** 2, axis=0), axis=1)


@pytest.mark.parametrize("by", [2.0**1000, 2.0**-1000], ids=["huge", "tiny"])
def test_masses_count_for_their_ratios(by):
    masses = np.arange(1.0, 25.0)
    here, there = (
        measure_features(F, ufm.soft(np.eye(K)[:, INDEX], m), W) for m in (masses, by * masses)
    )
    for a, b in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
        np.testing.assert_array_equal(a, b)


def test_floors_are_lengths_of_the_user():
    """A floor between two lengths flags the shorter one, in any unit."""
    means = np.diag([4.0, 3.0, 2.0, 1.0])
    for by in FAR[np.float64]:
        of_features = measure_features(
            by * means, np.arange(K), means, num_classes=K, feature_floor=2.5 * by
        )
        np.testing.assert_array_equal(of_features.collapsed_classes, [False, False, True, True])
        of_rows = measure_features(
            means, np.arange(K), by * means, num_classes=K, classifier_floor=1.5 * by
        )
        np.testing.assert_array_equal(of_rows.collapsed_classes, [False, False, False, True])
        # a floor itself is zero still
        at = measure_features(
            by * means,
            np.arange(K),
            by * means,
            num_classes=K,
            feature_floor=2 * by,
            classifier_floor=3 * by,
        )
        np.testing.assert_array_equal(at.collapsed_classes, [False, True, True, True])


def problem_of(**changes):
    given = {"loss": ufm.MeanSquaredError(), "widths": (D,), "lambda_W": 1e-3, "lambda_H": 1e-3}
    return ufm.Problem(ufm.soft(np.eye(K)[:, INDEX]), **(given | changes))


@pytest.mark.parametrize("by", FAR[np.float64], ids=["huge", "tiny"])
def test_a_point_beyond_the_objective_has_not_collapsed(by):
    params = ufm.Params((jnp.asarray(W) / by,), by * jnp.asarray(F))
    problem = problem_of(lambda_W=0.0, lambda_H=0.0)
    right = measure_params(problem, ufm.Params((jnp.asarray(W),), jnp.asarray(F)))
    for found in (
        measure_params(problem, params),
        measure_params(problem_of(lambda_W=1e-3 if by > 1 else 0.0, lambda_H=0.0), params),
    ):
        assert not found.collapsed
        np.testing.assert_array_equal(found.nc1_pinv, right.nc1_pinv)
    # neither factor is small where the squares of both overflow
    large = ufm.Params((2.0**532 * jnp.asarray(W),), 2.0**532 * jnp.asarray(F))
    assert not np.isfinite(ufm.model.objective(problem_of(), large))
    assert not measure_params(problem_of(), large).collapsed
    assert not measure_params(problem_of(), large).collapsed_classes.any()


@pytest.mark.parametrize("by", FAR[np.float64], ids=["huge", "tiny"])
@pytest.mark.parametrize(
    "name",
    [
        "alignment",
        "nc1_pinv",
        "nc1_trace_ratio",
        "cdnv",
        "nc2_etf",
        "nc2_orthogonal",
        "nc3_self_duality",
    ],
)
def test_observables_are_blind_to_scale(name, by):
    problem, function = problem_of(), getattr(observables, name)
    here = function(problem, ufm.Params((jnp.asarray(W),), jnp.asarray(F)))
    there = function(problem, ufm.Params((by * jnp.asarray(W),), by * jnp.asarray(F)))
    np.testing.assert_array_equal(here, there)


def test_norms_of_matrices_whose_squares_overflow():
    problem, by = problem_of(), 2.0**265
    params = ufm.Params((jnp.asarray(W),), jnp.asarray(F))
    large = jax.tree.map(lambda leaf: by * leaf, params)
    np.testing.assert_array_equal(
        observables.imbalance_norm(problem, large),
        by**2 * observables.imbalance_norm(problem, params),
    )
    # large features make a large slope of the classifier, and a small one of their own
    free, by = problem_of(lambda_W=0.0, lambda_H=0.0), 2.0**532
    moved = ufm.Params((params.weights[0] / by,), by * params.features)
    of_weights = jax.grad(ufm.model.objective, argnums=1)(free, params).weights[0]
    np.testing.assert_allclose(
        observables.gradient_norm(free, moved), by * np.linalg.norm(of_weights), rtol=1e-13
    )


# --- half precision ---

HALVES = pytest.mark.parametrize("half", [jnp.float16, jnp.bfloat16], ids=["float16", "bfloat16"])


@HALVES
def test_half_precision_is_widened(half):
    """The record of the same numbers, in the default float.

    Exactly, and the other arrays may be wider.
    """
    features, classifier, bias = (jnp.asarray(x, half) for x in (100 * F, W, BIAS))
    wide = [np.asarray(x, float) for x in (features, classifier, bias)]
    right = measure_features(wide[0], INDEX, wide[1], wide[2], num_classes=K)
    singles = [np.asarray(x, np.float32) for x in (classifier, bias)]
    for given in (
        (features, classifier, bias),
        (features, *singles),
        (np.asarray(features), wide[1], bias),
    ):
        found = measure_features(given[0], INDEX, *given[1:], num_classes=K)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(right), strict=True):
            assert a.dtype in (np.float64, bool)
            np.testing.assert_array_equal(a, b)


@HALVES
def test_every_function_takes_half_precision(half):
    features, classifier = jnp.asarray(F, half), jnp.asarray(W, half)
    labels = ufm.soft(np.eye(K)[:, INDEX])
    gram = jnp.asarray(ETF_GRAM := np.asarray(ufm.frames.centring_matrix(K)), half)
    p = jax.nn.softmax(classifier @ features, axis=0)
    calls = {
        "class_means": lambda F, W, G, p: metrics.class_means(F, labels),
        "nc1_pinv": lambda F, W, G, p: metrics.nc1_pinv(F, labels),
        "cdnv": lambda F, W, G, p: metrics.cdnv(F, labels),
        "nc2_etf": lambda F, W, G, p: metrics.nc2_etf(G),
        "nc2_gof": lambda F, W, G, p: metrics.nc2_gof(G, lengths=jnp.abs(W[:, 0])),
        "nc3_self_duality": lambda F, W, G, p: metrics.nc3_self_duality(F, labels, W),
        "nc3_product": lambda F, W, G, p: metrics.nc3_product(F, labels, W, target=G),
        "nc4_agreement": lambda F, W, G, p: metrics.nc4_agreement(F, labels, W),
        "gram_distance": lambda F, W, G, p: ufm.frames.gram_distance(G, np.eye(K)),
        "frame_distance": lambda F, W, G, p: ufm.frames.frame_distance(W.T, np.eye(K)),
        "nearest_etf": lambda F, W, G, p: ufm.frames.nearest_etf(W.T),
        "three_class_projection": lambda F, W, G, p: ufm.analysis.three_class_projection(W)(F),
        "channel_coordinates": lambda F, W, G, p: ufm.analysis.channel_coordinates(p, labels).width,
        "collapse": lambda F, W, G, p: ufm.labels.collapse(labels, F),
        "reliability": lambda F, W, G, p: ufm.analysis.reliability(p, labels).ece,
        "fit_decay": lambda F, W, G, p: (
            ufm.fit_decay(F, labels, F[:, :K].T / 64, loss=ufm.CrossEntropy()).lambda_H
        ),
    }
    assert np.max(np.abs(np.asarray(gram, float) - ETF_GRAM)) < 1e-2
    arrays = (features, classifier, gram, p)
    for name, call in calls.items():
        # columns of probabilities in half precision sum to one as far as half precision goes, and
        # wide ones do not
        found, right = (
            call(*arrays),
            call(*arrays[:3], p)
            if name == "reliability"
            else call(*(np.asarray(x, float) for x in arrays)),
        )
        assert np.asarray(found).dtype == np.float64, name
        np.testing.assert_array_equal(found, right, err_msg=name)


def test_numbers_in_another_byte_order():
    swapped = F.astype(F.dtype.newbyteorder())
    np.testing.assert_array_equal(
        metrics.class_means(swapped, INDEX, num_classes=K),
        metrics.class_means(F, INDEX, num_classes=K),
    )
