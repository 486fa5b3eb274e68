"""`flow`: against exact laws, over the whole trajectory."""

import dataclasses

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.flows import gradient_flow


def problem_of(loss=None, *, counts=(5, 5, 5), collapsed=True, lam=1e-2, widths=(4,), bias=None):
    labels = ufm.one_hot(counts, collapsed=collapsed)
    return ufm.Problem(
        labels,
        loss=loss or ufm.MeanSquaredError(),
        widths=widths,
        lambda_W=lam,
        lambda_H=lam,
        bias=bias,
    )


# What is compiled is kept for the same shapes, loss, kind of bias, observables and times a piece
# (one for up to ten times), so tests share these observables where they ask for no others.
OBSERVABLES = {
    "norm": lambda problem, params: jnp.sum(params.features**2),
    "W": lambda problem, params: params.weights[0],
}


def flow(problem, **arguments):
    return ufm.flow(problem, **({"observables": OBSERVABLES} | arguments))


def imbalance(problem, params):
    """W_1ᵀ W_1 − H diag(m) Hᵀ."""
    return (
        params.weights[-1].T @ params.weights[-1]
        - (params.features * problem.labels.masses[None, :]) @ params.features.T
    )


@pytest.mark.parametrize("loss", [ufm.MeanSquaredError(), ufm.CrossEntropy()], ids=["mse", "ce"])
@pytest.mark.parametrize("bias", [None, "free", 0.1])
@pytest.mark.parametrize("widths", [(4,), (4, 5)], ids=["one-layer", "two-layers"])
def test_imbalance_decays_at_twice_lambda(loss, bias, widths, key):
    # d/dt (WᵀW − HHᵀ) = −2 λ (WᵀW − HHᵀ) for any loss of the logits; HHᵀ runs over samples
    problem = problem_of(loss, widths=widths, bias=bias, counts=(6, 3, 2))
    ts = np.linspace(0, 200, 21)
    start = ufm.solvers.random_start(problem, key=key, std=0.5)
    trajectory = ufm.flow(
        problem,
        ts=ts,
        start=start,
        observables=ufm.flows.Record({"imbalance": imbalance}, keep_params=False),
        integration=ufm.flows.Integration(steady=0),
    )
    assert trajectory.result is ufm.Result.REACHED_END
    measured = np.asarray(trajectory.observables["imbalance"])
    predicted = measured[0] * np.exp(-2 * 1e-2 * ts)[:, None, None]
    assert np.abs(measured[0]).max() > 0.1
    np.testing.assert_allclose(measured, predicted, rtol=0, atol=1e-8)


def test_one_mode_follows_the_logistic_law():
    # W = √s(t) P Qᵀ, H = Wᵀ/√n without decay: s' = (2 √n s − 2 s²)/N for the mean loss, so s is
    # logistic in t/N
    K, n, s0 = 3, 5, 1e-3
    problem = problem_of(lam=0.0)
    P = np.eye(K) - 1 / K
    basis = np.linalg.svd(P)[0][:, : K - 1]
    W = np.sqrt(s0) * basis @ np.eye(K - 1, 4)
    ts = np.linspace(0, 60, 31)
    trajectory = flow(problem, ts=ts, start=ufm.Params((W,), W.T / np.sqrt(n)))
    rate = np.sqrt(n)
    scale = rate / (1 + (rate / s0 - 1) * np.exp(-2 * rate * ts / (K * n)))
    W_t = np.asarray(trajectory.observables["W"])
    # (the integrator's error, 3e-8 at its own tolerance)
    np.testing.assert_allclose(
        W_t @ W_t.transpose(0, 2, 1), scale[:, None, None] * P, rtol=0, atol=1e-7
    )
    np.testing.assert_allclose(
        trajectory.params.features[-1], W_t[-1].T / np.sqrt(n), rtol=0, atol=1e-8
    )


