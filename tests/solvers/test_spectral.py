"""A start along the singular vectors of the loss gradient at the origin."""

from __future__ import annotations

import numpy as np
import pytest

import ufm
from ufm.solvers import spectral_start

TAIL = tuple(max(1, round(300 * 0.01 ** (k / 11))) for k in range(12))


def problem(counts=TAIL, d=12, *, loss=None, **options) -> ufm.Problem:
    labels = ufm.one_hot(counts, collapsed=True)
    settings = {"lambda_W": 1e-4, "lambda_H": 2e-4, **options}
    return ufm.Problem(labels, loss=loss or ufm.CrossEntropy(), widths=(d,), **settings)


@pytest.mark.lean("free")
@pytest.mark.parametrize("bias", [None, "free", 0.1])
def test_it_leads_to_the_optimum_in_fewer_steps(bias, key):
    p = problem(bias=bias)
    random, led = ufm.minimise(p, key=key), ufm.minimise(p, start=spectral_start(p))
    assert led.result == ufm.Result.CONVERGED
    assert ufm.certify(p, led.params).closes(1e-10)
    np.testing.assert_allclose(led.value, random.value, rtol=1e-12)
    assert led.num_steps < random.num_steps


@pytest.mark.parametrize("d", [3, 30])
def test_no_direction_starts_at_zero(d):
    # all classes alike: most singular values of the gradient lie at one value, one at zero
    p = problem((5,) * 6, d=d, lambda_W=0.02, lambda_H=0.02)
    start = spectral_start(p)
    assert start.weights[0].shape == (6, d)
    assert np.linalg.matrix_rank(start.features, tol=1e-12) == min(d, 6)


def test_for_squared_error_a_step_goes_all_the_way():
    """From Z = 0 the length N is that of the step to the minimum, where no direction is lost."""
    p = problem((40, 20, 10), d=3, loss=ufm.MeanSquaredError(), lambda_W=1e-3, lambda_H=1e-3)
    solution = ufm.minimise(p, start=spectral_start(p))
    assert solution.num_steps <= 2
    assert ufm.certify(p, solution.params).closes(1e-10)


@pytest.mark.parametrize(
    "options",
    [{"features": ufm.domains.Sphere(1.0)}, {"d": 5, "anchor": np.zeros((5, 12)), "beta": 1.0}],
    ids=["domain", "anchor"],
)
def test_other_problems_are_refused(options):
    with pytest.raises(ValueError, match="`problem` must have one linear layer with decay alone"):
        spectral_start(problem(**options))
