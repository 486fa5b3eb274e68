"""`minimise`: every solver on every kind of problem, from random starts, against values known by
hand."""

import dataclasses
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.solvers import loop, pieces
from ufm.solvers.coordinates import flat_objective, to_flat, to_params
from ufm.tolerances import for_dtype

TOLERANCES = for_dtype(np.float64)


def squared_error(
    counts, *, collapsed=True, widths=(6,), lambda_W=0.02, lambda_H=0.005, bias=None, **kwargs
):
    labels = ufm.one_hot(counts, collapsed=collapsed)
    return ufm.Problem(
        labels,
        loss=ufm.MeanSquaredError(),
        widths=widths,
        lambda_W=lambda_W,
        lambda_H=lambda_H,
        bias=bias,
        **kwargs,
    )


def cross_entropy(counts, *, collapsed=True, widths=(6,), lam=1e-2, bias=None):
    labels = ufm.one_hot(counts, collapsed=collapsed)
    return ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=widths, lambda_W=lam, lambda_H=lam, bias=bias
    )


# One layer, no bias: sum over classes of (n_k / 2N) (1 - (1 - N sqrt(lambda_W lambda_H /
# n_k))_+^2); here sqrt(lambda_W lambda_H) = 1/100. Cross-entropy, balanced: logits a (I - J/K) with
# a = log(1/(lambda sqrt n) - K + 1).
SOLVED_BY_HAND = (
    # sqrt(n) = 3, c = 27/100/3 = 0.09: value (1 - 0.91^2) / 2
    pytest.param(squared_error((9, 9, 9)), (1 - 0.91**2) / 2, id="mse-balanced"),
    pytest.param(
        squared_error((9, 9, 9), collapsed=False), (1 - 0.91**2) / 2, id="mse-balanced-full"
    ),
    # N = 24: thresholds 0.24/4 and 0.24/2
    pytest.param(
        squared_error((16, 4, 4)),
        (16 * (1 - 0.94**2) + 8 * (1 - 0.88**2)) / 48,
        id="mse-imbalanced",
    ),
    # free bias: K - 1 contrast directions, (K - 1)/K of the balanced value
    pytest.param(squared_error((9, 9, 9), bias="free"), (1 - 0.91**2) / 3, id="mse-free-bias"),
    # lambda = 1: everything decays away, mean of 1/2
    pytest.param(squared_error((9, 9, 9), lambda_W=1.0, lambda_H=1.0), 0.5, id="mse-trivial"),
    # unequal lambda enters through the product only
    pytest.param(
        squared_error((9, 9, 9), lambda_W=1.0, lambda_H=1e-4),
        (1 - 0.91**2) / 2,
        id="mse-lambda-ratio-1e4",
    ),
    # a = log(1/0.03 - 2); value log(1 + 2 e^-a) + 2 a 0.03
    pytest.param(
        cross_entropy((9, 9, 9)),
        np.log1p(2 / (1 / 0.03 - 2)) + 0.06 * np.log(1 / 0.03 - 2),
        id="ce-balanced",
    ),
    pytest.param(
        cross_entropy((9, 9, 9), bias="free"),
        np.log1p(2 / (1 / 0.03 - 2)) + 0.06 * np.log(1 / 0.03 - 2),
        id="ce-free-bias",
    ),
    pytest.param(
        cross_entropy((9, 9, 9), bias=0.1),
        np.log1p(2 / (1 / 0.03 - 2)) + 0.06 * np.log(1 / 0.03 - 2),
        id="ce-penalised-bias",
    ),
    pytest.param(cross_entropy((9, 9, 9), lam=0.5), np.log(3), id="ce-trivial"),
)


@pytest.mark.parametrize(
    "solver",
    [
        pytest.param(ufm.solvers.Newton(), id="newton"),
        pytest.param(ufm.solvers.LBFGS(), id="lbfgs"),
    ],
)
@pytest.mark.parametrize(("problem", "value"), SOLVED_BY_HAND)
def test_value_by_hand(problem, value, solver, key):
    tolerance = TOLERANCES.gradient if isinstance(solver, ufm.solvers.Newton) else 1e-9
    solution = ufm.minimise(problem, key=key, solver=solver, tolerance=tolerance)
    assert solution.result is ufm.Result.CONVERGED
    assert solution.grad_norm <= tolerance
    np.testing.assert_allclose(solution.value, value, rtol=TOLERANCES.value)
    np.testing.assert_allclose(
        ufm.model.objective(problem, solution.params), solution.value, rtol=1e-14
    )


