from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import ufm
from tests.optima.points import balanced_params
from ufm.comparison import Row, compare
from ufm.optima import closed_form
from ufm.optima.scalar import collapse_load
from ufm.solution import Result, Solution


def make(class_counts, *, widths, load=0.1, mass=None, collapsed=False, bias=None):
    """Equal λ that put `load` times the threshold on a direction of this mass (the smallest class
    unless given)."""
    M, N = len(widths), sum(class_counts)
    mass = min(class_counts) if mass is None else mass
    lam = ((load * collapse_load(M) * mass / (M * N)) ** M / N) ** (1 / (M + 1))
    labels = ufm.one_hot(class_counts, collapsed=collapsed)
    return ufm.Problem(
        labels, loss=ufm.MeanSquaredError(), widths=widths, lambda_W=lam, lambda_H=lam, bias=bias
    )


def at(problem, params, *, value=None):
    """A solution at this point, as if a solver had ended there."""
    value = (
        ufm.model.objective(problem, params) if value is None else jnp.asarray(value, problem.dtype)
    )
    one = jnp.asarray(1)
    return Solution(
        problem=problem,
        params=params,
        value=value,
        grad_norm=jnp.asarray(0.0),
        code=jnp.asarray(int(Result.CONVERGED)),
        num_steps=one,
        num_evaluations=one,
        values=value[None],
        codes=one[None],
        state=None,
    )


IMBALANCED = dict(class_counts=(6, 4, 2), widths=(5, 4), load=0.4)
# fractions as "0" given up, "s" small root, "L" large root, by decreasing class count
POINTS = [
    pytest.param(IMBALANCED, "LLL", "global optimum", id="global"),
    pytest.param(IMBALANCED, "000", "origin (value excess", id="origin"),
    pytest.param(
        IMBALANCED,
        "LL0",
        "top-2 truncation of 3 directions (a local minimum, value excess",
        id="truncation",
    ),
    pytest.param(
        IMBALANCED,
        "L0L",
        "truncation to 2 of 3 directions that drops a larger one (a saddle",
        id="drops-larger",
    ),
    pytest.param(IMBALANCED, "LLs", "small root in 1 of 3 directions (a saddle", id="small-root"),
    pytest.param(
        IMBALANCED | {"widths": (5,)},
        "LL0",
        "top-2 truncation of 3 directions (a saddle",
        id="one-layer-truncation",
    ),
    pytest.param(
        IMBALANCED | {"load": 1.1},
        "LLL",
        "metastable branch in 1 of 3 active directions",
        id="metastable",
    ),
    pytest.param(IMBALANCED | {"load": 1.1}, "LL0", "global optimum", id="metastable-given-up"),
    pytest.param(IMBALANCED | {"load": 1.0}, "LLL", "global optimum", id="threshold-active"),
    pytest.param(IMBALANCED | {"load": 1.0}, "LL0", "global optimum", id="threshold-given-up"),
    pytest.param(
        IMBALANCED | {"load": 1.0},
        "L00",
        "top-1 truncation of 3 directions (a local minimum",
        id="threshold-truncated",
    ),
    pytest.param(
        dict(class_counts=(4, 4, 4), widths=(5, 4), bias="free"), "LL", "global optimum", id="etf"
    ),
    pytest.param(
        dict(class_counts=(4, 4, 4), widths=(5, 4), bias="free"),
        "L0",
        "top-1 truncation of 2 directions",
        id="etf-truncated",
    ),
    pytest.param(
        dict(class_counts=(4, 4, 4), widths=(5, 4), bias=2.0),
        "LL0",
        "top-2 truncation of 3 directions",
        id="mean-given-up",
    ),
    pytest.param(
        dict(class_counts=(4, 2, 2, 1), widths=(2, 4), bias=None),
        "L0L0",
        "global optimum",
        id="other-side-of-a-tie",
    ),
]


