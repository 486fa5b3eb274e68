"""Regression on one number: K = 1, from labels to a proof."""

import numpy as np
import pytest

import ufm


@pytest.mark.parametrize("bias", [None, "free"])
def test_one_target_is_solved_predicted_and_certified(bias, key):
    y = np.random.default_rng(0).normal(size=(1, 8)) + 1
    problem = ufm.Problem(
        ufm.soft(y),
        loss=ufm.MeanSquaredError(),
        widths=(3,),
        lambda_W=0.02,
        lambda_H=0.01,
        bias=bias,
    )
    solution = ufm.minimise(problem, key=key)
    # one singular value, shrunk by N √(λ_W λ_H)
    centred = y - (y.mean() if bias else 0)
    length = np.linalg.norm(centred)
    kept = max(length - 8 * np.sqrt(0.02 * 0.01), 0) / length
    predicted = kept * centred + (y.mean() if bias else 0)
    np.testing.assert_allclose(solution.params.logits, predicted, rtol=0, atol=1e-9)
    assert ufm.compare(solution, ufm.closed_form(problem)).ok
    assert float(ufm.certify(problem, solution.params).gap) < 1e-12
    assert "no spurious minima" in str(ufm.theory(problem))


def test_one_target_has_no_classes_to_compare(key):
    problem = ufm.Problem(
        ufm.soft(np.ones((1, 4))),
        loss=ufm.MeanSquaredError(),
        widths=(3,),
        lambda_W=0.02,
        lambda_H=0.01,
    )
    solution = ufm.minimise(problem, key=key)
    params = solution.params
    for name, measured in {
        "solution.problem.labels": lambda: ufm.measure(solution),
        "problem.labels": lambda: ufm.metrics.measure_params(problem, params),
        "labels": lambda: ufm.metrics.measure_features(
            params.features, problem.labels, params.classifier
        ),
    }.items():
        words = rf"`{name}` must have K >= 2 classes, as metrics .* compare classes; got K=1"
        with pytest.raises(ValueError, match=words):
            measured()