@pytest.mark.parametrize(
    "solver",
    [
        # the loss is 0.5 |z - q|^2 / N with n = 9: curvature along W and H at the optimum is below
        # 1, so these steps are stable
        pytest.param(ufm.solvers.GradientDescent(1.0), id="gradient-descent"),
        pytest.param(ufm.solvers.Momentum(1.0, momentum=0.9), id="momentum"),
        pytest.param(ufm.solvers.Adam(0.02), id="adam"),
    ],
)
def test_first_order_reaches_the_same_value(solver, key):
    problem = squared_error((9, 9, 9), lambda_W=0.02, lambda_H=0.005)
    solution = ufm.minimise(problem, key=key, solver=solver, tolerance=1e-8)
    assert solution.result is ufm.Result.CONVERGED
    np.testing.assert_allclose(solution.value, (1 - 0.91**2) / 2, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 5.0])
@pytest.mark.parametrize("bias", [None, "free", 0.05])
def test_newton_leaves_the_saddle_at_the_origin(scale, bias, key):
    problem = squared_error((12, 6, 3), bias=bias)
    expected = ufm.minimise(problem, key=key).value
    solution = ufm.minimise(
        problem, start=ufm.solvers.random_start(problem, key=jax.random.fold_in(key, 1), std=scale)
    )
    assert solution.result is ufm.Result.CONVERGED
    np.testing.assert_allclose(solution.value, expected, rtol=TOLERANCES.value)


def test_origin_is_stationary_and_said_to_have_converged():
    problem = squared_error((9, 9, 9))
    start = ufm.Params(weights=(np.zeros((3, 6)),), features=np.zeros((6, 3)))
    solution = ufm.minimise(problem, start=start)
    # the gradient cannot tell the saddle from an optimum; that is what the certificate is for
    assert solution.result is ufm.Result.CONVERGED
    assert solution.num_steps == 0
    np.testing.assert_allclose(solution.value, 0.5, rtol=1e-15)


@pytest.mark.parametrize("depth", [2, 3, 6])
def test_deep_problems_reach_1e_minus_10(depth, key):
    problem = squared_error((12, 6, 3), widths=(6,) * depth, lambda_W=2e-3, lambda_H=1e-3)
    solution = ufm.minimise(problem, key=key, starts=12)
    assert solution.result is ufm.Result.CONVERGED
    assert solution.grad_norm <= 1e-10
    # balance at every stationary point: equal norms of all factors once each is weighted by its
    # decay
    weights, features, masses, lambda_W, lambda_H = jax.device_get(
        (
            solution.params.weights,
            solution.params.features,
            problem.labels.masses,
            problem.lambda_W,
            problem.lambda_H,
        )
    )
    shares = [lam * np.sum(W**2) for lam, W in zip(lambda_W, weights, strict=True)]
    shares.append(lambda_H * np.sum(masses * np.sum(features**2, axis=0)))
    np.testing.assert_allclose(shares, shares[0], rtol=1e-9)


def test_collapsed_and_full_have_the_same_optimum(key):
    full, collapsed = (
        squared_error((12, 9, 6), bias="free", collapsed=flag) for flag in (False, True)
    )
    solutions = [ufm.minimise(problem, key=key) for problem in (full, collapsed)]
    np.testing.assert_allclose(solutions[0].value, solutions[1].value, rtol=TOLERANCES.value)
    logits, collapsed = (np.asarray(solution.logits) for solution in solutions)
    means = ufm.labels.collapse(full.labels, logits)
    np.testing.assert_allclose(means, collapsed, rtol=0, atol=TOLERANCES.array)
    np.testing.assert_allclose(
        logits, collapsed[:, np.asarray(full.labels.class_index)], rtol=0, atol=TOLERANCES.array
    )


def test_best_of_several_starts(key):
    problem = squared_error((12, 6, 3), widths=(6, 6, 6), lambda_W=0.03, lambda_H=0.03)
    solution = ufm.minimise(problem, key=key, starts=12)
    assert solution.values.shape == solution.codes.shape == (12,)
    # this deep a problem has several local minima; the test is void unless the starts find at least
    # two
    assert np.ptp(solution.values) > 1e-3
    np.testing.assert_allclose(solution.value, np.min(solution.values), rtol=1e-9)