@pytest.mark.parametrize(("settings", "kinds", "found"), POINTS)
def test_names_the_stationary_point(settings, kinds, found):
    problem = make(**settings)
    optimum = closed_form(problem)
    points = optimum.spectrum.points
    choice = {"0": np.zeros(len(kinds)), "s": points.small, "L": points.large}
    fractions = np.array([choice[kind][j] for j, kind in enumerate(kinds)])
    params = balanced_params(problem, optimum, fractions)
    gradient = jax.grad(ufm.model.objective, argnums=1)(problem, params)
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(gradient)) < 1e-14
    comparison = compare(at(problem, params), optimum)
    assert comparison.found.startswith(found), str(comparison)
    assert comparison.ok == (found == "global optimum"), str(comparison)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_point_whose_value_agrees_is_not_below_the_prediction(sign):
    """The value is of second order.

    It agrees to 1e-12 where logits differ by 3e-7, and may be lower by rounding.
    """
    problem = make(**IMBALANCED)
    optimum = closed_form(problem)
    params = balanced_params(problem, optimum, optimum.spectrum.fractions)
    moved = perturbed(params, features=params.features * (1 + 3e-7))
    value = optimum.value * (1 + sign * 5e-13)
    comparison = compare(at(problem, moved, value=value), optimum)
    assert not comparison.ok
    assert comparison.found.startswith("near the global optimum, outside the tolerances"), str(
        comparison
    )


@pytest.mark.parametrize("bias", [None, "free"])
def test_a_tie_is_resolved_by_the_measured_subspace(bias):
    problem = make((4, 2, 2, 2), widths=(5, 2), bias=bias)
    optimum = closed_form(problem)
    spectrum = optimum.spectrum
    start, stop, _ = spectrum.cut
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(stop - start, stop - start)))[0]
    left, right = spectrum.left.copy(), spectrum.right.copy()
    left[:, start:stop], right[:, start:stop] = (
        left[:, start:stop] @ rotation,
        right[:, start:stop] @ rotation,
    )
    params = balanced_params(problem, optimum, spectrum.fractions, left=left, right=right)
    assert np.linalg.norm(ufm.labels.collapse(problem.labels, params.logits) - optimum.logits) > 0.1
    comparison = compare(at(problem, params), optimum)
    assert comparison.ok, str(comparison)
    assert comparison.found == "global optimum"


def perturbed(params, **changes):
    return dataclasses.replace(params, **changes)


def test_a_point_that_is_not_stationary_is_not_named():
    problem = make(**IMBALANCED)
    optimum = closed_form(problem)
    params = balanced_params(problem, optimum, optimum.spectrum.fractions)
    moved = perturbed(params, features=params.features * 1.001)
    assert (
        "not one of the decoupled stationary points" in compare(at(problem, moved), optimum).found
    )
    # class means in place, samples spread around them
    spread = np.zeros(params.features.shape)
    spread[0, :2] = 1e-3, -1e-3
    comparison = compare(at(problem, perturbed(params, features=params.features + spread)), optimum)
    assert [row.quantity for row in comparison.rows if not row.ok] == [
        "value",
        "within-class spread",
        "balance",
    ]
    assert "not one of the decoupled stationary points" in comparison.found


def test_nothing_is_global_unless_its_value_is():
    problem = make(**IMBALANCED)
    optimum = closed_form(problem)
    params = balanced_params(problem, optimum, optimum.spectrum.fractions)
    above = compare(at(problem, params, value=optimum.value * (1 + 1e-9)), optimum)
    assert not above.ok
    assert above.found.startswith("near the global optimum, outside the tolerances (value excess")
    below = compare(at(problem, params, value=optimum.value * (1 - 1e-9)), optimum)
    assert not below.ok
    assert below.found.startswith("a point below the predicted optimum")
    assert not compare(at(problem, params, value=jnp.nan), optimum).ok


# λ so weak that the value is far below one, and features far above: what is relative is seen to be
SMALL = dict(class_counts=(6, 4, 2), widths=(5, 4), load=1e-3)


def named(problem, optimum, kinds="LLL", *, excess=None, spread=0.0):
    """What is found at the point of these kinds, with a value this far (relative to the optimum's)
    from its own."""
    points = optimum.spectrum.points
    choice = {"0": np.zeros(len(kinds)), "s": points.small, "L": points.large}
    fractions = np.array([choice[kind][j] for j, kind in enumerate(kinds)])
    params = balanced_params(problem, optimum, fractions)
    apart = np.zeros(params.features.shape)
    # two samples of the first class, so that its mean stays
    apart[0, :2] = spread / np.sqrt(2), -spread / np.sqrt(2)
    value = None if excess is None else optimum.spectrum.value(fractions) + excess * optimum.value
    return compare(
        at(problem, perturbed(params, features=params.features + apart), value=value), optimum
    ).found


