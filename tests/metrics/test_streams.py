"""Metrics of streams against the dense ones, against brute force, and where they are known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.special

from ufm import metrics
from ufm.metrics.pairs import pairs_of
from ufm.metrics.stream_metrics import random_kernel


def data(V=7, d=5, N=90, seed=0, offset=0.0):
    """Features (d, N), labels (N,) of classes that all have two samples, a classifier."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(V), np.arange(V), rng.integers(0, (V + 1) // 2, N - 2 * V)])
    rng.shuffle(labels)
    means = 2 * rng.normal(size=(d, V)) + offset
    return rng.normal(size=(d, N)) + means[:, labels], labels, rng.normal(size=(V, d))


def seen(features, labels, V, parts=3):
    made = metrics.stream(V, len(features))
    for part in np.array_split(np.arange(len(labels)), parts):
        made.update(features[:, part], labels[part])
    return made


SHAPES = [(7, 5), (4, 9), (30, 3), (12, 11), (2, 1)]


@pytest.mark.lean("7-5", "2-1")
@pytest.mark.parametrize(("V", "d"), SHAPES)
def test_every_metric_is_the_dense_one(V, d):
    F, y, W = data(V, d)
    found = seen(F, y, V).finish(W, global_mean="samples")
    gram = metrics.class_gram(F, y, num_classes=V, centre=True)
    angles = metrics.equiangularity(gram)
    for ours, dense in (
        (found.cdnv, metrics.cdnv(F, y, num_classes=V)),
        (found.nc1_trace_ratio, metrics.nc1_trace_ratio(F, y, num_classes=V)),
        (found.norms, np.sqrt(np.diagonal(gram))),
        (found.norm_cv, metrics.equinorm(gram)),
        (found.etf_distance, metrics.nc2_etf(gram)),
        (found.cosine_mean, angles.mean),
        (found.cosine_std, angles.std),
        (found.etf_deviation, angles.etf_deviation),
        (found.nc3_self_duality, metrics.nc3_self_duality(F, y, W, num_classes=V, centre=True)),
    ):
        np.testing.assert_allclose(ours, dense, rtol=1e-12, atol=1e-12)
    assert found.etf_excess >= 0
    assert (found.num_kept, found.num_rare, found.num_unseen) == (V, 0, 0)
    assert found.num_samples == len(y)


def by_definition(F, y, V, W):
    """What the dense metrics do not have, pair by pair, around the mean of the class means."""
    means = np.array([F[:, y == k].mean(axis=1) for k in range(V)])
    variances = [np.mean(np.sum((F[:, y == k].T - means[k]) ** 2, axis=1)) for k in range(V)]
    centred = means - means.mean(axis=0)
    units = centred / np.linalg.norm(centred, axis=1)[:, None]
    rows = W / np.linalg.norm(W, axis=1)[:, None]
    pairs = list(itertools.combinations(range(V), 2))
    apart = np.array([np.linalg.norm(means[a] - means[b]) for a, b in pairs])
    half = np.array([(variances[a] + variances[b]) / 2 for a, b in pairs])
    chords = np.array([np.linalg.norm(units[a] - units[b]) for a, b in pairs])
    cosines = [units[a] @ units[b] for a, b in pairs]
    own = np.sum(rows * units, axis=1)
    gram, P = centred @ centred.T, np.eye(V) - 1 / V
    d = len(F)
    return {
        "cdnv": np.mean(half / apart**2),
        "cdnv_fourth": np.mean(half / apart**4),
        "log_norm_std": np.std(np.log(np.linalg.norm(centred, axis=1))),
        "etf_distance": np.linalg.norm(gram / np.linalg.norm(gram) - P / np.linalg.norm(P)),
        "cosine_mean": np.mean(cosines),
        "cosine_std": np.std(cosines),
        "kernel_mean": np.mean(-np.log(chords)),
        "kernel_std": np.std(-np.log(chords)),
        "riesz_log_mean": np.log(np.mean(chords ** -(d - 2.0))) if d > 2 else math.nan,
        "nc3_cosine_mean": np.mean(own),
        "nc3_cosine_variance": np.var(own),
    }


@pytest.mark.parametrize(("V", "d"), [*SHAPES[:-1], (9, 2)])
def test_every_metric_is_its_definition(V, d):
    F, y, W = data(V, d, seed=1)
    found = seen(F, y, V).finish(W)
    for name, value in by_definition(F, y, V, W).items():
        np.testing.assert_allclose(getattr(found, name), value, rtol=1e-12, atol=1e-12)