def test_full_and_collapsed_labels_flow_alike(key):
    collapsed, full = (
        problem_of(counts=(6, 3, 2), collapsed=flag, bias="free") for flag in (True, False)
    )
    start = ufm.solvers.random_start(collapsed, key=key)
    spread = ufm.Params(start.weights, start.features[:, full.labels.class_index], start.bias)
    ts = np.linspace(0, 30, 7)
    runs = [flow(p, ts=ts, start=s) for p, s in ((collapsed, start), (full, spread))]
    np.testing.assert_allclose(runs[0].value, runs[1].value, rtol=1e-9)
    np.testing.assert_allclose(
        runs[0].params.features[:, :, full.labels.class_index],
        runs[1].params.features,
        rtol=0,
        atol=1e-8,
    )


def test_flow_is_the_limit_of_gradient_descent(key):
    problem = problem_of(ufm.CrossEntropy(), counts=(6, 3, 2))
    start = ufm.solvers.random_start(problem, key=key)
    end = flow(problem, ts=[4.0], start=start)
    assert end.result is ufm.Result.REACHED_END
    exact = end.value[0]
    errors = []
    for step in (0.2, 0.1, 0.05):
        trajectory = ufm.solvers.descend(
            problem, ufm.solvers.GradientDescent(step), steps=[round(4 / step)], start=start
        )
        errors.append(abs(float(trajectory.value[0] - exact)))
    # Euler's method is of first order
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    np.testing.assert_allclose(orders, 1, rtol=0, atol=0.1)


def test_it_stops_at_the_steady_state_which_is_the_minimum(key):
    problem = problem_of(lam=0.05)
    ts = np.array([0.0, 1.0, 10.0, 1e4, 1e5])
    trajectory = flow(problem, ts=ts, key=key)
    assert trajectory.result is ufm.Result.STEADY_STATE
    assert np.all(np.diff(trajectory.value[:3]) < 0)
    assert trajectory.value[3] == trajectory.value[4]
    np.testing.assert_allclose(
        trajectory.params.features[-1], trajectory.final.features, rtol=1e-15
    )
    np.testing.assert_allclose(
        trajectory.observables["norm"][-1], jnp.sum(trajectory.final.features**2), rtol=1e-14
    )
    np.testing.assert_allclose(
        trajectory.value[-1], ufm.minimise(problem, key=key).value, rtol=1e-12
    )


@pytest.mark.parametrize("number", [1, 2, 9, 10, 11, 31])
def test_any_number_of_times(number, key):
    problem = problem_of()
    ts = np.linspace(0.5, 3, number)
    start = ufm.solvers.random_start(problem, key=key)
    trajectory = flow(problem, ts=ts, start=start)
    assert trajectory.value.shape == (number,)
    last = flow(problem, ts=ts[-1:], start=start)
    np.testing.assert_allclose(trajectory.value[-1], last.value[0], rtol=1e-9)
    np.testing.assert_allclose(
        trajectory.final.features, trajectory.params.features[-1], rtol=0, atol=1e-10
    )


def test_time_zero_is_the_start(key):
    problem = problem_of()
    start = ufm.solvers.random_start(problem, key=key)
    for ts in ([0.0], [0.0, 1.0]):
        trajectory = flow(problem, ts=ts, start=start)
        np.testing.assert_array_equal(trajectory.params.features[0], start.features)
    # nothing flows in no time, and the first of ten pieces, which is just time zero, moves nothing
    # for the next
    np.testing.assert_array_equal(
        flow(problem, ts=[0.0], start=start).final.features, start.features
    )
    ten = flow(problem, ts=np.linspace(0, 5, 10), start=start)
    np.testing.assert_allclose(
        ten.value[-1], flow(problem, ts=[5.0], start=start).value[0], rtol=1e-9
    )


def test_a_spent_budget_is_said_and_padded_with_nan(key):
    trajectory = flow(
        problem_of(),
        ts=np.linspace(0, 50, 7),
        key=key,
        integration=ufm.flows.Integration(max_steps=3),
    )
    assert trajectory.result is ufm.Result.MAX_STEPS
    assert np.isfinite(trajectory.value[0])
    assert np.isnan(trajectory.value[-1])
    assert np.all(np.isfinite(trajectory.final.features))


