from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import ufm
from tests.optima.points import balanced_params
from ufm.optima import NoClosedForm, closed_form
from ufm.optima.scalar import collapse_load
from ufm.tolerances import for_dtype

TOL = for_dtype("float64")
SOFT = np.random.default_rng(0).dirichlet(np.ones(4), size=6).T


def make(labels, **kwargs):
    if not isinstance(labels, ufm.Labels):
        labels = ufm.one_hot(labels, collapsed=True)
    settings = {
        "loss": ufm.MeanSquaredError(),
        "widths": (6,),
        "lambda_W": 0.01,
        "lambda_H": 0.01,
    } | kwargs
    return ufm.Problem(labels, **settings)


def lambda_at(load, depth, *, mass, num_samples):
    """The λ, equal for all factors, that puts this load on a direction of this mass:

    t = M N (N λ^(M+1))^(1/M) / μ.
    """
    return ((load * mass / (depth * num_samples)) ** depth / num_samples) ** (1 / (depth + 1))


@pytest.mark.parametrize(
    ("class_counts", "lam", "expected"),
    [
        # N sqrt(lambda_W lambda_H) = 8 * 0.1 = 0.8 and sqrt(4) = 2
        pytest.param((4, 4), 0.1, (1.2, 1.2), id="balanced-orthogonal-frame"),
        # the threshold is 1.0 = sqrt(1): the minority class sits exactly at collapse
        pytest.param((9, 1), 0.1, (2.0, 0.0), id="minority-collapse-at-threshold"),
        pytest.param((9, 1), 0.15, (1.5, 0.0), id="minority-beyond-threshold"),
        pytest.param((9, 1), 1e-12, (3 - 1e-11, 1 - 1e-11), id="almost-no-decay"),
        pytest.param((2.25, 1.75), 0.125, (1.0, 1.75**0.5 - 0.5), id="masses-that-are-not-whole"),
    ],
)
def test_one_layer_singular_values_by_hand(class_counts, lam, expected):
    optimum = closed_form(make(class_counts, lambda_W=4 * lam, lambda_H=lam / 4))
    assert_allclose(optimum.singular_values, expected, rtol=1e-14, atol=1e-14)
    assert_allclose(
        optimum.classifier_gram, np.diag(np.asarray(expected) / 4), rtol=1e-13, atol=1e-13
    )
    assert_allclose(
        optimum.logits,
        np.diag(np.asarray(expected) / np.sqrt(class_counts)),
        rtol=1e-13,
        atol=1e-13,
    )


def test_balanced_one_layer_value_and_norms_by_hand():
    # c0 = K sqrt(n λ_W λ_H) = 4 sqrt(9 · 1e-4) = 0.12
    optimum = closed_form(make([9] * 4, lambda_W=0.02, lambda_H=0.005))
    assert_allclose(optimum.value, (1 - 0.88**2) / 2, rtol=1e-14)
    assert_allclose(optimum.class_gram, 0.88 * np.sqrt(4 / 9) * np.eye(4), rtol=1e-13, atol=1e-15)
    assert optimum.regime == "orthogonal frame"


def _paper_constants(counts, lambdas, lambda_H):
    """Dang et al.'s own variables:

    c, and x_k as the largest real root of the polynomial form of the scalar equation.
    """
    M, N = len(lambdas), sum(counts)
    b = M * N * (N * np.prod(lambdas) * lambda_H) ** (1 / M)
    c = lambdas[-1] ** (M - 1) / np.prod(lambdas[:-1])
    roots = []
    for n in counts:
        polynomial = np.zeros(2 * M + 1)
        polynomial[[0, M, 2 * M]] = b / n * np.array([1, 2, 1])
        polynomial[M + 1] -= M
        found = np.roots(polynomial)
        roots.append(found[np.abs(found.imag) < 1e-9].real.max())
    x = np.asarray(roots)
    return c, (N * lambda_H * x**M / c) ** (1 / (2 * M))


