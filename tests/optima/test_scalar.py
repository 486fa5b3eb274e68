from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from ufm.optima.scalar import collapse_load, existence_load, scalar_value, solve_scalar

DEPTHS = (1, 2, 3, 6)


@pytest.mark.parametrize(
    ("depth", "t_c", "t_e"),
    [
        pytest.param(1, 1.0, 1.0, id="one-layer-continuous"),
        # 1^(1/2) / 2 and 9/8 (1/3)^(1/2)
        pytest.param(2, 0.5, 9 / 8 / np.sqrt(3), id="two-layers"),
        # 2^(2/3) / 3 and 16/12 (1/2)^(2/3)
        pytest.param(3, 4 ** (1 / 3) / 3, 4 / 3 * 0.25 ** (1 / 3), id="three-layers"),
    ],
)
def test_thresholds_by_hand(depth, t_c, t_e):
    assert_allclose((collapse_load(depth), existence_load(depth)), (t_c, t_e), rtol=1e-15)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("relative", [1e-6, 0.1, 0.7, 0.99, 1.01, 1.2, 3.0])
def test_fraction_beats_a_grid_in_the_original_variable(depth, relative):
    # the slow twin: 1/(1+x^M) + t x on a grid, without fractions, roots or thresholds
    t = relative * collapse_load(depth)
    x = np.concatenate([[0.0], np.logspace(-8, 8, 400_001)])
    grid = 1 / (1 + x**depth) + t * x
    f = solve_scalar([t], depth).fraction
    value = scalar_value(f, loads=[t], depth=depth)[0]
    assert value <= grid.min() * (1 + 1e-14)
    assert_allclose(value, grid.min(), rtol=1e-8)


@pytest.mark.parametrize("depth", DEPTHS)
def test_stationary_points_to_rounding_and_in_order(depth):
    loads = existence_load(depth) * np.array([1e-30, 1e-12, 1e-3, 0.3, 0.8, 0.999])
    points = solve_scalar(loads, depth)
    a, power = (loads / depth) ** (depth / (depth + 1)), (depth - 1) / (depth + 1)
    short = np.where(points.fraction > 0, points.shortfall, 1 - points.large)
    # relative, in 1 − f: at t = 1e-30 the fraction itself is 1.0
    assert_allclose(
        (short * (1 - short) ** power)[points.fraction > 0], a[points.fraction > 0], rtol=4e-15
    )
    if depth == 1:
        assert np.all(np.isnan(points.small))
    else:
        assert_allclose((1 - points.small) * points.small**power, a, rtol=4e-15)
        assert np.all(points.small < points.large)


@pytest.mark.parametrize("depth", [2, 3, 6])
def test_transition_is_discontinuous(depth):
    t_c = collapse_load(depth)
    points = solve_scalar(t_c * np.array([1 - 1e-9, 1.0, 1 + 1e-9]), depth)
    jump = (depth - 1) / depth
    assert_allclose(points.fraction, [jump, jump, 0.0], rtol=0, atol=1e-8)
    assert points.boundary.tolist() == [False, True, False]
    assert points.metastable.tolist() == [False, True, True]
    # both minima are equally good exactly there
    assert_allclose(scalar_value(points.large[1], loads=t_c, depth=depth), 1.0, rtol=1e-14)


def test_one_layer_is_soft_thresholding():
    loads = np.array([1e-12, 0.25, 1.0, 4.0])
    points = solve_scalar(loads, 1)
    assert_allclose(points.fraction, [1 - 1e-6, 0.5, 0.0, 0.0], rtol=1e-15)
    assert not points.boundary.any()
    assert not points.metastable.any()
    # min g = 2 sqrt(t) − t below the threshold
    assert_allclose(
        scalar_value(points.fraction, loads=loads, depth=1),
        [2e-6 - 1e-12, 0.75, 1.0, 1.0],
        rtol=1e-9,
    )


@pytest.mark.parametrize("depth", [2, 3, 6])
def test_nothing_but_zero_beyond_the_existence_load(depth):
    points = solve_scalar(existence_load(depth) * np.array([1.0, 1.5]), depth)
    assert np.all(np.isnan(points.large))
    assert np.all(points.fraction == 0)
    f = np.linspace(1e-6, 1, 1001)
    assert np.all(np.diff(scalar_value(f, loads=1.001 * existence_load(depth), depth=depth)) > 0)


@pytest.mark.parametrize(
    ("loads", "depth", "message"),
    [
        pytest.param([0.0], 2, "`loads` must be > 0; got", id="zero-load"),
        pytest.param([1.0], 0, "`depth` must be a whole number >= 1; got 0", id="no-layer"),
    ],
)
def test_refuses(loads, depth, message):
    with pytest.raises(ValueError, match=message):
        solve_scalar(loads, depth)
