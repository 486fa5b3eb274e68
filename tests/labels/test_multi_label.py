"""Pick-all-label losses as labels: what the loss is, how much a sample counts, what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest

import ufm

SETS, COUNTS = ((0,), (1,), (0, 2), (0, 1, 2)), (3, 1, 2, 1)


def test_the_loss_is_a_sum_over_the_labels_of_a_sample():
    labels = ufm.labels.pick_all(SETS, COUNTS, num_classes=4)
    Z = np.random.default_rng(0).normal(size=(4, sum(COUNTS)))
    log_p = Z - np.log(np.exp(Z).sum(axis=0))
    samples = [S for S, n in zip(SETS, COUNTS, strict=True) for _ in range(n)]
    theirs = -sum(log_p[k, i] for i, S in enumerate(samples) for k in S) / len(samples)
    labels_a_sample = sum(map(len, samples)) / len(samples)
    ours = labels.column_weights @ ufm.CrossEntropy()(jnp.asarray(Z), labels.targets)
    assert labels_a_sample * float(ours) == pytest.approx(theirs, rel=1e-14)


def test_collapsed_labels_have_the_minimum_of_full_ones(key):
    values = []
    for collapsed in (False, True):
        labels = ufm.labels.pick_all(SETS, COUNTS, num_classes=3, collapsed=collapsed)
        problem = ufm.Problem(
            labels, loss=ufm.CrossEntropy(), widths=(3,), lambda_W=0.02, lambda_H=0.01
        )
        values.append(float(ufm.minimise(problem, key=key).value))
    assert values[0] == pytest.approx(values[1], rel=1e-12)


def test_one_label_each_is_one_hot():
    labels = ufm.labels.pick_all([(0,), (1,), (2,)], (2, 1, 3), num_classes=3)
    assert labels.is_one_hot()
    assert labels.has_equal_weights()
    np.testing.assert_array_equal(labels.targets, ufm.one_hot((2, 1, 3)).targets)


def test_sets_may_be_sets_and_counts_of_collapsed_ones_fractions():
    labels = ufm.labels.pick_all([{2, 0}, frozenset({1})], (1.5, 1), num_classes=3, collapsed=True)
    np.testing.assert_array_equal(labels.targets, [[0.5, 0], [0, 1], [0.5, 0]])
    np.testing.assert_array_equal(labels.masses, [1.5, 1])
    np.testing.assert_array_equal(labels.weights, [2, 1])


@pytest.mark.parametrize(
    ("sets", "counts", "wanted"),
    [
        pytest.param([(0,), ()], None, "none of them empty", id="empty"),
        pytest.param([], None, "none of them empty", id="no-set"),
        pytest.param([(0,), (3,)], None, "classes 0 … 2", id="no-such-class"),
        pytest.param([(0,), (True,)], None, "classes 0 … 2", id="a-flag"),
        pytest.param([(0, 0)], None, "a class once", id="twice"),
        pytest.param([(0,), (1,)], (1,), "`counts`", id="too-few-counts"),
        pytest.param([(0,)], (1.5,), "whole numbers", id="half-a-sample"),
        pytest.param([(0,)], (1e8,), "collapsed=True", id="too-many"),
    ],
)
def test_what_is_refused(sets, counts, wanted):
    with pytest.raises(ValueError, match=wanted):
        ufm.labels.pick_all(sets, counts, num_classes=3)
