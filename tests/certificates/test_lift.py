"""Certificates of every mixture of decay, domains, anchors and frozen weights.

They close at optima and hold anywhere.
"""

from __future__ import annotations

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from tests.certificates.problems import BOTH, COUNTS, MIXTURES, D, checker, make, mixed, on_file
from ufm.certificates import bound, lift
from ufm.domains import Ball, Budget, Nonnegative, Real, Sphere

verify = checker().verify


@pytest.mark.lean(
    "sphere-sphere",
    "ball-budget",
    "free-bias",
    "decay-ball-slack",
    "budget-decay",
    "decay-sphere-free-bias",
    "squared",
    "nonnegative-squared",
    "frozen",
    "frozen-free-bias",
    "frozen-budget",
    "nonnegative-sphere",
    "anchor",
    "anchor-ball-budget",
    "anchor-frozen",
)
@pytest.mark.parametrize("name", MIXTURES)
def test_bounds_close_at_the_optimum_and_hold_elsewhere(name):
    """The gap is that of rounding at what a random start led to.

    At random points the bound is below that value.
    """
    problem = MIXTURES[name]
    solution = ufm.minimise(problem, key=jax.random.key(0))
    assert solution.result is ufm.Result.CONVERGED
    certificate = ufm.certify(problem, solution.params)
    assert certificate.valid
    assert 0 <= float(certificate.gap) <= 2e-12
    for seed in range(3):
        point = ufm.solvers.random_start(problem, key=jax.random.key(seed), std=1.0)
        there = ufm.certify(problem, point)
        assert there.valid
        assert float(there.lower_bound) <= float(solution.value)
        # near the optimum, where a rule for multipliers that is too bold would pass it
        step = 10.0 ** (-seed - 1)
        free, away = problem.free_part(solution.params), problem.free_part(point)
        near = problem.projected(
            jax.tree.map(lambda a, b, step=step: a + step * (b - a), free, away)
        )
        near = ufm.certify(problem, problem.filled(near))
        assert float(near.lower_bound) <= float(solution.value)


@pytest.mark.parametrize("beta", [0.1, 1.0, 10.0, 100.0])
def test_the_simplex_is_optimal_on_spheres_at_any_temperature(beta):
    """log(1 + (K − 1) exp(−βK/(K − 1))) for K <= d + 1.

    Spheres.md §2, and 1e-54 is a value like another.
    """
    problem = make(counts=(1,) * 5, features=Sphere(beta), classifier=Sphere(1.0))
    solution = ufm.minimise(problem, key=jax.random.key(2))
    assert solution.result is ufm.Result.CONVERGED
    np.testing.assert_allclose(
        float(solution.value), np.log1p(4 * np.exp(-beta * 5 / 4)), rtol=1e-13 * max(beta, 1)
    )
    assert float(ufm.certify(problem, solution.params).gap) <= 1e-10


def test_one_factor_held_by_decay_takes_the_square():
    """Where the multiplier of one factor is fixed the other's grows by σ².

    By σ alone the bound passed the minimum, .3586.
    """
    problem = make(counts=(1, 1, 1), features=Sphere(1.0), lambda_W=0.05)
    best = ufm.minimise(problem, key=jax.random.key(0))
    np.testing.assert_allclose(float(best.value), 0.3586, rtol=0, atol=5e-5)
    shrunk = ufm.Params((0.3 * best.params.weights[0],), best.params.features)
    certificate = ufm.certify(problem, shrunk)
    assert certificate.valid
    assert 0.2 < float(certificate.lower_bound) < float(best.value)
    longer = ufm.Params((1.05 * best.params.weights[0],), best.params.features)
    # .044 by σ alone, .079 with the multipliers of the point
    assert 0.01 < float(ufm.certify(problem, longer).gap) < 0.012


