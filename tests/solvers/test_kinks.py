"""Points on the kinks of ReLU models: by hand, against one-sided derivatives, and what is said."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.solvers.kink_patterns import least_squares
from ufm.solvers.kink_pulls import strongest
from ufm.solvers.kinks import kinks_of
from ufm.solvers.onto_kinks import onto_kinks


def soft_problem(seed, loss, *, bias=None, map=None):
    targets = np.random.default_rng(seed).dirichlet(np.ones(3), size=4).T
    return ufm.Problem(
        ufm.soft(targets),
        loss=loss,
        widths=(2, 3),
        lambda_W=0.01,
        lambda_H=0.01,
        bias=bias,
        map=map or ufm.maps.Activated("relu"),
    )


def values_beside(problem, params, *, step, number=400, seed=0):
    """Values at random points at a distance, less that of the point."""
    rng, leaves = np.random.default_rng(seed), jax.tree.leaves(params)
    size = sum(leaf.size for leaf in leaves)
    steps = rng.standard_normal((number, size))
    steps *= step / np.linalg.norm(steps, axis=1, keepdims=True)
    # half of them leave what is 0 there
    zero = np.concatenate([np.ravel(leaf) for leaf in leaves]) == 0
    steps[: number // 2, zero] = 0
    tree = jax.tree.structure(params)

    def value(flat):
        ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
        parts = [
            part.reshape(leaf.shape)
            for part, leaf in zip(jnp.split(flat, ends), leaves, strict=True)
        ]
        return ufm.model.objective(problem, jax.tree.unflatten(tree, parts))

    point = jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])
    return np.asarray(jax.jit(jax.vmap(value))(point[None] + steps)) - float(value(point))


LEAKY = ufm.maps.Activated("leaky_relu", 0.2)


@pytest.mark.lean("cross-entropy", "squared-error-leaky")
@pytest.mark.parametrize(
    ("loss", "map", "first"),
    [
        pytest.param(ufm.MeanSquaredError(), None, 6, id="squared-error"),
        pytest.param(ufm.CrossEntropy(), None, 6, id="cross-entropy"),
        pytest.param(ufm.MeanSquaredError(), LEAKY, 10, id="squared-error-leaky"),
    ],
)
def test_a_minimum_is_one(loss, map, first):
    # (which local minimum a start ends in is rounding's: the first on kinks is looked at)
    for seed in (first, 3, *range(8, 20)):
        problem = soft_problem(seed, loss, bias="free", map=map)
        found = ufm.solvers.minimise_rectified(
            problem, key=jax.random.key(seed), starts=4, progress=False
        )
        kinks = found.kinks
        if kinks.kind == "minimum" and kinks.number > 0:
            break
    assert (found.result, kinks.kind) == (ufm.Result.CONVERGED, "minimum")
    assert kinks.number > 0
    assert kinks.margin > 1e-3
    assert kinks.residual < 1e-10
    assert str(kinks).startswith("local minimum: ")
    for step in (1e-2, 1e-3):
        assert values_beside(problem, found.params, step=step).min() > -1e-13
    # moved along a random direction it is no longer stationary
    moved = jax.tree.map(lambda leaf: leaf + 1e-3, found.params)
    assert kinks_of(problem, moved).kind == "not stationary"
    # … and the finish leads back
    back, again = onto_kinks(problem, moved)
    assert again.kind == "minimum"
    np.testing.assert_allclose(ufm.model.objective(problem, back), found.value, rtol=1e-13)


def test_zero_is_a_minimum_with_dead_units_alone():
    problem = soft_problem(0, ufm.MeanSquaredError())
    zero = jax.tree.map(jnp.zeros_like, ufm.solvers.random_start(problem, key=jax.random.key(0)))
    kinks = kinks_of(problem, zero)
    assert (kinks.kind, kinks.dead, kinks.number) == ("minimum", 3, 0)
    assert kinks.dead_margin == 1


def test_a_dead_unit_that_is_pulled_to_life():
    """One hidden unit would do: what is pulled by more than decay holds is a saddle."""
    labels = ufm.one_hot((1, 1))
    problem = ufm.Problem(
        labels,
        loss=ufm.MeanSquaredError(),
        widths=(2, 2),
        lambda_W=0.01,
        lambda_H=0.01,
        activation="relu",
    )
    # features of length a, and no weights: the pull on a unit is a/2 over .01
    nothing = jnp.zeros((2, 2))
    point = ufm.Params((nothing, nothing), 0.1 * jnp.eye(2))
    kinks = kinks_of(problem, point)
    assert kinks.dead_margin == pytest.approx(1 - 0.05 / 0.01)
    # (the features alone are not stationary)
    assert kinks.kind == "not stationary"
    collapse = ufm.laws.rectified_structures(2, 2)[0]
    weights, features = ufm.laws.rectified_point(collapse, lambda_W=0.01, lambda_H=0.01, width=2)
    # one of two classes alone is stationary, and the other's unit comes to life
    half = np.diag([1.0, 0.0])
    lone = ufm.Params(
        tuple(jnp.asarray(half @ W @ half) for W in weights), jnp.asarray(features @ half)
    )
    lone, kinks = onto_kinks(problem, lone)
    assert kinks.residual < 1e-10
    assert kinks.dead == 1
    below = ufm.solvers.minimise_rectified(problem, start=lone, progress=False)
    assert float(below.value) <= float(ufm.model.objective(problem, lone))


@pytest.mark.parametrize("leak", [0.0, 0.3])
@pytest.mark.parametrize("rank", [1, 2, 4])
def test_the_strongest_pull(rank, leak):
    rng = np.random.default_rng(rank)
    entering = rng.standard_normal((4, rank)) @ rng.standard_normal((rank, 5))
    slopes = rng.standard_normal((3, 5))
    bound, w = strongest(slopes, entering, leak)

    def act(x):
        return np.maximum(x, leak * x)

    reached = np.linalg.norm(slopes @ act(entering.T @ w))
    tried = rng.standard_normal((20_000, 4))
    tried /= np.linalg.norm(tried, axis=1, keepdims=True)
    best = np.linalg.norm(act(tried @ entering) @ slopes.T, axis=1).max()
    assert np.linalg.norm(w) == pytest.approx(1)
    assert best <= bound * (1 + 1e-12)
    if rank <= 2:
        # in a plane the maximum itself
        assert reached == pytest.approx(bound, rel=1e-12)
        assert best > 0.95 * bound
    assert reached >= 0.9 * best


def test_a_decomposition_that_fails_is_no_exception(monkeypatch, key):
    """Far from any point on kinks the linear systems of Newton's method can be of any size."""
    problem = soft_problem(0, ufm.MeanSquaredError())
    point = ufm.solvers.random_start(problem, key=key)

    def fail(*args, **kwargs):
        raise np.linalg.LinAlgError("SVD did not converge in Linear Least Squares")

    monkeypatch.setattr(np.linalg, "lstsq", fail)
    back, kinks = onto_kinks(problem, point)
    assert kinks.kind == "not stationary"
    assert back is point
    assert least_squares(np.full((2, 3), np.inf), np.ones(2)).tolist() == [0, 0, 0]


def test_kinks_of_a_float32_problem_at_zero_are_decided(key):
    """Sizes that are 0 there were divided by what is no number in float32."""
    problem = ufm.Problem(
        ufm.one_hot((1,) * 3, dtype="float32"),
        loss=ufm.MeanSquaredError(),
        widths=(5, 5, 5),
        lambda_W=1.0,
        lambda_H=1.0,
        activation="relu",
    )
    best = ufm.search(problem, key=key, starts=1, progress=False).best
    assert best.params.features.dtype == np.float32
    assert "nan" not in str(best.kinks)
