"""Decay is read off a solution that was made with a known one."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.analysis.fitting import fit_decay

LAMBDA_W, LAMBDA_H = 3e-3, 7e-4
# the stationarity equations hold to the gradient tolerance, 1e-12 of the size of the objective, and
# are divided by gradients of 1e-2 of it
EXACT = 1e-9

# masses that are not whole numbers, and columns that are not collapsed
CASES = (
    ("squared error, full", ufm.MeanSquaredError(), (5, 3, 2), False, None),
    ("cross-entropy, free bias, full", ufm.CrossEntropy(), (5, 3, 2), False, "free"),
    ("cross-entropy, free bias, collapsed", ufm.CrossEntropy(), (5.5, 3.0, 2.0), True, "free"),
)


@pytest.fixture(scope="module", params=[pytest.param(case[1:], id=case[0]) for case in CASES])
def solution(request):
    loss, counts, collapsed, bias = request.param
    labels = ufm.one_hot(counts, collapsed=collapsed)
    problem = ufm.Problem(
        labels, loss=loss, widths=(4,), lambda_W=LAMBDA_W, lambda_H=LAMBDA_H, bias=bias
    )
    return ufm.minimise(problem, key=jax.random.key(1), throw=True)


def fitted(solution, **changes):
    params, problem = solution.params, solution.problem
    given = {
        "features": params.features,
        "labels": problem.labels,
        "classifier": params.classifier,
        "bias": params.bias,
        **changes,
    }
    return fit_decay(
        given["features"], given["labels"], given["classifier"], given["bias"], loss=problem.loss
    )


def test_known_decay_is_found(solution):
    fit = fitted(solution)
    np.testing.assert_allclose([fit.lambda_W, fit.lambda_H], [LAMBDA_W, LAMBDA_H], rtol=EXACT)
    assert max(fit.residual_W, fit.residual_H, fit.residual_b or 0.0) < EXACT
    assert (fit.residual_b is None) == (solution.params.bias is None)


def test_the_model_of_the_fit_has_the_same_optimum(solution):
    again = ufm.minimise(fitted(solution).problem, key=jax.random.key(2), throw=True)
    np.testing.assert_allclose(again.value, solution.value, rtol=1e-9)
    np.testing.assert_allclose(again.logits, solution.logits, rtol=0, atol=1e-7)


def test_it_is_the_least_squares_solution_off_stationarity(solution):
    """Against the slow twin: the equations stacked sample by sample and handed to lstsq."""
    key = jax.random.key(3)
    H = solution.params.features + 0.01 * jax.random.normal(key, solution.params.features.shape)
    fit, problem = fitted(solution, features=H), solution.problem
    W, b, masses = (
        solution.params.classifier,
        solution.params.bias,
        np.asarray(problem.labels.masses),
    )
    bare = ufm.Problem(
        problem.labels,
        loss=problem.loss,
        widths=(4,),
        lambda_W=0.0,
        lambda_H=0.0,
        bias=problem.bias,
    )
    slopes = jax.grad(lambda params: ufm.model.objective(bare, params))(ufm.Params((W,), H, b))
    for lam, residual, slope, factor, weight in (
        (fit.lambda_W, fit.residual_W, slopes.weights[0], W, 1.0),
        (
            fit.lambda_H,
            fit.residual_H,
            np.asarray(slopes.features) / masses[None, :],
            H,
            np.sqrt(masses)[None, :],
        ),
    ):
        right = -(np.asarray(slope) * weight).ravel()
        (best,), (squares,), *_ = np.linalg.lstsq(
            (np.asarray(factor) * weight).ravel()[:, None], right, rcond=None
        )
        np.testing.assert_allclose(lam, best, rtol=1e-10)
        np.testing.assert_allclose(residual, np.sqrt(squares) / np.linalg.norm(right), rtol=1e-10)
    assert fit.residual_H > 0.01
    # balance holds by itself
    np.testing.assert_allclose(
        fit.lambda_W * np.sum(np.asarray(W) ** 2),
        fit.lambda_H * np.sum(masses * np.asarray(H) ** 2),
        rtol=1e-12,
    )


def test_within_class_noise_changes_decay_little_and_shows_in_the_residual(solution):
    features = solution.params.features
    fit = fitted(
        solution, features=features + 1e-3 * jax.random.normal(jax.random.key(4), features.shape)
    )
    np.testing.assert_allclose([fit.lambda_W, fit.lambda_H], [LAMBDA_W, LAMBDA_H], rtol=0.05)
    assert 1e-4 < fit.residual_H < 0.5


def test_a_wrong_bias_shows_in_its_residual(solution):
    bias = solution.params.bias
    if bias is None:
        assert "bias" not in str(fitted(solution))
        return
    # confident samples hide a small shift of the logits, so a large one
    fit = fitted(solution, bias=bias + jnp.array([2.0, 0.0, -2.0]))
    assert fit.residual_b is not None
    assert 0.01 < fit.residual_b <= 1
    assert "of the bias" in str(fit)
    assert "does not describe the network: " in str(fit)
    assert "its bias is not the best one" in str(fit)


def test_it_concludes_from_what_decay_explains(solution):
    fit = fitted(solution)
    assert fit.describes
    assert fit.explained_H == 1 - fit.residual_H**2
    assert "the model with this decay describes the network" in str(fit)
    # nothing that is not all is called 100 %
    assert "100.0" not in str(fit) or min(fit.explained_H, fit.explained_W) == 1
    features = solution.params.features
    noise = jax.random.normal(jax.random.key(4), features.shape) * 0.1 * jnp.std(features)
    noisy = fitted(solution, features=features + noise)
    assert not noisy.describes
    assert noisy.residual_H > 0.1
    assert "features are pulled by more than decay" in str(noisy)
    explained = re.search(r"and (\S+) % of the features' \(squared\)", str(noisy))
    assert explained is not None
    assert abs(float(explained[1]) - 100 * noisy.explained_H) < 0.06


def test_next_tokens_that_are_never_the_likeliest():
    """They are no class of a column, but rows of the classifier all the same."""
    counts = np.array([[6, 1, 3], [5, 2, 0], [1, 0, 9], [7, 2, 2]])
    contexts, tokens = np.indices(counts.shape).reshape(2, -1)
    labels = ufm.labels.next_token(contexts, tokens, counts.ravel()).labels
    assert 1 not in np.asarray(labels.class_index)
    problem = ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=(3,), lambda_W=LAMBDA_W, lambda_H=LAMBDA_H
    )
    params = ufm.minimise(problem, key=jax.random.key(0)).params
    found = fit_decay(params.features, labels, params.classifier, loss=ufm.CrossEntropy())
    assert found.lambda_W == pytest.approx(LAMBDA_W, rel=EXACT)
    assert found.lambda_H == pytest.approx(LAMBDA_H, rel=EXACT)


LABELS = ufm.one_hot((2, 1))
H, W = np.array([[1.0, 1.0, -1.0]]), np.array([[1.0], [-1.0]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param((H, "classes", W), "`labels` must be ufm.Labels .* or whole", id="a-word"),
        pytest.param((H, np.array([0.0, 1.0]), W), "`labels` must be ufm.Labels", id="floats"),
        pytest.param((H, np.array([1, 2, 0]), W), r"`labels` must lie in \[0, 2\)", id="classes"),
        pytest.param((H, np.array([0, 1]), W), "`labels` must have 3 columns", id="columns"),
        pytest.param(
            (H, ufm.one_hot((2, 1), dtype="float32"), W),
            "`features` must be no wider than `labels`, which are float32; got float64",
            id="wider",
        ),
        pytest.param((H[0], LABELS, W), "`features` must", id="features-shape"),
        pytest.param(
            (H, LABELS, W.T), r"`classifier` must have shape \(K, d\)", id="classifier-shape"
        ),
        pytest.param((H, LABELS, W, np.zeros(3)), "`bias` must have shape", id="bias-shape"),
        pytest.param(
            (H.T, np.array([0, 0, 1]), W), r"pass `features.T`\); got \(2, 1\)", id="turned"
        ),
        pytest.param((H * np.nan, LABELS, W), "`features` must be finite", id="not-finite"),
        pytest.param((0 * H, LABELS, W), "`features` must not be zero", id="zero-features"),
        pytest.param((H, LABELS, 0 * W), "`classifier` must not be zero", id="zero-classifier"),
        pytest.param(
            (-H, LABELS, W),
            r"along which the loss falls, .* > 0, for a decay > 0; got -",
            id="wrong-way",
        ),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_decay(*arguments, loss=ufm.CrossEntropy())


def test_recorded_arrays_are_taken_as_they_are():
    """Class numbers for labels, and float32 arrays beside labels in float64."""
    rng = np.random.default_rng(1)
    W, index = rng.normal(size=(3, 4)), np.repeat(np.arange(3), (5, 3, 2))
    H = np.linalg.pinv(W)[:, index] + 0.1 * rng.normal(size=(4, 10))
    labels, loss = ufm.one_hot((5, 3, 2)), ufm.CrossEntropy()
    wanted = fit_decay(H, labels, W, loss=loss)
    assert fit_decay(H, index, W, loss=loss).lambda_W == pytest.approx(wanted.lambda_W, rel=1e-14)
    narrow = H.astype("float32"), W.astype("float32")
    for given in (labels, index):
        found = fit_decay(narrow[0], given, narrow[1], loss=loss)
        assert found.lambda_W == pytest.approx(wanted.lambda_W, rel=1e-5)
    assert fit_decay(narrow[0], labels, narrow[1], loss=loss).problem.dtype == np.float64


def test_a_column_of_mass_m_is_m_samples():
    """At a wrong bias too, where all residuals are those of the samples."""
    rng = np.random.default_rng(0)
    W, b = rng.normal(size=(3, 4)), 0.3 * rng.normal(size=3)
    H = np.linalg.pinv(W) + 0.1 * rng.normal(size=(4, 3))
    counts = (5, 3, 2)
    whole = ufm.one_hot(counts, collapsed=True)
    columns = fit_decay(H, whole, W, b, loss=ufm.CrossEntropy())
    samples = fit_decay(
        np.repeat(H, counts, axis=1), ufm.one_hot(counts), W, b, loss=ufm.CrossEntropy()
    )
    for name in ("lambda_W", "lambda_H", "residual_W", "residual_H", "residual_b"):
        np.testing.assert_allclose(getattr(columns, name), getattr(samples, name), rtol=1e-12)
    assert columns.residual_b > 1e-3