def test_the_rounding_of_a_slope_that_cancels_is_subtracted(monkeypatch):
    """Against fractions, where WᵀV is rounding and nothing else."""
    # (of slopes that are no gradient less would be better)
    monkeypatch.setattr(lift, "_SHARES", (1.0,))
    for seed in range(8):
        W, dual = np.random.default_rng(seed).normal(size=(2, 3, 3))
        W = W[:, :1]
        dual[2] = -(W[0] * dual[0] + W[1] * dual[1]) / W[2]
        # weights of columns are powers of 2
        problem = make(fixed_weights=(W,), counts=(2, 1, 1), d=1, lambda_H=1.0)
        point = ufm.solvers.random_start(problem, key=jax.random.key(0))
        found = lift.lifted(problem, point, jnp.asarray(dual), jnp.zeros((3, 3)))
        exactly = np.vectorize(Fraction, otypes=[object])
        slopes = exactly(W[:, 0]) @ exactly(dual) * exactly(problem.labels.column_weights)
        exact = -(slopes**2 / (2 * exactly(problem.labels.masses))).sum()
        assert float(found.slack) > 0
        assert Fraction(float(found.rest)) - Fraction(float(found.slack)) <= exact


def test_more_classes_than_dimensions_leave_the_gap_open():
    problem = make(counts=(1,) * 7, d=3, features=Sphere(3.0), classifier=Sphere(1.0))
    solution = ufm.minimise(problem, key=jax.random.key(0), starts=4)
    wide = ufm.minimise(problem.replace(widths=(6,)), key=jax.random.key(0))
    certificate = ufm.certify(problem, solution.params)
    assert certificate.valid
    assert not certificate.closes(1e-3)
    assert float(certificate.lower_bound) <= float(wide.value) < float(solution.value)
    assert str(certificate).endswith(
        "\nopen, as one more dimension lowers the value along 3 directions: if this is the "
        "minimum, d=3 is below the rank of the lifted optimum"
    )
    # what is left of given lengths takes a dimension of either factor
    assert_lowered(problem, problem.replace(widths=(9,)))
    closed = ufm.certify(problem.replace(widths=(6,)), wide.params)
    assert int(closed.lowering) == 0
    assert "open" not in str(closed)


def test_nonnegative_features_may_end_at_a_local_minimum():
    """Two classes of three share a direction, and the third has what is left."""
    problem = make(counts=(10, 5, 5), d=3, lambda_W=0.01, lambda_H=0.01, features=Nonnegative())
    W, H = ((2.0, 0.0, 0.1), (-1.0, 1.0, 0.1), (-1.0, 1.0, 0.1)), ((1, 0, 0), (0, 1, 1), (0.1,) * 3)
    stuck = ufm.minimise(problem, start=ufm.Params((jnp.asarray(W),), jnp.asarray(H), None))
    assert stuck.result is ufm.Result.CONVERGED
    solution = ufm.minimise(problem, key=jax.random.key(0), starts=8)
    assert stuck.value > 1.1 * solution.value
    said = str(ufm.certify(problem, stuck.params))
    assert said.endswith("more `starts`, or more dimensions than d=3, may find a lower value")
    assert "open" not in str(ufm.certify(problem, solution.params))
    # under given weights the problem is convex
    frozen = problem.replace(fixed_weights=stuck.params.weights, lambda_W=0.0)
    apart = ufm.Params(stuck.params.weights, 2 * stuck.params.features, None)
    assert not ufm.certify(frozen, apart).closes()
    assert "open" not in str(ufm.certify(frozen, apart))


def test_a_further_dimension_lowers_the_value_where_the_certificate_says_so():
    """A minimum on a line has as many directions of negative curvature in the plane: those out of
    the line."""
    problem = MIXTURES["budget-decay"]
    assert_lowered(problem.replace(widths=(1,)), problem.replace(widths=(2,)))