def test_names_are_given_relative_to_the_size_of_what_is_named():
    problem = make(**SMALL)
    optimum = closed_form(problem)
    assert optimum.value < 0.02
    # 1e-12 of the value decides whether it is below
    assert named(problem, optimum, excess=-2e-12).startswith("a point below the predicted optimum")
    assert named(problem, optimum, excess=2e-12).startswith(
        "near the global optimum, outside the tolerances"
    )
    # 1e-6 of it whether a point has the value of its name
    assert named(problem, optimum, excess=0.99e-6).startswith(
        "near the global optimum, outside the tolerances"
    )
    assert named(problem, optimum, excess=1.01e-6).startswith(
        "not one of the decoupled stationary points"
    )
    assert named(problem, optimum, "LL0", excess=-0.99e-6).startswith("top-2 truncation")
    assert named(problem, optimum, "LL0", excess=-1.01e-6).startswith(
        "not one of the decoupled stationary points"
    )
    # and 1e-6 of the features whether samples lie apart
    size = optimum.sizes["features"]
    assert not 0.5 < size < 2
    assert named(problem, optimum, "LL0", spread=0.99e-6 * size).startswith("top-2 truncation")
    assert named(problem, optimum, "LL0", spread=1.01e-6 * size).startswith(
        "not one of the decoupled stationary points"
    )


@pytest.mark.parametrize(
    ("spread", "found"),
    [
        pytest.param(0.995e-6, "near the global optimum, the origin", id="together"),
        pytest.param(1.005e-6, "not one of the decoupled stationary points", id="apart"),
    ],
)
def test_where_there_is_no_direction_lengths_are_absolute(spread, found):
    labels = ufm.soft(np.zeros((3, 4)))
    problem = ufm.Problem(
        labels, loss=ufm.MeanSquaredError(), widths=(4,), lambda_W=1e-2, lambda_H=1e-2
    )
    features = np.zeros((4, 4))
    features[0, :2] = spread / np.sqrt(2), -spread / np.sqrt(2)
    params = ufm.Params(weights=(jnp.zeros((3, 4)),), features=jnp.asarray(features))
    assert compare(at(problem, params, value=0.0), closed_form(problem)).found.startswith(found)


def test_signs_can_hold_a_truncation():
    """Two coordinates for one class and three for another: none is left for the third, and every
    point beside it that is >= 0 is higher."""
    features = np.zeros((5, 3))
    features[1:3, 0] = features[[0, 3, 4], 1] = 1.0
    problem = ufm.Problem(
        ufm.one_hot((2, 4, 1), collapsed=True),
        loss=ufm.MeanSquaredError(),
        widths=(5,),
        lambda_W=0.125,
        lambda_H=0.125,
        features=ufm.domains.Nonnegative(),
    )
    start = ufm.Params(weights=(features.T,), features=features)
    found = ufm.minimise(problem, start=start)
    comparison = compare(found, closed_form(problem))
    assert comparison.found.startswith(
        "top-2 truncation of 3 directions (a saddle or a local minimum, value excess"
    )
    rng = np.random.default_rng(0)
    for _ in range(3):
        W = found.params.weights[0] + 1e-3 * rng.normal(size=(3, 5))
        H = np.maximum(found.params.features + 1e-3 * rng.normal(size=(5, 3)), 0)
        again = ufm.minimise(problem, start=ufm.Params((W,), H))
        assert float(again.value) == pytest.approx(float(found.value), rel=1e-12)


def test_a_metastable_direction_turns_to_a_larger_one_that_is_dropped():
    problem = make((6, 4, 2), widths=(1, 1), load=1.1)
    optimum = closed_form(problem)
    assert optimum.spectrum.metastable[2]
    assert named(problem, optimum, "00L").startswith(
        "truncation to 1 of 1 directions that drops a larger one (a saddle"
    )


def test_as_many_directions_as_the_optimum_are_not_yet_the_optimum():
    problem = make((6, 4, 2), widths=(2,), load=0.4)
    optimum = closed_form(problem)
    assert named(problem, optimum, "L0L").startswith(
        "truncation to 2 of 2 directions that drops a larger one (a saddle"
    )
    assert named(problem, optimum, "L00").startswith("top-1 truncation of 2 directions")


@pytest.mark.parametrize(
    ("difference", "found"),
    [
        pytest.param(7e-6, "near the global optimum, outside the tolerances", id="nearly-tied"),
        pytest.param(1.2e-5, "truncation to 2 of 2 directions that drops a larger one", id="apart"),
    ],
)
def test_a_direction_that_is_nearly_as_good_is_near_the_optimum(difference, found):
    """Of masses 4 and 4 (1 − ε), one too many for the width, the smaller.

    Its loads differ by ε, the value by 0.12 ε of itself.
    """
    problem = make(
        (6.0, 4.0, 4.0 * (1 - difference)), widths=(2,), load=0.4, mass=4.0, collapsed=True
    )
    optimum = closed_form(problem)
    assert optimum.unique
    assert named(problem, optimum, "L0L").startswith(found)


