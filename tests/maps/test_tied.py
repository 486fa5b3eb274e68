"""Contrastive losses: features against each other, and the labels that make it cross-entropy."""

import jax
import numpy as np
import pytest

import ufm

COUNTS, TAU = (3, 2, 1), 0.5
INDEX = np.repeat(np.arange(3), COUNTS)


def written(X, counted):
    """The mean over samples with a positive, in loops."""
    terms = []
    for i in counted:
        z = X.T @ X[:, i] / TAU
        others = [j for j in range(len(INDEX)) if j != i]
        same = [j for j in others if INDEX[j] == INDEX[i]]
        terms.append(np.log(sum(np.exp(z[j]) for j in others)) - np.mean(z[same]))
    return np.mean(terms)


def problem_of(*, nonnegative, domain):
    return ufm.Problem(
        ufm.labels.contrastive(COUNTS),
        loss=ufm.CrossEntropy(),
        widths=(4,),
        lambda_W=0.0,
        lambda_H=0.0,
        features=domain,
        fixed_weights=(np.zeros((6, 4)),),
        map=ufm.maps.Tied(TAU, nonnegative=nonnegative),
    )


@pytest.mark.parametrize("nonnegative", [False, True])
def test_the_objective_is_the_supervised_contrastive_loss(nonnegative, key):
    problem = problem_of(nonnegative=nonnegative, domain=ufm.domains.Sphere(1.0))
    params = ufm.solvers.random_start(problem, key=key)
    H = np.asarray(params.features)
    X = H**2 / np.linalg.norm(H**2, axis=0) if nonnegative else H
    np.testing.assert_allclose(np.asarray(problem.head(params).features), X, rtol=1e-14)
    # the class of one sample has no term of its own
    value = float(ufm.model.objective(problem, params))
    assert value == pytest.approx(written(X, range(5)), rel=1e-14)


def test_a_sample_does_not_name_itself():
    labels = ufm.labels.contrastive(COUNTS)
    assert np.all(np.isneginf(np.diag(labels.offsets)))
    assert np.all(np.diag(labels.targets) == 0)
    np.testing.assert_allclose(np.asarray(labels.targets).sum(axis=0), 1, rtol=1e-14)
    assert float(labels.column_weights[5]) < 1e-300


def test_a_tied_problem_is_written_down_and_read_back(key):
    problem = problem_of(nonnegative=True, domain=ufm.domains.Sphere(1.0))
    params = ufm.solvers.random_start(problem, key=key)
    again = ufm.Problem.from_dict(problem.to_dict())
    assert float(ufm.model.objective(again, params)) == float(ufm.model.objective(problem, params))


def test_features_that_vanish_embed_at_zero_with_a_finite_slope():
    tied = ufm.maps.Tied(nonnegative=True)
    slope = jax.grad(lambda H: tied.embeddings(H).sum())(np.zeros((3, 2)))
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize(
    ("counts", "wanted"),
    [
        pytest.param((1, 1), "two samples or more", id="alone"),
        pytest.param((1.5, 2), "whole numbers", id="half-a-sample"),
        pytest.param((4000, 4000), "at most 5000", id="too-many"),
    ],
)
def test_counts_that_are_refused(counts, wanted):
    with pytest.raises(ValueError, match=wanted):
        ufm.labels.contrastive(counts)


def test_text():
    assert str(ufm.maps.Tied(0.5)) == "Tied(temperature=0.5, nonnegative=False)"