@pytest.mark.parametrize("domain", [None, Sphere(100.0)], ids=["decay", "sphere"])
def test_an_anchor_wants_dimensions_of_its_own(domain):
    """Two features are pulled apart and should have one logit: a line is too narrow for them,
    although the product has rank 1."""
    parts = {"lambda_H": 1e-3} if domain is None else {"features": domain, "lambda_H": 0.0}
    problem = ufm.Problem(
        ufm.soft(jnp.ones((1, 2))),
        loss=ufm.MeanSquaredError(),
        widths=(1,),
        lambda_W=0.01,
        anchor=jnp.array([[100.0, -100.0]]),
        beta=0.1,
        **parts,
    )
    # a sign of w changes nothing: of the two features one has the wrong one, or w vanishes
    certificate = ufm.certify(problem, ufm.minimise(problem, key=jax.random.key(0)).params)
    assert int(certificate.lowering) == 1
    assert "if this is the minimum, d=1 is below" in str(certificate)


def test_a_domain_that_does_not_say_what_it_needs_is_not_told_that_it_has_enough():
    class Silent(ufm.domains.Ball):
        spare = None

    problem = make(lambda_W=1e-2, features=Silent(2.0), d=8)
    for features, enough in ((Silent(2.0), False), (Ball(2.0), True)):
        bounded = problem.replace(features=features)
        rough = ufm.minimise(bounded, key=jax.random.key(0), tolerance=1e-2)
        said = str(ufm.certify(rough.problem, rough.params))
        assert ("this is no minimum" in said) == enough, said
        assert "open" in said


@pytest.mark.parametrize("radius", [6.0, 20.0])
def test_a_point_beside_its_sphere_is_the_one_on_it(radius):
    """Longer by what is taken for rounding, logits have a loss below the least of the sphere."""
    parts = {"features": Sphere(radius), "classifier": Sphere(1.0)}
    problem = make(counts=(3,) * 4, d=6, **parts)
    params = ufm.minimise(problem, key=jax.random.key(0)).params
    longer = jax.tree.map(lambda x: x * (1 + 100 * np.finfo(np.float64).eps), params)
    on, off = (ufm.certify(problem, point) for point in (params, longer))
    assert off.valid
    assert off.closes()
    np.testing.assert_allclose(off.value, on.value, rtol=1e-13)


def test_signs_of_features_are_made_use_of_only_where_that_helps():
    """Entries that are dropped may hold a matrix up: at features >= 0 that are best of all the
    bound without signs closes, and the one with all of them does not."""
    targets = jnp.array(
        [[0.17, 0.07, 0.67, 0.47], [0.81, 0.53, 0.16, 0.45], [0.02, 0.40, 0.17, 0.08]]
    )
    problem = ufm.Problem(
        ufm.soft(targets),
        loss=ufm.MeanSquaredError(),
        widths=(8,),
        lambda_W=1e-3,
        lambda_H=1e-2,
        features=Nonnegative(),
    )
    solution = ufm.minimise(problem, key=jax.random.key(0))
    free = ufm.closed_form(problem.replace(features=Real()))
    assert float(solution.value) == pytest.approx(free.value, rel=1e-12)
    assert ufm.certify(problem, solution.params).closes()
    enclosure = ufm.prove(problem, solution.params)
    assert enclosure.relative_width < 1e-13
    verify(on_file(enclosure))


def assert_lowered(narrow, wide):
    point = ufm.minimise(narrow, key=jax.random.key(0), starts=4).params
    certificate = ufm.certify(narrow, point)
    assert f"if this is the minimum, d={narrow.feature_dim} is below" in str(certificate)
    more = (0, wide.feature_dim - narrow.feature_dim)
    padded = ufm.Params(
        (jnp.pad(point.weights[0], ((0, 0), more)),), jnp.pad(point.features, (more, (0, 0)))
    )
    # as many in each further dimension
    negative = ufm.classify(wide, padded).spectrum.negative
    assert negative == int(certificate.lowering) * more[1] >= 1
    if wide.feature_dim >= wide.labels.num_classes + 2:
        said = f"this is no minimum, as d={wide.feature_dim} is enough for every rank"
        assert said in str(ufm.certify(wide, padded))


