"""The perturbation model's formulas, against matrices built from its second derivatives and against
finite differences."""

import numpy as np
import pytest

from ufm.optima import perturbation

SETTINGS = [
    pytest.param(4, 3, 6, np.sqrt(2), 0.3, 100.0, id="paper-like"),
    pytest.param(3, 4, 5, 0.5, 0.2, 2.0, id="weak-pull"),
    pytest.param(3, 2, 3, 1.0, 0.9, 0.1, id="d=K, nearly-at-the-threshold"),
    pytest.param(2, 5, 4, 2.0, 0.4, 1e4, id="strong-pull"),
    pytest.param(4, 1, 5, 0.3, 1.5, 1.0, id="one-sample-a-class"),
]


def collapsed(K, n, d, lambda_W, lambda_H):
    frame = np.linalg.qr(np.random.default_rng(0).normal(size=(d, K)))[0]
    W, means = perturbation.collapsed_minimiser(frame, lambda_W=lambda_W, lambda_H=lambda_H)
    return W, np.repeat(means, n, axis=1), np.repeat(np.eye(K), n, axis=1)


@pytest.mark.parametrize(("K", "n", "d", "lambda_W", "lambda_H", "beta"), SETTINGS)
def test_spectra_are_those_of_the_matrix(K, n, d, lambda_W, lambda_H, beta):
    lambdas = {"lambda_W": lambda_W, "lambda_H": lambda_H}
    sizes = {"num_classes": K, "samples_per_class": n, "feature_dim": d}
    W, H, Y = collapsed(K, n, d, lambda_W, lambda_H)
    F = perturbation.response(W, H, Y, beta=beta, **lambdas)
    gains = perturbation.gains(beta=beta, **sizes, **lambdas)
    assert gains.multiplicities.sum() == d * n * K
    np.testing.assert_allclose(
        np.linalg.svd(F, compute_uv=False), gains.spectrum, rtol=0, atol=1e-13
    )
    np.testing.assert_allclose(F, F.T, rtol=0, atol=1e-13)

    block = d * n
    staircase = perturbation.diagonal_block_gains(beta=beta, **sizes, **lambdas)
    assert staircase.multiplicities.sum() == block
    np.testing.assert_allclose(
        np.linalg.svd(F[:block, :block], compute_uv=False), staircase.spectrum, rtol=0, atol=1e-13
    )
    across = np.linalg.svd(F[:block, block : 2 * block], compute_uv=False)
    np.testing.assert_allclose(
        across,
        [perturbation.cross_talk(beta=beta, **lambdas), *np.zeros(block - 1)],
        rtol=0,
        atol=1e-13,
    )


@pytest.mark.parametrize(("K", "n", "d", "lambda_W", "lambda_H", "beta"), SETTINGS)
def test_collapse_is_stationary_and_optimal_for_its_classifier(K, n, d, lambda_W, lambda_H, beta):
    W, H, Y = collapsed(K, n, d, lambda_W, lambda_H)
    np.testing.assert_allclose(
        perturbation.reduced_velocity(H, Y, lambda_W=lambda_W, lambda_H=lambda_H),
        0,
        rtol=0,
        atol=1e-14,
    )
    np.testing.assert_allclose(
        Y @ H.T @ np.linalg.inv(H @ H.T + n * lambda_W * np.eye(d)), W, rtol=0, atol=1e-14
    )


def test_curvatures_are_those_of_the_reduced_loss():
    K, n, d, lambdas = 3, 2, 4, {"lambda_W": 0.5, "lambda_H": 0.2}
    _, H, Y = collapsed(K, n, d, **lambdas)
    step, basis = 1e-4, np.eye(d * n * K).reshape(-1, d, n * K)

    def velocity(direction, size):
        return perturbation.reduced_velocity(H + size * direction, Y, **lambdas)

    hessian = np.stack(
        [(velocity(e, -step) - velocity(e, step)).ravel() / (2 * step) for e in basis]
    )
    expected = perturbation.curvatures(
        num_classes=K, samples_per_class=n, feature_dim=d, **lambdas
    ).spectrum
    np.testing.assert_allclose(
        np.sort(np.linalg.eigvalsh((hessian + hessian.T) / 2))[::-1], expected, rtol=0, atol=1e-6
    )


def test_velocity_is_minus_the_gradient_of_the_loss():
    rng = np.random.default_rng(3)
    Y, H, step = np.repeat(np.eye(3), 4, axis=1), rng.normal(size=(5, 12)), 1e-5
    direction, lambdas = rng.normal(size=H.shape), {"lambda_W": 0.5, "lambda_H": 0.2}
    slope = (
        perturbation.reduced_loss(H + step * direction, Y, **lambdas)
        - perturbation.reduced_loss(H - step * direction, Y, **lambdas)
    ) / (2 * step)
    assert slope == pytest.approx(
        -np.sum(direction * perturbation.reduced_velocity(H, Y, **lambdas)), rel=1e-8
    )