def test_the_null_is_that_of_all_permutations():
    V = 6
    F, y, W = data(V, 4, seed=2)
    found = seen(F, y, V).finish(W)
    cosines = []
    for order in itertools.permutations(range(V)):
        made = by_definition(F, y, V, W[list(order)])
        cosines.append((made["nc3_cosine_mean"], made["nc3_cosine_variance"]))
    mean, variance = np.array(cosines).T
    np.testing.assert_allclose(found.nc3_null_mean, np.mean(mean), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.nc3_null_std, np.std(mean), rtol=1e-12)
    np.testing.assert_allclose(found.nc3_null_variance, np.mean(variance), rtol=1e-12)


def test_batches_merges_and_orders_are_one():
    F, y, _ = data(V=11, d=6, N=500, offset=1e4)
    whole = seen(F, y, 11, parts=1)
    order = np.random.default_rng(3).permutation(len(y))
    left, right = seen(F[:, :123], y[:123], 11), seen(F[:, 123:], y[123:], 11, parts=50)
    left.merge(right)
    left.merge(metrics.stream(11, 6))
    assert left.batches == 53
    for other in (left, seen(F[:, order], y[order], 11, parts=7)):
        np.testing.assert_array_equal(other.counts, whole.counts)
        np.testing.assert_allclose(other.means, whole.means, rtol=1e-15)
        np.testing.assert_allclose(other.squares, whole.squares, rtol=1e-11)
    # variances of 6 at an offset of 1e4: differences of second moments would have eight digits
    exact = seen(F - 1e4, y, 11, parts=1)
    np.testing.assert_allclose(whole.squares, exact.squares, rtol=1e-11)


def test_blocks_of_a_batch_are_one(monkeypatch):
    F, y, W = data()
    whole, second = seen(F, y, 7), seen(F, y, 7).agreement(W)
    second.update(F, y)
    monkeypatch.setattr("ufm.metrics.streams._AT_ONCE", 20)
    monkeypatch.setattr("ufm.metrics.agreement._AT_ONCE", 20)
    np.testing.assert_allclose(seen(F, y, 7).squares, whole.squares, rtol=1e-13)
    again = whole.agreement(W)
    again.update(F, y)
    assert (again.hits, again.samples) == (second.hits, second.samples)


def test_tiles_are_one_grid():
    rng = np.random.default_rng(4)
    vectors, variances = rng.normal(size=(23, 4)), rng.random(23)
    # two that nearly coincide, and two near directions
    vectors[5] = vectors[17] * (1 + 1e-9)
    vectors[1] = 3 * vectors[20] + 1e-7
    whole, tiled = (pairs_of(vectors, variances, 1e-14, tile=tile) for tile in (100, 4))
    exact = [
        (variances[a] + variances[b]) / 2 / np.sum((vectors[a] - vectors[b]) ** 2)
        for a, b in itertools.combinations(range(23), 2)
    ]
    for found in (whole, tiled):
        assert found.kernel.count == len(exact)
        # (to what a relative distance of 1e-9 leaves of sixteen digits)
        np.testing.assert_allclose(found.ratio.mean, np.mean(exact), rtol=1e-6)
        for name in ("ratio", "ratio_squared", "cosine", "kernel"):
            ours, theirs = getattr(found, name), getattr(whole, name)
            np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(ours.deviation, theirs.deviation, rtol=1e-12)
        np.testing.assert_allclose(found.riesz.log, whole.riesz.log, rtol=1e-12)
        assert found.etf == whole.etf


def test_rare_classes_are_left_out():
    """As if they, their samples and their rows had never been."""
    F, y, W = data(V=6, d=4)
    # of nine classes 1, 4 and 8 are new: seen once, never, and once
    place = np.array([0, 2, 3, 5, 6, 7])
    rng = np.random.default_rng(5)
    more, wide = np.column_stack([F, rng.normal(size=(4, 2))]), rng.normal(size=(9, 4))
    labels = np.append(place[y], [1, 8])
    wide[place] = W
    bias = rng.normal(size=9)
    alone, among = seen(F, y, 6), seen(more, labels, 9)
    for mean in ("classes", "samples"):
        found, expected = among.finish(wide, global_mean=mean), alone.finish(W, global_mean=mean)
        assert (found.num_kept, found.num_rare, found.num_unseen) == (6, 2, 1)
        numbers = found.numbers() | {"num_rare": 0, "num_unseen": 0}
        np.testing.assert_allclose(
            list(numbers.values()), list(expected.numbers().values()), rtol=2e-13
        )
    assert among.finish(least=1).num_kept == 8
    second = among.agreement(wide, bias)
    second.update(more, labels)
    assert second.samples == len(y)
    share = metrics.nc4_agreement(F, y, W, bias[place], num_classes=6)
    np.testing.assert_allclose(second.finish(), share, rtol=1e-15)


