"""Balanced cross-entropy, label smoothing and the zero product.

By hand, against the solver and its certificate, at the limits.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import ufm
from ufm.labels import smoothed
from ufm.losses import AdjustedCrossEntropy
from ufm.optima.cross_entropy import zero_strength
from ufm.optima.facts import Facts
from ufm.optima.forms import zero_product
from ufm.tolerances import for_dtype

TOL = for_dtype("float64")
BIASES = (None, "free", 0.3)


def make(counts, strength, *, bias=None, smoothing=0.0, d=6, collapsed=True, ratio=4.0, **options):
    """`strength` is N √(λ_W λ_H), `ratio` √(λ_W/λ_H)."""
    mu = strength / sum(counts)
    labels = smoothed(counts, smoothing=smoothing, collapsed=collapsed)
    settings = {
        "loss": ufm.CrossEntropy(),
        "widths": (d,),
        "lambda_W": mu * ratio,
        "lambda_H": mu / ratio,
        "bias": bias,
    } | options
    return ufm.Problem(labels, **settings)


def assert_agrees(problem, key):
    optimum = ufm.closed_form(problem)
    solution = ufm.minimise(problem, key=key, progress=False)
    assert solution.result is ufm.Result.CONVERGED
    # first order in the gradient
    assert abs(float(ufm.certify(problem, solution.params).gap)) < 1e-10
    comparison = ufm.compare(solution, optimum)
    assert comparison.ok, str(comparison)
    return optimum


def test_by_hand():
    # K = 4, n = 9, c = √(n λ_W λ_H) = 3 · 0.02 = 0.06: a = log(1/0.06 − 3), and ‖w‖² = √n a (K −
    # 1)/K / ratio
    optimum = ufm.closed_form(make((9,) * 4, 36 * 0.02))
    a = np.log(1 / 0.06 - 3)
    S = np.eye(4) - 0.25
    assert_allclose(optimum.logits, a * S, rtol=1e-14, atol=1e-15)
    assert_allclose(optimum.value, np.log(1 + 3 * np.exp(-a)) + 0.06 * 3 * a, rtol=1e-14)
    assert_allclose(optimum.classifier_gram, 3 / 4 * a * S, rtol=1e-13, atol=1e-14)
    assert_allclose(optimum.class_gram, 4 / 3 * a * S, rtol=1e-13, atol=1e-14)
    assert_allclose(optimum.singular_values, [3 * a] * 3 + [0], rtol=1e-13, atol=0)
    assert optimum.regime == "simplex ETF"


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("fraction", [1e-3, 0.3, 0.97, 1.0, 1.03])
def test_balanced_classes(bias, smoothing, fraction, key):
    """The threshold is K √(n λ_W λ_H) = 1 − s, that is N √(λ_W λ_H) = (1 − s) √n."""
    optimum = assert_agrees(
        make((9,) * 4, fraction * (1 - smoothing) * 3, bias=bias, smoothing=smoothing), key
    )
    assert optimum.regime == ("simplex ETF" if fraction < 1 else "trivial")
    if fraction < 1:
        assert optimum.logits[0, 0] > 1e-3
    else:
        assert_allclose(optimum.value, np.log(4), rtol=1e-15)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_full_columns_at_the_least_width(smoothing, key):
    problem = make((5,) * 4, 0.3, smoothing=smoothing, bias="free", d=3, collapsed=False)
    optimum = assert_agrees(problem, key)
    collapsed = ufm.closed_form(make((5,) * 4, 0.3, smoothing=smoothing, bias="free", d=3))
    assert_allclose(optimum.logits, collapsed.logits, rtol=1e-14)
    assert optimum.value == collapsed.value
    assert len(optimum.column_index) == 20


def test_columns_in_any_order():
    labels = ufm.soft(np.eye(4)[:, [2, 0, 3, 1, 0, 2, 1, 3]])
    optimum = ufm.closed_form(
        ufm.Problem(labels, loss=ufm.CrossEntropy(), widths=(4,), lambda_W=0.01, lambda_H=0.01)
    )
    assert_allclose(optimum.column_index, [2, 0, 3, 1, 0, 2, 1, 3], rtol=1e-14)
    assert (np.argmax(optimum.logits, axis=0) == np.arange(4)).all()


def test_the_value_keeps_its_digits_as_decay_vanishes():
    """log(1 + (K−1) e^{−a}) with e^{−a} = c/(1 − (K−1) c) is −log(1 − (K−1) c).

    A different route to the same small number.
    """
    c = 1e-13
    optimum = ufm.closed_form(make((1,) * 4, 4 * c))
    a = np.log((1 - 3 * c) / c)
    assert_allclose(optimum.value, -np.log1p(-3 * c) + 3 * c * a, rtol=1e-14)


def test_just_below_the_threshold_the_scale_is_the_distance_to_it():
    # a = log(1 + (1 − K c)/c) ≈ K (1 − K c)
    optimum = ufm.closed_form(make((1,) * 4, 1 - 1e-9))
    assert_allclose(optimum.logits[0, 0] - optimum.logits[1, 0], 4e-9, rtol=1e-6)


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("counts", [(6, 3, 2, 1), (9, 1), (5, 5, 5, 2)])
def test_zero_product_of_any_counts(bias, counts, key):
    # a penalised bias lies between none and a free one
    threshold = (
        max(zero_strength(counts), zero_strength(counts, bias="free"))
        if bias == 0.3
        else zero_strength(counts, bias=bias)
    )
    optimum = assert_agrees(make(counts, 1.03 * threshold, bias=bias), key)
    assert optimum.regime == "trivial"
    if bias == "free":
        # what is left is the entropy of the class frequencies
        p = np.asarray(counts) / sum(counts)
        assert_allclose(optimum.value, -p @ np.log(p), rtol=1e-14)


@pytest.mark.parametrize("bias", [None, "free"])
def test_zero_product_ends_at_its_threshold(bias, key):
    counts = (6, 3, 2, 1)
    below = make(counts, 0.97 * zero_strength(counts, bias=bias), bias=bias)
    with pytest.raises(ufm.NoClosedForm):
        ufm.closed_form(below)
    solution = ufm.minimise(below, key=key, progress=False)
    assert solution.result is ufm.Result.CONVERGED
    assert float(abs(solution.params.features).max()) > 1e-2


SOFT = np.array([[0.7, 0.5, 0.1, 0.2, 0.0], [0.3, 0.0, 0.8, 0.2, 0.0], [0.0, 0.5, 0.1, 0.6, 1.0]])


@pytest.mark.parametrize("bias", BIASES)
def test_zero_product_of_any_targets(bias, key):
    """Several targets a class, and two equal columns among them."""
    targets, masses = np.hstack([SOFT, SOFT[:, :1]]), np.array([2.0, 1, 3, 1, 2, 1])
    labels = ufm.Labels(targets, masses)

    def problem(strength):
        decay = dict.fromkeys(("lambda_W", "lambda_H"), strength / masses.sum())
        return ufm.Problem(labels, loss=ufm.CrossEntropy(), widths=(3,), bias=bias, **decay)

    (*_, last) = ufm.thresholds(problem(0.01), progress=False).entries
    assert (last.change, last.bracket) == ("zero product", None)
    if bias != 0.3:
        mean = targets @ masses / masses.sum() if bias == "free" else np.full(3, 1 / 3)
        slope = (mean[:, None] - targets) * np.sqrt(masses)
        assert_allclose(last.strength, np.linalg.norm(slope, 2), rtol=1e-13)
    optimum = assert_agrees(problem(1.001 * last.strength), key)
    assert optimum.logits.shape == (3, 5)
    with pytest.raises(ufm.NoClosedForm):
        ufm.closed_form(problem(0.999 * last.strength))
    below = ufm.minimise(problem(0.999 * last.strength), key=key, progress=False)
    assert float(abs(below.params.features).max()) > 1e-3


def test_a_class_without_targets_may_stay_away_but_for_a_free_bias(key):
    soft = SOFT[:2, :4] / SOFT[:2, :4].sum(axis=0)
    labels = ufm.Labels(np.vstack([soft, np.zeros(4)]), np.ones(4))
    strong = {"lambda_W": 1.0, "lambda_H": 1.0, "widths": (3,), "loss": ufm.CrossEntropy()}
    for bias in (None, 0.3):
        assert_agrees(ufm.Problem(labels, bias=bias, **strong), key)
    facts = Facts.of(ufm.Problem(labels, bias="free", **strong))
    (failing,) = (asked for asked in zero_product.FORM.accepts(facts) if not asked.holds)
    assert str(failing) == "needs some target for each of the 3 classes; got none for class 2"


@pytest.mark.parametrize(
    ("counts", "bias", "expected"),
    [
        pytest.param((9, 9, 9), None, 3.0, id="balanced-sqrt-n"),
        pytest.param((9, 9, 9), "free", 3.0, id="balanced-free-bias"),
        pytest.param((16, 16, 4), None, 4.0, id="two-majority-classes-sqrt-n_A"),
        # (k_B n_A + k_A n_B)/K = (1 · 9 + 1 · 1)/2
        pytest.param((9, 1), None, 5**0.5, id="one-majority-class"),
        # the only nonzero eigenvalue of D − nnᵀ/N is 2 n_A n_B/N
        pytest.param((9, 1), "free", 1.8**0.5, id="two-classes-free-bias"),
    ],
)
def test_zero_strength_by_hand(counts, bias, expected):
    assert_allclose(zero_strength(counts, bias=bias), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        pytest.param(
            lambda: make((4,) * 4, 0.1, d=2),
            r"needs d >= 3, the rank of the convex optimum; got d=2, K=4",
            id="narrow",
        ),
        pytest.param(
            lambda: make((4,) * 4, 0.1, widths=(4, 4)),
            r"needs M = 1 for this loss; got M=2",
            id="deep",
        ),
        pytest.param(
            lambda: make((6, 4, 2), 0.1),
            r"at most two distinct values; got \[6, 4, 2\]",
            id="three-counts",
        ),
        pytest.param(
            lambda: make((6, 4), 0.1, bias="free"),
            r"needs balanced classes for a nonzero product with a bias",
            id="bias",
        ),
        pytest.param(
            lambda: make((6, 4), 0.1, smoothing=0.1),
            r"needs balanced classes; got.*; or needs one-hot labels",
            id="smoothed-tail",
        ),
        pytest.param(
            lambda: make((4, 4), 0.1, anchor=np.ones((6, 2)), beta=0.1),
            r"pulled to 0 only",
            id="anchor",
        ),
        pytest.param(
            lambda: make((4, 4), 0.1, fixed_weights=(np.ones((2, 6)),)),
            r"needs free weights",
            id="fixed-weights",
        ),
        pytest.param(
            lambda: ufm.Problem(
                ufm.soft([[1, 0.7], [0, 0.2], [0, 0.1]]),
                loss=ufm.CrossEntropy(),
                widths=(2,),
                lambda_W=0.1,
                lambda_H=0.1,
            ),
            r"for a zero product; got 0.2",
            id="class-without-target",
        ),
        pytest.param(
            lambda: ufm.Problem(
                ufm.soft([[1, 0.7, 0, 0], [0, 0.2, 1, 0], [0, 0.1, 0, 1]]),
                loss=ufm.CrossEntropy(),
                widths=(2,),
                lambda_W=0.1,
                lambda_H=0.1,
            ),
            r"several distinct targets in one class",
            id="two-targets-in-a-class",
        ),
        pytest.param(
            lambda: ufm.Problem(
                ufm.soft([[2, 0], [0, 2]]),
                loss=ufm.losses.Focal(2.0),
                widths=(2,),
                lambda_W=0.1,
                lambda_H=0.1,
            ),
            r"distributions over the classes",
            id="not-a-distribution",
        ),
        pytest.param(
            lambda: make((4, 4), 0.1, loss=AdjustedCrossEntropy(additive=[0, 1])),
            r"needs a loss with a solved optimum",
            id="loss",
        ),
    ],
)
def test_what_has_no_closed_form_says_why(problem, message):
    with pytest.raises(ufm.NoClosedForm, match=message):
        ufm.closed_form(problem())


def test_zero_needs_no_width():
    assert ufm.closed_form(make((4,) * 4, 2.1, d=1)).regime == "trivial"


def test_bad_bias_of_the_threshold():
    with pytest.raises(ValueError, match="`bias` must be one of None"):
        zero_strength((2, 2), bias="penalised")
