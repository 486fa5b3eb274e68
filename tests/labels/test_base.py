"""Labels: what the constructors build, what they refuse, and that class means are means by mass."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm

NAN, INF = float("nan"), float("inf")
EYE = np.eye(2)


def test_full_one_hot_has_a_column_a_sample_grouped_by_class():
    labels = ufm.one_hot([2, 1, 3])
    expected = [[1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]
    np.testing.assert_array_equal(labels.targets, expected)
    np.testing.assert_array_equal(labels.masses, np.ones(6))
    np.testing.assert_array_equal(labels.class_index, [0, 0, 1, 2, 2, 2])
    np.testing.assert_array_equal(labels.class_counts, [2, 1, 3])
    np.testing.assert_array_equal(labels.column_weights, np.full(6, 1 / 6))
    assert (labels.num_classes, labels.num_columns, float(labels.num_samples)) == (3, 6, 6.0)
    assert labels.targets.dtype == labels.masses.dtype == np.float64


def test_collapsed_one_hot_has_a_column_a_class():
    labels = ufm.one_hot([2, 1, 3], collapsed=True)
    np.testing.assert_array_equal(labels.targets, np.eye(3))
    np.testing.assert_array_equal(labels.masses, [2, 1, 3])
    np.testing.assert_array_equal(labels.class_counts, [2, 1, 3])
    np.testing.assert_allclose(labels.column_weights, [2 / 6, 1 / 6, 3 / 6], rtol=1e-15)
    assert (labels.num_classes, labels.num_columns, float(labels.num_samples)) == (3, 3, 6.0)


def test_collapsed_counts_need_not_be_whole():
    np.testing.assert_array_equal(ufm.one_hot((1.5, 0.25), collapsed=True).masses, [1.5, 0.25])


@pytest.mark.parametrize(
    "given",
    [[3, 2], (3, 2), np.array([3, 2]), jnp.array([3, 2]), [3.0, 2.0]],
    ids=lambda g: type(g).__name__,
)
@pytest.mark.parametrize("collapsed", [False, True], ids=["full", "collapsed"])
def test_counts_may_be_any_sequence(given, collapsed):
    labels = ufm.one_hot(given, collapsed=collapsed)
    np.testing.assert_array_equal(labels.class_counts, [3, 2])


def test_soft_labels():
    # a smoothed class and an even mixture, of masses 3 and 1
    labels = ufm.soft([[0.9, 0.5], [0.1, 0.5]], [3, 1])
    np.testing.assert_allclose(labels.class_counts, [3 * 0.9 + 0.5, 3 * 0.1 + 0.5], rtol=1e-15)
    np.testing.assert_array_equal(labels.column_weights, [0.75, 0.25])
    assert labels.targets.dtype == labels.masses.dtype == np.float64
    np.testing.assert_array_equal(ufm.soft(labels.targets).masses, [1, 1])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param(lambda: ufm.one_hot([2, 1]), True, id="full"),
        pytest.param(lambda: ufm.one_hot([2, 1], collapsed=True), True, id="collapsed"),
        pytest.param(lambda: ufm.soft([[0.9, 0.1], [0.1, 0.9]]), False, id="smoothed"),
        pytest.param(lambda: ufm.soft([[1, 1], [1, 0]]), False, id="two-ones-in-a-column"),
        pytest.param(lambda: ufm.soft([[0, 1], [0, 0]]), False, id="empty-column"),
        pytest.param(lambda: ufm.soft([[1, 1], [0, 0]]), False, id="class-without-a-sample"),
    ],
)
def test_is_one_hot(labels, expected):
    assert labels().is_one_hot() is expected


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        pytest.param((2, 3, 10, 1), (10, 10, 1, 1, 1), id="two-and-three"),
        pytest.param((0, 2, 10, 4), (4, 4), id="no-majority"),
        pytest.param((2, 0, 10, 4), (10, 10), id="no-minority"),
    ],
)
def test_step_profile(args, expected):
    assert ufm.labels.step_counts(args[0], args[1], majority=args[2], minority=args[3]) == expected


@pytest.mark.parametrize(
    ("num_classes", "largest", "ratio", "expected"),
    [
        # 100 r^{-k/2} for r = 100: 100, 10, 1
        pytest.param(3, 100, 100, (100, 10, 1), id="decades"),
        pytest.param(4, 7, 1, (7, 7, 7, 7), id="balanced"),
        pytest.param(2, 9, 3.0, (9, 3), id="two-classes"),
        # 5000 · 0.01^{k/9} = 5000, 2997.4, 1796.9, 1077.2, 645.8, 387.1, 232.1, 139.1, 83.4, 50
        pytest.param(
            10,
            5000,
            100,
            (5000, 2997, 1797, 1077, 646, 387, 232, 139, 83, 50),
            id="ten-classes-ratio-100",
        ),
    ],
)
def test_exponential_profile(num_classes, largest, ratio, expected):
    counts = ufm.labels.exponential_counts(num_classes, largest=largest, ratio=ratio)
    assert counts == expected
    assert all(type(n) is int for n in counts)


def test_collapse_takes_means_by_mass():
    # class 0 holds columns 0 and 2 with masses 1 and 3
    labels = ufm.soft([[1, 0, 1], [0, 1, 0]], [1, 2, 3])
    columns = jnp.array([[4.0, 5.0, 8.0], [0.0, -1.0, 4.0]])
    np.testing.assert_allclose(
        ufm.labels.collapse(labels, columns), [[(4 + 3 * 8) / 4, 5], [3 * 4 / 4, -1]], rtol=1e-15
    )


def test_collapse_of_full_labels_against_a_loop(key):
    counts = (3, 1, 4)
    columns = jax.random.normal(key, (5, sum(counts)))
    edges = np.cumsum((0, *counts))
    slow = np.stack(
        [np.asarray(columns)[:, a:b].mean(1) for a, b in itertools.pairwise(edges)], axis=1
    )
    # sums of at most four numbers of size 2, each addition within half an eps of its result, then
    # one division
    np.testing.assert_allclose(
        ufm.labels.collapse(ufm.one_hot(counts), columns), slow, rtol=0, atol=2e-15
    )
    # one column a class: nothing to average, but x · 3 / 3 rounds twice
    collapsed = ufm.labels.collapse(ufm.one_hot(counts, collapsed=True), columns[:, :3])
    np.testing.assert_allclose(collapsed, columns[:, :3], rtol=4.5e-16)


def test_collapsed_counts_may_be_traced():
    traces = []

    @jax.jit
    def total(counts):
        traces.append(1)
        return ufm.one_hot(counts, collapsed=True).num_samples

    assert float(total(jnp.array([2.0, 3.0]))) == 5
    assert float(total(jnp.array([4.0, 3.0]))) == 7
    assert len(traces) == 1


REFUSED = (
    ("one-class", lambda: ufm.one_hot([5]), r"`class_counts` must hold K >= 2 classes; got \[5\]"),
    ("no-class", lambda: ufm.one_hot([]), r"`class_counts` must not be empty; got \(0,\)"),
    (
        "a-number",
        lambda: ufm.one_hot(5),
        r"`class_counts` must be a sequence of numbers; got shape \(\)",
    ),
    (
        "a-matrix",
        lambda: ufm.one_hot([[1, 2], [3, 4]]),
        r"`class_counts` must be a sequence of numbers; got shape \(2, 2\)",
    ),
    (
        "empty-class",
        lambda: ufm.one_hot([3, 0]),
        r"`class_counts` must be finite and > 0; got \[3, 0\]",
    ),
    (
        "empty-class-collapsed",
        lambda: ufm.one_hot([3, 0], collapsed=True),
        r"`class_counts` must be finite and > 0; got \[3, 0\]",
    ),
    (
        "negative",
        lambda: ufm.one_hot([3, -2]),
        r"`class_counts` must be finite and > 0; got \[3, -2\]",
    ),
    (
        "nan",
        lambda: ufm.one_hot([3, NAN], collapsed=True),
        r"`class_counts` must be finite and > 0; got \[3, nan\]",
    ),
    (
        "infinite",
        lambda: ufm.one_hot([3, INF]),
        r"`class_counts` must be finite and > 0; got \[3, inf\]",
    ),
    (
        "words",
        lambda: ufm.one_hot(["a", "b"]),
        r"`class_counts` must hold real numbers; got \['a', 'b'\]",
    ),
    (
        "fraction-full",
        lambda: ufm.one_hot([1.5, 2]),
        r"`class_counts` must be whole numbers for full labels .*=True.*; got \[1.5, 2\]",
    ),
    (
        "traced-full",
        lambda: jax.jit(lambda counts: ufm.one_hot(counts).masses)(jnp.array([1, 2])),
        r"`class_counts` must be concrete for full labels; pass collapsed=True",
    ),
    (
        "integer-dtype",
        lambda: ufm.one_hot([1, 2], dtype=int),
        r"`dtype` must be float32 or float64; got the class int",
    ),
    (
        "one-row-of-classes",
        lambda: ufm.Problem(
            ufm.soft([[1.0, 1.0]]),
            loss=ufm.CrossEntropy(),
            widths=(2,),
            lambda_W=0.1,
            lambda_H=0.1,
        ),
        r"`labels` must have K >= 2 classes for cross-entropy; got 1",
    ),
    (
        "targets-no-column",
        lambda: ufm.soft(np.ones((2, 0))),
        r"`targets` must not be empty; got \(2, 0\)",
    ),
    (
        "targets-vector",
        lambda: ufm.soft([1.0, 0.0]),
        r"`targets` must have shape \(K, C\); got \(2,\)",
    ),
    ("targets-number", lambda: ufm.soft(1.0), r"`targets` must have shape \(K, C\); got \(\)"),
    (
        "targets-cube",
        lambda: ufm.soft(np.ones((2, 2, 2))),
        r"`targets` must have shape \(K, C\); got \(2, 2, 2\)",
    ),
    (
        "targets-nan",
        lambda: ufm.soft([[1, NAN], [0, 1]]),
        r"`targets` must be finite; got \[\[ 1\. nan\]",
    ),
    (
        "targets-inf",
        lambda: ufm.soft([[1, INF], [0, 1]]),
        r"`targets` must be finite; got \[\[ 1\. inf\]",
    ),
    (
        "masses-short",
        lambda: ufm.soft(EYE, [1.0]),
        r"`masses` must have shape \(2,\), one per column of `targets`; got \(1,\)",
    ),
    (
        "masses-number",
        lambda: ufm.soft(EYE, 1.0),
        r"`masses` must have shape \(2,\), one per column of `targets`; got \(\)",
    ),
    (
        "masses-zero",
        lambda: ufm.soft(EYE, [1, 0]),
        r"`masses` must be finite and > 0; got \[1\. 0\.\]",
    ),
    (
        "masses-negative",
        lambda: ufm.soft(EYE, [1, -2]),
        r"`masses` must be finite and > 0; got \[ 1\. -2\.\]",
    ),
    (
        "masses-nan",
        lambda: ufm.soft(EYE, [1, NAN]),
        r"`masses` must be finite and > 0; got \[ 1\. nan\]",
    ),
    (
        "masses-inf",
        lambda: ufm.soft(EYE, [1, INF]),
        r"`masses` must be finite and > 0; got \[ 1\. inf\]",
    ),
    (
        "masses-float32",
        lambda: ufm.Labels(targets=jnp.eye(2), masses=jnp.ones(2, jnp.float32)),
        r"`masses` must have the dtype of `targets`, float64; got float32",
    ),
    (
        "step-negative",
        lambda: ufm.labels.step_counts(-1, 3, majority=2, minority=1),
        r"`num_majority` must be a whole number >= 0; got -1",
    ),
    (
        "step-one-class",
        lambda: ufm.labels.step_counts(1, 0, majority=2, minority=1),
        r"`num_majority` \+ `num_minority` must be >= 2; got 1",
    ),
    (
        "step-empty",
        lambda: ufm.labels.step_counts(2, 2, majority=5, minority=0),
        r"`minority` must be a whole number >= 1; got 0",
    ),
    (
        "tail-one-class",
        lambda: ufm.labels.exponential_counts(1, largest=10, ratio=2),
        r"`num_classes` must be a whole number >= 2; got 1",
    ),
    (
        "tail-ratio",
        lambda: ufm.labels.exponential_counts(3, largest=10, ratio=0.5),
        r"`ratio` must be finite and >= 1; got 0.5",
    ),
    (
        "tail-empty",
        lambda: ufm.labels.exponential_counts(3, largest=10, ratio=100),
        r"`largest` / `ratio` must round to at least one sample; got 0.1",
    ),
)


@pytest.mark.parametrize(
    ("call", "match"), [pytest.param(*case[1:], id=case[0]) for case in REFUSED]
)
def test_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


SINGLE_PRECISION = r"""
import numpy as np
import ufm
assert ufm.one_hot([1, 2]).targets.dtype == np.float32
try:
    ufm.one_hot([1, 2], dtype="float64")
except ValueError as error:
    print(error)
"""


def test_double_precision_cannot_be_asked_for_while_it_is_off():
    """In a process of its own, because x64 is one switch for the whole process."""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_X64"}
    run = subprocess.run(
        [sys.executable, "-c", SINGLE_PRECISION],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "`dtype` must be available" in run.stdout
    assert "jax_enable_x64" in run.stdout
    assert "float64" in run.stdout


def test_single_precision_can_be_asked_for():
    labels = ufm.one_hot([1, 2], dtype=np.float32)
    assert labels.targets.dtype == labels.masses.dtype == labels.class_counts.dtype == np.float32