@pytest.mark.parametrize(
    ("depth", "counts"),
    [(1, (6, 3, 2)), (2, (6, 3, 2)), (2, (5, 5)), (3, (6, 3, 2)), (6, (4, 4, 4))],
)
def test_bias_free_grams_in_the_papers_variables(depth, counts):
    N, lambda_H = sum(counts), 0.004
    lambdas = tuple(0.003 * (m + 1) for m in range(depth))  # outermost first, so λ_1 is the last
    optimum = closed_form(make(counts, widths=(5,) * depth, lambda_W=lambdas, lambda_H=lambda_H))
    c, s = _paper_constants(counts, lambdas, lambda_H)
    p2 = c * s ** (2 * depth)
    assert_allclose(optimum.classifier_gram, np.diag(p2), rtol=1e-7, atol=1e-9)
    assert_allclose(
        optimum.class_gram, np.diag(p2 / (p2 + N * lambda_H) ** 2), rtol=1e-7, atol=1e-9
    )
    assert_allclose(optimum.logits, np.diag(p2 / (p2 + N * lambda_H)), rtol=1e-7, atol=1e-9)
    assert_allclose(optimum.factor_singular_values[-2], np.sort(s)[::-1], rtol=1e-7)  # W_1


CASES = [
    pytest.param(dict(labels=[4] * 3), id="balanced"),
    pytest.param(dict(labels=ufm.one_hot([3, 2, 1])), id="full-columns"),
    pytest.param(dict(labels=[4] * 3, bias="free"), id="free-bias-etf"),
    pytest.param(dict(labels=[4] * 3, bias=0.01), id="small-bias-penalty"),
    pytest.param(dict(labels=[4] * 3, bias=3.0), id="large-bias-penalty"),
    pytest.param(dict(labels=[6, 3, 1.5], bias="free"), id="imbalanced-free-bias"),
    pytest.param(dict(labels=[6, 3, 3, 1], widths=(2,)), id="tie-at-the-rank-limit"),
    pytest.param(
        dict(labels=ufm.soft(SOFT, [1, 2, 1, 0.5, 1, 3]), bias="free"), id="soft-free-bias"
    ),
    pytest.param(dict(labels=ufm.soft(SOFT[:, [0, 1, 0, 2, 1]])), id="soft-repeated"),
    # smoothing leaves the mean a singular direction; one wide layer is convex
    pytest.param(
        dict(labels=ufm.soft(0.8 * np.eye(3) + 0.2 / 3, [4.0] * 3), bias=0.3),
        id="smoothed-bias-penalty",
    ),
]


@pytest.mark.parametrize("depth", [1, 2, 3, 6])
@pytest.mark.parametrize("case", CASES)
def test_prediction_is_a_stationary_point_of_the_objective(case, depth):
    # objective and gradient share no formula with the prediction
    if case.get("widths") is not None:
        case = case | {"widths": (6,) * (depth - 1) + case["widths"]}
    else:
        case = case | {"widths": (6,) * depth}
    lam = lambda_at(0.3 * collapse_load(depth), depth, mass=3, num_samples=12) * 0.6
    try:
        problem = make(
            **case, lambda_H=lam, lambda_W=tuple(lam * (1 + 0.3 * m) for m in range(depth))
        )
        optimum = closed_form(problem)
    except NoClosedForm:
        assert depth > 1
        assert not problem.labels.is_one_hot()
        return
    assert optimum.spectrum.active.any()
    params = balanced_params(problem, optimum, optimum.spectrum.fractions)
    value, gradient = jax.value_and_grad(ufm.model.objective, argnums=1)(problem, params)
    assert_allclose(float(value), optimum.value, rtol=TOL.value)
    # the spectrum knows the value of other points too, of a mean that a penalised bias shares
    less = 0.7 * optimum.spectrum.fractions
    there = ufm.model.objective(problem, balanced_params(problem, optimum, less))
    assert_allclose(optimum.spectrum.value(less), float(there), rtol=TOL.value)
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(gradient)) < 1e-14
    assert_allclose(params.logits, optimum.logits[:, optimum.column_index], rtol=0, atol=1e-13)
    partial = params.features
    for W, gram in zip(reversed(params.weights), optimum.layer_grams, strict=True):
        measured = (
            ufm.labels.collapse(problem.labels, partial)
            if problem.labels.is_one_hot()
            else _merged(partial, optimum)
        )
        assert_allclose(measured.T @ measured, gram, rtol=0, atol=1e-12)
        partial = W @ partial
    outer = jnp.eye(problem.labels.num_classes)
    for W, gram in zip(params.weights, optimum.partial_classifier_grams, strict=True):
        outer = outer @ W
        assert_allclose(outer @ outer.T, gram, rtol=0, atol=1e-12)