def test_what_is_not_reached_is_as_wide_as_the_rest(key):
    labels = ufm.one_hot((2, 2), dtype="float32")
    problem = ufm.Problem(
        labels, loss=ufm.MeanSquaredError(), widths=(2,), lambda_W=0.1, lambda_H=0.1
    )
    trajectory = flow(
        problem,
        ts=np.linspace(0, 50, 7, dtype="float32"),
        key=key,
        integration=ufm.flows.Integration(rtol=1e-5, atol=1e-6, max_steps=3),
    )
    assert np.isnan(trajectory.value[-1])
    for leaf in (trajectory.value, trajectory.params.features, trajectory.final.features):
        assert leaf.dtype == np.float32


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        pytest.param(
            lambda problem, params: np.linalg.norm(params.features),
            TypeError,
            r"`observables\['mine'\]` must be written in jax.numpy, as it is compiled; The numpy",
            id="numpy",
        ),
        pytest.param(
            lambda problem, params: float(problem.lambda_H),
            TypeError,
            r"`observables\['mine'\]` must be written in jax.numpy",
            id="a-number-of-a-tracer",
        ),
        pytest.param(
            lambda params: params, ValueError, r"must take a problem and params", id="one-argument"
        ),
        pytest.param(
            lambda problem, params: None, ValueError, r"return an array .*; got None", id="nothing"
        ),
        pytest.param(
            lambda problem, params: "a", ValueError, r"return an array .*; got 'a'", id="a-word"
        ),
    ],
)
def test_an_observable_that_cannot_be_recorded_is_named(function, kind, message, key):
    with pytest.raises(kind, match=message):
        flow(problem_of(), ts=[0.0, 1.0], key=key, observables={"mine": function})
    recipe = ufm.solvers.GradientDescent(0.1)
    with pytest.raises(kind, match=message):
        ufm.solvers.descend(
            problem_of(), recipe, steps=[0, 1], key=key, observables={"mine": function}
        )


def test_an_observable_may_be_a_number(key):
    trajectory = flow(problem_of(), ts=[0.0, 1.0], key=key, observables={"d": lambda p, x: 3})
    np.testing.assert_array_equal(trajectory.observables["d"], [3, 3])


def test_interrupted_flow_keeps_what_it_has(key, monkeypatch):
    pieces = iter([gradient_flow.integrate_piece])

    def once(*args):
        try:
            return next(pieces)(*args)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(gradient_flow, "integrate_piece", once)
    trajectory = flow(problem_of(), ts=np.linspace(0, 50, 20), key=key)
    assert trajectory.result is ufm.Result.INTERRUPTED
    assert np.all(np.isfinite(trajectory.value[:2]))
    assert np.all(np.isnan(trajectory.value[2:]))
    assert "INTERRUPTED: stopped from the keyboard; go on with `start=" in str(trajectory)
    assert "minimise" not in str(trajectory)


def test_a_random_start_of_a_flow_without_decay_says_how_to_get_one(key):
    words = (
        r"`lambda_W` must be .* give `start`, such as ufm.solvers.random_start\(problem, key=key, "
    )
    with pytest.raises(ValueError, match=words):
        flow(problem_of(lam=0.0), ts=[0.0, 1.0], key=key)


def test_lanes_share_one_compilation(key):
    ts = np.linspace(0, 3, 4)
    flow(problem_of(lam=0.1), ts=ts, key=key)
    before = gradient_flow.integrate_piece._cache_size()
    # (one time fewer is one piece fewer, of more steps each)
    flow(
        problem_of(lam=0.2, counts=(3, 2, 1)),
        ts=2 * ts[:3],
        key=jax.random.key(1),
        integration=ufm.flows.Integration(rtol=1e-6, max_steps=1000),
    )
    assert gradient_flow.integrate_piece._cache_size() == before