def test_what_is_nearly_as_good_is_no_larger_one():
    problem = make((6.0, 4.0, 4.0 * (1 - 5e-7)), widths=(5,), load=0.4, mass=4.0, collapsed=True)
    optimum = closed_form(problem)
    assert named(problem, optimum, "L0L").startswith("top-2 truncation of 3 directions (a saddle")
    problem = make((6.0, 4.0, 4.0 * (1 - 5e-6)), widths=(5,), load=0.4, mass=4.0, collapsed=True)
    assert named(problem, closed_form(problem), "L0L").startswith(
        "truncation to 2 of 3 directions that drops a larger one"
    )


SHIFTED = {
    "value": "value",
    "logits": "logits",
    "singular values of W H": "singular_values",
    "class Gram": "class_gram",
    "classifier Gram": "classifier_gram",
    "bias": "bias",
    "Gram spectrum of W_2": "factor_singular_values",
    "Gram spectrum of W_1": "factor_singular_values",
    "Gram spectrum of H": "factor_singular_values",
}


@pytest.mark.parametrize("quantity", SHIFTED)
def test_every_row_has_teeth(quantity):
    problem = make((4, 3, 2), widths=(5, 4), bias="free", collapsed=True)
    optimum = closed_form(problem)
    solution = at(problem, balanced_params(problem, optimum, optimum.spectrum.fractions))
    assert compare(solution, optimum).ok
    field = SHIFTED[quantity]
    shift = 1e-11 if quantity == "value" else 1e-6
    wrong = dataclasses.replace(optimum, **{field: getattr(optimum, field) * (1 + shift)})
    comparison = compare(solution, wrong)
    assert not comparison[quantity].ok
    assert not comparison.ok
    assert comparison.found != "global optimum"
    assert all(row.ok for row in comparison.rows if SHIFTED.get(row.quantity) != field)


def test_balance_sees_what_the_product_does_not():
    problem = make((4, 3, 2), widths=(5, 4))
    optimum = closed_form(problem)
    params = balanced_params(problem, optimum, optimum.spectrum.fractions)
    outer, inner = params.weights
    comparison = compare(
        at(problem, perturbed(params, weights=(outer * 1.001, inner / 1.001))), optimum
    )
    assert comparison["logits"].ok
    assert not comparison["balance"].ok


def test_class_means_are_those_of_collapse(key):
    problem = make((4, 3, 2), widths=(5, 4))
    params = ufm.solvers.random_start(problem, key=key)
    comparison = compare(at(problem, params), closed_form(problem))
    means = ufm.labels.collapse(problem.labels, params.features)
    assert_allclose(comparison["class Gram"].measured, np.linalg.norm(means.T @ means), rtol=1e-13)


def test_prints_a_table_and_gives_plain_data():
    problem = make(**IMBALANCED)
    optimum = closed_form(problem)
    comparison = compare(
        at(problem, balanced_params(problem, optimum, optimum.spectrum.fractions)), optimum
    )
    lines = str(comparison).splitlines()
    assert (
        len({len(line) - len(line.split()[-1]) for line in lines[1 : 1 + len(comparison.rows)]})
        == 1
    )
    assert "dtype: float64" in lines
    assert any(line.startswith("arrays by their norm") for line in lines)
    assert any(
        line.startswith("agrees with the prediction; found: global optimum") for line in lines
    )
    assert json.loads(json.dumps(comparison.to_dict()))["rows"][0]["quantity"] == "value"
    failed = str(compare(at(problem, balanced_params(problem, optimum, np.zeros(3))), optimum))
    assert "FAILS" in failed
    assert "does not agree with the prediction" in failed


def test_single_precision_says_that_it_verifies_nothing():
    labels = ufm.one_hot([3, 3], dtype=jnp.float32)
    problem = ufm.Problem(
        labels, loss=ufm.MeanSquaredError(), widths=(3,), lambda_W=0.01, lambda_H=0.01
    )
    optimum = closed_form(problem)
    params = jax.tree.map(
        lambda a: a.astype(jnp.float32),
        balanced_params(problem, optimum, optimum.spectrum.fractions),
    )
    comparison = compare(at(problem, params), optimum)
    assert comparison.ok
    assert "never verifies a theorem" in str(comparison)


