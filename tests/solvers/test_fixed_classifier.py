"""Features of a fixed classifier.

Against the closed form over fifteen decades, against the general minimiser, and what is refused.
"""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

import ufm
from ufm.labels.mixtures import sampled_mixup
from ufm.optima import channels
from ufm.solvers import fixed_classifier, fixed_columns
from ufm.solvers.fixed_classifier import fit_features
from ufm.solvers.frame_newton import frame_newton

LAMBDAS = np.array([1.0, 0.99, 0.7, 0.5, 1e-3, 1e-9])


def mixtures(K: int) -> np.ndarray:
    """λ e_1 + (1 − λ) e_2, as columns."""
    targets = np.zeros((K, len(LAMBDAS)))
    targets[0], targets[1] = LAMBDAS, 1 - LAMBDAS
    return targets


def problem_of(targets, W, *, decay: float, masses=None, **options) -> ufm.Problem:
    weights = W if isinstance(W, tuple) else (np.asarray(W),)
    widths = tuple(factor.shape[1] for factor in reversed(weights))
    settings = {
        "loss": ufm.CrossEntropy(),
        "lambda_W": 0.1,
        "lambda_H": decay,
        "fixed_weights": weights,
    } | options
    return ufm.Problem(ufm.soft(targets, masses), widths=widths, **settings)


def etf(K: int, *, multiplier: float = 1.0, dim: int | None = None) -> np.ndarray:
    return np.asarray(
        ufm.simplex_etf(K, multiplier=multiplier, dim=dim or K + 1, key=jax.random.key(1)).T
    )


@pytest.mark.parametrize("K", [2, 3, 4, 10, 100])
@pytest.mark.parametrize("multiplier", [0.3, 1.0, 5.0])
def test_closed_form_under_a_simplex_etf(K, multiplier):
    W = etf(K, multiplier=multiplier)
    targets = mixtures(K)
    for s in 10.0 ** np.arange(-12, 4):
        decay = s * multiplier**2 * K / (K - 1)
        solution = fit_features(
            problem_of(targets, W, decay=decay, masses=np.full(len(LAMBDAS), 1 / len(LAMBDAS)))
        )
        assert solution.result is ufm.Result.CONVERGED
        assert channels.strength(K, multiplier=multiplier, decay=decay) == pytest.approx(
            s, rel=1e-14
        )
        exact = channels.channel(K, LAMBDAS, strength=s).features(W[0], W[1]).T
        # at K = 2 and λ = 1/2 the feature is zero: the size of the others is the yardstick
        size = np.maximum(
            np.linalg.norm(exact, axis=0), np.linalg.norm(exact[:, 2]) if K == 2 else 0
        )
        assert_allclose(
            np.linalg.norm(solution.params.features - exact, axis=0) / size, 0, atol=1e-13
        )


@pytest.mark.parametrize("K", [3, 10])
def test_the_fast_path_equals_the_slow_one(K, monkeypatch):
    targets = np.random.default_rng(0).dirichlet(np.full(K, 0.3), size=40).T
    for decay in (1e-6, 1e-2, 10.0):
        problem = problem_of(targets, etf(K, multiplier=2.0), decay=decay)
        fast = fit_features(problem)
        with monkeypatch.context() as patched:
            patched.setattr(fixed_classifier, "in_a_frame", lambda *_: False)
            slow = fit_features(problem)
        assert fast.result is slow.result is ufm.Result.CONVERGED
        assert int(fast.num_evaluations) == 0 < int(slow.num_evaluations)
        # two products a conjugate-gradient step and one a gradient: the preconditioner is the
        # inverse, so that is one step each
        assert int(slow.num_evaluations) == 3 * int(slow.num_steps)
        assert_allclose(
            fast.params.features,
            slow.params.features,
            rtol=0,
            atol=1e-13 * np.abs(slow.params.features).max(),
        )
        assert_allclose(fast.value, slow.value, rtol=1e-14)
        assert_allclose(fast.value, ufm.model.objective(problem, fast.params), rtol=1e-14)


@pytest.mark.parametrize("K", [2, 10, 1000])
def test_few_steps_over_all_strengths(K):
    """The start is close for every s, so that Newton's method is quadratic at once."""
    targets = np.random.default_rng(0).dirichlet(np.full(K, 0.3), size=50)
    solve = jax.jit(functools.partial(frame_newton, max_steps=100))
    for s in 10.0 ** np.arange(-12, 4):
        end = solve(targets, s)
        assert bool(end.done.all())
        assert int(end.steps) <= 4


