"""`sweep` against a loop over `minimise`, `certify` and `flow`, lane by lane; what is refused.

What fails alone.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.sweeping import chunk, lone_lanes, plan
from ufm.sweeping.sweeps import sweep as full_sweep

K = 3


COUNTS = ((8, 8, 8), (20, 8, 3))
# One shape for most tests (two lanes a chunk, three classes, six features) and no metrics unless
# asked for: a program takes seconds to compile, and tests of one shape share theirs.
LANES, D = 2, 6
ONE_THREAD = ufm.batch.Execution(chunk=LANES, threads=1)
LOGITS = ufm.sweeping.Report(metrics=(), keep=("logits",))


def sweep(*arguments, **options):
    execution = ufm.batch.Execution(chunk=LANES)
    return full_sweep(*arguments, **({"report": LOGITS, "execution": execution} | options))


def tail(
    counts=COUNTS[1], lam=0.005, *, loss=None, bias=None, widths=(D,), smoothing=None
) -> ufm.Problem:
    labels = (
        ufm.one_hot(counts, collapsed=True)
        if smoothing is None
        else ufm.labels.smoothed(counts, smoothing=smoothing, collapsed=True)
    )
    return ufm.Problem(
        labels,
        loss=loss or ufm.CrossEntropy(),
        widths=widths,
        lambda_W=lam,
        lambda_H=lam,
        bias=bias,
    )


@pytest.mark.lean("grid", "kinds-of-bias", "smoothing", "points", "template", "list-of-problems")
@pytest.mark.parametrize(
    ("make", "over"),
    [
        pytest.param(
            lambda lam, counts: tail(counts, lam),
            {"lam": [2e-3, 2e-2], "counts": COUNTS, "seed": [0, 5]},
            id="grid",
        ),
        # fewer than classes, and more: those are solved at d = K
        pytest.param(
            lambda d: tail(widths=(d,)), {"d": [2, D], "seed": [0, 1]}, id="feature-dimensions"
        ),
        pytest.param(
            lambda bias: tail(bias=bias),
            {"bias": [None, "free"], "seed": [0, 1]},
            id="kinds-of-bias",
        ),
        pytest.param(
            lambda bias: tail(bias=bias),
            {"bias": [0.1, 1.0], "seed": [0, 1]},
            id="penalties-of-a-bias",
        ),
        pytest.param(lambda s: tail(smoothing=s), {"s": [0, 0.1, 0.2, 0.3]}, id="smoothing"),
        pytest.param(
            lambda loss: tail(loss=loss),
            {"loss": [ufm.CrossEntropy(), ufm.MeanSquaredError()], "seed": [0, 1]},
            id="losses",
        ),
        pytest.param(
            lambda lam, d: tail(lam=lam, widths=(d,)),
            [{"lam": lam, "d": d} for lam, d in ((0.01, 2), (0.02, D), (0.03, D), (0.04, 2))],
            id="points",
        ),
        pytest.param(
            tail(),
            {"lambda_H": [1e-3, 1e-2], "masses": [np.array(c, float) for c in COUNTS]},
            id="template",
        ),
        pytest.param([tail(), tail(bias="free")], {"seed": [0, 1]}, id="list-of-problems"),
    ],
)
def test_every_lane_is_what_minimise_makes_of_it(make, over, key):
    data = sweep(
        make,
        over,
        key=key,
        execution=ONE_THREAD,
    )
    points = over if isinstance(over, list) else None
    lanes = data.stack(lane=data["value"].dims)
    assert lanes.sizes["lane"] == (len(points) if points else lanes["value"].size)
    for i in range(lanes.sizes["lane"]):
        lane = lanes.isel(lane=i)
        problem, seed = alone(make, over, np.unravel_index(i, data["value"].shape))
        solution = ufm.minimise(problem, key=jax.random.fold_in(key, seed))
        assert solution.result == ufm.Result.CONVERGED
        assert int(lane["code"]) == ufm.Result.CONVERGED
        # for d < K a long tail may have several minima; the start is the same, and so is the one
        # found
        assert float(lane["value"]) == pytest.approx(float(solution.value), rel=1e-12)
        found = lane["logits"].values
        # a free bias leaves a common shift of the logits free
        assert np.max(np.abs(centred(found) - centred(np.asarray(solution.logits)))) < 1e-7
        assert float(lane["gap"]) == pytest.approx(
            float(ufm.certify(problem, solution.params).gap), abs=1e-9
        )


@pytest.mark.parametrize("keep", ["logits", "params"])
def test_few_lanes_are_done_one_by_one(keep, key, monkeypatch):
    """Where the user asks for no chunks: the same numbers, and no program for many lanes."""
    over = {"lam": [2e-3, 2e-2], "bias": [None, "free"], "seed": [0, 5]}
    report = ufm.sweeping.Report(metrics=("nc2_etf_features",), keep=(keep,))
    asked = {"key": key, "report": report}
    together = sweep(lambda lam, bias: tail(lam=lam, bias=bias), over, **asked)
    monkeypatch.setattr(chunk.MinimiseChunk, "__call__", None)
    data = sweep(lambda lam, bias: tail(lam=lam, bias=bias), over, **asked, execution=None)
    assert set(data) == set(together)
    assert {name: data[name].dtype for name in data} == {n: together[n].dtype for n in together}
    np.testing.assert_array_equal(data["code"], together["code"])
    np.testing.assert_allclose(data["value"], together["value"], rtol=1e-13)
    np.testing.assert_allclose(
        data["nc2_etf_features"], together["nc2_etf_features"], rtol=0, atol=1e-9
    )
    for name in (
        ("logits",) if keep == "logits" else ("params_weights_0", "params_features", "params_bias")
    ):
        np.testing.assert_allclose(data[name], together[name], rtol=0, atol=1e-6)


@pytest.mark.lean("focal")
@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(ufm.losses.Focal, id="focal"),
        pytest.param(
            lambda a: ufm.losses.AdjustedCrossEntropy(
                additive=a * np.arange(3.0), multiplicative=1 + a * np.arange(3.0)
            ),
            id="adjusted",
        ),
        pytest.param(
            lambda a: ufm.losses.RescaledSquaredError(length=a, weight=1 + a), id="rescaled"
        ),
    ],
)
def test_the_parameters_of_a_loss_can_be_swept(loss, key):
    amounts = [0.5, 1.0, 2.0]
    data = sweep(lambda a: tail(loss=loss(a)), {"a": amounts}, key=key)
    for i, a in enumerate(amounts):
        solution = ufm.minimise(tail(loss=loss(a)), key=jax.random.fold_in(key, 0))
        assert float(data["value"][i]) == pytest.approx(float(solution.value), rel=1e-12)


def test_single_precision_stays_single(key):
    labels = ufm.one_hot(COUNTS[1], collapsed=True, dtype=np.float32)
    lam = np.float32(0.005)

    def make(g):
        return ufm.Problem(
            labels, loss=ufm.losses.Focal(g), widths=(D,), lambda_W=lam, lambda_H=lam
        )

    data = sweep(make, {"g": [0.0, 1.0]}, key=key)
    assert data["value"].dtype == np.float32
    assert list(data["code"].values) == [ufm.Result.CONVERGED] * 2
    double = sweep(lambda g: tail(loss=ufm.losses.Focal(g)), {"g": [0.0, 1.0]}, key=key)
    np.testing.assert_allclose(data["value"], double["value"], rtol=1e-5)


def alone(make, over, place):
    """The problem of one lane, built as a user would, and its seed."""
    if isinstance(over, list):
        return make(**over[place[0]]), 0
    values = {
        name: options[i]
        for (name, options), i in zip(over.items(), place[-len(over) :], strict=True)
    }
    seed = values.pop("seed", 0)
    if isinstance(make, list):
        return make[place[0]], seed
    if isinstance(make, ufm.Problem):
        labels = ufm.Labels(make.labels.targets, jnp.asarray(values["masses"]))
        return ufm.Problem(
            labels,
            loss=make.loss,
            widths=make.widths,
            lambda_W=make.lambda_W,
            lambda_H=values["lambda_H"],
        ), seed
    return make(**values), seed


def centred(logits):
    return logits - logits.mean(axis=0, keepdims=True)


def test_a_template_keeps_its_loss_weights(key):
    weights = 10.0 ** np.arange(3)
    template = ufm.Problem(
        ufm.one_hot(COUNTS[1], class_weights=weights, collapsed=True),
        loss=ufm.CrossEntropy(),
        widths=(D,),
        lambda_W=0.005,
        lambda_H=0.005,
    )
    data = sweep(template, {"lambda_H": [0.005]}, key=key, execution=ONE_THREAD)
    solution = ufm.minimise(template, key=jax.random.fold_in(key, 0))
    assert float(data["value"][0]) == pytest.approx(float(solution.value), rel=1e-12)
    assert float(solution.value) != pytest.approx(
        float(ufm.minimise(tail(), key=key).value), rel=1e-3
    )


def test_depth_and_several_widths_take_the_general_route(key):
    def make(widths):
        return tail(lam=0.003, loss=ufm.MeanSquaredError(), widths=widths)

    shapes = [(D,), (D, K)]
    data = sweep(
        make,
        {"widths": shapes, "seed": [0, 1]},
        key=key,
        execution=ONE_THREAD,
    )
    for i, widths in enumerate(shapes):
        for seed in (0, 1):
            solution = ufm.minimise(make(widths), key=jax.random.fold_in(key, seed))
            assert solution.result == ufm.Result.CONVERGED
            assert float(data["value"][i, seed]) == pytest.approx(float(solution.value), rel=1e-12)
            assert bool(np.isfinite(data["gap"][i, seed])) == (len(widths) == 1)
    assert data["widths_values"].values.tolist() == ["(6,)", "(6, 3)"]


def test_metrics_are_those_of_the_solution(key):
    data = sweep(
        lambda lam: tail(lam=lam),
        {"lam": [0.002, 0.01]},
        key=key,
        report=ufm.sweeping.Report(
            metrics=("nc2_gof_features", "nc3_self_duality"), keep=("params",)
        ),
    )
    for i, lam in enumerate((0.002, 0.01)):
        metrics = ufm.measure(ufm.minimise(tail(lam=lam), key=jax.random.fold_in(key, 0)))
        assert float(data["nc2_gof_features"][i]) == pytest.approx(
            float(metrics.nc2_gof_features), rel=1e-6
        )
        params = ufm.Params(
            (jnp.asarray(data["params_weights_0"].values[i]),),
            jnp.asarray(data["params_features"].values[i]),
        )
        assert float(ufm.model.objective(tail(lam=lam), params)) == pytest.approx(
            float(data["value"][i]), rel=1e-13
        )


def test_a_flow_is_that_of_flow(key):
    ts, integration = np.linspace(0, 5, 4), ufm.flows.Integration(integrator="tsit5", rtol=1e-7)
    data = sweep(
        lambda lam: tail(lam=lam),
        {"lam": [0.005, 0.05], "seed": [0, 3]},
        key=key,
        method=ufm.flows.Flow(ts, integration=integration),
    )
    for i, lam in enumerate((0.005, 0.05)):
        for j, seed in enumerate((0, 3)):
            run = ufm.flow(
                tail(lam=lam), ts=ts, key=jax.random.fold_in(key, seed), integration=integration
            )
            assert run.result == ufm.Result.REACHED_END
            assert int(data["code"][i, j]) == ufm.Result.REACHED_END
            np.testing.assert_allclose(data["trajectory"].values[i, j], run.value, rtol=1e-9)
    assert data["trajectory"].dims == ("lam", "seed", "t")


@pytest.mark.parametrize("execution", [ONE_THREAD, None], ids=["chunks", "one-by-one"])
def test_a_lane_that_fails_leaves_the_rest_alone(execution, key):
    # logits of 1e200 overflow
    def make(size):
        labels = ufm.Labels(jnp.eye(K) * size, jnp.ones(K))
        return ufm.Problem(
            labels, loss=ufm.MeanSquaredError(), widths=(D,), lambda_W=0.01, lambda_H=0.01
        )

    # before and after the others of their chunks
    data = sweep(make, {"size": [1e200, 1.0, 2.0, 1e200]}, key=key, execution=execution)
    converged, diverged = ufm.Result.CONVERGED, ufm.Result.DIVERGED
    assert data["code"].values.tolist() == [diverged, converged, converged, diverged]
    assert (data.attrs["complete"], data.attrs["failed"], data.attrs["done"]) == (1, 2, 4)
    alone = sweep(make, {"size": [1.0, 2.0]}, key=key, execution=ONE_THREAD)
    np.testing.assert_allclose(data["value"].values[1:3], alone["value"].values, rtol=1e-13)


def test_a_small_budget_is_marked(key):
    data = sweep(
        lambda lam: tail(lam=lam),
        {"lam": [0.002, 0.01]},
        key=key,
        method=ufm.solvers.Newton(max_steps=2),
    )
    assert data["code"].values.tolist() == [ufm.Result.MAX_STEPS] * 2
    assert data["num_steps"].values.tolist() == [2, 2]


@pytest.mark.parametrize(
    ("sizes", "most", "parts", "width"),
    [
        pytest.param((1, 8, 16), 1024, 1, 16, id="a-few"),
        pytest.param((97, 100, 112), 1024, 1, 112, id="some"),
        pytest.param((800, 890), 1024, 1, 896, id="many"),
        pytest.param((2,), 2, 1, 2, id="no-more-than-memory-or-the-user-allows"),
        pytest.param((9,), 20, 3, 18, id="shared-out"),
    ],
)
def test_sweeps_of_a_few_lanes_more_or_less_have_one_program(sizes, most, parts, width):
    assert {plan._width(size, most, parts) for size in sizes} == {width}


def test_chunks_do_not_change_the_numbers(key):
    over = {"lam": np.geomspace(1e-3, 1e-1, 7), "seed": range(3)}
    whole = sweep(
        lambda lam: tail(lam=lam), over, key=key, execution=ufm.batch.Execution(chunk=21, threads=1)
    )
    pieces = sweep(lambda lam: tail(lam=lam), over, key=key)
    assert (whole.attrs["lanes"], whole.attrs["done"]) == (21, 21)
    np.testing.assert_allclose(pieces["value"], whole["value"], rtol=1e-13)
    assert (pieces["code"].values == whole["code"].values).all()


def test_sweeping_traced_values_makes_one_problem_function_call(key):
    calls = []

    def make(lam):
        calls.append(lam)
        return tail(lam=lam)

    sweep(make, {"lam": np.geomspace(1e-3, 1e-1, 50)}, key=key)
    # smallest, largest and first value as they are, then all at once
    assert len(calls) <= 4


@pytest.mark.parametrize(
    ("make", "over", "options", "message"),
    [
        pytest.param(
            lambda lam: tail(lam=lam),
            {"lam": [0.01, -1.0, 0.1]},
            {},
            "`make` fails at .*-1.0.*lambda_W",
            id="bad-value-inside",
        ),
        pytest.param(lambda lam: tail(lam=lam), {"lam": []}, {}, "at least one value", id="empty"),
        pytest.param(
            lambda lam: tail(lam=lam),
            {"lam": [0.01, 0.0, 0.0]},
            {},
            r"^`make` fails at {'lam': 0.0}: `lambda_W` must be finite and > 0 for .*; got .*0\S*$",
            id="no-decay",
        ),
        pytest.param(
            lambda lam: tail(lam=lam),
            {"lam": np.array([0.01, 0.0]), "seed": [1, 2]},
            {"method": ufm.flows.Flow([1.0])},
            r"^`make` fails at {'lam': 0.0}: `lambda_W` must be finite and > 0 for .*; got .*0\S*$",
            id="no-decay-of-a-flow",
        ),
        pytest.param(
            lambda: tail(),
            {"seed": range(10**20)},
            {},
            "`over` must have at most 10000000 lanes",
            id="endless",
        ),
        pytest.param(lambda: tail(), {"seed": [0.5]}, {}, "must be a whole number", id="seed"),
        pytest.param(tail(), {"widths": [(3,)]}, {}, "fields of a problem", id="template-field"),
        pytest.param(
            lambda lam: tail(lam=lam),
            {"lam": [0.1]},
            {"method": {"ts": [1.0]}},
            "`method` must be a solver such as .*Minimisation or a ufm.flows.Flow; got dict",
            id="method",
        ),
        pytest.param(
            lambda lam: tail(lam=lam),
            {"lam": [0.1]},
            {"report": ("nc1_pinv",)},
            "`report` must be a ufm.sweeping.Report; got tuple",
            id="report",
        ),
        pytest.param(
            lambda g: tail(loss=ufm.losses.Focal(g)),
            {"g": [0.5]},
            {"report": ufm.sweeping.Report(certificates=True)},
            "`Report.certificates`",
            id="no-certificate",
        ),
        pytest.param(
            lambda lam: 3, {"lam": [0.1]}, {}, "must return a ufm.Problem", id="not-a-problem"
        ),
        pytest.param(
            lambda lam: tail(lam=lam),
            [{"lam": 0.1}, {"mu": 0.1}],
            {},
            "names of",
            id="names-differ",
        ),
    ],
)
def test_bad_input_is_refused(make, over, options, message, key):
    with pytest.raises(ValueError, match=message):
        sweep(make, over, key=key, **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("value", {}),
        ("gap", {}),
        ("nc1_pinv", {"report": ufm.sweeping.Report(metrics=("nc1_pinv",))}),
        ("logits_bias", {"report": ufm.sweeping.Report(keep=("logits",))}),
        ("params_weights_1", {"report": ufm.sweeping.Report(keep=("params",))}),
        ("norm", {"method": ufm.flows.Flow([1.0], observables={"norm": lambda problem, p: 1.0})}),
    ],
)
def test_a_swept_name_hides_no_result(name, options, key):
    """As a coordinate it would stand in the place of a variable of that name."""
    with pytest.raises(ValueError, match=f"what the lanes report; got {name}"):
        sweep(lambda **given: tail(), {name: [0.1, 0.2]}, key=key, **options)


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        pytest.param("Report", {"metrics": ("nc5",)}, r"`Report.metrics\[0\]`", id="metric"),
        pytest.param("Report", {"keep": ("hessian",)}, r"`Report.keep\[0\]`", id="keep"),
        pytest.param("Report", {"certificates": "all"}, "`Report.certificates`", id="certificates"),
        pytest.param("Minimisation", {"solver": "newton"}, "`Minimisation.solver`", id="solver"),
        pytest.param("Minimisation", {"tolerance": 1.0}, "`Minimisation.tolerance`", id="all-meet"),
    ],
)
def test_bad_options_are_named_where_they_are_made(kind, fields, message):
    with pytest.raises(ValueError, match=message):
        getattr(ufm.sweeping, kind)(**fields)


def test_float32_is_followed(enable_x64, monkeypatch):
    # (one by one they may end above the tolerance)
    monkeypatch.setattr(lone_lanes.LoneLanes, "__call__", None)
    with enable_x64(False):
        data = sweep(
            lambda lam: tail(lam=lam),
            {"lam": [0.002, 0.01]},
            key=jax.random.key(0),
            method=ufm.sweeping.Minimisation(tolerance=1e-5),
            execution=None,
        )
    assert data.attrs["dtype"] == "float32"
    assert data["code"].values.tolist() == [ufm.Result.CONVERGED] * 2


class Bare(ufm.losses.AbstractLoss):
    """Squared error without what a certificate asks of a loss."""

    def __call__(self, logits, targets):
        return ufm.MeanSquaredError()(logits, targets)


def test_a_loss_without_a_conjugate_is_swept_without_certificates(key):
    """Convex as it is, `certify` refuses it, and so did every sweep of it."""
    over = {"lam": [2e-3, 2e-2]}
    bare, whole = (
        sweep(lambda lam, loss=loss: tail(lam=lam, loss=loss), over, key=key)
        for loss in (Bare(), ufm.MeanSquaredError())
    )
    np.testing.assert_allclose(bare["value"], whole["value"], rtol=1e-12)
    assert np.all(whole["gap"] < 1e-10)
    assert np.all(np.isnan(bare.get("gap", np.nan)))
    with pytest.raises(ValueError, match="without one"):
        sweep(
            lambda lam: tail(lam=lam, loss=Bare()),
            over,
            key=key,
            report=ufm.sweeping.Report(certificates=True),
        )
