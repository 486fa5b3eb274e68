"""Slopes on spheres that are written out, against those that JAX finds of the function of degree
0."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from tests.extension.parts import Pinned
from ufm.domains import Ball, Budget, Nonnegative, Real, Sphere
from ufm.solvers.coordinates import has_logarithm, joined, retract, to_flat
from ufm.solvers.merit import AnyMerit, SphericalMerit, merit_of
from ufm.solvers.narrowing import narrowed

EACH = (1.0, 2.0, 3.0)
# features, classifier, λ_W, λ_H, bias
PARTS = (
    (Sphere(2.0), Sphere(1.0), 0.0, 0.0, None),
    (Ball(EACH), Sphere(EACH), 0.0, 0.1, "free"),
    (Real(), Ball(0.7), 0.0, 0.1, 0.3),
    (Budget(3.0), Budget(4.0, EACH), 0.05, 0.0, None),
    (Sphere(EACH), Real(), 0.1, 0.0, "free"),
)


def problem(features, classifier, lambda_W, lambda_H, bias, *, loss=None, widths=(2,), **parts):
    return ufm.Problem(
        ufm.one_hot((3, 2, 4), collapsed=True),
        loss=ufm.CrossEntropy() if loss is None else loss,
        widths=widths,
        lambda_W=lambda_W,
        lambda_H=lambda_H,
        bias=bias,
        features=features,
        classifier=classifier,
        **parts,
    )


def tangential(one, flat, v):
    """A direction (n,) without its part along the coordinates of spheres."""
    parts = one.blocks.split(flat), one.blocks.split(v)
    return joined(one.blocks.apply(lambda block, y, v: block.tangent(y, v), *parts))


@jax.jit
def both(one: ufm.Problem, near, direction):
    """Value, gradient and a tangential Hessian product, of the two merits."""
    flat = retract(one, near)

    def of(merit):
        there = merit.evaluate(flat)
        times = merit.hessian(flat, there.known)
        curved = merit.join(times(merit.split(tangential(one, flat, direction))))
        return there.value, there.gradient, tangential(one, flat, curved)

    return of(merit_of(one)), of(AnyMerit(one))


@pytest.mark.parametrize("loss", [ufm.CrossEntropy(), ufm.MeanSquaredError()], ids=str)
@pytest.mark.parametrize("parts", PARTS, ids=lambda parts: f"{parts[0]}-{parts[1]}")
def test_written_slopes_are_those_of_jax(parts, loss):
    one = problem(*parts, loss=loss)
    assert isinstance(merit_of(one), SphericalMerit)
    start = to_flat(one, ufm.solvers.random_start(one, key=jax.random.key(0)))
    noise = np.random.default_rng(1).normal(size=(2, len(start)))
    written, found = both(one, start + 0.1 * jnp.asarray(noise[0]), jnp.asarray(noise[1]))
    # the sums of either have rounding of their terms, of size 1 to 10
    for mine, other in zip(written, found, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-13, atol=2e-14)
    assert np.linalg.norm(written[2]) > 1e-2


@jax.jit
def in_units(one: ufm.Problem, near, direction, numbers):
    """A Hessian product in units, and the same from one that knows none; what the part of any
    direction along the coordinates adds to the tangential one, and the units."""
    flat, merit = retract(one, near), SphericalMerit(one)
    known = merit.evaluate(flat).known
    units = merit.units(flat, known)
    given = jnp.ones_like(flat) if units is None else units * numbers
    scaled = tangential(one, flat, direction) / given
    times = merit.scaled_hessian(flat, known, given)
    mine = merit.join(times(merit.split(scaled)))
    plain = merit.join(merit.hessian(flat, known)(merit.split(given * scaled)))
    times = merit.hessian(flat, known)
    of_any = merit.join(times(merit.split(direction)))
    of_level = merit.join(times(merit.split(tangential(one, flat, direction))))
    return mine, given * plain, tangential(one, flat, of_any) - of_level, given


@pytest.mark.parametrize("parts", PARTS, ids=lambda parts: f"{parts[0]}-{parts[1]}")
def test_units_are_those_of_other_spheres(parts):
    one = problem(*parts)
    start = to_flat(one, ufm.solvers.random_start(one, key=jax.random.key(0)))
    noise = np.random.default_rng(1).normal(size=(2, len(start)))
    # a unit for each vector: the rows of W come first, then each column of H in its entries
    numbers = one.blocks.apply(
        lambda block, y: (
            jnp.ones_like(y)
            if block.stiffness(y, y, jnp.zeros(())) is None
            else block.repeated(jnp.asarray([1.0, 30.0, 1e4]))
        ),
        one.blocks.split(start),
    )
    mine, other, off, units = in_units(
        one, start + 0.1 * jnp.asarray(noise[0]), jnp.asarray(noise[1]), joined(numbers)
    )
    np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-12 * np.max(units))
    # conjugate gradients would blow up what rounding leaves along the coordinates
    np.testing.assert_allclose(off, 0, rtol=0, atol=1e-14)


@pytest.mark.lean("2")
@pytest.mark.parametrize(
    ("counts", "features", "classifier"),
    [
        ((28, 17, 6), (13.0, 4.7, 5.0), (1.35, 1.0, 0.96)),
        ((39, 14, 3), (3.49, 3.24, 10.33), (0.51, 0.82, 2.41)),
        ((64, 61, 3), (7.56, 5.31, 10.71), (1.04, 0.64, 1.52)),
    ],
    ids=["0", "1", "2"],
)
def test_vectors_of_unequal_lengths_are_solved(counts, features, classifier):
    """Samples that are learnt a million times better than others have as little curvature."""
    one = problem(Sphere(features), Sphere(classifier), 0.0, 1e-3, None, widths=(3,))
    one = one.replace(labels=ufm.one_hot(counts, collapsed=True))
    for number in range(4):
        solution = ufm.minimise(one, key=jax.random.key(number))
        assert solution.result is ufm.Result.CONVERGED
        assert int(solution.num_steps) < 60
        assert ufm.certify(one, solution.params).closes(1e-11)


@pytest.mark.parametrize(
    ("features", "classifier"),
    [(Ball(0.9), Real()), (Real(), Ball(1.0)), (Budget(1.0), Real()), (Nonnegative(), Ball(1.0))],
    ids=str,
)
def test_columns_of_one_class_each_leave_decay_alone(features, classifier):
    """The loss is 0 everywhere, and so is the minimum: its logarithm would fall for ever."""
    labels = ufm.labels.federated([[3, 0], [0, 2]], balanced=True)
    one = problem(features, classifier, 0.1, 0.005, None).replace(labels=labels)
    solution = ufm.minimise(one, key=jax.random.key(0))
    assert solution.result is ufm.Result.CONVERGED
    assert solution.value < 1e-20
    # as traced offsets are
    assert not jax.jit(has_logarithm)(one)
    assert has_logarithm(problem(features, classifier, 0.1, 0.005, None))


def test_other_problems_are_differentiated():
    on_sphere = (Sphere(2.0), Sphere(1.0), 0.0, 0.0, None)
    for other in (
        problem(*on_sphere, widths=(2, 2)).replace(lambda_W=0.1),
        problem(Pinned(1.0), Sphere(1.0), 0.0, 0.1, None),
        problem(Nonnegative(), Sphere(1.0), 0.0, 0.1, None),
        problem(Sphere(2.0), Real(), 0.0, 0.0, None, fixed_weights=(np.eye(3, 2),)),
    ):
        assert isinstance(merit_of(other), AnyMerit)


@pytest.mark.parametrize(
    ("features", "classifier", "counts", "d"),
    [
        pytest.param(Sphere(2.0), Sphere(1.0), (3, 2, 4), 6, id="spheres"),
        pytest.param(Ball(2.0), Sphere(1.0), (3, 2, 4), 4, id="a ball of features"),
        pytest.param(Real(), Budget(4.0), (3, 2, 4), 4, id="decay of the features"),
        pytest.param(Sphere(2.0), Pinned(1.0), (3, 2, 4), 9, id="a domain that does not say"),
    ],
)
def test_more_dimensions_than_can_be_of_use_cost_nothing(features, classifier, counts, d):
    decay = {"lambda_H": 0.1, "lambda_W": 0.0}
    labels = ufm.one_hot(counts, collapsed=True)
    parts = {"loss": ufm.CrossEntropy(), "features": features, "classifier": classifier} | decay
    wide = ufm.Problem(labels, widths=(9,), **parts)
    assert narrowed(wide, ufm.solvers.Newton()).feature_dim == d
    assert narrowed(wide, ufm.solvers.LBFGS()) is wide
    # where that is known of columns that are pulled to given ones: nowhere
    pulled = wide.replace(anchor=np.ones((9, labels.num_columns)), beta=0.1)
    assert narrowed(pulled, ufm.solvers.Newton()) is pulled


def test_the_widened_optimum_is_that_of_the_wide_problem():
    wide = problem(Sphere(2.0), Sphere(1.0), 0.0, 0.0, None, widths=(9,))
    solution = ufm.minimise(wide, key=jax.random.key(0))
    assert solution.params.features.shape == (9, 3)
    assert ufm.certify(wide, solution.params).closes(1e-11)
    start = ufm.solvers.random_start(wide, key=jax.random.key(1))
    assert start.features.shape == (9, 3)
    there = ufm.minimise(wide, start=start)
    np.testing.assert_allclose(there.value, solution.value, rtol=1e-12)


def test_newton_minimises_losses_whose_square_is_no_number():
    """3e-209, where the second derivative of its logarithm had the square of it."""
    fixed = 14.0 * (np.eye(3) - 1 / 3)
    frozen = ufm.Problem(
        ufm.one_hot((1, 1, 1)),
        loss=ufm.CrossEntropy(),
        widths=(3,),
        fixed_weights=(fixed,),
        features=Sphere(28.0),
    )
    solution = ufm.minimise(frozen, key=jax.random.key(0))
    assert solution.result is ufm.Result.CONVERGED
    # logits along the rows of the simplex, of length 14 √(2/3)
    gap = 14.0 * 28.0 * np.sqrt(1.5)
    np.testing.assert_allclose(np.log(solution.value), np.log(2) - gap, rtol=1e-13)