def _random(*shape):
    return np.random.default_rng(1).normal(size=shape)


CASES = (
    ("etf", etf(5, multiplier=2.0), {}),
    ("etf-off-centre", etf(5) + 0.3, {}),
    ("gaussian", _random(5, 6), {}),
    ("narrow", _random(5, 3), {}),
    ("deep", (_random(5, 6), _random(6, 4)), {}),
    ("uneven-rows", _random(5, 6) * np.array([1, 10, 30, 1, 0.01])[:, None], {}),
    ("anchor", _random(5, 6), {"anchor": _random(6, 7), "beta": 0.3}),
    ("anchor-only", etf(5), {"anchor": _random(6, 7), "beta": 0.3, "decay": 0.0}),
    ("squared-error", _random(5, 6), {"loss": ufm.MeanSquaredError()}),
    (
        "rescaled-squared-error",
        _random(5, 6),
        {"loss": ufm.losses.RescaledSquaredError(length=2.0, weight=3.0)},
    ),
    ("adjusted", _random(5, 6), {"loss": ufm.losses.AdjustedCrossEntropy(additive=np.arange(5.0))}),
)


@pytest.mark.parametrize(
    ("W", "options"), [pytest.param(W, options, id=name) for name, W, options in CASES]
)
def test_against_the_general_minimiser(W, options, key):
    rng = np.random.default_rng(2)
    targets = rng.dirichlet(np.full(5, 0.5), size=7).T
    problem = problem_of(
        targets, W, masses=rng.uniform(0.5, 3, size=7), **({"decay": 1e-3} | options)
    )
    solution, general = fit_features(problem), ufm.minimise(problem, key=key)
    assert solution.result is general.result is ufm.Result.CONVERGED
    assert float(solution.grad_norm) < 1e-11
    assert_allclose(solution.value, ufm.model.objective(problem, solution.params), rtol=1e-14)
    assert_allclose(solution.value, general.value, rtol=1e-13)
    # the general one stops at a gradient of 1e-12, which the conditioning of the problem multiplies
    size = np.abs(general.params.features).max()
    assert_allclose(solution.params.features, general.params.features, rtol=0, atol=1e-8 * size)


def test_squared_error_is_ridge_regression():
    """(WᵀW + μ)⁻¹ Wᵀ q is linear in the label.

    Mixtures are mixtures of the features of their classes.
    """
    W, targets = (
        _random(4, 6),
        np.concatenate([np.eye(4), 0.3 * np.eye(4) + 0.7 * np.eye(4)[:, ::-1]], axis=1),
    )
    solution = fit_features(problem_of(targets, W, decay=0.01, loss=ufm.MeanSquaredError()))
    assert solution.result is ufm.Result.CONVERGED
    features = np.linalg.solve(W.T @ W + 8 * 0.01 * np.eye(6), W.T @ targets)
    assert_allclose(solution.params.features, features, rtol=1e-11, atol=1e-13)
    assert_allclose(features[:, 4:], 0.3 * features[:, :4] + 0.7 * features[:, 3::-1], atol=1e-14)


def test_a_given_bias_is_held():
    bias = np.arange(5.0)
    problem = problem_of(np.eye(5), _random(5, 6), decay=0.01, bias="free")
    solution = fit_features(problem, bias=bias)
    assert solution.result is ufm.Result.CONVERGED
    assert_allclose(solution.params.bias, bias, rtol=0, atol=0)

    def value(features):
        return ufm.model.objective(
            problem, ufm.Params(problem.fixed_weights, features, solution.params.bias)
        )

    assert_allclose(jax.grad(value)(solution.params.features), 0, atol=1e-14)
    assert_allclose(solution.value, value(solution.params.features), rtol=1e-14)