def _merged(columns, optimum):
    first = [list(optimum.column_index).index(c) for c in range(len(optimum.masses))]
    return columns[:, np.asarray(first)]


# one compilation each: a few that together hold depth, bias, bottleneck with a tie, unequal λ,
# repeated and soft targets
SOLVED = [
    pytest.param(
        dict(labels=ufm.one_hot([4, 2, 2]), widths=(5,), bias="free", lambda_W=0.02),
        1,
        id="free-bias-full",
    ),
    pytest.param(
        dict(labels=[3, 3, 3], widths=(5, 4), bias=2.0, lambda_W=(0.02, 0.01)),
        8,
        id="two-layers-penalised-bias",
    ),
    pytest.param(
        dict(labels=[6, 3, 3, 1], widths=(5, 2, 5), lambda_W=0.02), 8, id="three-layers-tie"
    ),
    pytest.param(
        dict(labels=ufm.soft(SOFT), widths=(5, 5), bias="free", lambda_W=0.01),
        8,
        id="two-layers-soft",
    ),
]


@pytest.mark.lean("free-bias-full", "three-layers-tie")
@pytest.mark.parametrize(("case", "starts"), SOLVED)
def test_minimiser_reaches_the_optimum(case, starts, key):
    problem = make(**case)
    optimum = closed_form(problem)
    solution = ufm.minimise(problem, key=key, starts=starts)
    assert solution.result == ufm.Result.CONVERGED
    assert optimum.spectrum.active.any()
    assert np.min(solution.values) >= optimum.value * (1 - TOL.value)
    assert_allclose(float(solution.value), optimum.value, rtol=TOL.value)
    classifier = solution.params.classifier
    if optimum.unique:
        assert_allclose(
            solution.logits, optimum.logits[:, optimum.column_index], rtol=0, atol=TOL.array
        )
        assert_allclose(
            classifier @ classifier.T,
            optimum.classifier_gram,
            rtol=0,
            atol=TOL.array * optimum.sizes["classifier_gram"],
        )
    product = (classifier @ solution.params.features) * jnp.sqrt(problem.labels.masses)[None, :]
    measured = np.linalg.svd(product, compute_uv=False)[: len(optimum.singular_values)]
    assert_allclose(
        measured, optimum.singular_values, rtol=0, atol=TOL.array * optimum.sizes["singular_values"]
    )


@pytest.mark.parametrize("bias", [None, "free", 0.4])
@pytest.mark.parametrize("depth", [1, 3])
def test_full_columns_predict_what_collapsed_ones_do(bias, depth):
    counts = (4, 4, 4)
    settings = dict(widths=(5,) * depth, bias=bias)
    full, collapsed = (
        closed_form(make(ufm.one_hot(counts), **settings)),
        closed_form(make(counts, **settings)),
    )
    assert full.value == collapsed.value
    assert_allclose(full.logits, collapsed.logits, rtol=0, atol=0)
    assert full.column_index.tolist() == np.repeat(np.arange(3), 4).tolist()


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_bias_penalty_interpolates_between_free_and_none(depth):
    def at(bias):
        return closed_form(make([4] * 3, widths=(5,) * depth, bias=bias))

    assert_allclose(at(1e-14).logits, at("free").logits, rtol=0, atol=1e-12)
    assert_allclose(at(1e14).logits, at(None).logits, rtol=0, atol=1e-12)
    assert_allclose(at(1e14).value, at(None).value, rtol=1e-12)


