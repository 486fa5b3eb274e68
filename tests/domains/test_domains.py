"""Domains: what lies in them, their coordinates, and what `Problem` and solvers say about a wrong
one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.domains import Ball, Budget, Nonnegative, Real, Sphere
from ufm.model import check_params
from ufm.solvers.coordinates import flat_objective, to_flat, to_params

COUNTS, D = (5, 3, 1), 4
DOMAINS = (
    Real(),
    Nonnegative(),
    Sphere(2.0),
    Sphere((1.0, 2.0, 3.0)),
    Ball(2.0),
    Budget(4.0),
    Budget(4.0, (1.0, 2.0, 3.0)),
)
COMPACT = DOMAINS[2:]


def make(*, loss=None, counts=COUNTS, d=D, lambda_W=0.0, lambda_H=0.0, **domains):
    labels = ufm.one_hot(counts, collapsed=True)
    loss = ufm.CrossEntropy() if loss is None else loss
    return ufm.Problem(
        labels, loss=loss, widths=(d,), lambda_W=lambda_W, lambda_H=lambda_H, **domains
    )


def fitted(domain):
    return domain.fitted("features", (D, 3), jnp.asarray(COUNTS, float))


def vectors(seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(D, 3)))


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
@pytest.mark.parametrize("factor", [0.1, 3.0])
def test_scaled_domains_hold_scaled_vectors(domain, factor):
    domain = fitted(domain)
    far, near = 10 * vectors(), 0.01 * vectors(1)
    for point in (far, near):
        there = domain.scaled(factor).project(factor * point)
        np.testing.assert_allclose(there, factor * domain.project(point), rtol=1e-14)


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_projections_lie_inside_and_coordinates_go_there_and_back(domain):
    domain = fitted(domain)
    unit = domain.unit(jnp.asarray([0.1, 0.2, 0.3]), jnp.asarray([0.5, 0.3, 0.2]))
    for point in (
        domain.project(vectors()),
        domain.start(vectors(1)),
        domain.start(0.01 * vectors(2)),
    ):
        assert domain.distance(np.asarray(point)) <= 1e-15
        np.testing.assert_allclose(domain.project(point), point, rtol=0, atol=2e-14)
        coordinates = domain.chart(point, unit)
        assert coordinates.shape == domain.coordinate_shape((D, 3))
        np.testing.assert_allclose(domain.point(coordinates, unit), point, rtol=0, atol=2e-14)
        np.testing.assert_allclose(
            domain.retract(3.0 * coordinates, unit) if domain.compact else coordinates,
            coordinates,
            rtol=0,
            atol=4e-15,
        )


@pytest.mark.parametrize("left_out", ["distance", "wanted", "point", "project"])
def test_a_domain_without_what_every_solve_rests_on_is_not_made(left_out):
    """With coordinates of all vectors a solver ended outside, and said that it had converged."""
    given = {"distance": lambda self, vectors: 0.0, "wanted": "be"}
    given |= {"point": lambda self, coordinates, unit: coordinates}
    given |= {"project": lambda self, vectors: vectors}
    assert type("Whole", (ufm.domains.AbstractDomain,), dict(given))().wanted == "be"
    del given[left_out]
    with pytest.raises(TypeError, match=f"abstract .*{left_out}"):
        type("Partial", (ufm.domains.AbstractDomain,), given)()


@pytest.mark.parametrize("domain", COMPACT, ids=str)
def test_any_coordinates_stand_for_a_point_inside(domain):
    domain = fitted(domain)
    unit = domain.unit(jnp.zeros(3), jnp.ones(3) / 3)
    random = np.random.default_rng(3).normal(size=domain.coordinate_shape((D, 3)))
    assert domain.distance(np.asarray(domain.point(jnp.asarray(random), unit))) <= 1e-15


@pytest.mark.parametrize("domain", COMPACT, ids=str)
def test_multipliers_bound_the_decay_from_below(domain):
    """On the domain the decay is at least half b‖x‖² less the allowance, for every multiplier that
    the domain allows."""
    domain, decay = fitted(domain), jnp.asarray([0.1, 0.0, 0.3])
    for seed in range(20):
        wanted = jnp.asarray(
            np.random.default_rng(seed).exponential(size=3) * 10.0 ** (seed % 5 - 3)
        )
        curvature = domain.curvature(wanted, decay)
        assert np.all(np.asarray(curvature) >= np.asarray(wanted) * (1 - 1e-15))
        point = domain.project(2.0 * vectors(seed))
        squares = jnp.sum(point**2, axis=0)
        least = 0.5 * jnp.dot(curvature, squares) - domain.allowance(curvature, decay)
        assert float(0.5 * jnp.dot(decay, squares) - least) >= -1e-13 * float(
            jnp.sum(curvature) + jnp.dot(decay, squares)
        )


def test_nonnegative_vectors_lose_nothing_on_what_is_dropped():
    domain, slope = fitted(Nonnegative()), vectors(1)
    point = domain.project(vectors(2))
    assert float(jnp.sum(domain.facing(slope) * point)) <= float(jnp.sum(slope * point))
    gram = vectors(3).T @ vectors(3)
    assert float(jnp.sum(domain.gram(gram) * (point.T @ point))) >= float(
        jnp.sum(gram * (point.T @ point))
    )


@pytest.mark.parametrize("features", COMPACT, ids=str)
def test_gradients_in_coordinates_are_those_of_differences(features):
    problem = make(features=features, classifier=Ball(1.0))
    flat = to_flat(problem, ufm.solvers.random_start(problem, key=jax.random.key(1)))
    gradient = jax.grad(flat_objective, argnums=1)(problem, flat)
    direction = jnp.asarray(np.random.default_rng(0).normal(size=flat.size))
    h = 1e-5
    slope = (
        flat_objective(problem, flat + h * direction)
        - flat_objective(problem, flat - h * direction)
    ) / (2 * h)
    np.testing.assert_allclose(jnp.dot(gradient, direction), slope, rtol=1e-7)
    # coordinates of a bounded factor count by direction alone
    np.testing.assert_allclose(
        to_flat(problem, to_params(problem, 3.0 * flat)), flat, rtol=0, atol=1e-14
    )


@pytest.mark.parametrize(
    ("domains", "words"),
    [
        pytest.param(
            {"features": "sphere"}, r"`features` must be a domain such as .*; got str", id="name"
        ),
        pytest.param(
            {"classifier": Sphere},
            r"`classifier` must be a domain such as .*; got the class Sphere",
            id="class",
        ),
        pytest.param(
            {"features": Sphere((1.0, 2.0))},
            r"`features.radius` must be a number, or have shape \(3,\)",
            id="radii",
        ),
        pytest.param(
            {"classifier": Budget(1.0, (1.0, 2.0))},
            r"`classifier.weights` must have shape \(3,\)",
            id="weights",
        ),
        pytest.param(
            {"features": Sphere(jnp.float32(1.0))},
            r"`features.radius` must have the problem's dtype float64",
            id="dtype",
        ),
        pytest.param(
            {"classifier": Sphere(1.0), "fixed_weights": (np.ones((3, D)),)},
            "`classifier` must not be given together",
            id="frozen",
        ),
    ],
)
def test_a_wrong_domain_is_named(domains, words):
    with pytest.raises(ValueError, match=words):
        make(**domains)


@pytest.mark.parametrize("make_domain", [Sphere, Ball, Budget])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, "1", None, [[1.0]]])
def test_a_wrong_size_is_named(make_domain, value):
    with pytest.raises(ValueError, match=r"`(radius|energy)` must"):
        make_domain(value)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        pytest.param(
            make(features=Sphere(1.0)),
            "`lambda_W` must be finite and > 0 for a minimiser",
            id="nothing-holds-W",
        ),
        pytest.param(
            make(classifier=Sphere(1.0)),
            "`lambda_H` must be finite and > 0 for a minimiser",
            id="nothing-holds-H",
        ),
    ],
)
def test_a_factor_that_nothing_holds_is_named(problem, words):
    with pytest.raises(ValueError, match=words):
        ufm.minimise(problem, key=jax.random.key(0))


def test_points_outside_are_named():
    problem = make(features=Sphere(2.0), classifier=Ball(1.0))
    inside = ufm.solvers.random_start(problem, key=jax.random.key(0))
    check_params(problem, inside)
    for part, point in (
        ("features", ufm.Params(inside.weights, 1.01 * inside.features)),
        (r"weights\[0\]", ufm.Params((2.0 * inside.weights[0],), inside.features)),
    ):
        with pytest.raises(
            ValueError,
            match=rf"`params.{part}` must have vectors of length .*; got vectors that are off by",
        ):
            check_params(problem, point)


def test_first_order_recipes_name_the_domain():
    problem = make(features=Ball(1.0), classifier=Sphere(1.0))
    with pytest.raises(
        ValueError, match=r"`problem.features` must be unconstrained for a first-order recipe"
    ):
        ufm.solvers.descend(
            problem, ufm.solvers.GradientDescent(0.1), steps=[1], key=jax.random.key(0)
        )
    with pytest.raises(
        ValueError, match=r"`solver` must be a Newton\(\) \(the default\) for features=Ball"
    ):
        ufm.minimise(problem, key=jax.random.key(0), solver=ufm.solvers.GradientDescent(0.1))


def test_bounds_on_the_classifier_are_kept():
    solution = ufm.minimise(
        make(classifier=Nonnegative(), lambda_W=1e-2, lambda_H=1e-2), key=jax.random.key(0)
    )
    assert solution.result is ufm.Result.CONVERGED
    assert float(jnp.min(solution.params.weights[0])) == 0
    with pytest.raises(
        ValueError,
        match=r"`solver` must be a ProjectedNewton\(\) \(the default\) for classifier=Nonnegative",
    ):
        ufm.minimise(solution.problem, key=jax.random.key(0), solver=ufm.solvers.Newton())


@pytest.mark.parametrize(
    ("loss", "parts"),
    [
        (ufm.MeanSquaredError(), {"features": Nonnegative(), "classifier": Sphere(1.0)}),
        (ufm.CrossEntropy(), {"features": Nonnegative(), "classifier": Ball(0.1)}),
        (ufm.MeanSquaredError(), {"classifier": Nonnegative()}),
    ],
)
def test_no_theorem_of_one_domain_speaks_of_another(loss, parts):
    problem = make(loss=loss, lambda_W=1e-2, lambda_H=1e-2, **parts)
    with pytest.raises(ufm.NoClosedForm):
        ufm.closed_form(problem)
    theory = ufm.theory(problem)
    assert theory.of_kind("optimum") == theory.of_kind("threshold") == ()


def test_a_budget_follows_the_masses_and_a_radius_the_columns():
    budget = make(features=Budget(3.0), classifier=Budget(2.0, (1.0, 2.0, 3.0)), lambda_H=0.0)
    other = budget.replace(labels=ufm.one_hot((2, 2, 2)))
    np.testing.assert_array_equal(other.features.weights, np.ones(6))
    np.testing.assert_array_equal(other.classifier.weights, [1, 2, 3])
    assert str(other.features) == "Budget(energy=3)"
    assert make(features=Sphere(2.0)).replace(labels=ufm.one_hot((2, 2, 2))).labels.num_columns == 6


def test_paths_of_the_free_model_are_refused_and_frozen_rates_polish():
    squared = make(loss=ufm.MeanSquaredError(), lambda_W=0.1, lambda_H=0.1, features=Sphere(1.0))
    with pytest.raises(
        ValueError, match=r"`problem.features` must be unconstrained for path='central'"
    ):
        ufm.flow(squared, ts=[1.0], key=jax.random.key(0), path="central")
    problem = make(classifier=Sphere(1.0), lambda_H=0.1)
    run = ufm.flow(
        problem,
        ts=np.geomspace(0.1, 1e3, 4),
        key=jax.random.key(0),
        path=ufm.flows.Path(rates={"weights": 0.0}),
        integration=ufm.flows.Integration(polish=True),
    )
    assert run.result is ufm.Result.POLISHED


def test_replace_keeps_the_rest_and_checks():
    problem = make(features=Sphere(2.0), classifier=Ball(1.0), lambda_W=0.1, bias=0.2)
    other = problem.replace(lambda_H=0.3)
    assert float(other.lambda_H) == 0.3
    assert float(other.lambda_b) == 0.2
    words = (
        "K=3, C=3, CrossEntropy(), widths=(4,), λ=0.1, 0.3, bias with λ_b=0.2, "
        "features=Sphere(radius=2), classifier=Ball(radius=1)"
    )
    assert str(other) == f"Problem({words})"
    assert other.replace(bias=None).bias is None
    with pytest.raises(ValueError, match="`lambda_H` must be finite and >= 0"):
        problem.replace(lambda_H=-1.0)
    with pytest.raises(ValueError, match="`changes` must be among labels, loss"):
        problem.replace(lambda_h=1.0)


class Shell(ufm.domains.Sphere):
    """A domain of a user's, which measures with JAX."""

    def distance(self, vectors):
        return jnp.max(jnp.abs(jnp.sqrt(jnp.sum(vectors**2, axis=0)) / self.radius - 1))


