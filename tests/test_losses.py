"""Losses against written-out sums, and their conjugates by Fenchel–Young: equality at u = ∇ℓ(z), inequality elsewhere."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ufm

LOSSES = (pytest.param(ufm.MeanSquaredError(), id="mse"), pytest.param(ufm.CrossEntropy(), id="ce"))

logits = st.lists(st.floats(-30, 30), min_size=2, max_size=6)


def smoothed(K: int, k: int, amount: float) -> jax.Array:
    return (1 - amount) * jax.nn.one_hot(k, K, dtype=float) + amount / K


def test_squared_error_by_hand():
    # ((1 - 1)² + (3 - 0)² + (-2 - 0)²) / 2
    assert float(ufm.MeanSquaredError()(jnp.array([1.0, 3.0, -2.0]), jnp.array([1.0, 0.0, 0.0]))) == 6.5


@given(z=logits, amount=st.floats(0, 1))
def test_cross_entropy_is_minus_sum_q_log_p(z, amount):
    q = smoothed(len(z), 0, amount)
    p = np.exp(np.array(z) - max(z))
    p /= p.sum()
    slow = -np.sum(np.asarray(q) * np.log(p))
    # a difference of two numbers of at most 31, each to a few eps
    np.testing.assert_allclose(float(ufm.CrossEntropy()(jnp.array(z), q)), slow, rtol=0, atol=31 * 1e-15)


@pytest.mark.parametrize(
    ("z", "expected"),
    [
        pytest.param([1000.0, 0.0], 0.0, id="right-by-far"),
        pytest.param([0.0, 1000.0], 1000.0, id="wrong-by-far"),
        pytest.param([0.0, 0.0], np.log(2), id="undecided"),
    ],
)
def test_cross_entropy_does_not_overflow(z, expected):
    loss, gradient = jax.value_and_grad(ufm.CrossEntropy())(jnp.array(z), jnp.array([1.0, 0.0]))
    assert float(loss) == expected
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("loss", LOSSES)
@given(z=logits, amount=st.floats(0, 1))
def test_fenchel_young_equality(loss, z, amount):
    z, q = jnp.array(z), smoothed(len(z), 1, amount)
    dual = jax.grad(loss)(z, q)
    # each side sums products of logits and duals, of size at most 6 · 31² / 2 for squared error, in eps = 2.2e-16
    scale = float(jnp.sum(z**2) + 1)
    np.testing.assert_allclose(float(loss(z, q) + loss.conjugate(dual, q)), float(z @ dual), rtol=0, atol=1e-15 * scale)


@pytest.mark.parametrize("loss", LOSSES)
@given(z=logits, data=st.data())
def test_fenchel_young_inequality(loss, z, data):
    z = jnp.array(z)
    q = smoothed(len(z), 0, data.draw(st.floats(0, 1)))
    other = jnp.array(data.draw(st.lists(st.floats(-30, 30), min_size=len(z), max_size=len(z))))
    # a dual in the domain of the conjugate that belongs to another point
    dual = jax.grad(loss)(other, q)
    surplus = float(loss(z, q) + loss.conjugate(dual, q) - z @ dual)
    assert surplus >= -1e-15 * float(jnp.sum(z**2) + jnp.sum(other**2) + 1)
    # ℓ(z) - ℓ(o) - ∇ℓ(o)·(z - o) is half the squared distance for squared error
    if isinstance(loss, ufm.MeanSquaredError):
        np.testing.assert_allclose(surplus, 0.5 * float(jnp.sum((z - other) ** 2)), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("dual", "expected"),
    [
        pytest.param([0.0, 0.0], 0.0, id="vertex-at-q"),
        pytest.param([-1.0, 1.0], 0.0, id="other-vertex"),
        pytest.param([-0.5, 0.5], -np.log(2), id="centre"),
        pytest.param([0.1, -0.1], np.inf, id="negative-entry"),
        pytest.param([0.0, 0.1], np.inf, id="sums-to-more-than-one"),
        pytest.param([-0.5, 0.4], np.inf, id="sums-to-less-than-one"),
        # rounding of an exact point is forgiven, a real violation of 1e-9 is not
        pytest.param([1e-16, -1e-16], 0.0, id="rounding"),
        pytest.param([1e-9, -1e-9], np.inf, id="small-violation"),
    ],
)
def test_conjugate_of_cross_entropy_lives_on_the_simplex(dual, expected):
    value = float(ufm.CrossEntropy().conjugate(jnp.array(dual), jnp.array([1.0, 0.0])))
    assert value == expected or abs(value - expected) < 1e-15


@pytest.mark.parametrize("loss", LOSSES)
def test_the_conjugate_is_the_supremum(loss):
    """Against the definition, by Newton's method on z ↦ uᵀz − ℓ(z) from zero, nothing assumed about the maximiser."""
    q = jnp.array([0.7, 0.2, 0.1])
    dual = jnp.array([-0.3, 0.1, 0.2])

    def gain(z):
        return jnp.dot(dual, z) - loss(z, q)

    z = jnp.zeros(3)
    for _ in range(50):
        # pinv: cross-entropy is flat along the ones vector
        z = z - jnp.linalg.pinv(jax.hessian(gain)(z), hermitian=True) @ jax.grad(gain)(z)
    np.testing.assert_allclose(jax.grad(gain)(z), np.zeros(3), rtol=0, atol=1e-14)
    np.testing.assert_allclose(float(loss.conjugate(dual, q)), float(gain(z)), rtol=0, atol=1e-14)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_conjugate_has_a_finite_gradient_inside_its_domain(loss):
    gradient = jax.grad(loss.conjugate)(jnp.array([-0.3, 0.1, 0.2]), jnp.array([0.7, 0.2, 0.1]))
    assert np.isfinite(gradient).all()