def test_bias_penalty_threshold_of_the_etf():
    # M = 1: an exact ETF iff λ_b <= c0 / (1 − c0), c0 = K sqrt(n λ_W λ_H) = 3 · 2 · 0.05 = 0.3
    threshold = 0.3 / 0.7
    below, above = (
        closed_form(make([4] * 3, lambda_W=0.05, lambda_H=0.05, bias=threshold * (1 + s)))
        for s in (-1e-3, 1e-3)
    )
    assert (below.regime, above.regime) == (
        "simplex ETF",
        "between simplex ETF and orthogonal frame",
    )
    assert_allclose(below.bias, 1 / (3 * (1 + threshold * (1 - 1e-3))), rtol=1e-14)
    assert_allclose(below.class_gram.sum(axis=0), 0, rtol=0, atol=1e-15)


def test_sizes_are_those_of_targets_that_are_reached():
    """λ times the Gram of a factor is the same for every factor, whatever the λ are."""
    decays = (0.003, 0.01, 0.002)
    settings = dict(widths=(5, 5), lambda_W=decays[:2], lambda_H=decays[2])
    sizes = closed_form(make((6, 3, 1), **settings)).sizes
    reached = closed_form(make((6, 3, 1), widths=(5, 5), lambda_W=1e-9, lambda_H=1e-9))
    assert_allclose(sizes["logits"], np.linalg.norm(np.eye(3)), rtol=1e-14)
    for name in ("singular_values", "logits"):
        assert_allclose(sizes[name], np.linalg.norm(getattr(reached, name)), rtol=1e-5)
    balance = [lam * sizes[f"Gram spectrum {i}"] for i, lam in enumerate(decays)]
    assert_allclose(balance, sizes["balance"], rtol=1e-13)


def test_free_bias_is_the_class_frequencies():
    optimum = closed_form(make([6, 3, 1], bias="free", lambda_W=10.0, lambda_H=10.0))
    assert optimum.regime == "trivial"
    assert_allclose(optimum.bias, [0.6, 0.3, 0.1], rtol=1e-15)
    assert_allclose(optimum.logits, np.tile([[0.6], [0.3], [0.1]], 3), rtol=1e-15)
    # Σ_k n_k (1 − n_k/N) / 2N, the variance of the labels
    assert_allclose(optimum.value, (1 - 0.36 - 0.09 - 0.01) / 2, rtol=1e-14)


def test_rank_limit_keeps_the_largest_classes_and_flags_ties():
    optimum = closed_form(make([6, 3, 3, 1], widths=(4, 2), lambda_W=0.005, lambda_H=0.005))
    assert optimum.spectrum.cut == (1, 3, 1)
    assert not optimum.unique
    assert "low rank" in optimum.regime
    assert np.count_nonzero(optimum.singular_values) == 2
    no_tie = closed_form(make([6, 3, 3, 1], widths=(4, 3), lambda_W=0.005, lambda_H=0.005))
    assert no_tie.spectrum.cut is None
    assert no_tie.unique
    # a limit above what the decay leaves active cuts nothing
    collapsed = closed_form(make([6, 1, 1, 1], widths=(2,), lambda_W=0.13, lambda_H=0.13))
    assert collapsed.spectrum.active.sum() == 1
    assert collapsed.unique


