"""Parts from outside work with every verb of the library, as its own do."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import ufm
from tests.extension.parts import (
    Confused,
    LogCosh,
    Neighbours,
    NothingIsLearned,
    NotItsAdjoint,
    Pinned,
    WronglyScaled,
    longest_over_shortest,
)
from ufm.__main__ import main
from ufm.domains import Ball, Sphere

COUNTS = (5, 3, 1)


def make(loss=None, *, d=4, lam=1e-2, **parts):
    labels = ufm.one_hot(COUNTS, collapsed=True)
    return ufm.Problem(
        labels, loss=loss or ufm.CrossEntropy(), widths=(d,), lambda_W=lam, lambda_H=lam, **parts
    )


def solved(problem):
    solution = ufm.minimise(problem, key=jax.random.key(0))
    assert solution.result is ufm.Result.CONVERGED
    return solution


@pytest.mark.parametrize(
    "parts", [{}, {"features": Ball(0.5), "classifier": Sphere(1.0)}], ids=["decay", "domains"]
)
def test_a_loss_is_solved_and_certified(parts):
    problem = make(LogCosh(), **parts)
    solution = solved(problem)
    certificate = ufm.certify(problem, solution.params)
    assert certificate.valid
    assert float(certificate.gap) <= 1e-10


def test_a_loss_passes_its_examination_and_takes_part():
    assert ufm.check_loss(LogCosh(), num_classes=3, key=jax.random.key(0)).ok
    with pytest.raises(ufm.NoClosedForm, match="needs a loss with a solved optimum"):
        ufm.closed_form(make(LogCosh()))
    free = make(LogCosh(), bias="free")
    start = ufm.solvers.random_start(free, key=jax.random.key(0))
    with pytest.raises(
        ValueError, match=r"`problem.loss` must define `best_bias` for a certificate"
    ):
        ufm.certify(free, start)
    data = ufm.sweep(
        lambda lam: make(LogCosh(), lam=lam),
        over={"lam": [1e-2, 2e-2]},
        key=jax.random.key(0),
        progress=False,
    )
    assert np.all(np.asarray(data["gap"]) <= 1e-10)
    assert (
        str(problem := make(LogCosh())) == "Problem(K=3, C=3, LogCosh(), widths=(4,), λ=0.01, 0.01)"
    )
    assert ufm.measure(solved(problem)).nc1_trace_ratio == 0


def test_an_affine_slice_is_a_penalised_bias():
    """With h_1 = c for all columns the first column of W, times c, is a bias whose penalty is
    λ_W/c²; d is one less."""
    c, lam = 0.7, 1e-2
    problem = make(features=Pinned(c), lam=lam)
    solution = solved(problem)
    np.testing.assert_allclose(solution.params.features[0], c, rtol=1e-15)
    twin = solved(make(d=3, lam=lam, bias=lam / c**2))
    np.testing.assert_allclose(
        float(solution.value), float(twin.value) + 0.5 * lam * sum(COUNTS) * c**2, rtol=1e-12
    )
    certificate = ufm.certify(problem, solution.params)
    assert certificate.valid
    assert float(certificate.gap) <= 1e-10
    for seed in range(3):
        there = ufm.certify(problem, ufm.solvers.random_start(problem, key=jax.random.key(seed)))
        assert there.valid
        assert float(there.lower_bound) <= float(solution.value)
    with pytest.raises(ValueError, match=r"`problem.features` must treat all directions alike"):
        ufm.classify(problem, solution.params)


@pytest.mark.parametrize(
    "parts",
    [
        {"classifier": Pinned(2.0)},
        {"features": Pinned(0.7), "classifier": Pinned(2.0)},
        {"features": Pinned(0.7), "fixed_weights": (np.eye(3, 4),)},
    ],
    ids=["classifier", "both", "frozen"],
)
def test_linear_constraints_have_multipliers_wherever_they_are(parts):
    problem = make(**parts)
    solution = solved(problem)
    assert ufm.certify(problem, solution.params).closes(1e-10)
    away = ufm.certify(problem, ufm.solvers.random_start(problem, key=jax.random.key(1)))
    assert float(away.lower_bound) <= float(solution.value)
    (bound,) = ufm.theory(problem).of_kind("bound")
    assert "which closes at" in bound.says


def test_a_domain_without_all_its_multipliers_is_not_told_that_its_bound_closes():
    class Loose(Pinned):
        tight = False

        def linear(self, vectors, slope):
            return None

    problem = make(features=Loose(0.7))
    (bound,) = ufm.theory(problem).of_kind("bound")
    words = "multipliers of Loose features may be missing"
    assert f"need not close at an optimum, as {words}" in bound.says
    certificate = ufm.certify(problem, solved(problem).params)
    assert float(certificate.gap) > 1e-3
    assert str(certificate).endswith(
        f"says nothing of the point: {words} (the domain is not `tight`)"
    )


def test_a_flow_stays_in_the_slice_and_a_point_outside_is_named():
    problem = make(features=Pinned(0.7))
    flow = ufm.flow(
        problem,
        ts=np.geomspace(0.1, 1e4, 8),
        key=jax.random.key(1),
        integration=ufm.flows.Integration(polish=True),
    )
    assert flow.result is ufm.Result.POLISHED
    np.testing.assert_allclose(flow.final.features[0], 0.7, rtol=1e-15)
    np.testing.assert_allclose(float(flow.polish.value), float(solved(problem).value), rtol=1e-12)
    outside = ufm.solvers.random_start(make(), key=jax.random.key(0))
    with pytest.raises(
        ValueError,
        match=r"`start.features` must have `value` as first entry, for "
        r"features=Pinned\(value=0.7\)",
    ):
        ufm.minimise(problem, start=outside)


def test_another_value_of_the_slice_is_not_another_compilation():
    from ufm.solvers import pieces

    solved(make(features=Pinned(0.7)))
    before = pieces.launch._cache_size()
    values = [float(solved(make(features=Pinned(c))).value) for c in (0.2, 0.4)]
    assert pieces.launch._cache_size() == before
    assert values[0] != values[1]
    data = ufm.sweep(
        lambda c: make(features=Pinned(c)),
        over={"c": [0.2, 0.4]},
        key=jax.random.key(0),
        progress=False,
    )
    np.testing.assert_allclose(data["value"], values, rtol=1e-12)
    assert np.all(np.asarray(data["gap"]) <= 1e-10)


def test_commands_take_both(capsys):
    parts = [
        "--loss",
        "tests.extension.parts:LogCosh",
        "--features",
        "tests.extension.parts:Pinned,value=0.7",
    ]
    assert (
        main(
            [
                "solve",
                "--class-counts",
                "5,3,1",
                "--lambda-W",
                "0.01",
                "--lambda-H",
                "0.01",
                "--widths",
                "4",
                *parts,
            ]
        )
        == 0
    )
    assert "LogCosh" in capsys.readouterr().out


def test_a_form_is_confirmed_and_a_wrong_one_refuted():
    problem = make(LogCosh(), lam=0.5)
    solution = solved(problem)
    assert float(ufm.certify(problem, solution.params).gap) <= 1e-10
    for form, holds in ((NothingIsLearned(), True), (WronglyScaled(), False)):
        ufm.forms.register(form)
        try:
            comparison = ufm.compare(solution, ufm.closed_form(problem))
            assert comparison.ok == holds, str(comparison)
            assert form.name in str(ufm.theory(problem))
        finally:
            ufm.forms.forget(form)


@pytest.mark.parametrize(
    "parts",
    [{}, {"bias": "free"}, {"features": Ball(0.5), "classifier": Sphere(1.0)}],
    ids=["decay", "free-bias", "domains"],
)
def test_a_map_with_a_lift_is_certified(parts):
    problem = make(map=Neighbours(0.3), **parts)
    solution = solved(problem)
    certificate = ufm.certify(problem, solution.params)
    assert certificate.valid
    assert float(certificate.gap) <= 1e-10
    # away from the optimum the bound still holds
    start = ufm.solvers.random_start(problem, key=jax.random.key(1))
    assert float(ufm.certify(problem, start).lower_bound) <= float(solution.value) * (1 + 1e-12)


def test_a_ring_is_the_linear_model_of_mixed_features():
    """W (H A) is W H A: the logits are those of the linear model at the features H A."""
    problem, plain = make(map=Neighbours(0.3)), make()
    point = ufm.solvers.random_start(problem, key=jax.random.key(2))
    A = 0.7 * np.eye(3) + 0.3 * np.roll(np.eye(3), 1, axis=1)
    turned = ufm.Params(point.weights, point.features @ A)
    np.testing.assert_allclose(problem.logits(point), plain.logits(turned), rtol=1e-13)


def test_a_map_that_is_wrong_about_its_adjoint_certifies_nothing():
    problem = make(map=NotItsAdjoint(0.3))
    certificate = ufm.certify(problem, solved(problem).params)
    assert not certificate.valid
    assert not certificate.closes()


def test_a_map_takes_part():
    problem = make(map=Neighbours(0.3))
    assert "neighbours" in ufm.theory(problem).about
    with pytest.raises(ufm.NoClosedForm, match="needs linear layers; got neighbours"):
        ufm.closed_form(problem)
    data = ufm.sweep(
        lambda share: make(map=Neighbours(share)),
        over={"share": [0.0, 0.3]},
        key=jax.random.key(0),
        progress=False,
    )
    assert np.all(np.asarray(data["gap"]) <= 1e-10)
    # without neighbours it is the linear model
    np.testing.assert_allclose(data["value"][0], solved(make()).value, rtol=1e-12)
    trajectory = ufm.flow(problem, ts=[0.0, 1.0, 10.0], key=jax.random.key(0))
    assert np.all(np.diff(np.asarray(trajectory.value)) < 0)
    assert np.isfinite(ufm.measure(solved(problem)).nc2_gof_features)


def confused(rates=(0.0, 0.1, 0.3)):
    return Confused(np.asarray(rates) + jax.numpy.zeros(3), jax.numpy.asarray(COUNTS, float))


def test_a_label_family_is_solved_certified_and_predicted():
    problem = make().replace(labels=confused())
    twin = make().replace(labels=ufm.labels.written_out(confused()))
    solution = solved(problem)
    np.testing.assert_allclose(solution.value, solved(twin).value, rtol=1e-13)
    assert float(ufm.certify(problem, solution.params).gap) <= 1e-10
    squares = problem.replace(loss=ufm.MeanSquaredError())
    assert ufm.compare(solved(squares), ufm.closed_form(squares)).ok
    assert float(ufm.prove(problem, solution.params).relative_width) <= 1e-8
    data = ufm.sweep(
        lambda rate: make().replace(labels=confused((0.0, 0.1, rate))),
        over={"rate": [0.1, 0.3]},
        key=jax.random.key(0),
        progress=False,
    )
    np.testing.assert_allclose(data["value"][1], solution.value, rtol=1e-12)
    wrong = confused((0.0, 0.1, 1.3))
    with pytest.raises(ValueError, match=r"`labels.targets` must be >= 0 for cross-entropy"):
        make().replace(labels=wrong)


def test_another_rate_is_not_another_compilation():
    traces = []

    @jax.jit
    def value(problem, point):
        traces.append(1)
        return ufm.model.objective(problem, point)

    point = ufm.solvers.random_start(make(), key=jax.random.key(0))
    for rate in (0.1, 0.2):
        value(make().replace(labels=confused((0.0, 0.1, rate))), point)
        value(make(map=Neighbours(rate)), point)
    assert len(traces) == 2


def test_a_metric_is_observed_along_a_flow():
    problem = make()
    observed = {"lengths": longest_over_shortest}
    trajectory = ufm.flow(
        problem, ts=[0.0, 1.0, 100.0], key=jax.random.key(0), observables=observed
    )
    lengths = np.asarray(trajectory.observables["lengths"])
    assert lengths.shape == (3,)
    np.testing.assert_allclose(
        lengths[-1], longest_over_shortest(problem, trajectory.final), rtol=1e-14
    )
