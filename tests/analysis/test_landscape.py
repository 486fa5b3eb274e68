"""Hessian spectra and what kind of point they make it, against finite differences, symmetry groups
and problems solved by hand."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.solvers.coordinates import flat_objective, to_flat, to_params


def squared(counts, widths, lam, bias=None, collapsed=True, **options):
    labels = ufm.one_hot(counts, collapsed=collapsed)
    return ufm.Problem(
        labels,
        loss=ufm.MeanSquaredError(),
        widths=widths,
        lambda_W=lam,
        lambda_H=lam,
        bias=bias,
        **options,
    )


def entropy(counts, widths, lam, bias=None, loss=None):
    loss = ufm.CrossEntropy() if loss is None else loss
    return ufm.Problem(
        ufm.one_hot(counts, collapsed=True),
        loss=loss,
        widths=widths,
        lambda_W=lam,
        lambda_H=lam,
        bias=bias,
    )


def zeros_of(params):
    return jax.tree.map(jnp.zeros_like, params)


SHIFTED = ufm.losses.AdjustedCrossEntropy(additive=np.log([3.0, 2.0, 1.0]))
SCALED = ufm.losses.AdjustedCrossEntropy(multiplicative=[1.0, 0.8, 0.5])


# r (d − r) + r (r − 1)/2 of each width, by hand
MINIMA = (
    ("square", squared((3, 2, 2), (5,), 0.01), 3, 6 + 3),
    ("as-wide-as-classes", squared((3, 2, 2), (3,), 0.01), 3, 0 + 3),
    ("narrow", squared((4, 2, 1), (2,), 0.01), 2, 0 + 1),
    ("two-layers-unequal-widths", squared((3, 2, 2), (6, 4), 0.01), 3, (9 + 3) + (3 + 3)),
    (
        "three-layers-unequal-widths",
        squared((2, 1), (4, 2, 3), 0.02),
        2,
        (4 + 1) + (0 + 1) + (2 + 1),
    ),
    ("full-columns", squared((3, 2), (4,), 0.01, collapsed=False), 2, 4 + 1),
    ("entropy", entropy((2, 2, 2, 2), (6,), 0.01), 3, 9 + 3),
    ("entropy-free-bias", entropy((3, 2, 1), (4,), 0.01, bias="free"), 2, 4 + 1 + 1),
    ("entropy-penalised-bias", entropy((3, 2, 1), (4,), 0.01, bias=0.1), 2, 4 + 1),
    (
        "focal-free-bias",
        entropy((3, 2, 1), (4,), 0.01, bias="free", loss=ufm.losses.Focal(1.5)),
        2,
        4 + 1 + 1,
    ),
    ("adjusted-free-bias", entropy((3, 2, 1), (4,), 0.01, bias="free", loss=SHIFTED), 2, 4 + 1 + 1),
    # it is the adjusted logits that may be shifted: by 1/Δ in the bias
    (
        "temperatures-free-bias",
        entropy((3, 2, 1), (4,), 0.01, bias="free", loss=SCALED),
        2,
        4 + 1 + 1,
    ),
    ("squared-free-bias", squared((3, 2, 2), (4,), 0.01, bias="free"), 2, 4 + 1),
    ("origin-of-two-layers", squared((2, 2), (3, 3), 1.0), 0, 0),
)


@functools.cache
def minimum(index):
    """The solution of a case, and what kind of point it is: solved once."""
    problem = MINIMA[index][1]
    solution = ufm.minimise(problem, key=jax.random.key(0), starts=4)
    assert solution.result == ufm.Result.CONVERGED
    return solution.params, ufm.classify(problem, solution.params)


@pytest.mark.lean(
    "narrow",
    "two-layers-unequal-widths",
    "entropy-free-bias",
    "temperatures-free-bias",
    "squared-free-bias",
    "origin-of-two-layers",
)
@pytest.mark.parametrize(
    ("index", "rank", "gauge"),
    [pytest.param(i, *case[2:], id=case[0]) for i, case in enumerate(MINIMA)],
)
def test_minima_have_the_zeros_of_symmetry_and_no_others(index, rank, gauge):
    _, found = minimum(index)
    assert found.kind == "minimum", str(found)
    assert (found.spectrum.rank, found.spectrum.gauge_zeros, found.spectrum.zeros) == (
        rank,
        gauge,
        gauge,
    )
    # zeros and the rest are decades apart: the tolerance does not decide
    sizes = np.sort(np.abs(found.spectrum.eigenvalues))
    assert gauge == 0 or sizes[gauge - 1] < 1e-10
    assert sizes[gauge] > 1e-4


@pytest.mark.lean(
    "three-layers-unequal-widths", "entropy-penalised-bias", "focal-free-bias", "adjusted-free-bias"
)
@pytest.mark.parametrize("index", [pytest.param(i, id=case[0]) for i, case in enumerate(MINIMA)])
def test_gauge_zeros_are_the_dimension_of_the_orbit(index):
    """The count against the rank of the tangent map of the group at the point, generator by
    generator."""
    problem, (params, found) = MINIMA[index][1], minimum(index)
    tangents = []
    for m, d in enumerate(
        problem.widths
    ):  # hidden space between W_{m+1} and what feeds it; weights are outermost first
        after, before = problem.depth - 1 - m, problem.depth - m
        for i in range(d):
            for j in range(i):
                A = jnp.zeros((d, d)).at[i, j].set(1.0).at[j, i].set(-1.0)
                step = zeros_of(params)
                weights = list(step.weights)
                weights[after] = -params.weights[after] @ A
                features = step.features
                if m == 0:
                    features = A @ params.features
                else:
                    weights[before] = A @ params.weights[before]
                tangents.append(to_flat(problem, ufm.Params(tuple(weights), features, step.bias)))
    if problem.bias == "free" and not isinstance(problem.loss, ufm.MeanSquaredError):
        # what the softmax does not see: a shift of its logits
        shift = 1 / getattr(problem.loss, "multiplicative", jnp.ones_like(params.bias))
        tangents.append(to_flat(problem, dataclasses.replace(zeros_of(params), bias=shift)))
    orbit = np.linalg.matrix_rank(np.array(tangents), tol=1e-6)
    assert orbit == found.spectrum.gauge_zeros


def test_spectrum_is_that_of_finite_differences(key):
    problem = entropy((2, 1), (2, 3), 0.05, bias=0.2)
    params = ufm.solvers.random_start(problem, key=key)
    flat = np.asarray(to_flat(problem, params))
    step, eye = 1e-5, np.eye(len(flat))
    gradient = jax.grad(flat_objective, argnums=1)
    columns = [
        (gradient(problem, flat + step * e) - gradient(problem, flat - step * e)) / (2 * step)
        for e in eye
    ]
    expected = np.linalg.eigvalsh(0.5 * (np.array(columns) + np.array(columns).T))
    spectrum = ufm.analysis.hessian_spectrum(problem, params)
    np.testing.assert_allclose(spectrum.eigenvalues, expected, rtol=0, atol=1e-8)
    kind = ufm.classify(problem, params)
    assert kind.kind == "not stationary"
    # signs are those of the Hessian: a gradient of size 1 allows for nothing
    below = int(np.sum(expected < -1e-6))
    assert (spectrum.negative, spectrum.zeros, spectrum.stationary) == (below, 0, False)
    assert below > 0
    assert str(kind).startswith(f"not stationary: {below} negative eigenvalues of {len(flat)}, sm")
    assert to_params(problem, to_flat(problem, params)).bias.shape == (2,)


@pytest.mark.parametrize(
    ("problem", "kind", "smallest"),
    [
        # one layer: sqrt(n λ_W λ_H) K = 0.4 of the threshold, eigenvalues 1 ± 1/0.4
        pytest.param(squared((4, 4), (3,), 0.1), "strict saddle", 1 - 1 / 0.4, id="one-layer"),
        pytest.param(
            squared((4, 4), (3,), 0.25), "degenerate", 0.0, id="one-layer-at-the-threshold"
        ),
        pytest.param(squared((4, 4), (3,), 0.5), "minimum", 1 - 1 / 2, id="one-layer-beyond"),
        # from two layers on the loss has no second derivative at the origin and the decay is the
        # identity
        pytest.param(squared((4, 4), (3, 3), 1e-3), "minimum", 1.0, id="two-layers"),
        pytest.param(squared((4, 4), (3, 4, 5), 1e-3), "minimum", 1.0, id="three-layers"),
        pytest.param(entropy((4, 4), (3, 3), 1e-3), "minimum", 1.0, id="two-layers-entropy"),
    ],
)
def test_origin(problem, kind, smallest, key):
    found = ufm.classify(problem, zeros_of(ufm.solvers.random_start(problem, key=key)))
    assert found.kind == kind, str(found)
    assert found.spectrum.eigenvalues[0] == pytest.approx(smallest, abs=1e-12)
    assert found.spectrum.rank == found.spectrum.gauge_zeros == 0


def test_a_tie_at_the_rank_limit_is_degenerate(key):
    # any projector of rank 1 out of two equal classes is optimal: one zero more than symmetry
    # explains
    problem = squared((3, 3), (1,), 0.01)
    found = ufm.classify(problem, ufm.minimise(problem, key=key).params)
    assert (found.kind, found.spectrum.gauge_zeros, found.spectrum.zeros) == ("degenerate", 0, 1)


def test_an_anchor_and_frozen_weights_take_the_symmetry_away(key):
    anchored = squared((3, 2), (4,), 0.01, anchor=np.eye(4, 2), beta=0.1)
    frozen = squared((3, 2), (4,), 0.01, fixed_weights=(np.eye(2, 4),))
    for problem in (anchored, frozen):
        found = ufm.classify(problem, ufm.minimise(problem, key=key).params)
        assert (found.kind, found.spectrum.gauge_zeros, found.spectrum.zeros) == ("minimum", 0, 0)


def test_words_of_a_classification(key):
    # two classes times three directions of the feature space
    problem = squared((4, 4), (3,), 0.1)
    said = str(ufm.classify(problem, zeros_of(ufm.solvers.random_start(problem, key=key))))
    assert said.startswith(
        "strict saddle: 6 negative eigenvalues of 12, 0 zeros (within 3e-10) of which symmetry "
        "explains 0, "
    )


def test_bad_input(key):
    large = squared((1,) * 60, (60,), 0.01)
    with pytest.raises(
        ValueError,
        match=r"`problem` must have at most 5000 free variables for a dense Hessian; got 7200",
    ):
        ufm.analysis.hessian_spectrum(large, ufm.solvers.random_start(large, key=key))
    free = squared((2, 2), (2,), 0.0)
    with pytest.raises(
        ValueError, match=r"`lambda_W` must be finite and > 0 for decay-weighted coordinates"
    ):
        ufm.classify(free, ufm.solvers.random_start(free, key=key, std=0.1))
    problem = squared((2, 2), (2,), 0.1)
    with pytest.raises(
        ValueError, match=r"`params.weights\[0\]` must have shape \(2, 2\); got \(2, 3\)"
    ):
        ufm.classify(problem, ufm.solvers.random_start(squared((2, 2), (3,), 0.1), key=key))
    labels = ufm.one_hot((2, 2), collapsed=True)
    bounded = ufm.Problem(
        labels,
        loss=ufm.CrossEntropy(),
        widths=(2, 2),
        lambda_W=0.1,
        lambda_H=0.1,
        features=ufm.domains.Nonnegative(),
    )
    point = ufm.solvers.random_start(bounded, key=key)
    for call in (
        lambda: ufm.classify(bounded, point),
        lambda: ufm.search(bounded, key=key),
    ):
        with pytest.raises(
            ValueError,
            match=r"`problem.features` must (treat all directions alike|have no bounds on entries)",
        ):
            call()
    with pytest.raises(ufm.NoClosedForm, match="needs features and classifier without a domain"):
        ufm.laws.deep_candidates(bounded)


@pytest.mark.parametrize("decay", [1e-7, 2e-7])
def test_a_class_that_hardly_counts_is_a_direction_in_use(decay):
    """At the exact optimum of a class of 1e-13 of all: its singular value is 1e-7 of the first."""
    masses = np.array([1.0, 1e-13])
    problem = ufm.Problem(
        ufm.soft(jnp.eye(2), masses),
        loss=ufm.MeanSquaredError(),
        widths=(3,),
        lambda_W=decay,
        lambda_H=decay,
    )
    logits = 1 - decay * masses.sum() / np.sqrt(masses)
    W, features = np.zeros((2, 3)), np.zeros((3, 2))
    np.fill_diagonal(W, np.sqrt(logits) * masses**0.25)
    np.fill_diagonal(features, np.sqrt(logits) / masses**0.25)
    found = ufm.classify(problem, ufm.Params((jnp.asarray(W),), jnp.asarray(features)))
    assert found.kind == "minimum", str(found)
    assert found.spectrum.rank == 2


@pytest.mark.parametrize("domain", [ufm.domains.Ball(4.0), ufm.domains.Budget(144.0)], ids=str)
def test_a_boundary_that_the_objective_falls_away_from_is_not_stationary(domain, key):
    problem = squared((3, 3, 3), (3,), 0.05)
    held = ufm.minimise(problem.replace(features=ufm.domains.Sphere(4.0)), key=key)
    bounded = problem.replace(features=domain)
    assert ufm.classify(bounded, held.params).kind == "not stationary"
    assert ufm.classify(bounded, ufm.minimise(bounded, key=key).params).kind == "minimum"
