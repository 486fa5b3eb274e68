"""Derivatives of metrics and frame distances.

Right where they exist, finite wherever the value is.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm import metrics

K, D, INDEX = 4, 6, np.repeat(np.arange(4), 2)
ETF, TARGET = ufm.simplex_etf(K, dim=D), ufm.frames.centring_matrix(K)
given = {"labels": INDEX, "num_classes": K}
# what a vector or a matrix is turned into a number with
WEIGHTS = jnp.asarray(np.random.default_rng(9).standard_normal((D, D)))


def of_gram(function):
    return lambda F, W: function(metrics.class_gram(F, **given, centre=True)) + function(W @ W.T)


FUNCTIONS = {
    "class_means": lambda F, W: jnp.sum(WEIGHTS[:, :K] * metrics.class_means(F, **given)),
    "global_mean": lambda F, W: jnp.sum(WEIGHTS[0] * metrics.global_mean(F, **given)),
    "within_class_cov": lambda F, W: jnp.sum(WEIGHTS * metrics.within_class_cov(F, **given)),
    "between_class_cov": lambda F, W: jnp.sum(WEIGHTS * metrics.between_class_cov(F, **given)),
    "class_gram": lambda F, W: jnp.sum(WEIGHTS[:K, :K] * metrics.class_gram(F, **given)),
    "nc1_pinv": lambda F, W: metrics.nc1_pinv(F, **given),
    "nc1_pinv, coarse": lambda F, W: metrics.nc1_pinv(F, **given, rcond=0.3),
    "nc1_trace_ratio": lambda F, W: metrics.nc1_trace_ratio(F, **given),
    "cdnv": lambda F, W: metrics.cdnv(F, **given),
    "nc2_etf": of_gram(metrics.nc2_etf),
    "nc2_orthogonal": of_gram(metrics.nc2_orthogonal),
    "nc2_gof": of_gram(metrics.nc2_gof),
    "nc2_gof, lengths": of_gram(lambda G: metrics.nc2_gof(G, lengths=np.ones(K))),
    "vector_norms": of_gram(lambda G: jnp.dot(WEIGHTS[0, :K], metrics.vector_norms(G))),
    "equinorm": of_gram(metrics.equinorm),
    "equiangularity, mean": of_gram(lambda G: metrics.equiangularity(G).mean),
    "equiangularity, std": of_gram(lambda G: metrics.equiangularity(G).std),
    "equiangularity, etf_deviation": of_gram(lambda G: metrics.equiangularity(G).etf_deviation),
    "nc3_self_duality": lambda F, W: metrics.nc3_self_duality(F, classifier=W, **given),
    "nc3_self_duality, centre": lambda F, W: metrics.nc3_self_duality(
        F, classifier=W, **given, centre=True
    ),
    "nc3_product": lambda F, W: metrics.nc3_product(F, classifier=W, **given, target=TARGET),
    "nc4_agreement": lambda F, W: metrics.nc4_agreement(F, classifier=W, **given),
    "frame_distance": lambda F, W: (
        ufm.frames.frame_distance(metrics.class_means(F, **given), ETF)
        + ufm.frames.frame_distance(W.T, ETF)
    ),
    "nearest_etf": lambda F, W: jnp.sum(WEIGHTS[:, :K] * ufm.frames.nearest_etf(W.T)),
    "three_class_projection": lambda F, W: jnp.sum(ufm.analysis.three_class_projection(W)(F)[0]),
}


@functools.partial(jax.jit, static_argnames="functions")
def values_and_slopes(functions, F, W):
    """One program for all functions and all points of one shape."""
    return [jax.value_and_grad(function, argnums=(0, 1))(F, W) for function in functions]


def summed(F, W):
    """All numbers of the record at once."""
    record = metrics.measure_features(F, classifier=W, **given)
    return sum(jnp.sum(jnp.asarray(leaf, float)) for leaf in jax.tree.leaves(record))


ALL = tuple(FUNCTIONS.values())


def point(frame, spread=0.0, *, seed=0):
    """Features with these class means, and the classifier that is dual to them."""
    rng = np.random.default_rng(seed)
    noise = spread * rng.standard_normal((D, K))
    return np.repeat(np.asarray(frame), 2, axis=1) + np.stack([noise, -noise], axis=2).reshape(
        D, 2 * K
    ), np.asarray(frame).T


GENERIC = (*(np.random.default_rng(1).standard_normal(shape) for shape in ((D, 2 * K), (K, D))),)
# coinciding means, zero rows and no direction at all make some values NaN, and never a derivative
# of another value
POINTS = {
    "generic": GENERIC,
    "etf": point(ETF),
    "etf with spread": point(ETF, 0.3),
    "orthogonal frame": point(np.eye(D, K)),
    "orthogonal frame with spread": point(np.eye(D, K), 0.3),
    "lengths that differ": point(np.eye(D, K) * np.arange(1, K + 1)),
    "one dimension": point(np.eye(D)[:, :1] * np.array([1.0, 2.0, 3.0, -5.0])),
    "means coincide": point(np.ones((D, K)), 1.0),
    "two means coincide": point(np.eye(D, K)[:, [0, 1, 2, 2]], 1.0),
    "one mean at zero": point(np.eye(D, K) * (np.arange(K) > 0), 0.1),
    "all columns equal": point(np.ones((D, K))),
    "zero features": (np.zeros((D, 2 * K)), GENERIC[1]),
    "zero classifier": (GENERIC[0], np.zeros((K, D))),
    "all zero": (np.zeros((D, 2 * K)), np.zeros((K, D))),
}


@pytest.mark.parametrize("name", POINTS)
def test_slopes_are_finite_wherever_the_value_is(name):
    """A root, a quotient or a logarithm that `where` masks after it was taken makes NaN of a
    slope."""
    results = values_and_slopes(ALL, *POINTS[name])
    for function, (value, slopes) in zip(FUNCTIONS, results, strict=True):
        if np.isfinite(value):
            assert all(np.isfinite(slope).all() for slope in slopes), function
    names = [
        function
        for function, (value, _) in zip(FUNCTIONS, results, strict=True)
        if np.isfinite(value)
    ]
    # ratios to nothing are NaN, sizes never are
    assert {"class_means", "within_class_cov", "class_gram", "vector_norms", "nearest_etf"} <= set(
        names
    )
    if name in ("generic", "etf", "etf with spread", "orthogonal frame"):
        assert len(names) == len(FUNCTIONS)


def assert_slopes(F, W, names=tuple(FUNCTIONS)):
    """Against central differences along a few random directions."""
    rng, step = np.random.default_rng(2), 1e-6
    right = values_and_slopes(ALL, F, W)
    for _ in range(3):
        along = rng.standard_normal(F.shape), rng.standard_normal(W.shape)
        ahead, behind = (
            values_and_slopes(ALL, F + h * along[0], W + h * along[1]) for h in (step, -step)
        )
        for name, (_, slopes), (up, _), (down, _) in zip(
            FUNCTIONS, right, ahead, behind, strict=True
        ):
            found = sum(np.sum(a * b) for a, b in zip(slopes, along, strict=True))
            if name in names:
                # rounding of a value of size one over the step, and the step squared
                np.testing.assert_allclose(
                    found, (up - down) / (2 * step), rtol=1e-6, atol=1e-7, err_msg=name
                )


def test_slopes_are_those_of_the_values():
    assert_slopes(*GENERIC)


@pytest.mark.parametrize("name", ["etf with spread", "orthogonal frame with spread"])
def test_equal_singular_values_have_slopes(name):
    """Singular vectors have none there, and what is made of them symmetrically has."""
    smooth = (
        "class_gram",
        "nc1_pinv",
        "nc1_trace_ratio",
        "cdnv",
        "nearest_etf",
        "three_class_projection",
    )
    assert_slopes(*POINTS[name], names=smooth)


@pytest.mark.parametrize("name", ["generic", "etf", "etf with spread", "orthogonal frame"])
def test_the_whole_record_has_slopes(name):
    (value, slopes), *_ = values_and_slopes((summed,), *POINTS[name])
    assert np.isfinite(value)
    assert all(np.isfinite(slope).all() for slope in slopes)


def test_an_empty_class_leaves_the_slopes_of_the_others():
    """Traced labels are not looked at, and the mean of no sample is NaN."""
    F, index = GENERIC[0], jnp.asarray([0, 0, 1, 1, 2, 2, 0, 1])

    @jax.jit
    def slopes(F, index):
        means = jax.value_and_grad(
            lambda F: jnp.sum(metrics.class_means(F, index, num_classes=K)[:, :3] ** 2)
        )
        within = jax.value_and_grad(
            lambda F: jnp.trace(metrics.within_class_cov(F, index, num_classes=K))
        )
        return means(F), within(F)

    (of_means, by_means), (trace, by_within) = slopes(F, index)
    groups = [F[:, index == k] for k in range(3)]
    np.testing.assert_allclose(of_means, sum(np.sum(g.mean(1) ** 2) for g in groups), rtol=1e-13)
    np.testing.assert_allclose(
        trace, sum(np.sum((g - g.mean(1)[:, None]) ** 2) for g in groups) / 8, rtol=1e-13
    )
    for k, group in enumerate(groups):
        # 2 (mean) / n, and 2 (deviation) / N
        mean = group.mean(1)[:, None]
        np.testing.assert_allclose(
            by_means[:, index == k], 2 * mean / group.shape[1] * np.ones(group.shape), rtol=1e-12
        )
        np.testing.assert_allclose(
            by_within[:, index == k], 2 * (group - mean) / 8, rtol=1e-12, atol=1e-15
        )
