"""Each integrator on offer has the order it claims, and none is offered that does not fit."""

from __future__ import annotations

import diffrax
import numpy as np
import pytest

import ufm
from ufm.flows import flow
from ufm.flows.integrators import INTEGRATORS

K, N_PER_CLASS, END = 3, 5, 8.0
# Two modes, one early and one late in its growth: a single one has times at which the leading error
# of a method happens to vanish.
S0 = np.array([0.05, 0.6])
# Steps for each order: coarse ones leave the asymptotic regime, fine ones meet rounding at an error
# of 1e-15.
STEPS = {
    1: (400, 800, 1600, 3200),
    2: (40, 80, 160, 320),
    3: (20, 40, 80, 160),
    5: (20, 28, 40, 56, 80),
    8: (4, 5, 6, 7, 8, 10, 12),
}


def growing_modes():
    """A problem without decay, and a start in its invariant subspace.

    W Wᵀ keeps its eigenvectors.
    """
    problem = ufm.Problem(
        ufm.one_hot([N_PER_CLASS] * K, collapsed=True),
        loss=ufm.MeanSquaredError(),
        widths=(4,),
        lambda_W=0.0,
        lambda_H=0.0,
    )
    basis = np.linalg.svd(np.eye(K) - 1 / K)[0][:, : K - 1]
    W = basis @ np.diag(np.sqrt(S0)) @ np.eye(K - 1, 4)
    return problem, ufm.Params((W,), W.T / np.sqrt(N_PER_CLASS)), basis


def logistic(ts):
    """The eigenvalues of W Wᵀ, (T, K − 1): s' = (2 √n s − 2 s²)/N for the mean loss."""
    root = np.sqrt(N_PER_CLASS)
    return root / (
        1 + (root / S0 - 1) * np.exp(-2 * root * np.asarray(ts)[:, None] / (K * N_PER_CLASS))
    )


def error_at_end(**arguments):
    problem, start, basis = growing_modes()
    integration = ufm.flows.Integration(steady=0, **arguments)
    trajectory = flow(problem, ts=[END], start=start, integration=integration)
    assert trajectory.result is ufm.Result.REACHED_END
    W = np.asarray(trajectory.final.weights[0])
    return np.abs(W @ W.T - basis @ np.diag(logistic([END])[0]) @ basis.T).max(), int(
        trajectory.num_steps
    )


@pytest.mark.parametrize("name", INTEGRATORS)
def test_order_by_regression_on_the_logistic_law(name):
    order = INTEGRATORS[name][1]
    runs = [error_at_end(integrator=name, step=END / number) for number in STEPS[order]]
    assert tuple(steps for _, steps in runs) == STEPS[order]
    errors = [error for error, _ in runs]
    assert min(errors) > 1e-14
    slope = np.polyfit(np.log(STEPS[order]), np.log(errors), 1)[0]
    # the next term of the error is still seen at these steps; the next integer is not within reach
    np.testing.assert_allclose(-slope, order, rtol=0, atol=0.4)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, (method, _) in INTEGRATORS.items()
        if isinstance(method, diffrax.AbstractAdaptiveSolver)
    ],
)
def test_adaptive_error_follows_the_tolerance(name):
    errors = [
        error_at_end(integrator=name, rtol=rtol, atol=1e-3 * rtol)[0] for rtol in (1e-4, 1e-6, 1e-8)
    ]
    # the global error of a smooth problem of length O(1) is the tolerance up to a constant
    assert np.all(np.array(errors) < 30 * np.array([1e-4, 1e-6, 1e-8]))
    assert errors[-1] < 1e-2 * errors[0]


def test_tolerances_reach_1e_10_also_between_the_steps():
    # rows are interpolated inside the steps; Dopri8 does that to its own order
    problem, start, _ = growing_modes()
    ts = np.linspace(0, 60, 301)
    trajectory = flow(
        problem,
        ts=ts,
        start=start,
        integration=ufm.flows.Integration(rtol=1e-12, atol=1e-14, steady=0),
    )
    assert int(trajectory.num_steps) < len(ts)
    measured = (
        np.linalg.svd(np.asarray(trajectory.params.weights[0]), compute_uv=False)[:, : K - 1] ** 2
    )
    np.testing.assert_allclose(measured, logistic(ts)[:, ::-1], rtol=1e-10)


def test_a_lost_step_is_a_result_not_a_hang():
    # Four small equal factors stay near the origin for a time of 1 / (2 ε²) = 5e17 and then move
    # within one unit: doubles of that size have a spacing of 64, so no step of the needed length
    # exists.
    problem = ufm.Problem(
        ufm.one_hot([2, 2], collapsed=True),
        loss=ufm.MeanSquaredError(),
        widths=(2, 2, 2),
        lambda_W=0.0,
        lambda_H=0.0,
    )
    start = ufm.Params((1e-9 * np.eye(2),) * 3, 1e-9 * np.eye(2) / np.sqrt(2))
    trajectory = flow(
        problem,
        ts=[1e16, 1e19],
        start=start,
        integration=ufm.flows.Integration(atol=1e-20, steady=0, max_steps=10_000),
    )
    assert trajectory.result is ufm.Result.TOLERANCE_NOT_MET
    assert "tolerance" in str(trajectory.result)
    assert np.isfinite(trajectory.value[0])
    assert np.isnan(trajectory.value[1])
    assert int(trajectory.num_steps) < 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            {"integrator": "rk4"},
            "`Integration.integrator` must be one of euler, heun",
            id="unknown",
        ),
        pytest.param(
            {"integrator": diffrax.Kvaerno5()},
            "`Integration.integrator` must be explicit",
            id="implicit",
        ),
        pytest.param(
            {"integrator": diffrax.SemiImplicitEuler(), "step": 0.1},
            "`Integration.integrator` must be a method for one vector field",
            id="two-fields",
        ),
        pytest.param(
            {"integrator": diffrax.EulerHeun(), "step": 0.1},
            "`Integration.integrator` must be a method for one vector field",
            id="noise",
        ),
        pytest.param(
            {"integrator": "euler"},
            "`Integration.integrator` must estimate its error unless `step` is given",
            id="euler-adaptive",
        ),
        pytest.param(
            {"integrator": 5},
            "`Integration.integrator` must be a name or a diffrax solver",
            id="number",
        ),
        pytest.param({"step": 0.0}, "`Integration.step` must be finite and > 0", id="step"),
        pytest.param({"rtol": 1e-16}, "`Integration.rtol` must be >= 2.2e-16", id="unresolved"),
    ],
)
def test_bad_input(arguments, message):
    problem, start, _ = growing_modes()
    with pytest.raises(ValueError, match=message):
        flow(problem, ts=[1.0], start=start, integration=ufm.flows.Integration(**arguments))
