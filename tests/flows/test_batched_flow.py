"""`flow_batch` is `flow`, many times."""

from __future__ import annotations

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.flows import batched_flow, flow, flow_batch


def problem_of(lam, *, loss=None, counts=(6, 3, 2), widths=(4,), bias="free"):
    labels = ufm.one_hot(counts, collapsed=True)
    return ufm.Problem(
        labels,
        loss=loss or ufm.CrossEntropy(),
        widths=widths,
        lambda_W=lam,
        lambda_H=lam,
        bias=bias,
    )


def norm(problem, params):
    return jnp.sum(params.features**2)


# What is compiled is kept for the same shapes, observables and size of blocks, so tests share these
# times, this observable and blocks of 1, 5 and 32 wherever they ask for nothing else.
TS = np.linspace(0, 20, 6)
OBSERVABLES = {"norm": norm}


def flow_of(ts=TS, **more):
    return ufm.flows.Flow(ts, observables=OBSERVABLES, **more)


def single_flow(problem, key, ts=TS):
    return flow(problem, ts=ts, key=key, observables=OBSERVABLES)


def test_settings_of_one_thread_hold_in_all(key, enable_x64):
    """First of all, so that a thread compiles before others find it done."""
    # what `with` switches on, other threads do not see: they must not turn float64 into float32
    jax.config.update("jax_enable_x64", False)
    try:
        with enable_x64(True):
            runs = [
                flow_batch(
                    problem_of(1e-2),
                    flow_of(),
                    keys=jax.random.split(key, 40),
                    execution=ufm.batch.Execution(threads=2),
                )
                for _ in range(2)
            ]
            expected = single_flow(problem_of(1e-2), jax.random.split(key, 40)[39]).value
    finally:
        jax.config.update("jax_enable_x64", True)
    for batch in runs:
        assert batch.value.dtype == np.float64
        np.testing.assert_allclose(batch.value[39], expected, rtol=1e-9)