def test_fixed_weights_stay_and_features_solve_ridge_regression(key):
    W = np.random.default_rng(0).normal(size=(3, 6))
    problem = squared_error((9, 9, 9), fixed_weights=(W,))
    solution = ufm.minimise(problem, key=key)
    assert solution.result is ufm.Result.CONVERGED
    np.testing.assert_array_equal(solution.params.weights[0], W)
    # each sample minimises |W h - e_k|^2 / 2N + lambda_H |h|^2 / 2
    features = np.linalg.solve(W.T @ W + 27 * 0.005 * np.eye(6), W.T)
    np.testing.assert_allclose(solution.params.features, features, rtol=0, atol=1e-10)


def test_anchor_with_a_large_beta_holds_the_features(key):
    anchor = np.random.default_rng(0).normal(size=(6, 3))
    problem = squared_error((9, 9, 9), anchor=anchor, beta=1e6)
    solution = ufm.minimise(problem, key=key)
    assert solution.result is ufm.Result.CONVERGED
    np.testing.assert_allclose(solution.params.features, anchor, rtol=0, atol=1e-5)
    assert np.max(np.abs(solution.params.features - anchor)) > 1e-9


def test_sweeping_numbers_does_not_recompile(key):
    def solve(counts, lam, bias):
        return ufm.minimise(
            squared_error(counts, lambda_W=lam, lambda_H=2 * lam, bias=bias), key=key
        )

    solve((9, 9, 9), 0.01, 0.1)
    before = pieces.launch._cache_size()
    solve((5, 3, 2), 0.02, 0.3)
    solve((50, 3, 2), 0.001, 0.01)
    assert pieces.launch._cache_size() == before


def test_out_of_budget_says_so_and_resumes_to_the_same_point(key):
    problem = squared_error((12, 6, 3))
    whole = ufm.minimise(problem, key=key)
    part = ufm.minimise(problem, key=key, solver=ufm.solvers.Newton(max_steps=3))
    assert part.result is ufm.Result.MAX_STEPS
    assert part.num_steps == 3
    assert part.advice == f"{part.result}; go on with minimise(..., resume=solution)"
    rest = ufm.minimise(problem, resume=part)
    assert rest.result is ufm.Result.CONVERGED
    assert rest.num_steps == whole.num_steps
    np.testing.assert_allclose(rest.params.features, whole.params.features, rtol=0, atol=1e-13)


class Hinge(ufm.losses.AbstractLoss):
    """One against the rest, with a kink in every logit."""

    def __call__(self, logits, target):
        return jnp.sum(jnp.maximum(1 - (2 * target - 1) * logits, 0), axis=0)


def test_a_stall_far_from_rounding_is_said_to_be_a_kink(key):
    problem = squared_error((4, 2, 2)).replace(loss=Hinge(), lambda_W=0.05, lambda_H=0.05)
    solution = ufm.minimise(problem, key=key)
    assert solution.result is ufm.Result.STALLED
    assert "kink" in str(solution)
    assert "float64" not in str(solution)
    rounded = dataclasses.replace(solution, grad_norm=jnp.asarray(1e-9))
    assert str(rounded.result) in str(rounded)


def test_interrupted_run_comes_back_and_resumes(key, monkeypatch):
    problem = squared_error((12, 6, 3))
    monkeypatch.setattr(loop, "_ONE_PIECE", 1)
    monkeypatch.setattr(loop, "first_piece", lambda problem: 2)

    def stop(*args):
        raise KeyboardInterrupt

    solver = ufm.solvers.Momentum(1.0)
    with monkeypatch.context() as patch:
        patch.setattr(pieces, "go_on", stop)
        part = ufm.minimise(problem, key=key, solver=solver)
    assert part.result is ufm.Result.INTERRUPTED
    assert part.num_steps == 2
    rest = ufm.minimise(problem, resume=part, solver=solver, tolerance=1e-8)
    assert rest.result is ufm.Result.CONVERGED
    assert rest.value < part.value