def test_refuses_an_optimum_of_another_problem():
    problem = make((4, 3, 2), widths=(5, 4))
    optimum = closed_form(problem)
    solution = at(problem, balanced_params(problem, optimum, optimum.spectrum.fractions))
    with pytest.raises(
        ValueError, match="`optimum` must belong to the solution's problem, which has 9 columns"
    ):
        compare(solution, closed_form(make((4, 3, 3), widths=(5, 4))))
    with pytest.raises(ValueError, match="which has M = 2"):
        compare(solution, closed_form(make((4, 3, 2), widths=(5,))))


ONE_HOT = np.repeat(np.eye(3), (4, 3, 2), axis=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lambda_W": 0.9e-2}, r"which has lambda_W\[0\] 0.009; got 0.01"),
        ({"lambda_H": 2e-2}, r"which has lambda_H 0.02; got 0.01"),
        ({"labels": ufm.one_hot((5, 2, 2))}, r"which has targets\[0, 4\] 1.0; got 0.0"),
        (
            {"labels": ufm.soft(ONE_HOT, weights=[1.0] * 8 + [2.0])},
            r"which has column weights\[0\] 0.1; got 0.11",
        ),
        ({"loss": ufm.CrossEntropy()}, r"which has loss CrossEntropy\(\); got MeanSquaredError"),
        ({"widths": (6,)}, r"which has widths \(6,\); got \(5,\)"),
        ({"bias": "free"}, "which has bias free; got None"),
        ({"features": ufm.domains.Nonnegative()}, r"which has features Nonnegative\(\); got Real"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_refuses_an_optimum_of_the_same_shape_for_another_problem(changes, message, key):
    """A point below it would be called a refutation, as it was in loops over λ."""
    problem = ufm.Problem(
        ufm.one_hot((4, 3, 2)),
        loss=ufm.MeanSquaredError(),
        widths=(5,),
        lambda_W=1e-2,
        lambda_H=1e-2,
    )
    optimum, other = closed_form(problem), problem.replace(**changes)
    with pytest.raises(ValueError, match=message):
        compare(at(other, ufm.solvers.random_start(other, key=key)), optimum)


def test_an_optimum_in_double_precision_is_that_of_the_problem_in_single():
    double, single = (
        ufm.Problem(
            ufm.one_hot((4, 3, 2), dtype=dtype),
            loss=ufm.MeanSquaredError(),
            widths=(5,),
            lambda_W=1e-2,
            lambda_H=1e-2,
        )
        for dtype in ("float64", "float32")
    )
    optimum = closed_form(double)
    params = balanced_params(double, optimum, optimum.spectrum.fractions)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    assert compare(at(single, params), optimum).ok
    # … and not the other way: numbers of float32 are others, with an optimum of their own
    solution = at(double, balanced_params(double, optimum, optimum.spectrum.fractions))
    with pytest.raises(ValueError, match=r"which has column weights\[0\] 0.1111"):
        compare(solution, closed_form(single))


def test_a_number_stands_for_as_many_equal_ones(key):
    problem = ufm.Problem(
        ufm.one_hot((2, 2, 2), collapsed=True),
        loss=ufm.CrossEntropy(),
        widths=(3,),
        lambda_W=0.0,
        lambda_H=0.0,
        features=ufm.domains.Sphere(np.full(3, 2.0)),
        classifier=ufm.domains.Sphere(1.0),
    )
    solution = ufm.minimise(problem, key=key)
    other = problem.replace(
        features=ufm.domains.Sphere(2.0), classifier=ufm.domains.Sphere(np.ones(3))
    )
    assert compare(solution, closed_form(other)).ok


@pytest.mark.parametrize(
    ("error", "ok"), [(0.0, True), (0.25, True), (0.2500001, False), (np.nan, False)]
)
def test_an_error_of_just_the_tolerance_is_within_it(error, ok):
    row = Row(quantity="value", measured=1.0, predicted=1.0, error=error, tolerance=0.25)
    assert row.ok is ok


def test_a_budget_is_the_same_with_its_weights_written_out(key):
    def problem(*weights):
        budgets = {
            "features": ufm.domains.Budget(3.0, *weights),
            "classifier": ufm.domains.Budget(2.0),
        }
        labels = ufm.one_hot((2, 2, 2), collapsed=True)
        return ufm.Problem(
            labels, loss=ufm.CrossEntropy(), widths=(3,), lambda_W=0.0, lambda_H=0.0, **budgets
        )

    solution = ufm.minimise(problem(), key=key)
    assert compare(solution, closed_form(problem([2.0, 2.0, 2.0]))).ok
    with pytest.raises(ValueError, match="which has features Budget"):
        compare(solution, closed_form(problem([4.0, 4.0, 4.0])))
