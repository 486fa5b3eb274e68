"""Rounding outward, by hand."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from flint import arb, ctx, fmpq

from ufm._exact.fractions import fractions
from ufm.certificates.balls import round_down, round_up, sum_of_squares

TINY = fmpq(1, 2**60)


@pytest.mark.parametrize(
    ("number", "down", "up"),
    [
        pytest.param(fmpq(1, 2), 0.5, 0.5, id="a-float"),
        pytest.param(fmpq(1, 2**1074), 5e-324, 5e-324, id="the-least-float"),
        pytest.param(fmpq(1, 2**1075), 0.0, 5e-324, id="below-the-least-float"),
        pytest.param(1 + TINY, 1.0, math.nextafter(1, 2), id="above-one"),
        pytest.param(1 - TINY, math.nextafter(1, 0), 1.0, id="below-one"),
        pytest.param(-1 - TINY, math.nextafter(-1, -2), -1.0, id="below-minus-one"),
        pytest.param(
            fmpq(1, 3), 0.3333333333333333, math.nextafter(0.3333333333333333, 1), id="third"
        ),
        pytest.param(fmpq(2) ** 5000, sys.float_info.max, math.inf, id="too-large"),
        pytest.param(-(fmpq(2) ** 5000), -math.inf, -sys.float_info.max, id="too-small"),
    ],
)
def test_rounded_outward(number, down, up):
    with ctx.workprec(106):
        ball = arb(number)
        assert (round_down(ball), round_up(ball)) == (down, up)


def test_zero_has_no_sign():
    for end in (round_down(arb(0)), round_up(arb(0))):
        assert (end, math.copysign(1, end)) == (0, 1)


def test_a_radius_is_part_of_the_ball():
    ball = arb(1, 0.25)
    assert 0.75 * (1 - 1e-8) < round_down(ball) <= 0.75
    assert 1.25 <= round_up(ball) < 1.25 * (1 + 1e-8)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_bounds_nothing(number):
    assert (round_down(arb(number)), round_up(arb(number))) == (-math.inf, math.inf)


def test_fractions_are_the_floats():
    given = [[0.1, -2.0], [5e-324, 3.0]]
    wanted = [[fmpq(*x.as_integer_ratio()) for x in row] for row in given]
    assert fractions(np.array(given)) == wanted
    # 0.1 is not a tenth
    assert fractions(np.float64(0.1)) != fmpq(1, 10)
    assert fractions(np.float32(0.1)) == fmpq(13421773, 2**27)


def test_sum_of_squares():
    assert sum_of_squares(np.array([[1.0, 2.0], [3.0, 4.0]])) == 30
    with ctx.workprec(106):
        assert sum_of_squares(np.array([1e300])) == arb(1e300) ** 2
