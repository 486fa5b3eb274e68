"""The finite threshold of minority collapse, against the constrained problem itself in its factors,
minimised by scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
from numpy.testing import assert_allclose

from ufm.optima.layer_peeled import merged_minority, minority_collapse_ratio


def constrained_minimum(k_A: int, k_B: int, *, ratio: float, energy: float) -> np.ndarray:
    """Logits (K, K) of the layer-peeled model, both factors on their spheres, E_W = E_H = energy.

    Best of three starts.
    """
    K = k_A + k_B
    d = K
    counts = np.array([ratio] * k_A + [1.0] * k_B)
    weights = counts / counts.sum()
    radius = np.sqrt(K * energy)

    def on_sphere(v):
        return radius * v / np.linalg.norm(v)

    def evaluate(x):
        V, U = x[: K * d], x[K * d :]
        W, H = on_sphere(V).reshape(K, d), on_sphere(U).reshape(d, K)
        Z = W @ H
        Z = Z - Z.max(axis=0)
        P = np.exp(Z) / np.exp(Z).sum(axis=0)
        G = (P - np.eye(K)) * weights
        gradients = []
        for v, g in ((V, (G @ H.T).ravel()), (U, (W.T @ G).ravel())):
            unit = v / np.linalg.norm(v)
            gradients.append(radius / np.linalg.norm(v) * (g - unit * (unit @ g)))
        return weights @ -np.log(np.diag(P)), np.concatenate(gradients)

    rng = np.random.default_rng(0)
    runs = []
    for _ in range(3):
        x = rng.normal(size=2 * K * d)
        for _ in range(3):
            run = scipy.optimize.minimize(
                evaluate,
                x,
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": 20000, "ftol": 0.0, "gtol": 1e-12},
            )
            x = run.x
        runs.append(run)
    best = min(runs, key=lambda run: run.fun)
    return on_sphere(best.x[: K * d]).reshape(K, d) @ on_sphere(best.x[K * d :]).reshape(d, K)


def spread(logits: np.ndarray, k_A: int) -> float:
    columns = logits[:, k_A:]
    return float(np.max(np.abs(columns - columns[:, :1])))


# sqrt(E_W E_H) and the threshold for it, from a cone program
KNOWN = (
    (3, 2, 0.5, 1.334),
    (3, 2, 1.0, 2.172),
    (3, 2, 2.0, 9.85),
    (5, 5, 1.0, 1.735),
    (5, 5, 2.0, 7.758),
    (5, 5, 4.0, 474.6),
    (3, 7, 1.0, 4.136),
    (3, 7, 2.0, 107.7),
)


@pytest.mark.parametrize(("k_A", "k_B", "root", "expected"), KNOWN)
def test_known_thresholds(k_A, k_B, root, expected):
    ratio = minority_collapse_ratio(k_A, k_B, weight_energy=root**2, feature_energy=1.0)
    # four digits are known
    assert_allclose(ratio, expected, rtol=5e-4)
    assert_allclose(
        minority_collapse_ratio(k_A, k_B, weight_energy=root / 8, feature_energy=8 * root),
        ratio,
        rtol=1e-12,
    )
    point = merged_minority(k_A, k_B, ratio=ratio)
    assert_allclose(point.bound, (k_A + k_B) * root, rtol=1e-13)
    own, other, minority = point.majority
    assert_allclose(ratio * (1 - own + other), 1, rtol=1e-12)
    assert_allclose(own + (k_A - 1) * other + k_B * minority, 1, rtol=1e-13)


@pytest.mark.parametrize(("k_A", "k_B", "root"), [(3, 2, 0.5), (3, 2, 1.0), (2, 3, 1.0)])
@pytest.mark.parametrize(("fraction", "merged"), [(0.9, False), (1.1, True)])
def test_minority_columns_merge_at_the_threshold(k_A, k_B, root, fraction, merged):
    ratio = fraction * minority_collapse_ratio(k_A, k_B, weight_energy=root, feature_energy=root)
    found = spread(constrained_minimum(k_A, k_B, ratio=ratio, energy=root), k_A)
    # L-BFGS-B leaves gradients of about 1e-8, and beyond the threshold singular values vanish with
    # the square of a factor's
    assert found < 1e-5 if merged else found > 1e-2


@pytest.mark.parametrize(("k_A", "k_B", "root"), [(3, 2, 1.0), (2, 3, 1.0)])
def test_the_point_at_the_threshold_is_that_of_the_constrained_problem(k_A, k_B, root):
    ratio = minority_collapse_ratio(k_A, k_B, weight_energy=root, feature_energy=root)
    logits = constrained_minimum(k_A, k_B, ratio=ratio, energy=root)
    a, d, c = merged_minority(k_A, k_B, ratio=ratio).logits
    K = k_A + k_B
    predicted = np.full((K, K), c)
    predicted[:, :k_A] = -(a + k_B * d) / k_A
    predicted[k_A:, :k_A] = d
    predicted[k_A:, k_A:] = -k_A * c / k_B
    predicted[np.arange(k_A), np.arange(k_A)] += a
    # exactly at the threshold the minimum is quartic in the factors
    assert_allclose(logits, predicted, rtol=0, atol=1e-3)


@pytest.mark.parametrize("ratio", [1.0, 1.0 + 1e-6, 1.01, 1.1, 3.0, 1e6, 1e12])
def test_the_point_is_stationary_and_the_bound_grows(ratio):
    points = [merged_minority(4, 3, ratio=r) for r in (ratio, 1.001 * ratio)]
    assert points[1].bound > points[0].bound >= 0
    own, other, _ = points[0].majority
    assert_allclose(ratio * (1 - own + other), 1, rtol=1e-4 if ratio > 1e10 else 1e-8)


@pytest.mark.parametrize(("k_A", "k_B"), [(2, 2), (3, 4), (10, 2)])
@pytest.mark.parametrize("excess", [1e-12, 1e-10, 1e-8, 1e-6, 1e-4])
def test_almost_equal_counts(k_A, k_B, excess):
    """To first order in R − 1:

    a = K (R − 1), d = c = −k_B (R − 1)/K, and their nuclear norm is the bound.
    """
    K, point = k_A + k_B, merged_minority(k_A, k_B, ratio=1 + excess)
    # 1 + excess is rounded, and the slopes are differences of numbers near one
    rtol = 10 * excess + 1e-15 / excess
    assert_allclose(point.bound / excess, K * (k_A - 1) + k_B, rtol=rtol)
    assert_allclose(point.logits / excess, [K, -k_B / K, -k_B / K], rtol=rtol)
    ratio = minority_collapse_ratio(
        k_A, k_B, weight_energy=point.bound / K, feature_energy=point.bound / K
    )
    assert_allclose(ratio - 1, excess, rtol=rtol)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda: minority_collapse_ratio(1, 3, weight_energy=1.0, feature_energy=1.0),
            "`num_majority`",
            id="one-majority",
        ),
        pytest.param(
            lambda: minority_collapse_ratio(3, 1, weight_energy=1.0, feature_energy=1.0),
            "`num_minority`",
            id="one-minority",
        ),
        pytest.param(
            lambda: minority_collapse_ratio(3, 2, weight_energy=0.0, feature_energy=1.0),
            "`weight_energy`",
            id="no-weights",
        ),
        pytest.param(
            lambda: minority_collapse_ratio(3, 2, weight_energy=1.0, feature_energy=np.nan),
            "`feature_energy`",
            id="nan",
        ),
        pytest.param(
            lambda: minority_collapse_ratio(3, 2, weight_energy=1e4, feature_energy=1.0),
            "below 1e13",
            id="too-wide",
        ),
        pytest.param(lambda: merged_minority(3, 2, ratio=0.5), "`ratio`", id="minority-larger"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