def test_vectors_inside_balls_leave_the_bound_of_the_losses_alone():
    """Without decay they have no multiplier but noise; no column can do better than its targets."""
    targets = jnp.array([[0.5, 0.2, 0.1], [0.3, 0.3, 0.7], [0.2, 0.5, 0.2]])
    problem = ufm.Problem(
        ufm.soft(targets),
        loss=ufm.CrossEntropy(),
        widths=(3,),
        lambda_W=0.0,
        lambda_H=0.0,
        bias="free",
        features=Ball(20.0),
        classifier=Budget(30.0, (0.8, 0.3, 0.5)),
    )
    solution = ufm.minimise(problem, key=jax.random.key(0))
    entropy = -float(jnp.mean(jnp.sum(targets * jnp.log(targets), axis=0)))
    assert jnp.all(jnp.linalg.norm(solution.params.features, axis=0) < 19)
    certificate = ufm.certify(problem, solution.params)
    assert certificate.closes(1e-12)
    assert float(certificate.lower_bound) == pytest.approx(entropy, rel=1e-13)
    enclosure = ufm.prove(problem, solution.params)
    assert enclosure.lower <= entropy * (1 + 1e-15)
    assert entropy * (1 - 1e-15) <= enclosure.upper <= enclosure.lower * (1 + 1e-12)
    # the same is known of every other point
    point = ufm.solvers.random_start(problem, key=jax.random.key(1))
    origin, decayed = jax.tree.map(jnp.zeros_like, point), problem.replace(lambda_H=1e-8)
    for known, elsewhere in ((problem, point), (problem, origin), (decayed, origin)):
        bound = float(ufm.certify(known, elsewhere).lower_bound)
        assert bound == pytest.approx(entropy, rel=1e-13)


@pytest.mark.parametrize("name", ["sphere-sphere", "decay-sphere", "ball-budget"])
def test_what_rounding_hides_of_the_dual_point_is_allowed_for(name):
    """Wherever its entries may lie by so much, it is small enough for the multipliers."""
    problem, params = mixed(name)
    dual = ufm.losses.loss_and_dual(problem.loss, problem.logits(params), problem.labels.targets)[1]
    hidden = 1e-3 * jnp.abs(dual)
    found = lift.lifted(problem, params, dual, hidden)
    roots = [np.sqrt(np.asarray(each)) for each in found.multipliers]
    weights = np.asarray(problem.labels.column_weights) / roots[1][None, :] / roots[0][:, None]
    left, _, right = np.linalg.svd(np.asarray(dual) * weights)
    worst = np.asarray(dual) + np.asarray(hidden) * np.sign(np.outer(left[:, 0], right[0]))
    assert float(found.share) * np.linalg.norm(worst * weights, 2) <= 1
    assert float(found.share) > 0.9


@pytest.mark.parametrize("size", [1e3, 1e5])
def test_far_from_an_anchor_the_zero_dual_point_is_left(size):
    """It asks nothing of multipliers, and says that nothing costs less than 0."""
    problem = MIXTURES["anchor"]
    point = ufm.solvers.random_start(problem, key=jax.random.key(3))
    far = jax.tree.map(lambda leaf: size * leaf, point)
    assert float(ufm.certify(problem, far).lower_bound) > 0


def test_what_an_anchor_may_use_is_what_the_dual_point_leaves():
    """1 − σ², with σ the norm of the dual point over the multipliers."""
    problem, params = mixed("anchor")
    logits, targets = problem.logits(params), problem.labels.targets
    dual = ufm.losses.loss_and_dual(problem.loss, logits, targets)[1]
    found = lift.lifted(problem, params, dual, 0 * dual)
    rows, columns = (np.sqrt(np.asarray(each)) for each in found.multipliers)
    relative = (
        np.asarray(dual) * np.asarray(problem.labels.column_weights) / rows[:, None] / columns
    )
    sigma = float(found.share) * np.linalg.norm(relative, 2)
    assert 0.1 < sigma < 1
    assert float(found.left) == pytest.approx(1 - sigma**2, rel=1e-6)


