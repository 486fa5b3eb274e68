"""The rival of the sweep of ReLU problems minimises the same smoothed objective."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize

import ufm
from tests.benchmarks import rectified
from ufm.solvers.coordinates import to_params


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_both_sides_minimise_the_same_function(share):
    whole = rectified.problem(4, 4, 0.3, width=4)
    lam, x = float(whole.lambda_H), np.random.default_rng(0).standard_normal(80)
    smooth = whole.replace(map=ufm.maps.Activated("smooth_relu", 0.03))
    value = float(ufm.model.objective(smooth, to_params(smooth, x)))
    value -= 0.5 * (1 - share) * float(x @ x)
    args = (4, 4, lam, 0.03, share)
    assert rectified.smoothed_objective(x, *args)[0] == pytest.approx(value, rel=1e-13)
    gradient = rectified.smoothed_objective(x, *args)[1]
    # forward differences of step 1.5e-8, relative to the gradient
    error = scipy.optimize.check_grad(
        lambda y: rectified.smoothed_objective(y, *args)[0],
        lambda y: rectified.smoothed_objective(y, *args)[1],
        x,
    )
    assert error < 1e-5 * np.linalg.norm(gradient)