@pytest.mark.parametrize("bias", [None, np.linspace(-2, 2, 30)], ids=["none", "bias"])
def test_agreement_is_the_dense_one(bias):
    F, y, W = data(30, 3, N=400, offset=50.0)
    # (rows that look like the means agree sometimes)
    W += np.array([F[:, y == k].mean(axis=1) for k in range(30)]) - 50
    stream = seen(F, y, 30)
    first, second = stream.agreement(W, bias), stream.agreement(W, bias)
    first.update(F[:, :100], y[:100])
    second.update(F[:, 100:], y[100:])
    first.merge(second)
    share = float(metrics.nc4_agreement(F, y, W, bias, num_classes=30))
    assert 0.02 < share < 0.98
    assert first.finish() == pytest.approx(share, abs=1e-15)
    assert (first.samples, first.batches) == (400, 2)
    assert math.isnan(stream.agreement(W).finish())


def test_ties_agree_where_any_class_is_both():
    """One feature at the same distance of two means, and a classifier of zeros."""
    stream = seen(np.array([[-1.0, 1.0, -1.0, 1.0]]), np.array([0, 1, 0, 1]), 2)
    second = stream.agreement([[0.0], [0.0]])
    second.update([[0.0]], [0])
    assert second.finish() == 1.0


def test_the_least_distance_is_reached_by_tight_frames():
    """V = 2d: the orthoplex, whose second moment is even, has no excess; d >= V: the ETF."""
    d = 6
    frame = np.concatenate([np.eye(d), -np.eye(d)]).T
    found = seen(np.tile(frame, 2), np.tile(np.arange(2 * d), 2), 2 * d).finish()
    assert found.etf_distance == pytest.approx(np.sqrt(2 - 2 * np.sqrt(d / (2 * d - 1))), rel=1e-14)
    assert abs(found.etf_excess) < 1e-14
    found = seen(np.tile(np.eye(d), 2), np.tile(np.arange(d), 2), d).finish()
    assert found.etf_distance_least == 0
    assert found.etf_distance < 1e-14
    assert found.cdnv == 0
    assert found.norm_cv < 1e-15


@pytest.mark.parametrize("d", [2, 3, 4, 17, 512, 1024])
def test_random_directions_have_the_kernel_that_is_predicted(d):
    a = (d - 1) / 2
    psi = scipy.special.polygamma(0, a) - scipy.special.polygamma(0, 2 * a)
    slope = scipy.special.polygamma(1, a) - scipy.special.polygamma(1, 2 * a)
    expected = -0.5 * (np.log(4) + psi), 0.5 * np.sqrt(slope)
    np.testing.assert_allclose(random_kernel(d), expected, rtol=1e-9, atol=1e-14)


def test_random_directions_are_near_the_baselines():
    d, V = 8, 1500
    points = np.random.default_rng(6).normal(size=(d, V))
    points /= np.linalg.norm(points, axis=0)
    found = seen(np.tile(points, 2), np.tile(np.arange(V), 2), V).finish()
    assert found.kernel_mean == pytest.approx(found.random_kernel_mean, abs=2e-3)
    assert found.kernel_std == pytest.approx(found.random_kernel_std, rel=1e-2)
    assert found.cosine_std == pytest.approx(d**-0.5, rel=1e-2)
    assert found.etf_excess < 1e-2
    assert all(math.isnan(value) for value in random_kernel(1))


@pytest.mark.parametrize("d", [3, 4, 9])
def test_the_riesz_kernel_of_random_directions_has_mean_one(d):
    """By its integral: its variance is infinite, and a sample says little."""
    a, q = (d - 1) / 2, (d - 2) / 2
    mean = 4**-q * scipy.special.beta(a - q, a) / scipy.special.beta(a, a)
    assert mean == pytest.approx(1, rel=1e-13)


def test_what_is_undefined_is_nan():
    F, y, W = data(V=4, d=3)
    F[:, y == 2] = F[:, y == 3][:, :1]
    F[:, y == 3] = F[:, y == 3][:, :1]
    found = seen(F, y, 4).finish(W)
    assert found.coincident_pairs == 1
    assert math.isnan(found.cdnv)
    assert math.isnan(found.kernel_mean)
    assert np.isfinite([found.etf_distance, found.nc3_cosine_mean, found.norm_cv]).all()
    same = seen(np.ones((3, 8)), np.arange(8) % 4, 4).finish(np.zeros((4, 3)))
    assert same.coincident_pairs == 6
    assert np.isnan([same.etf_distance, same.nc1_trace_ratio, same.nc3_cosine_mean]).all()
    # one mean at the global mean: it has distances and no direction; two on one ray
    line = np.array([[-3.0, 0.0, 1.0, 2.0]])
    found = seen(np.tile(line, 2), np.tile(np.arange(4), 2), 4).finish(np.ones((4, 1)))
    assert found.cdnv == 0
    assert np.isnan([found.kernel_mean, found.cosine_mean, found.nc3_cosine_mean]).all()
    ray = np.array([[1.0, 2.0, -3.0], [1.0, 2.0, -3.0], [0.0, 0.0, 0.0]])
    found = seen(np.tile(ray, 2), np.tile(np.arange(3), 2), 3).finish()
    assert found.kernel_mean == np.inf == found.riesz_log_mean


