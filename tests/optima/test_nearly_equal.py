"""Class counts that are almost equal.

Every form that asks for equality is continuous there, or says no.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import ufm
from tests.optima import test_cross_entropy as entropy
from tests.optima import test_mse as squares
from ufm.losses import Focal
from ufm.optima.cross_entropy import zero_strength
from ufm.optima.two_cluster_problem import two_cluster_logits
from ufm.optima.two_clusters import clusters_of, minority_strength, vanishing_strength

# relative differences: on both sides of what counts as equal, 1e-12
DIFFERENCES = (1e-3, 1e-5, 1e-7, 1e-9, 1e-11, 2e-12, 5e-13, 1e-14)


def counts(majority: int, minority: int, difference: float, n: float = 4.0) -> tuple[float, ...]:
    return (n,) * majority + (n * (1 - difference),) * minority


# (id, counts → problem)
FORMS = (
    ("cross-entropy", lambda c: entropy.make(c, 0.9)),
    ("cross-entropy-weak-decay", lambda c: entropy.make(c, 1e-6)),
    ("cross-entropy-zero", lambda c: entropy.make(c, 2.5, bias="free")),
    ("cross-entropy-zero-penalised", lambda c: entropy.make(c, 2.5, bias=0.3)),
    ("squared-error", lambda c: squares.make(c)),
    ("squared-error-three-layers", lambda c: squares.make(c, widths=(6, 5, 7))),
    ("squared-error-free-bias", lambda c: squares.make(c, bias="free")),
    ("nonnegative", lambda c: entropy.make(c, 0.9, features=ufm.domains.Nonnegative())),
    ("nonnegative-squared-error", lambda c: squares.make(c, features=ufm.domains.Nonnegative())),
)


@pytest.mark.parametrize("difference", DIFFERENCES)
@pytest.mark.parametrize(("majority", "minority"), [(3, 2), (1, 4), (4, 1)])
@pytest.mark.parametrize("build", [pytest.param(form[1], id=form[0]) for form in FORMS])
def test_a_form_is_continuous_where_counts_become_equal(build, majority, minority, difference):
    optimum, equal = (
        ufm.closed_form(build(counts(majority, minority, d))) for d in (difference, 0.0)
    )
    # λ is that of a strength, so that all moves by no more than a few times the difference; logits
    # up to 30 add their rounding
    tolerance = 5 * difference + 1e-14
    assert_allclose(optimum.value, equal.value, rtol=tolerance)
    assert_allclose(
        optimum.logits, equal.logits, rtol=0, atol=tolerance * (1 + np.abs(equal.logits).max())
    )
    assert_allclose(
        optimum.classifier_gram,
        equal.classifier_gram,
        rtol=0,
        atol=tolerance * (1 + equal.classifier_gram.max()),
    )
    assert_allclose(
        optimum.class_gram, equal.class_gram, rtol=0, atol=tolerance * (1 + equal.class_gram.max())
    )


@pytest.mark.parametrize("difference", DIFFERENCES)
@pytest.mark.parametrize(("majority", "minority"), [(3, 2), (1, 4), (4, 1)])
@pytest.mark.parametrize("bias", [None, "free"])
def test_the_value_is_continuous_where_a_rank_limit_cuts_equal_masses(
    bias, majority, minority, difference
):
    """Which directions are kept is not: at equal counts any of them are."""
    near, equal = (
        ufm.closed_form(squares.make(counts(majority, minority, d), bias=bias, widths=(3,)))
        for d in (difference, 0.0)
    )
    assert_allclose(near.value, equal.value, rtol=5 * difference + 1e-14)
    assert_allclose(
        near.singular_values, equal.singular_values, rtol=5 * difference + 1e-14, atol=1e-14
    )
    assert equal.unique is False


@pytest.mark.parametrize("difference", [1e-2, 1e-4, 1e-6, 1e-8, 1e-10])
@pytest.mark.parametrize(("majority", "minority"), [(3, 2), (1, 4), (4, 1)])
@pytest.mark.parametrize("build", [pytest.param(form[1], id=form[0]) for form in FORMS])
def test_the_value_has_one_slope_where_counts_become_equal(build, majority, minority, difference):
    """A term that is wrong by a share of the difference is continuous too."""

    def change(d):
        return ufm.closed_form(build(counts(majority, minority, d))).value / equal - 1

    equal = ufm.closed_form(build(counts(majority, minority, 0.0))).value
    # of counts that are larger by as much, in the other order: both sides of equal counts
    slope = (change(1e-4) - change(-1e-4)) / 2e-4
    assert_allclose(
        change(difference),
        slope * difference,
        rtol=0,
        atol=10 * difference**2 + 2e-9 * difference + 1e-14,
    )


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda c: entropy.make(c, 0.9, bias="free"), id="cross-entropy-bias"),
        pytest.param(lambda c: entropy.make(c, 0.9, smoothing=0.1), id="cross-entropy-smoothed"),
        pytest.param(lambda c: entropy.make(c, 0.9, loss=Focal(2.0)), id="focal"),
        pytest.param(lambda c: squares.make(c, bias=0.3), id="squared-error-penalised-bias"),
    ],
)
@pytest.mark.parametrize("difference", [1e-3, 1e-6, 1e-9, 1e-11])
def test_a_form_for_equal_counts_refuses_almost_equal_ones(build, difference):
    with pytest.raises(ufm.NoClosedForm, match=r"needs .*balanced classes"):
        ufm.closed_form(build(counts(3, 2, difference)))
    # what differs by the rounding of a sum is equal
    rounded = (0.3, 0.1 + 0.2, 3 * 0.1, 0.3)
    assert len(set(rounded)) > 1
    assert_allclose(
        ufm.closed_form(build(rounded)).value, ufm.closed_form(build((0.3,) * 4)).value, rtol=1e-15
    )


@pytest.mark.parametrize(("majority", "minority"), [(2, 1), (3, 2), (2, 5), (10, 1), (1, 3)])
@pytest.mark.parametrize("difference", [1e-3, 1e-6, 1e-9, 1e-11, 2e-12])
def test_thresholds_of_almost_equal_counts(majority, minority, difference):
    """All three meet at √n.

    To first order in the difference $(Nμ)^2 = (k_B n_A + k_A n_B)/K$ where minority features
    vanish.
    """
    n, K = 1000.0, majority + minority
    given = counts(majority, minority, difference, n)
    vanishing = np.sqrt(n * (1 - difference * majority / K))
    second_order = 0 if majority == 1 else difference**2
    assert_allclose(vanishing_strength(given), vanishing, rtol=second_order + 1e-15)
    assert vanishing_strength(given) <= zero_strength(given) * (1 + 1e-15)
    if minority > 1:
        assert minority_strength(given) == np.sqrt(given[-1]) < vanishing_strength(given)


def test_the_vanishing_strength_by_number():
    # by bisection with 60 digits
    assert_allclose(vanishing_strength((1000, 1000, 999)), 31.612233039600094, rtol=3e-16)
    assert_allclose(vanishing_strength((1000, 999, 1000, 999, 999)), 31.616450464433598, rtol=3e-16)


def test_counts_that_differ_by_rounding_are_one_cluster():
    n, m = 6.0, 6.0 * (1 + 4e-16)
    assert n != m
    clusters = clusters_of((n, 2.0, m, 2.0))
    assert clusters.majority == (True, False, True, False)
    assert minority_strength((9.0, n, m)) == np.sqrt(6.0)
    assert clusters_of((n, m)) is None
    assert clusters_of((n, n * (1 + 1e-11))) is not None
    assert clusters_of((n, n * (1 + 1e-11), 2.0)) is None


@pytest.mark.parametrize(("majority", "minority"), [(3, 2), (2, 5), (1, 3), (4, 1)])
@pytest.mark.parametrize("difference", [1e-3, 1e-5, 1e-7, 1e-9, 3e-12])
@pytest.mark.parametrize("between", [0.3, 0.9, "merged", "vanishing"])
def test_two_clusters_of_almost_equal_counts_are_optimal(majority, minority, difference, between):
    """The gradient of the convex problem is in the subdifferential of the nuclear norm, between the
    thresholds too."""
    given = np.array(counts(majority, minority, difference, 1000.0))
    low, middle, high = np.sqrt(given.min()), vanishing_strength(given), zero_strength(given)
    strength = {"merged": 0.5 * (low + middle), "vanishing": 0.5 * (middle + high)}.get(
        between, 0.3 * low
    )
    if strength >= high * (1 - 1e-14):
        pytest.skip("one majority class vanishes with the minority")
    mu = strength / given.sum()
    logits, value, _ = two_cluster_logits(clusters_of(given), mu)
    wrong = np.exp(logits - logits.max(axis=0))
    wrong /= wrong.sum(axis=0)
    own = np.arange(len(given))
    wrong[own, own] = 0
    wrong[own, own] = -wrong.sum(axis=0)
    gradient, weighted = -wrong * np.sqrt(given) / given.sum() / mu, logits * np.sqrt(given)
    nuclear = np.linalg.svd(weighted, compute_uv=False).sum()
    assert np.linalg.norm(gradient, 2) <= 1 + 1e-12
    assert_allclose(np.sum(gradient * weighted), nuclear, rtol=1e-11, atol=1e-12)
    losses = np.log(np.exp(logits - np.diag(logits)).sum(axis=0))
    assert_allclose(value, given @ losses / given.sum() + mu * nuclear, rtol=1e-13)


@pytest.mark.parametrize(
    ("difference", "tied"),
    [
        pytest.param(1e-9, False, id="apart"),
        pytest.param(2e-10, False, id="just-apart"),
        pytest.param(5e-11, True, id="tied"),
    ],
)
def test_a_rank_limit_between_almost_equal_masses(difference, tied):
    """Four directions for a width of two.

    Singular values of what is that close carry rounding, and are one block from 1e-10 on.
    """
    masses = (5.0, 4.0, 4.0 * (1 - difference), 1.0)
    optimum = ufm.closed_form(squares.make(masses, widths=(2,)))
    assert optimum.unique is not tied
    assert optimum.spectrum.cut == ((1, 3, 1) if tied else None)
    edges = [slice(0, 1), slice(1, 3), slice(3, 4)] if tied else [slice(k, k + 1) for k in range(4)]
    assert list(optimum.spectrum.blocks) == edges
    # the larger of the two is kept, and the value does not know of ties
    assert_allclose(np.diag(optimum.logits)[[1, 2]], [optimum.logits[1, 1], 0], rtol=0, atol=1e-15)
    assert optimum.logits[1, 1] > 0.5
    assert_allclose(
        optimum.value,
        ufm.closed_form(squares.make((5.0, 4.0, 4.0, 1.0), widths=(2,))).value,
        rtol=difference + 1e-15,
    )


PAIRS = np.array([[0, 1], [0, 2], [1, 2]])


def mixture(*, pure=(1.0, 1.0, 1.0), mixed=((1e-12, 1e-12),) * 3):
    """Three classes with pure labels, and mixtures 0.3 .

    0.7 of every pair in both orders, of these masses.
    """
    columns, masses = [*np.eye(3)], [*pure]
    for (i, j), weights in zip(PAIRS, mixed, strict=True):
        for share, weight in zip((0.3, 0.7), weights, strict=True):
            columns.append(share * np.eye(3)[i] + (1 - share) * np.eye(3)[j])
            masses.append(weight)
    labels = ufm.soft(np.array(columns).T, masses=np.array(masses))
    return ufm.Problem(labels, loss=ufm.CrossEntropy(), widths=(3,), lambda_W=1e-2, lambda_H=1e-2)


def pairs(first, second):
    """Masses of the three pairs."""
    return (first, second, second)


# the mean mass is 1/3, and a sum of masses of that size leaves 1e-17 of it in each
ACCEPTED = (
    ("symmetric", {"mixed": ((1e-12, 1.02e-12),) * 3}),
    ("all-pairs", {"mixed": pairs((1.02e-12,) * 2, (1e-12,) * 2)}),
    ("pure", {"pure": (1e-12, 1e-12, 1.02e-12), "mixed": ((1.0, 1.0),) * 3}),
    # and where they are the largest, by 1e-12 of themselves
    ("large-symmetric", {"pure": (1e-6,) * 3, "mixed": ((1.0, 1.0 + 9e-13),) * 3}),
    ("large-all-pairs", {"pure": (1e-6,) * 3, "mixed": pairs((1.0 + 9e-13,) * 2, (1.0,) * 2)}),
    ("large-pure", {"pure": (1.0, 1.0, 1.0 + 9e-13), "mixed": ((1e-6, 1e-6),) * 3}),
)
REFUSED = (
    ("symmetric", {"mixed": ((1e-12, 1e-6),) * 3}, "symmetric under"),
    ("all-pairs", {"mixed": pairs((1e-6,) * 2, (1e-12,) * 2)}, "same masses for every pair"),
    (
        "pure",
        {"pure": (1e-12, 1e-12, 1e-6), "mixed": ((1.0, 1.0),) * 3},
        "equal masses of the pure labels",
    ),
)


@pytest.mark.parametrize("masses", [pytest.param(case[1], id=case[0]) for case in ACCEPTED])
def test_small_masses_of_a_mixture_differ_by_rounding_of_the_mean(masses):
    equal = {name: np.full_like(np.array(value), np.min(value)) for name, value in masses.items()}
    found, wanted = (ufm.closed_form(mixture(**given)) for given in (masses, equal))
    assert_allclose(found.value, wanted.value, rtol=1e-12)


@pytest.mark.parametrize(
    ("masses", "message"), [pytest.param(*case[1:], id=case[0]) for case in REFUSED]
)
def test_masses_of_a_mixture_that_differ_by_more_are_refused(masses, message):
    with pytest.raises(ufm.NoClosedForm, match=message):
        ufm.closed_form(mixture(**masses))