def test_vanishing_multipliers_count_nothing():
    """On a line spheres are points, and where nothing pulls there is no multiplier."""
    narrow = MIXTURES["decay-sphere"].replace(widths=(1,))
    certificate = ufm.certify(narrow, ufm.minimise(narrow, key=jax.random.key(0), starts=4).params)
    assert not certificate.closes()
    assert int(certificate.lowering) == 0
    assert "open" not in str(certificate)


@pytest.mark.parametrize("bias", [None, "free"])
def test_multipliers_that_are_all_rounding_count_nothing(bias):
    """A squared error that is met inside the domains pulls at nothing."""
    parts = {"features": Ball(1.5), "classifier": Sphere(1.5), "loss": ufm.MeanSquaredError()}
    problem = make(counts=(2, 1, 1), bias=bias, **parts)
    for seed in range(4):
        solution = ufm.minimise(problem, key=jax.random.key(seed))
        certificate = ufm.certify(problem, solution.params)
        assert float(certificate.value) < 1e-20
        assert int(certificate.lowering) == 0


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_frozen_weights_and_lengths_larger_than_the_loss_would_have_them(decay):
    """The least of a sphere is above that of its ball, which is what one more dimension reaches."""
    weights = np.random.default_rng(0).normal(size=(3, 3))
    narrow = make(
        loss=ufm.MeanSquaredError(),
        d=3,
        lambda_H=decay,
        features=Sphere(5.0),
        fixed_weights=(weights,),
    )
    solution = ufm.minimise(narrow, key=jax.random.key(0), starts=4)
    certificate = ufm.certify(narrow, solution.params)
    # decay cannot change on a sphere
    constant = 0.5 * decay * sum(COUNTS) * 25
    assert float(certificate.lower_bound) == pytest.approx(constant, rel=1e-13)
    assert "along 3 directions: if this is the minimum, d=3 is below" in str(certificate)
    wide = narrow.replace(widths=(4,), fixed_weights=(np.pad(weights, ((0, 0), (0, 1))),))
    least = ufm.minimise(wide, key=jax.random.key(0))
    closed = ufm.certify(wide, least.params)
    assert float(least.value) - float(closed.lower_bound) < 1e-12
    assert "open" not in str(closed)
    padded = ufm.Params(wide.fixed_weights, jnp.pad(solution.params.features, ((0, 1), (0, 0))))
    assert ufm.classify(wide, padded).spectrum.negative == int(certificate.lowering) == 3


@pytest.mark.parametrize("loosened", ["rows", "columns", "norm"])
def test_a_looser_rule_would_be_caught(monkeypatch, loosened):
    """Multipliers that cost too little, or a norm that is too small, put the bound above the value.

    The certificate says so.
    """
    problem = make(**BOTH)
    point = ufm.minimise(problem, key=jax.random.key(0)).params
    if loosened == "norm":
        ratio = lift._ratio

        def smaller(*args):
            *numbers, dropped = ratio(*args)
            return *(0.9 * x for x in numbers), dropped

        monkeypatch.setattr(lift, "_ratio", smaller)
    else:
        domain = {"rows": problem.classifier, "columns": problem.features}[loosened]
        cost, none = type(domain).allowance, jnp.zeros(())
        monkeypatch.setattr(
            lift,
            "cost",
            lambda p, m: (
                0.9 * cost(p.features, m.columns, none) + 0.9 * cost(p.classifier, m.rows, none)
            ),
        )
    # traced afresh, by a function that JAX has not met
    certify = bound._certify.__wrapped__
    monkeypatch.setattr(bound, "_certify", jax.jit(lambda *args: certify(*args)))
    certificate = ufm.certify(problem, point)
    assert not certificate.valid
    assert not certificate.closes(1.0)
    assert "INVALID" in str(certificate)