def test_another_integrator_agrees(key):
    problem = problem_of()
    start = ufm.solvers.random_start(problem, key=key)
    values = [
        flow(
            problem,
            ts=[1.0, 5.0],
            start=start,
            integration=ufm.flows.Integration(integrator=method),
        ).value
        for method in (diffrax.Dopri8(), diffrax.Tsit5())
    ]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            {"ts": [1.0, 1.0]}, "`ts` must be increasing finite times >= 0", id="equal-times"
        ),
        pytest.param(
            {"ts": [-1.0, 1.0]}, "`ts` must be increasing finite times >= 0", id="negative-time"
        ),
        pytest.param({"ts": []}, "`ts` must not be empty", id="no-times"),
        pytest.param(
            {"ts": [1.0], "path": ufm.flows.Integration()}, "`path` must be one of", id="path"
        ),
        pytest.param(
            {"ts": [1.0], "integration": {"rtol": 1e-9}},
            "`integration` must be a ufm.flows.Integration; got dict",
            id="integration",
        ),
        pytest.param(
            {"ts": [1.0], "start": 1},
            "exactly one of `key` and `start` must be given",
            id="two-starts",
        ),
    ],
)
def test_bad_input(arguments, message, key):
    with pytest.raises(ValueError, match=message):
        ufm.flow(problem_of(), key=key, **arguments)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"rtol": 0.0}, "`Integration.rtol` must be finite and > 0; got 0", id="rtol"),
        pytest.param(
            {"steady": -1.0}, "`Integration.steady` must be finite and >= 0; got -1.0", id="steady"
        ),
        pytest.param({"max_steps": 0}, "`Integration.max_steps` must be a whole", id="max-steps"),
    ],
)
def test_bad_numbers_are_named_where_they_are_made(fields, message):
    with pytest.raises(ValueError, match=message):
        ufm.flows.Integration(**fields)