@pytest.mark.lean("one", "blocks-and-a-rest")
@pytest.mark.parametrize("number", [1, 5, 37], ids=["one", "part-of-a-block", "blocks-and-a-rest"])
def test_equals_single_flows(number):
    lams = np.geomspace(1e-3, 1e-1, number)
    problems = [problem_of(lam) for lam in lams]
    keys = jax.random.split(jax.random.key(1), number)
    batch = flow_batch(problems, flow_of(), keys=keys)
    assert batch.value.shape == (number, len(TS))
    assert batch.results == (ufm.Result.REACHED_END,) * number
    for i in {0, number // 2, number - 1}:
        single, lane = single_flow(problems[i], keys[i]), batch.run(i)
        assert lane.result is single.result
        np.testing.assert_array_equal(lane.ts, single.ts)
        np.testing.assert_array_equal(lane.problem.lambda_W, problems[i].lambda_W)
        np.testing.assert_allclose(lane.value, single.value, rtol=1e-9)
        np.testing.assert_allclose(lane.observables["norm"], single.observables["norm"], rtol=1e-8)
        np.testing.assert_allclose(lane.params.features, single.params.features, rtol=0, atol=1e-8)
        np.testing.assert_allclose(
            lane.final.weights[0], single.final.weights[0], rtol=0, atol=1e-8
        )


def test_one_problem_from_many_starts_in_either_form(key):
    problem = problem_of(1e-2)
    starts = [ufm.solvers.random_start(problem, key=k) for k in jax.random.split(key, 3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    runs = [
        flow_batch(
            problem,
            ufm.flows.Flow(TS, observables=ufm.flows.Record(keep_params=False)),
            starts=given,
        )
        for given in (starts, stacked)
    ]
    np.testing.assert_array_equal(runs[0].value, runs[1].value)
    assert runs[0].params is None
    assert np.ptp(np.asarray(runs[0].value[:, 0])) > 0


def test_each_flow_has_a_result_of_its_own(key):
    # a fast problem is at rest before the end, slow ones are not
    problems = [problem_of(lam) for lam in (0.5, 1e-3, 1e-3, 1e-3, 1e-3)]
    keys = jax.random.split(key, 5)
    batch = flow_batch(problems, flow_of(5 * TS), keys=keys)
    assert batch.results == (ufm.Result.STEADY_STATE,) + 4 * (ufm.Result.REACHED_END,)
    assert batch.num_steps[0] != batch.num_steps[1]
    np.testing.assert_allclose(
        batch.value[0], single_flow(problems[0], keys[0], 5 * TS).value, rtol=1e-9
    )


def test_threads_change_nothing(key):
    problem, keys = problem_of(1e-2), jax.random.split(key, 40)
    runs = [
        flow_batch(
            problem, flow_of(), keys=keys, execution=ufm.batch.Execution(threads=threads)
        ).value
        for threads in (1, 3, 3)
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    np.testing.assert_array_equal(runs[0], runs[2])


def test_paths_and_rates_are_shared_by_the_batch(key):
    problems = [problem_of(lam, loss=ufm.MeanSquaredError()) for lam in (1e-2, 2e-2)]
    keys = jax.random.split(key, 2)
    for path in ("central", ufm.flows.Path(rates={"weights": 2.0})):
        batch = flow_batch(problems, ufm.flows.Flow(TS, path=path), keys=keys)
        np.testing.assert_allclose(
            batch.value[1], flow(problems[1], ts=TS, key=keys[1], path=path).value, rtol=1e-9
        )


def test_batches_share_one_compilation(key):
    flow_batch(problem_of(1e-2), flow_of(), keys=jax.random.split(key, 32))
    before = batched_flow.integrate_block._cache_size()
    flow_batch(
        [problem_of(2e-2, counts=(3, 2, i + 1)) for i in range(33)],
        flow_of(2 * TS, integration=ufm.flows.Integration(rtol=1e-6)),
        keys=jax.random.split(key, 33),
    )
    assert batched_flow.integrate_block._cache_size() == before


@pytest.mark.parametrize("finished", [0, 1])
def test_interrupted_batch_keeps_what_is_finished(finished, key, monkeypatch):
    real, calls = batched_flow.integrate_block, iter(range(100))

    def some(*args):
        # the shapes of the rows that are missing are asked for under a trace, and that is no run
        if next(calls) == finished and not isinstance(args[2].features, jax.core.Tracer):
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(batched_flow, "integrate_block", some)
    problem, keys = problem_of(1e-2), jax.random.split(key, 40)
    batch = flow_batch(problem, flow_of(), keys=keys, execution=ufm.batch.Execution(threads=1))
    done = min(32 * finished, 40)
    assert batch.results == (ufm.Result.REACHED_END,) * done + (ufm.Result.INTERRUPTED,) * (
        40 - done
    )
    assert np.all(np.isfinite(batch.value[:done]))
    assert np.all(np.isnan(batch.value[done:]))
    # (one start is drawn on the host, a batch of them where it runs: the same numbers to rounding)
    start = ufm.solvers.random_start(problem, key=keys[-1])
    np.testing.assert_allclose(batch.final.features[-1], start.features, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("problems", "arguments", "message"),
    [
        pytest.param(
            [problem_of(0.1)],
            {},
            "exactly one of `keys` and `starts` must be given",
            id="no-starts",
        ),
        pytest.param(
            [], {"keys": 2}, "`problems` must hold at least one problem", id="no-problems"
        ),
        pytest.param(
            [problem_of(0.1)] * 3,
            {"keys": 2},
            "`problems` must be one, or as many as there are starts, 2; got 3",
            id="numbers",
        ),
        pytest.param(
            [problem_of(0.1), problem_of(0.1, widths=(5,))],
            {"keys": 2},
            r"`problems\[1\]` must have the shapes",
            id="shapes",
        ),
        pytest.param(
            [problem_of(0.1), problem_of(0.1, bias=None)],
            {"keys": 2},
            r"`problems\[1\]` must have the shapes",
            id="bias",
        ),
        pytest.param(
            [problem_of(0.0)],
            {"keys": 2},
            "`lambda_W` must be finite and > 0 for random starts",
            id="no-decay",
        ),
        pytest.param(
            [problem_of(0.1)],
            {"keys": 2, "path": "central"},
            "`loss` must be MeanSquaredError",
            id="path",
        ),
    ],
)
def test_bad_input(problems, arguments, message, key):
    if "keys" in arguments:
        arguments = arguments | {"keys": jax.random.split(key, arguments["keys"])}
    followed = ufm.flows.Flow(TS, path=arguments.get("path", "gradient"))
    arguments = {name: value for name, value in arguments.items() if name != "path"}
    with pytest.raises(ValueError, match=message):
        flow_batch(problems, followed, **arguments)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"ts": [1.0, 0.5]}, "`Flow.ts` must be increasing", id="times"),
        pytest.param({"path": 3}, "`Flow.path` must be one of", id="path"),
        pytest.param({"observables": 3}, "`Flow.observables` must be a dict", id="observables"),
        pytest.param({"integration": 3}, "`Flow.integration` must be a ufm", id="integration"),
        pytest.param(
            {"integration": ufm.flows.Integration(polish=True)},
            "`Integration.polish` is for one flow alone",
            id="polish",
        ),
    ],
)
def test_a_bad_flow_is_named_where_it_is_made(fields, message):
    with pytest.raises(ValueError, match=message):
        ufm.flows.Flow(**({"ts": TS} | fields))


def test_chunks_and_memory_change_nothing_but_the_blocks(key):
    problem, keys = problem_of(1e-2), jax.random.split(key, 37)
    plain, *others = (
        flow_batch(problem, flow_of(), keys=keys, execution=ufm.batch.Execution(threads=1, **how))
        for how in ({}, {"chunk": 5}, {"memory": 1})
    )
    for batch in others:
        np.testing.assert_allclose(batch.value, plain.value, rtol=1e-9)
        assert batch.results == plain.results
