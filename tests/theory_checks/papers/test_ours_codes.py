"""The conditions in plain floats end where the proofs in balls end."""

from __future__ import annotations

import numpy as np
import pytest

import ufm
from theory_checks.papers.ours_codes.formulas import condition_A, orthoplex_B, sphere_mean, touching


@pytest.mark.parametrize("d", [3, 5, 6, 8, 16])
def test_theorem_B_ends_where_floats_say(d):
    intervals = ufm.certificates.proved_intervals(ufm.frames.orthoplex(d), theorem="B", width=1e-4)
    inner = [end for found in intervals for end in (found.low, found.high) if 0 < end < 100]
    assert len(inner) == (1 if d == 3 else 2)
    for end in inner:
        low, high = orthoplex_B(d, end - 2e-4), orthoplex_B(d, end + 2e-4)
        assert min(low, high) <= 1 < max(low, high)
        assert orthoplex_B(d, end) <= 1 + 1e-12


@pytest.mark.lean("orthoplex in R^4", "icosahedron", "27 in R^6")
@pytest.mark.parametrize("code", ufm.frames.sharp_codes()[4:14], ids=lambda code: code.name)
def test_theorem_A_ends_where_floats_say(code):
    for found in ufm.certificates.proved_intervals(code, width=1e-2):
        for end, outwards in ((found.low, -1), (found.high, 1)):
            if 0 < end < 100:
                assert condition_A(code, end) <= 1 < condition_A(code, end + outwards * 2e-2)


def test_touching_touches():
    code, beta = ufm.frames.icosahedron(), 3.0
    h, t = touching(code, beta), code.inner_products
    np.testing.assert_allclose(h(t), np.exp(beta * (t - 1)), rtol=1e-12)
    np.testing.assert_allclose(h.deriv()(t[1:]), beta * np.exp(beta * (t[1:] - 1)), rtol=1e-12)
    # a design has the mean of the sphere
    assert np.mean(h(code.vectors @ code.vectors[0])) == pytest.approx(sphere_mean(h, 3), rel=1e-12)