def test_the_bound_does_not_need_the_features_to_be_collapsed():
    """Full and collapsed columns have one optimum and one bound."""
    counts = (3, 2, 1)
    collapsed = make(counts=counts, features=Budget(4.0), classifier=Sphere(1.0))
    full = collapsed.replace(labels=ufm.one_hot(counts), features=Budget(4.0))
    values = []
    for problem in (full, collapsed):
        solution = ufm.minimise(problem, key=jax.random.key(1))
        certificate = ufm.certify(problem, solution.params)
        assert float(certificate.gap) <= 1e-11
        values.append(float(solution.value))
    np.testing.assert_allclose(*values, rtol=1e-13)


def test_nonnegative_features_that_are_pulled_have_a_bound_that_holds():
    """What nonnegative features may drop is dropped in the whole form, and multipliers of their
    signs cost nothing."""
    problem = make(
        features=Nonnegative(),
        d=5,
        lambda_W=1e-2,
        lambda_H=1e-2,
        anchor=np.random.default_rng(1).normal(size=(5, 3)),
        beta=0.05,
    )
    best = ufm.minimise(problem, key=jax.random.key(0), starts=4)
    bounds = []
    for seed in range(12):
        shift = 10.0 ** (-(seed % 4) - 1) * jax.random.normal(
            jax.random.key(seed), best.params.features.shape
        )
        certificate = ufm.certify(
            problem, ufm.Params(best.params.weights, jnp.maximum(best.params.features + shift, 0))
        )
        assert certificate.valid
        bounds.append(float(certificate.lower_bound))
    # a share of the gradient that leaves no room would put the bound at -1e10
    assert 0.6 * float(best.value) < min(bounds)
    assert max(bounds) <= float(best.value)


def test_an_interpolated_target_is_bounded_by_zero():
    """Nothing is lost on long spheres under squared error, and no share of a gradient that is
    rounding says more than none."""
    problem = make(features=Sphere(2.0), classifier=Sphere(1.0), loss=ufm.MeanSquaredError())
    certificate = ufm.certify(problem, ufm.minimise(problem, key=jax.random.key(0)).params)
    assert abs(float(certificate.lower_bound)) <= 1e-20


def test_what_has_no_convex_lift_is_refused():
    labels = ufm.one_hot(COUNTS, collapsed=True)
    deep = ufm.Problem(
        labels,
        loss=ufm.CrossEntropy(),
        widths=(D, D),
        lambda_W=0.1,
        lambda_H=0.0,
        features=Sphere(1.0),
    )
    with pytest.raises(ValueError, match=r"`problem.widths` must have one entry"):
        ufm.certify(deep, ufm.solvers.random_start(deep, key=jax.random.key(0)))
    many = ufm.Problem(
        ufm.one_hot((3000, 3000)),
        loss=ufm.CrossEntropy(),
        widths=(2,),
        lambda_W=0.1,
        lambda_H=0.1,
        features=Nonnegative(),
    )
    with pytest.raises(ValueError, match="must have at most 5000 columns"):
        ufm.certify(many, ufm.solvers.random_start(many, key=jax.random.key(0)))


def test_radii_are_traced():
    """Another radius is not another compilation."""
    traces = []

    @jax.jit
    def value(problem):
        traces.append(1)
        return ufm.model.objective(
            problem, ufm.solvers.random_start(problem, key=jax.random.key(0))
        )

    values = [float(value(make(features=Sphere(r), classifier=Budget(r)))) for r in (0.5, 1.0, 2.0)]
    assert len(traces) == 1
    assert len(set(values)) == 3
    assert jnp.isfinite(jnp.asarray(values)).all()
