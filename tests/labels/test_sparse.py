"""Labels that hold a few numbers a column, against their dense twins and by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.labels import PairLabels, SparseLabels, written_out

sparse_soft = ufm.labels.sparse_soft


def pairs(first=(0, 2), second=(1, 2), share=(0.25, 1.0), masses=(2.0, 3.0)):
    arrays = (jnp.asarray(a, jnp.int32) for a in (first, second))
    return PairLabels(*arrays, jnp.asarray(share), jnp.asarray(masses), 3)


@pytest.mark.parametrize(
    ("sparse", "dense"),
    [
        pytest.param(
            ufm.one_hot((5, 3, 2), collapsed=True, sparse=True),
            ufm.one_hot((5, 3, 2), collapsed=True),
            id="one-hot",
        ),
        pytest.param(
            ufm.labels.smoothed((5, 3), smoothing=0.2, collapsed=True, sparse=True),
            ufm.labels.smoothed((5, 3), smoothing=0.2, collapsed=True),
            id="smoothed",
        ),
        pytest.param(
            sparse_soft(
                [[0, 2], [0, 1]],
                [[0.5, 0.8], [0.3, 0.0]],
                [2, 3],
                num_classes=3,
                background=[0.0, 0.1],
            ),
            ufm.soft([[0.8, 0.1], [0.0, 0.1], [0.0, 0.9]], [2, 3]),
            id="a-class-named-twice-and-a-background",
        ),
    ],
)
def test_sparse_labels_by_hand(sparse, dense):
    np.testing.assert_allclose(written_out(sparse).targets, dense.targets, rtol=1e-15)
    np.testing.assert_array_equal(written_out(sparse).masses, dense.masses)
    np.testing.assert_allclose(sparse.column_weights, dense.column_weights, rtol=1e-15)
    np.testing.assert_allclose(sparse.squares, jnp.sum(dense.targets**2, axis=0), rtol=1e-14)


NEGATIVE = ([[0, 1], [0, 2]], [[0.5, -0.2], [0.25, -0.3]])
ALL_BELOW = ([[0, 1], [1, 2], [2, 0]], [[-0.5, -0.2], [-0.25, -0.2], [-0.3, -0.4]])


@pytest.mark.parametrize(
    "sparse",
    [
        pytest.param(lambda: sparse_soft(*NEGATIVE, num_classes=3, background=0.1), id="negative"),
        pytest.param(lambda: sparse_soft(*ALL_BELOW, num_classes=3), id="every-class-below"),
        pytest.param(
            lambda: sparse_soft([[1, 0], [1, 3]], [[0.5, 0.2], [0.5, 0.8]], num_classes=4),
            id="twice",
        ),
        pytest.param(lambda: ufm.one_hot((4, 2, 1), sparse=True), id="full"),
        pytest.param(lambda: ufm.one_hot((4, 2), class_weights=(1, 3), sparse=True), id="weights"),
        pytest.param(
            lambda: ufm.labels.smoothed((4, 2), smoothing=0.3, sparse=True), id="smoothed"
        ),
        pytest.param(pairs, id="pairs"),
    ],
)
def test_every_answer_is_that_of_the_matrix(sparse):
    sparse = sparse()
    dense = written_out(sparse)
    assert (sparse.num_classes, sparse.num_columns) == dense.targets.shape
    assert sparse.dtype == dense.dtype
    for name in ("class_index", "absent_classes"):
        np.testing.assert_array_equal(getattr(sparse, name), getattr(dense, name))
    for name in ("squares", "class_counts", "column_weights", "mass_shares", "num_samples"):
        np.testing.assert_allclose(getattr(sparse, name), getattr(dense, name), rtol=1e-14)
    np.testing.assert_allclose(sparse.sums(), dense.sums(), rtol=1e-14)
    assert {*np.round(dense.numbers().ravel(), 12)} <= {*np.round(sparse.numbers(), 12)}
    assert sparse.is_one_hot() == dense.is_one_hot()
    assert sparse.has_equal_weights() == dense.has_equal_weights()
    traced = jax.jit(lambda labels: (labels.targets, labels.columns(jnp.int32(1), 1)))(sparse)
    np.testing.assert_allclose(traced[0], dense.targets, rtol=1e-15)
    np.testing.assert_allclose(traced[1], dense.targets[:, 1:2], rtol=1e-15)


def test_absent_classes_are_found():
    labels = sparse_soft([[2, 0]], [[1.0, 0.0]], num_classes=4)
    np.testing.assert_array_equal(labels.absent_classes, [0, 1, 3])
    assert not labels.is_one_hot()


def test_large_matrices_are_not_written_down():
    """Held by class beyond 2^24 numbers; refused as a matrix beyond 2^27."""
    held = ufm.one_hot(np.ones(4097), collapsed=True)
    assert isinstance(held, SparseLabels)
    assert held.chunk(10) is None
    assert isinstance(ufm.one_hot(np.ones(4096), collapsed=True), ufm.Labels)
    assert isinstance(ufm.labels.smoothed(np.ones(4097), smoothing=0.1), SparseLabels)
    huge = ufm.one_hot(np.ones(20_000), collapsed=True)
    assert huge.chunk(300) == 300
    assert huge.chunk(7) == 128
    with pytest.raises(ValueError, match=r"`labels.targets` must hold at most .*; got 20000 cla"):
        _ = huge.targets
    problem = ufm.Problem(
        huge, loss=ufm.CrossEntropy(), widths=(300,), lambda_W=1e-5, lambda_H=1e-5
    )
    with pytest.raises(ufm.NoClosedForm, match="20000 classes and 20000 columns"):
        ufm.closed_form(problem)
    with pytest.raises(ValueError, match=r"`solver` must take first derivatives .*; got Newton"):
        ufm.minimise(problem, key=jax.random.key(0), solver=ufm.solvers.Newton())


def test_mixup_holds_pairs_where_its_matrix_is_large(monkeypatch, key):
    dense = ufm.labels.mixup(4, 1.0, nodes=5, class_counts=(4, 3, 2, 1))
    drawn = ufm.labels.sampled_mixup((4, 3), 1.0, draws=9, key=key)
    monkeypatch.setattr("ufm.labels.mixtures.MOST_HELD", 10)
    held = ufm.labels.mixup(4, 1.0, nodes=5, class_counts=(4, 3, 2, 1))
    assert isinstance(held, PairLabels)
    np.testing.assert_allclose(held.targets, dense.targets, rtol=0, atol=5e-15)
    np.testing.assert_array_equal(held.masses, dense.masses)
    again = ufm.labels.sampled_mixup((4, 3), 1.0, draws=9, key=key)
    assert isinstance(again, PairLabels)
    np.testing.assert_allclose(again.targets, drawn.targets, rtol=0, atol=2e-16)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(
            lambda: ufm.one_hot((5,), collapsed=True, sparse=True),
            "`class_counts` must hold K >= 2",
            id="one-class",
        ),
        pytest.param(
            lambda: ufm.one_hot((5, 0), collapsed=True, sparse=True),
            "`class_counts` must be finite and > 0",
            id="an-empty-class",
        ),
        pytest.param(
            lambda: ufm.labels.smoothed((5, 1), smoothing=1.0, collapsed=True, sparse=True),
            r"`smoothing` must be in \[0, 1\); got 1.0",
            id="all-smoothed-away",
        ),
        pytest.param(
            lambda: sparse_soft([[0, 3]], [[1.0, 1.0]], num_classes=3),
            r"`index` must lie in 0 … 2; got \[\[0, 3\]\]",
            id="no-such-class",
        ),
        pytest.param(
            lambda: sparse_soft([[0.0, 1.0]], [[1.0, 1.0]], num_classes=3),
            "`index` must hold integers",
            id="not-an-index",
        ),
        pytest.param(
            lambda: sparse_soft([[0, 1]], [[1.0]], num_classes=3),
            "`entries` must have the shape",
            id="entries-of-another-shape",
        ),
        pytest.param(
            lambda: sparse_soft([[0, 1]], [[1.0, np.inf]], num_classes=3),
            "`entries` must be finite",
            id="infinite-entry",
        ),
        pytest.param(
            lambda: sparse_soft([[0, 1]], [[1.0, 1.0]], [1, 0], num_classes=3),
            "`masses` must be finite and > 0",
            id="no-mass",
        ),
        pytest.param(
            lambda: ufm.one_hot((5, 1), collapsed=True, sparse=True).in_chunks(0),
            "`at_once` must be a whole number >= 1; got 0",
            id="no-chunk",
        ),
        pytest.param(
            lambda: ufm.one_hot((5, 1), collapsed=True, sparse=1),
            "`sparse` must be True, False or None; got 1",
            id="no-flag",
        ),
        pytest.param(
            lambda: pairs(share=[0.5, 1.5]),
            r"`share` must lie in \[0, 1\]; got \[0.5 1.5\]",
            id="share-beyond-one",
        ),
        pytest.param(
            lambda: pairs(second=[1, 3]), r"`second` must lie in 0 … 2; got \[1 3\]", id="no-class"
        ),
        pytest.param(
            lambda: pairs(first=[0]),
            r"`first` must have the shape of `share`, \(2,\)",
            id="too-few",
        ),
        pytest.param(
            lambda: pairs(masses=[1.0, 0.0]), "`masses` must be finite and > 0", id="massless-pair"
        ),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_labels_are_a_pytree_of_arrays():
    labels = ufm.one_hot((3, 2), collapsed=True, sparse=True)
    assert isinstance(jax.tree.map(lambda leaf: leaf, labels), SparseLabels)
    assert len(jax.tree.leaves(labels)) == 4
