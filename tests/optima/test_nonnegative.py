"""Closed forms for nonnegative features against the projected solver, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import ufm
from ufm.optima.forms.nonnegative_cross_entropy import nonnegative_margins

NONNEGATIVE = ufm.domains.Nonnegative()


def make(
    counts,
    *,
    loss=None,
    lambda_W=5e-3,
    lambda_H=5e-3,
    widths=(8,),
    bias=None,
    collapsed=True,
    labels=None,
    features=NONNEGATIVE,
):
    labels = ufm.one_hot(counts, collapsed=collapsed) if labels is None else labels
    loss = ufm.CrossEntropy() if loss is None else loss
    return ufm.Problem(
        labels,
        loss=loss,
        widths=widths,
        lambda_W=lambda_W,
        lambda_H=lambda_H,
        bias=bias,
        features=features,
    )


def at_threshold(counts, k, fraction):
    """The λ at which N² λ² K/(K−1) is `fraction` squared of n_k."""
    return fraction * np.sqrt(counts[k] * (len(counts) - 1) / len(counts)) / sum(counts)


LONG = (20, 10, 6, 4)
SOLVED = (
    pytest.param(make((5, 5, 5)), id="balanced"),
    pytest.param(make((9, 2)), id="two-classes"),
    pytest.param(make(LONG), id="imbalanced"),
    pytest.param(make(LONG, collapsed=False), id="imbalanced-full"),
    pytest.param(make(LONG, lambda_W=0.05, lambda_H=2e-4), id="unequal-decay"),
    pytest.param(make(LONG, lambda_W=1e-4, lambda_H=1e-4), id="weak-decay"),
    pytest.param(make(LONG, widths=(4,)), id="d-is-K"),
    pytest.param(
        make(LONG, **dict.fromkeys(("lambda_W", "lambda_H"), at_threshold(LONG, 3, 0.99))),
        id="before-the-threshold",
    ),
    pytest.param(
        make(LONG, **dict.fromkeys(("lambda_W", "lambda_H"), at_threshold(LONG, 3, 1.0))),
        id="at-the-threshold",
    ),
    pytest.param(
        make(LONG, **dict.fromkeys(("lambda_W", "lambda_H"), at_threshold(LONG, 3, 1.01))),
        id="class-lost",
    ),
    pytest.param(
        make(
            LONG,
            widths=(2,),
            **dict.fromkeys(("lambda_W", "lambda_H"), at_threshold(LONG, 2, 1.01)),
        ),
        id="two-lost-and-d-2",
    ),
    pytest.param(make(LONG, lambda_W=0.2, lambda_H=0.2), id="all-lost"),
    pytest.param(make(LONG, loss=ufm.MeanSquaredError()), id="squared-error"),
    pytest.param(
        make((5, 5, 5), loss=ufm.MeanSquaredError(), widths=(6, 6)), id="squared-error-deep"
    ),
    pytest.param(
        make((5, 5, 5), loss=ufm.MeanSquaredError(), widths=(2,)), id="squared-error-d-below-K"
    ),
)


@pytest.mark.lean("imbalanced-full", "d-is-K", "squared-error-deep")
@pytest.mark.parametrize("problem", SOLVED)
def test_the_solver_agrees(problem, key):
    optimum = ufm.closed_form(problem)
    solution = ufm.minimise(problem, key=key, starts=16)
    assert solution.result is ufm.Result.CONVERGED
    assert np.min(np.asarray(solution.params.features)) >= 0
    comparison = ufm.compare(solution, optimum)
    assert comparison.ok, str(comparison)
    assert float(np.min(np.asarray(solution.values))) >= optimum.value * (1 - 1e-12)


@pytest.mark.parametrize(("fraction", "lost"), [(1 - 1e-12, False), (1 + 1e-12, True)])
@pytest.mark.parametrize("k", range(4))
def test_classes_vanish_at_the_threshold(k, fraction, lost):
    lam = at_threshold(LONG, k, fraction)
    margins = nonnegative_margins(LONG, lambda_W=lam, lambda_H=lam)
    assert (margins[k] == 0) == lost
    assert np.all(margins[:k] > 0)
    assert np.all(margins[k + 1 :] == 0)


def test_the_margin_by_hand():
    # K = 2, n = 2, N = 4: sqrt(2 n / 1) = 2, N λ = 0.4, so M = log(2/0.4 - 1)
    assert_allclose(nonnegative_margins((2, 2), lambda_W=0.1, lambda_H=0.1), np.log(4), rtol=1e-15)


def test_margins_of_equal_counts_are_stationary_points_of_the_scalar_problem():
    counts, lam = (7,) * 5, 2e-3
    K, N = 5, 35.0
    M = nonnegative_margins(counts, lambda_W=lam, lambda_H=lam)[0]
    slope = -(7 / N) * (K - 1) / (np.exp(M) + K - 1) + lam * np.sqrt(7 * (K - 1) / K)
    assert abs(slope) < 1e-16


UNSOLVED = (
    pytest.param(make(LONG, bias="free"), "bias=None", id="bias"),
    pytest.param(
        make(LONG, bias=0.1, loss=ufm.MeanSquaredError()), "bias=None", id="squared-error-bias"
    ),
    pytest.param(make(LONG, widths=(3,)), "d >= 4", id="d-below-K"),
    pytest.param(make(LONG, widths=(8, 8)), "M = 1", id="deep"),
    pytest.param(
        make(None, labels=ufm.soft(np.full((3, 3), 0.1) + 0.7 * np.eye(3))), "one-hot", id="soft"
    ),
    pytest.param(
        make(
            None,
            labels=ufm.soft(np.full((3, 3), 0.1) + 0.7 * np.eye(3)),
            loss=ufm.MeanSquaredError(),
        ),
        "one-hot",
        id="squared-error-soft",
    ),
)


@pytest.mark.parametrize(("problem", "message"), UNSOLVED)
def test_what_has_no_closed_form(problem, message):
    with pytest.raises(ufm.NoClosedForm, match=message):
        ufm.closed_form(problem)
