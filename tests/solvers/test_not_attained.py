"""A free bias and a class that no target holds.

The infimum is not attained, and who would minimise says so at once.
"""

from __future__ import annotations

import numpy as np
import pytest

import ufm

TARGETS = np.eye(4)[:, [0, 1, 3, 3]]
CE = ufm.CrossEntropy()
LOSSES = (
    pytest.param(CE, id="ce"),
    pytest.param(ufm.losses.AdjustedCrossEntropy(additive=[0.0, 1.0, 2.0, 3.0]), id="adjusted"),
    pytest.param(ufm.losses.Focal(1.0), id="focal"),
)
WORDS = (
    r"`labels` must give every class some target .*infimum is not attained.*no target for class 2"
)


def problem_of(loss, *, bias="free", targets=TARGETS):
    return ufm.Problem(
        ufm.soft(targets), loss=loss, widths=(4,), lambda_W=1e-2, lambda_H=1e-2, bias=bias
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_minimisers_say_so(loss, key):
    problem = problem_of(loss)
    for call in (
        lambda: ufm.minimise(problem, key=key),
        lambda: ufm.search(problem, key=key),
        lambda: ufm.sweep(make=problem, over={"lambda_W": [0.01, 0.02]}, key=key, progress=False),
    ):
        with pytest.raises(ValueError, match=WORDS):
            call()


def test_large_problems_say_so(key):
    labels = ufm.labels.sparse_soft(np.array([[0, 1, 3, 3]]), np.ones((1, 4)), num_classes=4)
    problem = ufm.Problem(
        labels.in_chunks(2), loss=CE, widths=(4,), lambda_W=1e-2, lambda_H=1e-2, bias="free"
    )
    with pytest.raises(ValueError, match=WORDS):
        ufm.minimise(problem, key=key)
    smooth = ufm.labels.sparse_soft(
        np.array([[0, 1, 3, 3]]), np.ones((1, 4)) - 0.04, num_classes=4, background=0.01
    )
    assert len(smooth.absent_classes) == 0


def test_the_bias_does_run_away(key):
    """What the refusal claims.

    Ever lower along the bias of the absent class, and no bound forbids it.
    """
    problem = problem_of(CE)
    start = ufm.solvers.random_start(problem, key=key)
    values = []
    for depth in (0.0, 10.0, 20.0):
        bias = start.bias.at[2].add(-depth)
        values.append(
            float(ufm.model.objective(problem, ufm.Params(start.weights, start.features, bias)))
        )
    assert values[0] > values[1] > values[2]
    certificate = ufm.certify(problem, start)
    assert certificate.valid
    assert float(certificate.lower_bound) < values[2]


@pytest.mark.parametrize(
    ("loss", "bias", "targets"),
    [
        pytest.param(CE, 0.1, TARGETS, id="penalised"),
        pytest.param(CE, None, TARGETS, id="no-bias"),
        pytest.param(ufm.MeanSquaredError(), "free", TARGETS, id="mse"),
        pytest.param(CE, "free", 0.999 * TARGETS + 0.001 / 4, id="a-little-of-it"),
    ],
)
def test_what_has_a_minimum_is_solved(loss, bias, targets, key):
    solution = ufm.minimise(problem_of(loss, bias=bias, targets=targets), key=key)
    assert solution.result is ufm.Result.CONVERGED