def test_ctrl_c_before_all_starts_have_ended_says_so(key, monkeypatch):
    """The best start had converged; another one had not."""
    problem = squared_error((12, 6, 3))
    whole = ufm.minimise(problem, key=key, starts=6)
    first = int(whole.state.num_steps.min())
    assert first < int(whole.state.num_steps.max())

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_ONE_PIECE", 1)
    monkeypatch.setattr(loop, "first_piece", lambda problem: first)
    with monkeypatch.context() as patch:
        patch.setattr(pieces, "go_on", stop)
        part = ufm.minimise(problem, key=key, starts=6)
    assert part.result is ufm.Result.INTERRUPTED
    assert set(part.codes.tolist()) == {ufm.Result.CONVERGED, ufm.Result.INTERRUPTED}
    assert part.codes[part.state.best] == ufm.Result.CONVERGED
    rest = ufm.minimise(problem, resume=part)
    assert rest.result is ufm.Result.CONVERGED
    np.testing.assert_array_equal(rest.codes, whole.codes)


def test_an_interrupt_while_a_piece_is_handed_over_loses_nothing(key, monkeypatch):
    """The piece has taken the memory of the one before when Ctrl-C is answered."""
    problem, go_on = squared_error((12, 6, 3)), pieces.go_on

    def interrupted(*args):
        outcome = go_on(*args)
        signal.raise_signal(signal.SIGINT)
        return outcome

    monkeypatch.setattr(loop, "_ONE_PIECE", 1)
    monkeypatch.setattr(loop, "first_piece", lambda problem: 2)
    monkeypatch.setattr(pieces, "next_piece", lambda piece, seconds: 3)
    solver = ufm.solvers.Momentum(1.0)
    with monkeypatch.context() as patch:
        patch.setattr(pieces, "go_on", interrupted)
        part = ufm.minimise(problem, key=key, solver=solver)
    assert (part.result, int(part.num_steps)) == (ufm.Result.INTERRUPTED, 5)
    flat = np.array(part.state.states.flat)
    first = ufm.minimise(problem, resume=part, solver=solver, tolerance=1e-8)
    assert first.result is ufm.Result.CONVERGED
    # what is resumed is not used up
    np.testing.assert_array_equal(part.state.states.flat, flat)
    again = ufm.minimise(problem, resume=part, solver=solver, tolerance=1e-8)
    assert (again.num_steps, again.value) == (first.num_steps, first.value)


def test_a_long_solve_compiles_its_steps_once(key, monkeypatch):
    """What does not end in a first piece begins with the program of all further ones."""
    problem = squared_error((12, 6, 3))
    whole = ufm.minimise(problem, key=key, starts=2)
    monkeypatch.setattr(loop, "first_piece", lambda problem: 2)
    monkeypatch.setattr(pieces, "next_piece", lambda piece, seconds: 2)
    launched, made = pieces.launch._cache_size(), pieces.go_on._cache_size()
    solution = ufm.minimise(problem, key=key, starts=2)
    assert pieces.launch._cache_size() == launched
    assert pieces.go_on._cache_size() == made + 1
    assert solution.num_steps == whole.num_steps > 4
    np.testing.assert_allclose(solution.values, whole.values, rtol=1e-14)


def test_throw_raises_and_keeps_the_solution(key):
    problem = squared_error((9, 9, 9))
    with pytest.raises(ufm.SolveFailed, match="MAX_STEPS") as caught:
        ufm.minimise(problem, key=key, solver=ufm.solvers.Newton(max_steps=1), throw=True)
    assert caught.value.solution.num_steps == 1


def test_a_step_too_long_diverges_and_says_so(key):
    solution = ufm.minimise(
        squared_error((9, 9, 9)), key=key, solver=ufm.solvers.GradientDescent(1e3)
    )
    assert solution.result is ufm.Result.DIVERGED


def test_float32_never_claims_float64_accuracy(key):
    labels = ufm.one_hot((9, 9, 9), dtype=np.float32)
    problem = ufm.Problem(
        labels, loss=ufm.MeanSquaredError(), widths=(6,), lambda_W=0.02, lambda_H=0.005
    )
    with pytest.raises(
        ValueError, match=r"`tolerance` must be >= 1.2e-07, what float32 can resolve; got 1e-12"
    ):
        ufm.minimise(problem, key=key, tolerance=1e-12)
    solution = ufm.minimise(problem, key=key)
    assert solution.value.dtype == np.float32
    assert solution.result is ufm.Result.CONVERGED
    np.testing.assert_allclose(solution.value, (1 - 0.91**2) / 2, rtol=for_dtype(np.float32).value)