def test_blocks_and_threads_change_nothing(monkeypatch):
    problem = problem_of(
        np.asarray(sampled_mixup((1, 2, 3), 1.0, draws=101, key=jax.random.key(0)).targets),
        _random(3, 4),
        decay=1e-3,
    )
    whole = fit_features(problem)
    monkeypatch.setattr(fixed_classifier, "_BLOCK_ON_CPU", 40)
    for threads in (1, 3):
        parts = fit_features(problem, execution=ufm.batch.Execution(threads=threads))
        assert_allclose(
            parts.params.features,
            whole.params.features,
            rtol=0,
            atol=1e-14 * np.abs(whole.params.features).max(),
        )
        assert_allclose(parts.value, whole.value, rtol=1e-14)
    assert whole.params.features.shape == (4, 101)


def test_no_classifier_no_features():
    solution = fit_features(problem_of(np.eye(3), np.zeros((3, 4)), decay=0.01))
    assert solution.result is ufm.Result.CONVERGED
    assert not np.any(solution.params.features)


def test_out_of_steps_says_so():
    solution = fit_features(problem_of(np.eye(5), _random(5, 6), decay=1e-4), max_steps=1)
    assert solution.result is ufm.Result.MAX_STEPS


def test_sweeping_numbers_does_not_recompile():
    def solve(decay, multiplier):
        return fit_features(problem_of(mixtures(7), etf(7, multiplier=multiplier), decay=decay))

    solve(0.1, 1.0)
    before = fixed_columns.solve_columns._cache_size()
    solve(1e-4, 2.0)
    assert fixed_columns.solve_columns._cache_size() == before


REFUSED = (
    ("weights-free", {"fixed_weights": None}, {}, "`problem.fixed_weights` must be given"),
    ("bias-missing", {"bias": "free"}, {}, r"`bias` must be given, \(K,\).*minimise"),
    ("bias-unasked", {}, {"bias": np.zeros(3)}, "`bias` must be None"),
    ("bias-shape", {"bias": 0.1}, {"bias": np.zeros(4)}, r"shape \(3,\); got \(4,\)"),
    ("no-decay", {"decay": 0.0}, {}, "`lambda_H` must be finite and > 0"),
    ("not-convex", {"loss": ufm.losses.Focal(2.0)}, {}, "must be convex.*Focal"),
    (
        "nonnegative",
        {"features": ufm.domains.Nonnegative()},
        {},
        "`problem.features` must be unconstrained",
    ),
    ("no-steps", {}, {"max_steps": 0}, "`max_steps` must be a whole number >= 1; got 0"),
)


@pytest.mark.parametrize(
    ("problem", "options", "message"), [pytest.param(*case[1:], id=case[0]) for case in REFUSED]
)
def test_what_is_refused(problem, options, message):
    with pytest.raises(ValueError, match=message):
        fit_features(problem_of(np.eye(3), etf(3), **({"decay": 0.1} | problem)), **options)


@pytest.mark.parametrize("loss", [ufm.CrossEntropy(), ufm.MeanSquaredError()])
@pytest.mark.parametrize("W", [etf(5, multiplier=2.0), _random(5, 6)], ids=["etf", "gaussian"])
@pytest.mark.parametrize("anchored", [False, True])
def test_loss_weights_are_decays_of_their_columns(loss, W, anchored):
    """Each column alone, at its own decay."""
    rng = np.random.default_rng(4)
    targets, masses = rng.dirichlet(np.full(5, 0.5), size=8).T, rng.uniform(1, 3, 8)
    weights = 10.0 ** np.arange(-4, 4)
    pull = {"anchor": _random(6, 8), "beta": 0.02} if anchored else {"anchor": None, "beta": None}
    options = {"loss": loss, "widths": (6,), "lambda_W": 0.1, "fixed_weights": (W,)}
    problem = ufm.Problem(
        ufm.soft(targets, masses, weights=weights), lambda_H=0.01, **options, **pull
    )
    solution = fit_features(problem)
    assert solution.result is ufm.Result.CONVERGED
    assert_allclose(solution.value, ufm.model.objective(problem, solution.params), rtol=1e-13)
    factors = masses / np.asarray(problem.labels.column_weights)
    for c, factor in enumerate(factors):
        own = {"anchor": _random(6, 8)[:, [c]], "beta": 0.02 * factor} if anchored else pull
        column = ufm.Problem(ufm.soft(targets[:, [c]]), lambda_H=0.01 * factor, **options, **own)
        alone = fit_features(column).params.features[:, 0]
        found = solution.params.features[:, c]
        assert_allclose(found, alone, rtol=0, atol=1e-12 * np.abs(alone).max())
