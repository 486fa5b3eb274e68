"""Features of a fixed classifier by several routes: the general minimiser, blocks and threads,
each column alone; and what is refused."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

import ufm
from tests.solvers.test_fixed_classifier import assert_same_fit, etf, objective, problem_of
from ufm.solvers import fixed_classifier
from ufm.solvers.fixed_classifier import fit_features


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


@pytest.mark.lean("etf-off-centre", "deep", "uneven-rows", "anchor", "anchor-only", "squared-error")
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
    assert_allclose(solution.value, objective(problem, solution.params), rtol=1e-14)
    assert_allclose(solution.value, general.value, rtol=1e-13)
    # the general one stops at a gradient of 1e-12, which the conditioning of the problem multiplies
    size = np.abs(general.params.features).max()
    assert_allclose(solution.params.features, general.params.features, rtol=0, atol=1e-8 * size)


def test_a_given_bias_is_held():
    bias = np.arange(5.0)
    problem = problem_of(np.eye(5), _random(5, 6), decay=0.01, bias="free")
    solution = fit_features(problem, bias=bias)
    assert solution.result is ufm.Result.CONVERGED
    assert_allclose(solution.params.bias, bias, rtol=0, atol=0)

    value, slope = jax.jit(jax.value_and_grad(ufm.model.objective, argnums=1))(
        problem, solution.params
    )
    assert_allclose(slope.features, 0, rtol=0, atol=1e-14)
    assert_allclose(solution.value, value, rtol=1e-14)


def test_blocks_and_threads_change_nothing(monkeypatch):
    targets = np.random.default_rng(0).dirichlet(np.ones(3), size=101).T
    problem = problem_of(targets, _random(3, 4), decay=1e-3)
    whole = fit_features(problem)
    monkeypatch.setattr(fixed_classifier, "_BLOCK_ON_CPU", 40)
    for threads in (1, 3):
        parts = fit_features(problem, execution=ufm.batch.Execution(threads=threads))
        assert_same_fit(parts, whole, to=1e-14)
    assert whole.params.features.shape == (4, 101)


def test_no_classifier_no_features():
    solution = fit_features(problem_of(np.eye(5), np.zeros((5, 6)), decay=0.01))
    assert solution.result is ufm.Result.CONVERGED
    assert not np.any(solution.params.features)


def test_out_of_steps_says_so():
    solution = fit_features(problem_of(np.eye(5), _random(5, 6), decay=1e-4), max_steps=1)
    assert solution.result is ufm.Result.MAX_STEPS


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
    assert_allclose(solution.value, objective(problem, solution.params), rtol=1e-13)
    factors = masses / np.asarray(problem.labels.column_weights)
    for c, factor in enumerate(factors):
        own = {"anchor": _random(6, 8)[:, [c]], "beta": 0.02 * factor} if anchored else pull
        column = ufm.Problem(ufm.soft(targets[:, [c]]), lambda_H=0.01 * factor, **options, **own)
        alone = fit_features(column).params.features[:, 0]
        found = solution.params.features[:, c]
        assert_allclose(found, alone, rtol=0, atol=1e-12 * np.abs(alone).max())