def test_response_at_any_point_is_the_derivative_of_a_minimiser():
    # minimiser of the reduced loss with a pull, by Newton on its own equation, at H0 and at H0 +
    # step
    rng = np.random.default_rng(4)
    K, n, d, beta, lambdas = 2, 2, 3, 5.0, {"lambda_W": 0.5, "lambda_H": 0.2}
    Y, H0 = np.repeat(np.eye(K), n, axis=1), rng.normal(size=(d, K * n))

    def minimiser(H0):
        H = H0.copy()
        for _ in range(400):
            H = H + 0.1 * (perturbation.reduced_velocity(H, Y, **lambdas) - beta * (H - H0))
        return H

    H, step = minimiser(H0), 1e-5
    W = Y @ H.T @ np.linalg.inv(H @ H.T + n * lambdas["lambda_W"] * np.eye(d))
    F = perturbation.response(W, H, Y, beta=beta, **lambdas)
    direction = rng.normal(size=H0.shape)
    measured = (minimiser(H0 + step * direction) - minimiser(H0 - step * direction)) / (2 * step)
    np.testing.assert_allclose(
        measured.ravel(order="F"), F @ direction.ravel(order="F"), rtol=0, atol=1e-8
    )


def test_leading_order_is_met_to_second_order():
    lambdas, errors = {"lambda_W": np.sqrt(2), "lambda_H": 0.3}, []
    for beta in (1e2, 1e3, 1e4):
        printed = perturbation.leading_order(beta=beta, **lambdas)
        staircase = perturbation.diagonal_block_gains(
            num_classes=4, samples_per_class=10, feature_dim=10, beta=beta, **lambdas
        ).spectrum
        assert staircase[0] == printed["diagonal largest"]
        errors.append(
            [
                staircase[-1] - printed["diagonal smallest"],
                perturbation.cross_talk(beta=beta, **lambdas) - printed["off-diagonal"],
            ]
        )
    orders = -np.diff(np.log10(np.abs(errors)), axis=0)
    np.testing.assert_allclose(orders, 2, rtol=0, atol=0.05)


def test_cross_talk_peaks_at_two_thirds():
    # λ_W = 1, so that c = √λ_H
    strengths = np.linspace(0.01, 0.99, 981)
    values = [perturbation.cross_talk(lambda_W=1.0, lambda_H=c**2, beta=1e6) for c in strengths]
    assert strengths[np.argmax(values)] == pytest.approx(2 / 3, abs=2e-3)


def test_scatter_attenuation_averages_the_gains():
    rng = np.random.default_rng(5)
    K, n, d, beta, lambdas = 3, 40, 5, 2.0, {"lambda_W": 0.5, "lambda_H": 0.2}
    W, H, Y = collapsed(K, n, d, **lambdas)
    F = perturbation.response(W, H, Y, beta=beta, **lambdas)
    before = rng.normal(size=(400, d, K, n))
    before -= before.mean(axis=-1, keepdims=True)
    flat = before.transpose(0, 2, 3, 1).reshape(400, -1)
    measured = np.sum((flat @ F.T) ** 2) / np.sum(flat**2)
    assert measured == pytest.approx(
        perturbation.scatter_attenuation(num_classes=K, feature_dim=d, beta=beta, **lambdas),
        rel=1e-2,
    )


def test_translation_to_the_library_and_back():
    paper = {"lambda_W": 0.5, "lambda_H": 0.2, "beta": 3.0}
    library = perturbation.library_parameters(num_classes=4, samples_per_class=10, **paper)
    assert library == {"lambda_W": 0.125, "lambda_H": 0.005, "beta": 0.075}
    back = perturbation.paper_parameters(num_classes=4, samples_per_class=10, **library)
    assert back == pytest.approx(paper, rel=1e-15)
    assert "beta" not in perturbation.library_parameters(
        num_classes=4, samples_per_class=10, lambda_W=0.5, lambda_H=0.2
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"lambda_H": 2.0}, r"`lambda_W` \* `lambda_H` must be < 1", id="at-the-threshold"
        ),
        pytest.param(
            {"feature_dim": 2}, "`feature_dim` must be a whole number >= 3; got 2", id="too-narrow"
        ),
        pytest.param({"beta": 0.0}, "`beta` must be finite and > 0", id="no-pull"),
    ],
)
def test_bad_input(change, message):
    good = {
        "num_classes": 3,
        "samples_per_class": 2,
        "feature_dim": 4,
        "lambda_W": 0.5,
        "lambda_H": 0.2,
        "beta": 1.0,
    }
    with pytest.raises(ValueError, match=message):
        perturbation.gains(**{**good, **change})
