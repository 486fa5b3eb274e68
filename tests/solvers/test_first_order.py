"""`descend`: the papers' recipes, against the update rules written out in NumPy."""

import dataclasses

import jax
import numpy as np
import pytest

import ufm

LAMBDA_W, LAMBDA_H, STEP = 0.02, 0.005, 0.7
DECAY = {"lambda_W": LAMBDA_W, "lambda_H": LAMBDA_H}


def problem_of(collapsed, bias=None):
    labels = ufm.one_hot((4, 3, 2), collapsed=collapsed)
    return ufm.Problem(
        labels,
        loss=ufm.MeanSquaredError(),
        widths=(5,),
        lambda_W=LAMBDA_W,
        lambda_H=LAMBDA_H,
        bias=bias,
    )


def gradients(W, H, b, Y):
    """Of |W H + b - Y|^2 / 2N plus ridge on W and H, by hand."""
    residual = (W @ H + b[:, None] - Y) / Y.shape[1]
    return residual @ H.T + LAMBDA_W * W, W.T @ residual + LAMBDA_H * H, residual.sum(1)


def numpy_run(rule, steps, W, H, b, Y):
    """Values of the parameters after each step of a rule that maps (gradient, memory, step number)
    to (update, memory)."""
    parts, memories = [W, H, b], [None, None, None]
    for step in range(1, steps + 1):
        for i, gradient in enumerate(gradients(*parts, Y)):
            update, memories[i] = rule(gradient, memories[i], step)
            parts[i] = parts[i] + update
    return parts


def descent(gradient, memory, step):
    return -STEP * gradient, None


def momentum(gradient, memory, step):
    velocity = gradient if memory is None else 0.9 * memory + gradient
    return -STEP * velocity, velocity


def adam(gradient, memory, step):
    first, second = (0, 0) if memory is None else memory
    first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
    update = -STEP * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return update, (first, second)


RECIPES = (
    pytest.param(ufm.solvers.GradientDescent(STEP), descent, id="gradient-descent"),
    pytest.param(ufm.solvers.Momentum(STEP, momentum=0.9), momentum, id="momentum"),
    pytest.param(ufm.solvers.Adam(STEP), adam, id="adam"),
)


@pytest.mark.parametrize(("recipe", "rule"), RECIPES)
def test_single_precision_stays_single(recipe, rule, key):
    """Numbers of a recipe are as wide as the default, and the problem decides."""
    problem, wide = (
        ufm.Problem(
            ufm.one_hot((4, 3, 2), dtype=dtype), loss=ufm.MeanSquaredError(), widths=(5,), **DECAY
        )
        for dtype in ("float32", "float64")
    )
    slow = dataclasses.replace(recipe, step_size=0.1, max_steps=20)
    solution = ufm.minimise(problem, key=key, solver=slow, tolerance=1e-6)
    run = ufm.solvers.descend(problem, slow, steps=[0, 20], key=key)
    for array in (solution.value, solution.params.features, run.ts, run.value, run.final.features):
        assert array.dtype == np.float32
    # as the same recipe goes in double precision from the same start
    start = jax.tree.map(
        lambda leaf: leaf.astype(float), ufm.solvers.random_start(problem, key=key)
    )
    double = ufm.solvers.descend(wide, slow, steps=[0, 20], start=start)
    np.testing.assert_allclose(run.value, double.value, rtol=1e-5)


