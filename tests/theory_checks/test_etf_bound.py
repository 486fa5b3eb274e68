"""A bound that no simplex ETF gets below, against the minimum in forty digits, which shares neither
its intervals nor its convexity."""

import mpmath
import numpy as np
import pytest

from theory_checks.formulas.etf_bound import least_etf_value

CASES = (
    # id, K, the decays of the layers, lambda_H, n
    pytest.param(4, (0.03, 0.03), 0.03, 1.0, id="counterexample-of-two-layers"),
    pytest.param(8, (0.03, 0.03, 0.03), 0.03, 1.0, id="counterexample-of-three-layers"),
    pytest.param(6, (0.2, 1e-3), 0.01, 3.0, id="unequal-decay"),
    pytest.param(3, (0.05,), 0.02, 7.0, id="one-layer"),
    pytest.param(2, (1e-3,) * 5, 1e-3, 0.1, id="two-classes-five-layers"),
    pytest.param(1000, (1e-9, 1e-9), 1e-9, 500.0, id="weak-decay"),
    pytest.param(4, (1.0, 1.0), 1.0, 1.0, id="zero-is-the-least"),
)


def minimum(K, lambda_W, lambda_H, n):
    """Of loss and decay on a dense grid, then by the root of the derivative beside its best point,
    or at zero."""
    power = mpmath.mpf(2) / (len(lambda_W) + 1)
    factor = (
        (K - 1)
        / power
        * mpmath.root(mpmath.fprod(map(mpmath.mpf, (*lambda_W, lambda_H, n))), len(lambda_W) + 1)
    )
    grid = np.geomspace(1e-12, 800, 20_000)
    best = int(np.argmin(np.log1p((K - 1) * np.exp(-grid)) + float(factor) * grid ** float(power)))
    if best == 0:
        return mpmath.log(K)
    ends = tuple(mpmath.mpf(float(grid[i])) for i in (best - 1, best + 1))
    a = mpmath.findroot(
        lambda a: factor * power * a ** (power - 1) - (K - 1) / (mpmath.exp(a) + K - 1),
        ends,
        solver="illinois",
    )
    return min(mpmath.log(K), mpmath.log1p((K - 1) * mpmath.exp(-a)) + factor * a**power)


@pytest.mark.parametrize(("K", "lambda_W", "lambda_H", "n"), CASES)
def test_the_bound_is_below_and_near(K, lambda_W, lambda_H, n):
    with mpmath.workdps(40):
        least = minimum(K, lambda_W, lambda_H, n)
        bound = least_etf_value(K, lambda_W, lambda_H, n)
        assert bound <= least
        assert least - bound <= 4e-15 * least


def test_fewer_halvings_leave_a_lower_bound():
    bounds = [
        least_etf_value(4, (0.03, 0.03), 0.03, 1.0, halvings=number)
        for number in (0, 5, 20, 40, 10_000)
    ]
    assert bounds == sorted(bounds)
    assert 0 < bounds[0] < 0.7 * bounds[-1]
    assert bounds[1] < bounds[2] < bounds[3]


def test_the_values_of_the_counterexamples():
    assert least_etf_value(4, (0.03, 0.03), 0.03, 1.0) == pytest.approx(
        0.3934384244922444, rel=2e-15
    )
    assert least_etf_value(8, (0.03,) * 3, 0.03, 1.0) == pytest.approx(
        0.9601935149689181, rel=2e-15
    )
