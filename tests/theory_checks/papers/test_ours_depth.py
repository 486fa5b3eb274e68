"""The last layer of a chain, as softmax codes are measured."""

from __future__ import annotations

import numpy as np
import pytest

import ufm
from theory_checks.papers.ours_depth.checks import balanced, last_layer, least_lead


@pytest.mark.parametrize("M", [1, 3])
def test_a_chain_at_a_code_has_its_margin(M):
    code = ufm.frames.polygon(5).vectors
    point = balanced(code, code, M, np.random.default_rng(0))
    rows, features = last_layer((*map(np.asarray, point.weights), np.asarray(point.features)))
    np.testing.assert_allclose(rows @ features, code @ code.T, rtol=0, atol=1e-12)
    assert least_lead(rows, features) == pytest.approx(1 - np.cos(2 * np.pi / 5), rel=1e-12)


def test_the_least_lead_by_hand():
    # the second column's own logit, 0, is 0.6 behind the first
    rows, features = np.eye(2), np.array([[[1.0, 0.6], [0.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
    np.testing.assert_allclose(least_lead(rows, features), [-0.6, 1.0], rtol=1e-14)
