"""Derivatives through `minimise`: against differences, against a closed form, and what has none."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm

KEY = jax.random.key(0)
COUNTS = jnp.asarray([4.0, 2.0, 1.0])
# N² λ² = 0.06 is below the smallest count, so that all classes are told apart
DECAY = jnp.asarray(5e-3)


def problem_of(counts=COUNTS, targets=None, **parts) -> ufm.Problem:
    given = {"loss": ufm.MeanSquaredError(), "widths": (4,), "lambda_W": 5e-3, "lambda_H": 5e-3}
    targets = jnp.eye(3) if targets is None else targets
    return ufm.Problem(ufm.Labels(targets, counts), **{**given, **parts})


def of_spheres(radius) -> ufm.Problem:
    return problem_of(
        loss=ufm.CrossEntropy(),
        lambda_W=0.0,
        lambda_H=0.0,
        features=ufm.domains.Sphere(radius),
        classifier=ufm.domains.Ball(1.0),
    )


def with_free_bias(decay) -> ufm.Problem:
    return problem_of(loss=ufm.CrossEntropy(), lambda_H=decay, bias="free")


def nonnegative(decay) -> ufm.Problem:
    return problem_of(loss=ufm.CrossEntropy(), lambda_H=decay, features=ufm.domains.Nonnegative())


def centred(solution):
    """What the shift of a free bias leaves alone."""
    return solution.logits - jnp.mean(solution.logits, axis=0, keepdims=True)


DEPTH_DECAYS = jnp.asarray([1e-3, 2e-3])
TARGETS = jnp.eye(3) + 0.1
CASES = (
    ("counts", lambda x: problem_of(x), COUNTS),
    ("targets", lambda x: problem_of(targets=x), TARGETS),
    ("free-bias", with_free_bias, DECAY),
    ("radius-of-a-sphere", of_spheres, jnp.asarray(2.0)),
    # a zero of the features stays one, and what is beyond it is no concern of the derivative
    ("nonnegative", nonnegative, DECAY),
    ("two-layers", lambda x: problem_of(widths=(4, 4), lambda_H=1e-3, lambda_W=x), DEPTH_DECAYS),
)


@pytest.mark.lean("targets", "free-bias", "radius-of-a-sphere", "nonnegative")
@pytest.mark.parametrize(("make", "x"), [pytest.param(*rest, id=i) for i, *rest in CASES])
def test_slopes_of_value_and_optimum_are_those_of_differences(make, x):
    def both(x):
        solution = ufm.minimise(make(x), key=KEY)
        return solution.value, centred(solution)

    # every direction of a table of targets would be nine solves more
    along = jnp.asarray(np.random.default_rng(0).standard_normal(x.shape)) * x
    step = 1e-5
    up, down = both(x + step * along), both(x - step * along)
    _, found = jax.jvp(both, (x,), (along,))
    for slope, above, below in zip(found, up, down, strict=True):
        difference = (np.asarray(above) - np.asarray(below)) / (2 * step)
        # truncation step² times a third derivative of the size of the first, and rounding of the
        # solve (1e-12) over the step
        np.testing.assert_allclose(slope, difference, rtol=1e-6, atol=1e-7)
    _, pullback = jax.vjp(both, x)
    (reverse,) = pullback(jax.tree.map(jnp.ones_like, found))
    forward = sum(jnp.sum(slope) for slope in found)
    np.testing.assert_allclose(jnp.sum(reverse * along), forward, rtol=1e-9, atol=1e-11)


def test_slope_of_the_singular_values_is_that_of_the_closed_form():
    """σ_k = √n_k − N √(λ_W λ_H), so dσ_k / dλ_H = −N √(λ_W / λ_H) / 2."""

    def spectrum(decay):
        solution = ufm.minimise(problem_of(lambda_H=decay), key=KEY)
        roots = jnp.sqrt(COUNTS)
        return jnp.linalg.svd(solution.logits * roots[None, :], compute_uv=False)

    np.testing.assert_allclose(jax.jacrev(spectrum)(DECAY), np.full(3, -3.5), rtol=1e-9)


def test_an_optimal_value_is_differentiated_twice():
    """A value that is concave in the decay: the slope of the slope, against a difference of it."""
    slope = jax.grad(lambda decay: ufm.minimise(problem_of(lambda_H=decay), key=KEY).value)
    step = 1e-6
    difference = (slope(DECAY + step) - slope(DECAY - step)) / (2 * step)
    twice = jax.grad(slope)(DECAY)
    np.testing.assert_allclose(twice, difference, rtol=1e-5)
    assert twice < 0


def test_what_symmetry_moves_has_no_slope():
    """One entry of the features."""
    slope = jax.grad(lambda d: ufm.minimise(with_free_bias(d), key=KEY).params.features[0, 0])
    with pytest.raises((ValueError, RuntimeError), match="left alone by the symmetries"):
        slope(DECAY).block_until_ready()


def test_single_precision_has_slopes_of_its_own_accuracy():
    """A right side is solved for to the rounding of the dtype, not to that of float64."""

    def logits(decay, dtype):
        labels = ufm.one_hot([50, 20, 5, 5], collapsed=True, dtype=dtype)
        problem = ufm.Problem(
            labels, loss=ufm.CrossEntropy(), widths=(4,), lambda_W=decay, lambda_H=decay
        )
        return ufm.minimise(problem, key=KEY).logits

    single, double = (
        jax.jacrev(lambda decay, t=dtype: logits(decay, t))(jnp.asarray(5e-3, dtype))
        for dtype in ("float32", "float64")
    )
    # the gradient is solved to 1e-6 or so, and slopes are 170 at most
    np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-2)


def near_threshold(distance):
    """λ at a relative distance from where the two classes of five samples merge, N λ = √5."""
    return jnp.asarray(5**0.5 / 80 * (1 + distance))


def minority_logits(decay):
    labels = ufm.one_hot([50, 20, 5, 5], collapsed=True)
    problem = ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=(4,), lambda_W=decay, lambda_H=decay
    )
    return ufm.minimise(problem, key=KEY).logits[:, 2]


@pytest.mark.parametrize("distance", [-1e-9, 0.0, 1e-9])
def test_at_a_threshold_there_is_no_slope(distance):
    """Where slopes from the left and from the right differ the solve leaves a mixture of both."""
    with pytest.raises((ValueError, RuntimeError), match="away from thresholds"):
        jax.jacrev(minority_logits)(near_threshold(distance)).block_until_ready()


@pytest.mark.parametrize("distance", [-1e-3, 1e-3])
def test_near_a_threshold_slopes_are_those_of_that_side(distance):
    decay = near_threshold(distance)
    step = 1e-6 * decay
    difference = (minority_logits(decay + step) - minority_logits(decay - step)) / (2 * step)
    slopes = jax.jacrev(minority_logits)(decay)
    # merging classes curve like the root of the distance: (step / distance)², and the rounding of a
    # solve (1e-12 over a curvature of 2e-3) over the step
    np.testing.assert_allclose(slopes, difference, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(
    "loss",
    [ufm.CrossEntropy(), ufm.losses.AdjustedCrossEntropy(additive=[0.0, 0.5, 1.0])],
    ids=["plain", "adjusted"],
)
def test_logits_with_a_free_bias_have_slopes_as_they_are(loss):
    """Its sum stays what it was at the start."""

    def logits(decay):
        return ufm.minimise(with_free_bias(decay).replace(loss=loss), key=KEY).logits

    step = 1e-5 * DECAY
    difference = (logits(DECAY + step) - logits(DECAY - step)) / (2 * step)
    for slopes in (jax.jacrev(logits)(DECAY), jax.jacfwd(logits)(DECAY)):
        # truncation and the rounding of a solve over the step, relative to slopes of hundreds
        np.testing.assert_allclose(slopes, difference, rtol=1e-6, atol=1e-6)


def test_a_point_that_is_not_stationary_has_no_slope():
    def value(decay):
        solver = ufm.solvers.Newton(max_steps=1)
        return ufm.minimise(problem_of(lambda_H=decay), key=KEY, solver=solver).value

    with pytest.raises(ValueError, match=r"must end at a stationary point.*MAX_STEPS"):
        jax.grad(value)(DECAY)


def test_slopes_of_labels_too_large_for_all_logits_are_refused(monkeypatch):
    labels = ufm.one_hot([4, 2, 1])
    monkeypatch.setattr(type(labels), "chunk", lambda self, width: 2)

    def value(decay):
        problem = ufm.Problem(
            labels, loss=ufm.MeanSquaredError(), widths=(4,), lambda_W=5e-3, lambda_H=decay
        )
        return ufm.minimise(problem, key=KEY).value

    with pytest.raises(ValueError, match="derivatives of a minimum"):
        jax.grad(value)(DECAY)


def test_a_traced_start_is_refused():
    start = ufm.solvers.random_start(problem_of(), key=KEY)
    with pytest.raises(ValueError, match="`start` must hold numbers"):
        jax.grad(lambda start: ufm.minimise(problem_of(), start=start).value)(start)


def test_slopes_on_spheres_where_the_loss_is_tiny():
    """Its logarithm is minimised, whose second derivative had the square of 1e-190."""

    def logits(radius):
        labels = ufm.one_hot((5, 4, 3), collapsed=True)
        sphere, ball = ufm.domains.Sphere(radius), ufm.domains.Ball(radius)
        problem = ufm.Problem(
            labels, loss=ufm.CrossEntropy(), widths=(3,), features=sphere, classifier=ball
        )
        return ufm.minimise(problem, key=KEY).logits

    radius, step = jnp.asarray(18.0), 1e-4
    difference = (logits(radius + step) - logits(radius - step)) / (2 * step)
    # of entries of size 36, by steps that round solves of 1e-12 to 1e-8
    np.testing.assert_allclose(jax.jacfwd(logits)(radius), difference, rtol=1e-7, atol=1e-6)


def test_decays_of_factors_may_be_traced_one_by_one():
    def value(decay):
        problem = problem_of(widths=(4, 4), lambda_H=1e-3, lambda_W=(decay, 2e-3))
        return ufm.minimise(problem, key=KEY).value

    together = jax.grad(
        lambda decays: (
            ufm.minimise(problem_of(widths=(4, 4), lambda_H=1e-3, lambda_W=decays), key=KEY).value
        )
    )
    np.testing.assert_allclose(jax.grad(value)(1e-3), together(DEPTH_DECAYS)[0], rtol=1e-9)
