"""What is printed of a bound holds when it is read back."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ufm._exact.decimals import exactly, printed, printed_inside
from ufm.certificates import Interval
from ufm.solution import Certificate


@pytest.mark.parametrize(("digits", "form"), [(12, "g"), (4, "g"), (2, "e"), (1, "e")])
def test_what_is_read_back_lies_on_the_side_that_is_said(digits, form):
    rng = np.random.default_rng(0)
    for value in (rng.standard_normal(500) * 10.0 ** rng.integers(-300, 300, 500)).tolist():
        below, above = (float(printed(value, digits, up=up, form=form)) for up in (False, True))
        assert below <= value <= above
        np.testing.assert_allclose([below, above], value, rtol=10.0 ** (1 - digits))


@pytest.mark.parametrize("value", [0.0, 0.1, 2.0, -1e-9, 1e22, math.inf, -math.inf])
def test_a_short_number_is_written_as_it_is(value):
    for up in (False, True):
        assert printed(value, 12, up=up) == f"{value:.12g}"
        assert printed(value, 1, up=up, form="e") in (f"{value:.0e}", "1e+22")


def test_an_interval_is_written_from_inside():
    assert str(Interval(1.81036, 50.0)) == "[1.811, 50]"
    assert str(Interval(7.16019, math.inf)) == "[7.161, inf)"
    # in as many digits as it is wide enough for
    assert printed_inside(1.81036, 1.81037, 4) == ("1.81036", "1.81037")
    assert printed_inside(0.1, 0.1, 4) == ("0.1", "0.1")


def test_one_number_is_written_in_full():
    assert (exactly(2.0), exactly(1.81036), exactly(1.8103612345)) == (
        "2",
        "1.81036",
        "1.8103612345",
    )


def test_a_certificate_is_written_from_outside():
    numbers = {
        "value": 0.3,
        "lower_bound": 0.29999999999999,
        "gap": 3.31e-14,
        "spectral_ratio": 1.0,
        "bias_residual": 0.0,
        "rounding": 1e-16,
        "contradiction": 0.0,
    }
    arrays = {name: np.asarray(number) for name, number in numbers.items()}
    words = {
        "lowering": np.asarray(0),
        "dim": 2,
        "full_rank": 2,
        "local_minima": False,
        "loose": (),
    }
    first, _ = str(Certificate(**arrays, **words, loss="X")).splitlines()
    assert first == "value 0.3 >= global minimum >= 0.299999999999: relative gap 3.4e-14"