@pytest.mark.parametrize("scale", [2.0**-200, 2.0**200])
def test_metrics_are_blind_to_scale(scale):
    F, y, W = data()
    here, there = (seen(by * F, y, 7).finish(by * W) for by in (1.0, scale))
    expected = here.numbers()
    expected["cdnv_fourth"] /= scale**2
    np.testing.assert_allclose(list(there.numbers().values()), list(expected.values()), rtol=1e-13)


def test_a_stream_goes_on_where_it_was_saved(tmp_path):
    F, y, W = data()
    whole = seen(F, y, 7, parts=3)
    parts = np.array_split(np.arange(len(y)), 3)
    path = tmp_path / "seen.npz"
    for number in range(3):
        stream = metrics.load_stream(path) if number else metrics.stream(7, 5)
        assert stream.batches == number
        stream.update(F[:, parts[number]], y[parts[number]])
        stream.save(path)
    for name in ("counts", "means", "squares"):
        np.testing.assert_array_equal(getattr(stream, name), getattr(whole, name))
    second, counts = stream.agreement(W), tmp_path / "agreement.json"
    second.update(F[:, parts[0]], y[parts[0]])
    for accumulator in (second, stream):
        with pytest.raises(ValueError, match=r"`path` must be .* that can be written"):
            accumulator.save(tmp_path)
    second.save(counts)
    resumed = stream.agreement(W)
    resumed.resume(counts)
    assert (resumed.hits, resumed.samples, resumed.batches) == (second.hits, len(parts[0]), 1)
    with pytest.raises(ValueError, match="`path` must be of the same class means"):
        stream.agreement(W + 1).resume(counts)
    with pytest.raises(ValueError, match="`other` must be over the same"):
        stream.agreement(W, np.ones(7)).merge(second)
    counts.write_text(counts.read_text().replace('"samples": 3', '"samples": 4'))
    with pytest.raises(ValueError, match="`path` must be a file that an agreement has saved"):
        resumed.resume(counts)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="`path` must be a file that a stream has saved"):
        metrics.load_stream(path)
    with pytest.raises(FileNotFoundError):
        metrics.load_stream(tmp_path / "none.npz")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64])
def test_features_of_any_width_are_summed_in_float64(dtype):
    F, y, _ = data()
    F = (8 * F).astype(dtype)
    np.testing.assert_array_equal(seen(F, y, 7).squares, seen(F.astype(np.float64), y, 7).squares)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        pytest.param(lambda s: s.update(np.ones((4, 2)), [0, 1]), "`features` must have", id="d"),
        pytest.param(lambda s: s.update(np.ones((5, 2)), [0, 7]), "`labels` must lie in", id="V"),
        pytest.param(lambda s: s.update(np.ones((5, 2)), [0]), "`labels` must have", id="C"),
        pytest.param(
            lambda s: s.update(np.full((5, 1), np.nan), [0]), "`features` must be fin", id="NaN"
        ),
        pytest.param(
            lambda s: s.update(np.full((5, 1), -1e101), [0]), "`features` must be fin", id="large"
        ),
        pytest.param(lambda s: s.merge(metrics.stream(7, 4)), "`other` must have", id="merge"),
        pytest.param(lambda s: s.finish(np.ones((7, 4))), "`classifier` must have", id="W"),
        pytest.param(
            lambda s: s.finish(np.full((7, 5), np.inf)), "`classifier` must be fin", id="inf"
        ),
        pytest.param(
            lambda s: s.finish(least=80),
            "`least` must leave two .*; got 80, which leaves 0",
            id="all-rare",
        ),
        pytest.param(
            lambda s: s.agreement(np.ones((7, 5)), np.full(7, np.nan)), "`bias` must", id="bias"
        ),
    ],
)
def test_bad_input_is_named(call, words):
    F, y, _ = data()
    stream = seen(F, y, 7)
    counts = stream.counts.copy()
    with pytest.raises(ValueError, match=words):
        call(stream)
    np.testing.assert_array_equal(stream.counts, counts)