def test_nothing_is_asked_of_a_radius_that_is_traced():
    labels = ufm.one_hot((1, 1, 1), collapsed=True)
    point = ufm.Params((jnp.eye(3),), 3.0 * jnp.eye(3))

    def checked(radius):
        problem = ufm.Problem(
            labels,
            loss=ufm.CrossEntropy(),
            widths=(3,),
            lambda_W=0.1,
            lambda_H=0.0,
            features=Shell(radius),
        )
        return check_params(problem, point).features

    np.testing.assert_array_equal(jax.jit(checked)(jnp.asarray(2.0)), point.features)
    np.testing.assert_array_equal(checked(3.0), point.features)
    with pytest.raises(ValueError, match=r"`params\.features` must have vectors of length"):
        checked(2.0)


@pytest.mark.parametrize(
    ("features", "classifier"),
    [
        pytest.param(Budget(40.0), Budget(180.0), id="budgets"),
        pytest.param(Ball(3.0), Ball(8.0), id="balls"),
    ],
)
def test_a_start_on_a_boundary_goes_inside(features, classifier):
    """Along a boundary the slope across it is zero, and a minimum along it is a saddle."""
    domains = {"features": features, "classifier": classifier}
    problem = make(lambda_W=0.01, lambda_H=0.03, **domains)
    W, H = np.random.default_rng(0).normal(size=(2, D, 3))
    start = problem.projected(ufm.Params((99 * W.T,), 99 * H))
    assert np.max(np.abs(problem.features.room(start.features))) < 1e-12
    solution = ufm.minimise(problem, start=start)
    assert solution.result is ufm.Result.CONVERGED
    assert ufm.certify(problem, solution.params).closes(1e-10)
    there = ufm.minimise(problem, start=solution.params)
    np.testing.assert_allclose(there.value, solution.value, rtol=1e-14)