@pytest.mark.parametrize("stretches", [1, 12])
def test_the_budget_is_of_a_whole_flow_and_shared(stretches, key):
    integration = ufm.flows.Integration(max_steps=40, step=1e-3, integrator="euler", steady=0)
    ts = np.linspace(1, 50, stretches)
    found = flow(problem_of(), ts=ts, key=key, integration=integration)
    assert found.result is ufm.Result.MAX_STEPS
    # a stretch that has spent its share is the last
    assert int(found.num_steps) == -(-40 // len(range(0, stretches, -(-stretches // 10))))


@pytest.mark.parametrize("freeze", [False, True])
def test_polish_ends_at_the_minimum_and_says_so(freeze, key):
    problem = problem_of(lam=0.05, bias="free")
    rates = {"weights": 0.0} if freeze else None
    start = ufm.solvers.random_start(problem, key=key)
    plain, polished = (
        flow(
            problem,
            ts=[0.0, 1e5],
            start=start,
            path=ufm.flows.Path(rates=rates),
            integration=ufm.flows.Integration(atol=1e-8, polish=polish),
        )
        for polish in (False, True)
    )
    assert plain.result is ufm.Result.STEADY_STATE
    assert plain.polish is None
    assert polished.result is ufm.Result.POLISHED
    assert polished.result.ok
    # the rows are the flow's own, the end is Newton's
    np.testing.assert_array_equal(plain.value, polished.value)
    np.testing.assert_array_equal(polished.final.features, polished.polish.params.features)
    assert polished.polish.grad_norm < 1e-12
    assert 0 <= plain.value[-1] - polished.polish.value < 1e-10
    if freeze:
        np.testing.assert_array_equal(polished.final.weights[0], start.weights[0])


def test_polish_waits_for_the_steady_state(key):
    trajectory = flow(
        problem_of(), ts=[1.0], key=key, integration=ufm.flows.Integration(polish=True)
    )
    assert trajectory.result is ufm.Result.REACHED_END
    assert trajectory.polish is None


def test_polish_that_fails_leaves_the_end_of_the_flow(key, monkeypatch):
    tired = ufm.solvers.GradientDescent(1e-9, max_steps=1)
    monkeypatch.setattr(
        gradient_flow,
        "minimise",
        lambda problem, start, progress: ufm.minimise(problem, start=start, solver=tired),
    )
    problem = problem_of(lam=0.05)
    trajectory = flow(
        problem, ts=[1e5], key=key, integration=ufm.flows.Integration(atol=1e-8, polish=True)
    )
    assert trajectory.polish.result is ufm.Result.MAX_STEPS
    assert trajectory.result is ufm.Result.STEADY_STATE
    np.testing.assert_array_equal(trajectory.final.features, trajectory.params.features[-1])


def test_the_steady_state_is_found_above_the_noise(key):
    # at the edge of its stability an explicit integrator goes on for ever in its own noise, of a
    # size that the relative tolerance, the clock and the problem all set
    for loss in (ufm.MeanSquaredError(), ufm.CrossEntropy()):
        problem = problem_of(loss, lam=5e-3, bias="free", counts=(50, 20, 5))
        best = ufm.minimise(problem, key=key).value
        for rate, rtol in ((1.0, None), (100.0, None), (1.0, 1e-6)):
            trajectory = flow(
                problem,
                ts=[1e6],
                key=key,
                path=ufm.flows.Path(rates=dict.fromkeys(("weights", "features", "bias"), rate)),
                integration=ufm.flows.Integration(rtol=rtol, max_steps=5000),
            )
            assert trajectory.result is ufm.Result.STEADY_STATE
            np.testing.assert_allclose(trajectory.value[0], best, rtol=rtol or 1e-12)


def two_rates(fast, slow, dtype):
    """Three columns that go to (·, 1), at these rates, from (·, −1)."""
    weights = np.sqrt(3 * np.diag([fast, slow])).astype(dtype)
    problem = ufm.Problem(
        ufm.soft(weights @ np.array([[0.3, 0.7, -0.9], [1, 1, 1]], dtype), dtype=dtype),
        loss=ufm.MeanSquaredError(),
        widths=(2,),
        fixed_weights=(weights,),
        lambda_H=0.0,
    )
    features = np.array([[2.0, 0.2, 0.4], [-1, -1, -1]], dtype)
    return problem, ufm.Params(weights=(weights,), features=features, bias=None)


def test_a_slow_mode_is_followed_through_the_noise_of_a_fast_one():
    problem, start = two_rates(0.3, 3e-7, "float64")
    ts, rough = np.array([2e3, 2e4]), ufm.flows.Integration(rtol=1e-5, atol=1e-7)
    there = flow(problem, ts=ts, start=start, integration=rough).params.features[:, 1]
    expected = 1 - 2 * np.exp(-3e-7 * ts)[:, None]
    np.testing.assert_allclose(there, np.broadcast_to(expected, there.shape), rtol=0, atol=1e-4)


def test_a_stretch_begins_late_in_float32():
    # where the last place of the time is longer than the first step of others
    problem, start = two_rates(3e-7, 3e-7, "float32")
    ts = np.array([1e6, 4e6])
    late = flow(problem, ts=ts, start=start)
    assert late.result is ufm.Result.REACHED_END
    expected = 1 - 2 * np.exp(-3e-7 * ts)[:, None]
    there = late.params.features[:, 1]
    np.testing.assert_allclose(there, np.broadcast_to(expected, there.shape), rtol=0, atol=1e-4)


def test_no_steady_state_is_seen_where_there_is_none(key):
    # logarithmic growth without decay, and a start near the saddle at the origin
    endless = flow(
        problem_of(ufm.CrossEntropy(), lam=0.0),
        ts=[1e8],
        start=ufm.solvers.random_start(problem_of(), key=key, std=0.5),
    )
    assert endless.result is ufm.Result.REACHED_END
    problem = problem_of(lam=1e-2)
    small = ufm.solvers.random_start(problem, key=key, std=1e-6)
    assert flow(problem, ts=[0.0, 1e5], start=small).value[-1] < 0.5 * ufm.model.objective(
        problem, small
    )


@pytest.mark.parametrize(
    ("scale", "classifier"),
    [(1e-6, ufm.domains.Real()), (1e-10, ufm.domains.Real()), (1e-6, ufm.domains.Ball(50.0))],
)
def test_saddles_are_passed(scale, classifier, key):
    # rare classes are learnt last: until then their growth is far below the noise of the others
    problem = problem_of(lam=0.0, counts=(10_000, 100, 1)).replace(classifier=classifier)
    start = ufm.solvers.random_start(problem, key=key, std=scale)
    trajectory = flow(problem, ts=[0.0, 1e6], start=start)
    assert trajectory.result is ufm.Result.STEADY_STATE
    assert trajectory.value[-1] < 1e-14


def test_the_origin_is_steady(key):
    problem = problem_of()
    origin = jax.tree.map(jnp.zeros_like, ufm.solvers.random_start(problem, key=key))
    trajectory = flow(problem, ts=[1.0, 2.0], start=origin)
    assert trajectory.result is ufm.Result.STEADY_STATE
    np.testing.assert_array_equal(trajectory.value, [0.5, 0.5])
    # at time zero as well, where no step has been taken
    from_zero = flow(problem, ts=[0.0, 2.0], start=origin)
    np.testing.assert_array_equal(from_zero.value, [0.5, 0.5])
    np.testing.assert_array_equal(from_zero.params.features, 0)


def test_a_step_too_long_for_the_method_is_divergence(key):
    trajectory = ufm.flow(
        problem_of(lam=1.0),
        ts=[0.0, 1e4],
        key=key,
        integration=ufm.flows.Integration(step=10.0, integrator="euler"),
    )
    assert trajectory.result is ufm.Result.DIVERGED


def test_progress_is_shown_on_request(key, capsys, monkeypatch):
    monkeypatch.setattr(
        "ufm._system.progress.time.monotonic", iter(np.arange(0, 1e4, 5.0)).__next__
    )
    flow(problem_of(), ts=np.linspace(0, 5, 20), key=key, progress=True)
    assert "flow: " in capsys.readouterr().err


def test_a_flow_says_how_it_ended_and_what_it_holds(key):
    ts = np.linspace(0, 3, 4)
    run = flow(problem_of(), ts=ts, key=key, observables=OBSERVABLES)
    value = f"{float(run.value[-1]):.12g}"
    assert str(run) == (
        f"value {value} at t = 3 after {int(run.num_steps)} steps\n"
        "REACHED_END: integrated to the last time\n"
        "4 records from t = 0 to 3: value, W, norm"
    )
    # the tree is one `repr` away, and what is traced has no values to tell
    assert repr(run).startswith("Trajectory(\n  problem=Problem(")
    assert str(jax.eval_shape(lambda run: run, run)).startswith("Trajectory(")
    jax.jit(lambda run: str(run) and run.value)(run)


def test_a_flow_that_has_not_come_far_says_so(key):
    ts = (0.0, 1e6)
    run = flow(problem_of(), ts=ts, key=key, integration=ufm.flows.Integration(max_steps=3))
    ended, result, records = str(run).splitlines()
    assert ended == f"value {float(run.value[0]):.12g} at t = 0 after {int(run.num_steps)} steps"
    assert result.startswith("MAX_STEPS: ")
    assert records == "2 records from t = 0 to 1e+06 (1 of 2 are finite): value, W, norm"
    nothing = dataclasses.replace(run, value=np.nan * run.value)
    assert str(nothing).startswith(f"no value recorded in {int(run.num_steps)} steps\n")


def test_a_batch_says_how_many_runs_ended_how(key):
    run = flow(problem_of(), ts=[0.0, 3.0], key=key)
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), run)
    codes = jnp.asarray([ufm.Result.REACHED_END, ufm.Result.DIVERGED])
    assert str(dataclasses.replace(both, code=codes)) == (
        "2 runs: 1 REACHED_END, 1 DIVERGED\n2 records from t = 0 to 3: value, W, norm"
    )
