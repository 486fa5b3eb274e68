"""The explicit solution at which minority classes merge, against the library's own threshold and
against first-order conditions."""

import numpy as np
import pytest

import ufm
from theory_checks.papers.fang2021.checks import merging


@pytest.mark.parametrize("R", [1.001, 1.334, 3.0, 50.0, 1e6])
@pytest.mark.parametrize(("k_A", "k_B"), [(2, 2), (3, 2), (3, 7), (20, 80)])
def test_merging_point(k_A, k_B, R):
    K, there = k_A + k_B, merging(k_A, k_B, R)
    radius = there.bound / K
    assert ufm.laws.minority_collapse_ratio(
        k_A, k_B, weight_energy=radius, feature_energy=radius
    ) == pytest.approx(R, rel=1e-12)
    counts = np.array([R] * k_A + [1.0] * k_B)
    Z = there.logits
    P = np.exp(Z - Z.max(axis=0))
    P /= P.sum(axis=0)
    assert there.loss == pytest.approx(float(counts @ -np.log(np.diag(P)) / counts.sum()), rel=1e-9)
    U, s, Vt = np.linalg.svd(Z)
    assert s.sum() == pytest.approx(there.bound, rel=1e-12)
    # minus the gradient of the summed loss is in the subdifferential of the nuclear norm: U Vᵀ on
    # the support, norm 1 in all
    pull = (np.eye(K) - P) * counts
    rank = k_A
    np.testing.assert_allclose(U[:, :rank].T @ pull @ Vt[:rank].T, np.eye(rank), rtol=0, atol=1e-8)
    np.testing.assert_allclose(np.linalg.svd(pull)[1][: K - 1], np.ones(K - 1), rtol=0, atol=1e-8)
