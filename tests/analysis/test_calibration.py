"""Calibration: by hand, against a loop over points, against sampled labels, and at its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.analysis.calibration import drawn_labels, reliability


def random_case(seed, K=4, C=60):
    """Probabilities, and labels that disagree with them."""
    rng = np.random.default_rng(seed)
    p, y = rng.dirichlet(np.ones(K), C).T, rng.dirichlet(0.3 * np.ones(K), C).T
    return jnp.asarray(p), ufm.soft(y, rng.uniform(0.1, 3, C))


def slow(p, labels, edges):
    """One point after the other, the definition in words."""
    p, y, m = np.asarray(p), np.asarray(labels.targets), np.asarray(labels.masses)
    B = len(edges) - 1
    sums = np.zeros((3, B))
    for c in range(p.shape[1]):
        k = int(np.argmax(p[:, c]))
        b = next(b for b in range(B) if p[k, c] <= edges[b + 1] or b == B - 1)
        sums[:, b] += m[c] / m.sum() * np.array([1, p[k, c], y[k, c]])
    return sums


@pytest.mark.parametrize(
    "bins", [1, 7, 15, (0, 0.3, 0.31, 0.8, 1)], ids=["one", "7", "15", "edges"]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_reliability_is_its_definition(seed, bins):
    p, labels = random_case(seed)
    curve = reliability(p, labels, bins=bins)
    edges = np.linspace(0, 1, bins + 1) if isinstance(bins, int) else np.array(bins)
    masses, confidence, accuracy = slow(p, labels, edges)
    np.testing.assert_array_equal(curve.edges, edges)
    np.testing.assert_allclose(curve.masses, masses, rtol=0, atol=1e-14)
    filled = masses > 0
    np.testing.assert_allclose(
        np.asarray(curve.confidence)[filled],
        (confidence / np.where(filled, masses, 1))[filled],
        rtol=1e-13,
    )
    np.testing.assert_allclose(
        np.asarray(curve.accuracy)[filled],
        (accuracy / np.where(filled, masses, 1))[filled],
        rtol=1e-13,
    )
    assert np.isnan(np.asarray(curve.confidence)[~filled]).all()
    assert np.isnan(np.asarray(curve.accuracy)[~filled]).all()
    np.testing.assert_allclose(curve.ece, np.abs(accuracy - confidence).sum(), rtol=1e-13)
    np.testing.assert_allclose(curve.underconfidence, (accuracy - confidence).sum(), rtol=1e-12)
    np.testing.assert_allclose(
        curve.mce, np.max(np.abs(accuracy - confidence)[filled] / masses[filled]), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("p", "targets", "masses", "ece", "deviation", "underconfidence"),
    [
        # bins of width 1/2: 0.6 and 0.9 share one, conf 0.75, acc (1 + 0)/2
        pytest.param(
            [[0.6, 0.9], [0.4, 0.1]],
            [[1, 0], [0, 1]],
            [1, 1],
            0.25,
            0.65,
            -0.25,
            id="two-points-one-bin",
        ),
        # three quarters of the mass is right with confidence 0.6
        pytest.param(
            [[0.6, 0.4], [0.4, 0.6]], [[1, 1], [0, 0]], [3, 1], 0.15, 0.45, 0.15, id="masses"
        ),
        pytest.param(
            [[0.7, 0.2], [0.3, 0.8]], [[0.7, 0.2], [0.3, 0.8]], [1, 2], 0, 0, 0, id="p-is-y"
        ),
        # errors of a bin cancel, errors of its points do not
        pytest.param(
            [[0.7, 0.7], [0.3, 0.3]], [[0.9, 0.5], [0.1, 0.5]], [1, 1], 0, 0.2, 0, id="cancelling"
        ),
        # a tie goes to the first class, a confidence on an edge to the bin below it
        pytest.param(
            [[0.5, 1.0], [0.5, 0.0]], [[0, 1], [1, 0]], [1, 1], 0.25, 0.25, -0.25, id="edges"
        ),
    ],
)
def test_by_hand(p, targets, masses, ece, deviation, underconfidence):
    curve = reliability(np.array(p, float), ufm.soft(targets, masses), bins=2)
    np.testing.assert_allclose(
        [curve.ece, curve.deviation, curve.underconfidence],
        [ece, deviation, underconfidence],
        rtol=0,
        atol=5e-15,
    )


def test_a_point_on_an_edge_belongs_to_the_lower_bin():
    p = np.array([[0.5, 0.75, 1.0], [0.5, 0.25, 0.0]])
    curve = reliability(p, ufm.soft(p), bins=4)
    np.testing.assert_allclose(curve.masses, [0, 1 / 3, 1 / 3, 1 / 3], rtol=1e-15)


def test_rounding_above_one_stays_in_the_last_bin():
    p = np.array([[1 + 2e-16], [0.0]])
    assert p[0, 0] > 1
    np.testing.assert_array_equal(reliability(p, ufm.soft([[1.0], [0.0]])).masses, np.eye(15)[-1])


@pytest.mark.parametrize("seed", range(3))
def test_more_bins_see_more_and_never_more_than_the_deviation(seed):
    p, labels = random_case(seed, C=200)
    deviation = float(reliability(p, labels).deviation)
    # each edge of a coarser grid is one of the finer, so a bin is only ever split
    confidence = np.sort(np.max(p, axis=0))
    alone = np.concatenate([[0], (confidence[1:] + confidence[:-1]) / 2, [1]])
    eces = [
        float(reliability(p, labels, bins=bins).ece)
        for bins in (1, 2, 4, 8, 16, np.union1d(alone, np.linspace(0, 1, 17)))
    ]
    assert np.all(np.diff([*eces, deviation]) >= -1e-15)
    # the last grid has every point alone in its bin
    np.testing.assert_allclose(eces[-1], deviation, rtol=1e-12)


def test_soft_labels_are_the_law_of_drawn_ones(key):
    """Exact expectation over the draw against the mean of many draws, which is unbiased for the
    accuracy of a bin."""
    p, labels = random_case(0)
    exact = reliability(p, labels)
    draws = 40_000
    sampled = reliability(p, drawn_labels(labels, key=key, draws=draws))
    np.testing.assert_array_equal(sampled.masses, exact.masses)
    np.testing.assert_array_equal(sampled.confidence, exact.confidence)
    # a mean of 0s and 1s has a standard deviation below 1/2 for each column, whose share of its bin
    # is at most 1: five of them
    np.testing.assert_allclose(sampled.accuracy, exact.accuracy, rtol=0, atol=2.5 / np.sqrt(draws))
    assert float(jnp.nanmax(jnp.abs(sampled.accuracy - exact.accuracy))) > 0
    np.testing.assert_allclose(sampled.ece, exact.ece, rtol=0, atol=2.5 / np.sqrt(draws))


def test_a_small_sample_overstates_the_error(key):
    """One label a point.

    A perfectly calibrated model gets an ECE far from 0, as the docstring says.
    """
    p, _ = random_case(0, C=300)
    labels = ufm.soft(p)
    assert float(reliability(p, labels).ece) == 0
    eces = jax.vmap(lambda k: reliability(p, drawn_labels(labels, key=k)).ece)(
        jax.random.split(key, 50)
    )
    assert float(jnp.mean(eces)) > 0.02


def test_drawn_labels_keep_offsets(key):
    plain = ufm.soft(np.array([[0.5, 0.2], [0.5, 0.8], [0.0, 0.0]]), [1.0, 2.0])
    labels = ufm.labels.with_offsets(plain, [[0.0, 1.0], [2.0, 0.0], [-np.inf, 0.5]])
    drawn = drawn_labels(labels, key=key)
    np.testing.assert_array_equal(drawn.offsets, labels.offsets)
    np.testing.assert_array_equal(drawn.targets, drawn_labels(plain, key=key).targets)
    # traced too
    often = jax.vmap(lambda k: drawn_labels(labels, key=k))(jax.random.split(key, 3))
    assert often.offsets.shape == (3, 3, 2)


def test_drawn_labels(key):
    labels = ufm.soft(
        np.array([[0.2, 1.0, 0.0], [0.8, 0.0, 0.5], [0.0, 0.0, 0.5]]), [1.0, 2.0, 3.0]
    )
    once = drawn_labels(labels, key=key)
    assert set(np.unique(once.targets)) <= {0.0, 1.0}
    np.testing.assert_array_equal(once.targets.sum(0), 1)
    np.testing.assert_array_equal(once.masses, labels.masses)
    often = np.asarray(drawn_labels(labels, key=key, draws=10_000).targets)
    # five standard deviations of a frequency
    np.testing.assert_allclose(often, labels.targets, rtol=0, atol=2.5e-2)
    assert not np.array_equal(often, labels.targets)
    # a class without probability is never drawn
    np.testing.assert_array_equal(often[np.asarray(labels.targets) == 0], 0)


def test_under_jit_and_vmap_it_is_the_same():
    cases = [random_case(seed, C=30) for seed in range(3)]
    one_by_one = [reliability(p, labels) for p, labels in cases]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *cases)
    together = jax.jit(jax.vmap(lambda case: reliability(*case)))(stacked)
    for i, curve in enumerate(one_by_one):
        for a, b in zip(
            jax.tree.leaves(jax.tree.map(lambda leaf, i=i: leaf[i], together)),
            jax.tree.leaves(curve),
            strict=True,
        ):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-15)


def test_float32_stays_float32():
    labels = ufm.one_hot((1, 1), dtype=np.float32)
    curve = reliability(np.eye(2, dtype=np.float32) * np.float32(0.8) + np.float32(0.1), labels)
    assert curve.ece.dtype == np.float32
    np.testing.assert_allclose(curve.ece, 0.1, rtol=1e-6)


GOOD = np.array([[0.25, 0.75], [0.75, 0.25]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda: reliability(GOOD[:, :1], ufm.soft(GOOD)),
            r"`probabilities` must have the shape .*got \(2, 1\)",
            id="shape",
        ),
        pytest.param(
            lambda: reliability(GOOD[0], ufm.soft(GOOD)),
            "`probabilities` must be a matrix",
            id="axes",
        ),
        pytest.param(
            lambda: reliability(2 * GOOD, ufm.soft(GOOD)),
            "`probabilities` must have columns that sum to 1",
            id="sum",
        ),
        pytest.param(
            lambda: reliability(np.array([[1.5], [-0.5]]), ufm.soft(GOOD[:, :1])),
            "`probabilities` must be finite and >= 0",
            id="sign",
        ),
        pytest.param(
            lambda: reliability(np.nan * GOOD, ufm.soft(GOOD)),
            "`probabilities` must be finite and >= 0",
            id="nan",
        ),
        pytest.param(
            lambda: reliability(GOOD, ufm.soft(3 * GOOD)),
            "`labels.targets` must have columns that sum to 1",
            id="labels",
        ),
        pytest.param(
            lambda: reliability(GOOD, GOOD), "`labels` must be ufm.Labels", id="no-labels"
        ),
        pytest.param(
            lambda: reliability(GOOD, ufm.soft(GOOD), bins=0),
            "`bins` must be a whole number >= 1; got 0",
            id="no-bins",
        ),
        pytest.param(
            lambda: reliability(GOOD, ufm.soft(GOOD), bins=[0, 0.5, 0.5, 1]),
            "`bins` must be a whole number or edges",
            id="edges",
        ),
        pytest.param(
            lambda: reliability(GOOD, ufm.soft(GOOD), bins=[0.1, 1]),
            "edges that increase from 0 to 1",
            id="first-edge",
        ),
        pytest.param(
            lambda: reliability(GOOD, ufm.soft(GOOD), bins=True),
            "`bins` must be a whole number",
            id="bool",
        ),
        pytest.param(
            lambda: drawn_labels(GOOD, key=jax.random.key(0)),
            "`labels` must be ufm.Labels",
            id="draw-no-labels",
        ),
        pytest.param(
            lambda: drawn_labels(ufm.soft(GOOD), key=jax.random.key(0), draws=0),
            "`draws` must be a whole number >= 1",
            id="no-draws",
        ),
        pytest.param(
            lambda: drawn_labels(ufm.soft(2 * GOOD), key=jax.random.key(0)),
            "`labels.targets` must have columns that sum",
            id="draw-sum",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