@pytest.mark.parametrize("loss", [ufm.MeanSquaredError(), ufm.CrossEntropy()], ids=["mse", "ce"])
def test_solver_coordinates_round_trip_and_bound_the_norm(loss, key):
    labels = ufm.one_hot((5, 3, 2), collapsed=True)
    problem = ufm.Problem(
        labels, loss=loss, widths=(4, 7), lambda_W=(0.3, 0.01), lambda_H=0.02, bias=0.5
    )
    params = ufm.solvers.random_start(problem, key=key)

    @jax.jit
    def there_and_back(params):
        flat = to_flat(problem, params)
        values = flat_objective(problem, flat), ufm.model.objective(problem, params)
        return to_params(problem, flat), flat, values

    back, flat, (value, wanted) = jax.device_get(there_and_back(params))
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(back), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)
    np.testing.assert_allclose(value, wanted, rtol=1e-14)
    assert np.sum(flat**2) <= 2 * value


KEY = jax.random.key(0)
PROBLEM = squared_error((9, 9, 9))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            {}, r"exactly one of `key`, `start` and `resume` must be given; got none", id="no-start"
        ),
        pytest.param({"key": 0, "start": 0}, r"exactly one of .*; got key, start", id="two-starts"),
        pytest.param(
            {"key": KEY, "starts": 0}, "`starts` must be a whole number >= 1; got 0", id="no-starts"
        ),
        pytest.param(
            {"start": 0, "starts": 2},
            "`starts` > 1 needs random starts",
            id="starts-from-one-point",
        ),
        pytest.param(
            {"key": 0, "solver": "newton"},
            "`solver` must be a solver such as",
            id="solver-by-name",
        ),
        pytest.param(
            {"key": KEY, "tolerance": -1.0},
            "`tolerance` must be finite and > 0; got -1.0",
            id="negative-tolerance",
        ),
        pytest.param(
            {"key": KEY, "tolerance": 1e-17},
            "`tolerance` must be >= 2.2e-16",
            id="tolerance-below-rounding",
        ),
        pytest.param(
            {"start": ufm.Params((np.zeros((3, 5)),), np.zeros((6, 3)))},
            r"`start.weights\[0\]` must have shape \(3, 6\)",
            id="start-shape",
        ),
        pytest.param(
            {"start": ufm.Params((np.zeros((3, 6)),), np.zeros((6, 3)), np.zeros(3))},
            "`start.bias` must be None",
            id="start-bias",
        ),
        pytest.param(
            {"resume": 3}, "`resume` must be ufm.Solution; got int", id="resume-not-a-solution"
        ),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        ufm.minimise(PROBLEM, **arguments)


def test_a_minimiser_needs_decay(key):
    with pytest.raises(ValueError, match="`lambda_H` must be finite and > 0 for a minimiser"):
        ufm.minimise(squared_error((9, 9), lambda_H=0.0), key=key)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(ufm.solvers.Newton(), ufm.solvers.LBFGS(), id="another-class"),
        pytest.param(ufm.solvers.LBFGS(), ufm.solvers.Newton(), id="the-other-way"),
        pytest.param(ufm.solvers.LBFGS(), ufm.solvers.LBFGS(memory_size=4), id="another-memory"),
        pytest.param(ufm.solvers.Adam(0.02), ufm.solvers.Momentum(1e-2), id="another-rule"),
    ],
)
def test_resume_refuses_another_solver(first, second, key):
    problem = squared_error((9, 9, 9))
    part = ufm.minimise(problem, key=key, solver=first, tolerance=0.1, progress=False)
    with pytest.raises(
        ValueError, match="`resume` must be a solution of the same solver; got another one than"
    ):
        ufm.minimise(problem, resume=part, solver=second, progress=False)


def test_resume_refuses_another_problem(key):
    part = ufm.minimise(PROBLEM, key=key, solver=ufm.solvers.Newton(max_steps=1))
    with pytest.raises(ValueError, match="`resume` must be a solution of the same problem"):
        ufm.minimise(squared_error((9, 9, 9), lambda_H=0.01), resume=part)
    # the same numbers in another precision
    single, double = (
        ufm.Problem(
            ufm.one_hot((2, 2), dtype=dtype),
            loss=ufm.MeanSquaredError(),
            widths=(2,),
            lambda_W=0.5,
            lambda_H=0.25,
        )
        for dtype in (np.float32, np.float64)
    )
    with pytest.raises(ValueError, match="`resume` must be a solution of the same problem"):
        ufm.minimise(double, resume=ufm.minimise(single, key=key))