@pytest.mark.parametrize("depth", [2, 3, 6])
def test_at_the_threshold_both_values_are_flagged(depth):
    lam = lambda_at(collapse_load(depth), depth, mass=4, num_samples=12)
    optimum = closed_form(make([4] * 3, widths=(5,) * depth, lambda_W=lam, lambda_H=lam))
    assert optimum.spectrum.boundary.all()
    assert not optimum.unique
    assert_allclose(optimum.value, 0.5, rtol=1e-13)
    assert_allclose(np.diag(optimum.logits), (depth - 1) / depth, rtol=1e-12)
    beyond = closed_form(make([4] * 3, widths=(5,) * depth, lambda_W=lam * 1.01, lambda_H=lam))
    assert beyond.regime == "trivial"
    assert beyond.spectrum.metastable.all()
    assert beyond.spectrum.value(beyond.spectrum.points.large) > beyond.value


@pytest.mark.parametrize(("depth", "bias"), [(1, None), (1, "free"), (3, None), (3, 0.5)])
def test_no_decay_limit_reaches_the_targets(depth, bias):
    # c0-like constants of 1e-9: value to relative precision although 1 − f is tiny; the sum of M +
    # 1 equal terms is (M+1)/2 Λ Σ s^(2/(M+1))
    lam, n, K = 1e-12, 4, 3
    optimum = closed_form(make([n] * K, widths=(5,) * depth, lambda_W=lam, lambda_H=lam, bias=bias))
    assert_allclose(optimum.logits, np.eye(K), rtol=0, atol=1e-9)
    directions = K - 1 if bias == "free" else K
    if bias is None or bias == "free":
        assert_allclose(
            optimum.value, (depth + 1) / 2 * lam * directions * n ** (1 / (depth + 1)), rtol=1e-9
        )


@pytest.mark.parametrize("bias", [None, "free", 0.5])
def test_targets_of_zero_are_reached_by_nothing(bias):
    optimum = closed_form(make(ufm.soft(np.zeros((3, 4))), bias=bias))
    assert optimum.value == 0
    assert optimum.regime == "trivial"
    assert_allclose(optimum.logits, 0, rtol=0, atol=0)


ANCHOR = {"anchor": np.zeros((6, 3)), "beta": 1.0}
REFUSED = [
    pytest.param(
        dict(labels=[3, 3, 3], **ANCHOR),
        NoClosedForm,
        "needs features that are pulled to 0 only",
        id="anchor",
    ),
    pytest.param(
        dict(labels=[3, 3, 3], fixed_weights=(np.eye(3, 6),)),
        NoClosedForm,
        "needs free weights",
        id="fixed-weights",
    ),
    pytest.param(
        dict(labels=[3, 3, 3], loss=ufm.losses.AdjustedCrossEntropy(additive=np.arange(3.0))),
        NoClosedForm,
        "got AdjustedCrossEntropy",
        id="adjusted",
    ),
    pytest.param(
        dict(labels=[3, 2, 1], bias=0.1),
        NoClosedForm,
        r"balanced classes.*got class counts \[3, 2, 1\]",
        id="unequal-counts",
    ),
    pytest.param(
        dict(labels=ufm.soft(SOFT), bias=0.1), NoClosedForm, "got class masses", id="soft-coupled"
    ),
    pytest.param(
        dict(labels=ufm.soft(0.8 * np.eye(3) + 0.2 / 3), bias=0.1, widths=(5, 5)),
        NoClosedForm,
        "equal nonzero singular values",
        id="deep-smoothed",
    ),
    pytest.param(
        dict(labels=[3, 3], lambda_W=0.0),
        ValueError,
        "`lambda_W` must be finite and > 0 for a closed form",
        id="no-decay",
    ),
    pytest.param(
        dict(labels=[3, 3], lambda_H=0.0),
        ValueError,
        "`lambda_H` must be finite and > 0 for a closed form",
        id="no-H-decay",
    ),
]


@pytest.mark.parametrize(("case", "error", "message"), REFUSED)
def test_refuses_what_is_not_solved(case, error, message):
    problem = make(**case)
    with pytest.raises(error, match=message) as caught:
        closed_form(problem)
    assert isinstance(caught.value, NoClosedForm) == (error is NoClosedForm)