@pytest.mark.parametrize(("solver", "rule"), RECIPES)
def test_twelve_steps_equal_the_rule_written_out(solver, rule, key):
    problem = problem_of(collapsed=False, bias="free")
    start = ufm.solvers.random_start(problem, key=key, std=0.1)
    trajectory = ufm.solvers.descend(
        problem, solver, steps=[0, 5, 12], start=start, keep_params=True
    )
    W, H, b = numpy_run(
        rule,
        12,
        *(np.asarray(x) for x in (start.weights[0], start.features, start.bias)),
        np.asarray(problem.labels.targets),
    )
    assert trajectory.result is ufm.Result.REACHED_END
    np.testing.assert_allclose(trajectory.ts, [0, 5 * STEP, 12 * STEP], rtol=1e-15)
    np.testing.assert_allclose(trajectory.params.weights[0][2], W, rtol=0, atol=1e-12)
    np.testing.assert_allclose(trajectory.final.features, H, rtol=0, atol=1e-12)
    np.testing.assert_allclose(trajectory.final.bias, b, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(trajectory.params.features[0], start.features)
    np.testing.assert_allclose(
        trajectory.value[2], ufm.model.objective(problem, trajectory.final), rtol=1e-15
    )


@pytest.mark.parametrize(("solver", "rule"), RECIPES)
def test_minimise_takes_the_same_steps(solver, rule, key):
    problem = problem_of(collapsed=False)
    start = ufm.solvers.random_start(problem, key=key, std=0.1)
    trajectory = ufm.solvers.descend(problem, solver, steps=[25], start=start)
    solution = ufm.minimise(
        problem, start=start, solver=type(solver)(STEP, max_steps=25), tolerance=1e-15
    )
    assert solution.num_steps == 25
    np.testing.assert_allclose(
        solution.params.features, trajectory.final.features, rtol=0, atol=1e-11
    )


@pytest.mark.parametrize(("solver", "rule"), RECIPES)
def test_a_collapsed_run_is_the_full_run_of_equal_samples(solver, rule, key):
    collapsed, full = problem_of(collapsed=True), problem_of(collapsed=False)
    start = ufm.solvers.random_start(collapsed, key=key, std=0.1)
    spread = ufm.Params(start.weights, start.features[:, full.labels.class_index])
    runs = [
        ufm.solvers.descend(p, solver, steps=[30], start=s)
        for p, s in ((collapsed, start), (full, spread))
    ]
    np.testing.assert_allclose(runs[0].value, runs[1].value, rtol=1e-12)
    np.testing.assert_allclose(
        runs[0].final.features[:, full.labels.class_index],
        runs[1].final.features,
        rtol=0,
        atol=1e-12,
    )


def test_observables_are_recorded_and_frozen_weights_stay(key):
    W = np.asarray(jax.random.normal(key, (3, 5)))
    labels = ufm.one_hot((4, 3, 2))
    problem = ufm.Problem(
        labels,
        loss=ufm.CrossEntropy(),
        widths=(5,),
        lambda_W=0.0,
        lambda_H=0.01,
        fixed_weights=(W,),
    )
    observables = {
        "top": lambda problem, params: params.logits.max(),
        "bottom": lambda problem, params: params.logits.min(axis=0),
    }
    trajectory = ufm.solvers.descend(
        problem,
        ufm.solvers.GradientDescent(0.5),
        steps=[0, 10],
        start=ufm.solvers.random_start(problem, key=key, std=0.1),
        observables=observables,
    )
    np.testing.assert_array_equal(trajectory.final.weights[0], W)
    assert trajectory.observables["bottom"].shape == (2, 9)
    np.testing.assert_allclose(
        trajectory.observables["top"][1], trajectory.final.logits.max(), rtol=1e-15
    )
    assert trajectory.params is None


def test_divergence_is_said_and_padded_with_nan(key):
    problem = problem_of(collapsed=False)
    trajectory = ufm.solvers.descend(
        problem, ufm.solvers.GradientDescent(1e3), steps=[0, 500, 1000], key=key
    )
    assert trajectory.result is ufm.Result.DIVERGED
    assert np.isfinite(trajectory.value[0])
    assert np.isnan(trajectory.value[2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda p, k: ufm.solvers.GradientDescent(0.0),
            "`step_size` must be finite and > 0; got 0.0",
            id="step-size",
        ),
        pytest.param(
            lambda p, k: ufm.solvers.Momentum(0.1, momentum=1.0),
            r"`momentum` must lie in \[0, 1\); got 1.0",
            id="momentum",
        ),
        pytest.param(
            lambda p, k: ufm.solvers.descend(p, ufm.solvers.Newton(), steps=[1], key=k),
            "`solver` must be a GradientDescent",
            id="not-first-order",
        ),
        pytest.param(
            lambda p, k: ufm.solvers.descend(p, ufm.solvers.Adam(0.1), steps=[2, 1], key=k),
            "`steps` must be increasing whole numbers",
            id="decreasing",
        ),
        pytest.param(
            lambda p, k: ufm.solvers.descend(p, ufm.solvers.Adam(0.1), steps=[0.5], key=k),
            "`steps` must be increasing whole numbers",
            id="fraction",
        ),
        pytest.param(
            lambda p, k: ufm.solvers.descend(p, ufm.solvers.Adam(0.1), steps=[1]),
            "exactly one of `key` and `start` must be given",
            id="no-start",
        ),
        pytest.param(
            lambda p, k: ufm.solvers.random_start(p, key=k, std=0.0),
            "`std` must be finite and > 0; got 0.0",
            id="std",
        ),
    ],
)
def test_bad_input(call, message, key):
    with pytest.raises(ValueError, match=message):
        call(problem_of(collapsed=True), key)


def test_what_an_interrupted_descent_has_not_recorded_is_nan(key, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("ufm.solvers.descent._descend_piece", interrupted)
    problem = ufm.Problem(
        ufm.one_hot((2, 2)), loss=ufm.MeanSquaredError(), widths=(2,), lambda_W=0.1, lambda_H=0.1
    )
    recipe = ufm.solvers.GradientDescent(0.1)
    found = ufm.solvers.descend(problem, recipe, steps=[5, 10], key=key)
    assert found.result is ufm.Result.INTERRUPTED
    assert np.all(np.isnan(found.value))
    assert np.all(np.isfinite(found.final.features))
