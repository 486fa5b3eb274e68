"""The one bisection of the library: down to neighbouring floats, on whichever side is asked for."""

from __future__ import annotations

import math

import pytest

from ufm._host.roots import past_root, root_between, turn


@pytest.mark.parametrize(
    ("function", "low", "high", "root"),
    [
        pytest.param(lambda x: x**2 - 2, 0.0, 2.0, math.sqrt(2), id="rising"),
        pytest.param(lambda x: 2 - x**2, 0.0, 2.0, math.sqrt(2), id="falling"),
        pytest.param(lambda x: x - 1e-200, 0.0, 1.0, 1e-200, id="tiny"),
        pytest.param(lambda x: x + 3, -10.0, 10.0, -3.0, id="negative"),
        pytest.param(lambda x: math.inf if x < 5 else -math.inf, 0.0, 8.0, 5.0, id="a-jump"),
    ],
)
def test_a_root_is_found_to_rounding(function, low, high, root):
    assert root_between(function, low, high) == pytest.approx(root, rel=3e-16, abs=0)


def test_the_ends_are_neighbours_and_the_upper_one_is_beyond():
    low, high = turn(lambda x: x >= 0.1, 0.0, 1.0)
    assert high == 0.1
    assert low == math.nextafter(0.1, 0.0)


def test_an_interval_without_a_middle_is_kept():
    assert turn(lambda x: True, 1.0, 1.0) == (1.0, 1.0)


def test_past_root_is_past_it():
    assert past_root(lambda x: x - 1000.5, 1.0) > 1000.5
    assert past_root(lambda x: x, 1.0) == 2.0
