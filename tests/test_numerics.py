"""Norms and decompositions at every scale, with derivatives at zero and at repeated singular
values."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ufm._numerics import norm, normalised, root, singular_values, spectral, unit

LIMIT = 1022  # of exponents whose reciprocal is normal too: two short of 1024
SMALLEST = np.finfo(float).tiny


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        pytest.param([3.0], 2.0, id="between"),
        pytest.param([-5.0, 2.0], 4.0, id="by-size"),
        pytest.param([1.0], 1.0, id="one"),
        pytest.param([np.nextafter(4.0, 0)], 2.0, id="just-below"),
        pytest.param([0.0, 0.0], 1.0, id="zero"),
        pytest.param([np.inf, 8.0], 1.0, id="infinite"),
        pytest.param([np.nan, 8.0], 1.0, id="nan"),
        pytest.param([np.finfo(float).max], 2.0**LIMIT, id="largest"),
        pytest.param([SMALLEST], 2.0**-LIMIT, id="smallest"),
        pytest.param([], 1.0, id="empty"),
    ],
)
def test_unit_is_the_power_of_two_below_the_largest_entry(array, expected):
    assert unit(jnp.asarray(array, float)) == expected
    assert np.isfinite(1 / expected)


def test_unit_along_an_axis_and_as_a_constant():
    matrix = jnp.asarray([[3.0, 0.0], [-9.0, 0.0]])
    np.testing.assert_array_equal(unit(matrix, axis=0), [[8.0, 1.0]])
    np.testing.assert_array_equal(unit(matrix, axis=1), [[2.0], [8.0]])
    assert jnp.all(jax.grad(lambda x: unit(x))(matrix) == 0)


@pytest.mark.parametrize(
    ("square", "value", "slope"),
    [(4.0, 2.0, 0.25), (0.0, 0.0, 0.0), (2.0**-200, 2.0**-100, 2.0**99)],
)
def test_root(square, value, slope):
    assert jax.value_and_grad(root)(square) == (value, slope)


@pytest.mark.parametrize("scale", [1.0, 2.0**1000, 2.0**-1000])
def test_norm_at_any_scale(scale):
    matrix = jnp.asarray([[3.0, 0.0], [4.0, 0.0]])
    assert norm(scale * matrix) == 5 * scale
    np.testing.assert_array_equal(norm(scale * matrix, axis=0), [5 * scale, 0])
    np.testing.assert_array_equal(norm(scale * matrix, axis=1), [3 * scale, 4 * scale])
    np.testing.assert_allclose(jax.grad(norm)(scale * matrix), matrix / 5, rtol=1e-15)
    np.testing.assert_array_equal(jax.jacobian(lambda x: norm(x, axis=0))(scale * matrix)[1], 0)
    np.testing.assert_allclose(normalised(scale * matrix), matrix / 5, rtol=1e-15)


def test_nothing_has_no_direction():
    assert jax.value_and_grad(norm)(jnp.zeros(2))[0] == 0
    np.testing.assert_array_equal(jax.grad(norm)(jnp.zeros(2)), 0)
    assert jnp.all(jnp.isnan(normalised(jnp.zeros((2, 2)))))


def random(seed, shape=(3, 4)):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


def slope(function, matrix, change, step=1e-5):
    """Of a function along a change, by a central difference of fourth order."""
    values = [function(matrix + k * step * change) for k in (-2, -1, 1, 2)]
    return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)


def test_singular_values():
    matrix, change = random(0), random(1)
    np.testing.assert_allclose(singular_values(matrix), np.linalg.svd(matrix)[1], rtol=1e-14)
    value, moved = jax.jvp(singular_values, (matrix,), (change,))
    np.testing.assert_allclose(value, singular_values(matrix), rtol=1e-14)
    np.testing.assert_allclose(moved, slope(singular_values, matrix, change), rtol=1e-9)
    # each of a repeated value moves with the change in its own direction: together with the trace
    moved = jax.jvp(singular_values, (jnp.eye(3),), (random(2, (3, 3)),))[1]
    np.testing.assert_allclose(jnp.sum(moved), jnp.trace(random(2, (3, 3))), rtol=1e-13)
    lanes = jnp.stack([matrix, change])
    np.testing.assert_allclose(
        jax.vmap(singular_values)(lanes), np.linalg.svd(lanes)[1], rtol=1e-14
    )


U, V = np.linalg.qr(random(3, (3, 3)))[0], np.linalg.qr(random(4, (4, 4)))[0][:, :3]


def of_values(*values):
    """A matrix (3, 4) of known singular vectors."""
    return jnp.asarray((U * values) @ V.T)


@pytest.mark.parametrize("power", [-1, 0])
def test_spectral_by_hand(power):
    values = np.array([4.0, 2.0, 0.5])
    result, found = spectral(of_values(*values), 0.2, power)
    np.testing.assert_allclose(found, values, rtol=1e-14)
    # 0.5 is below a fifth of 4
    np.testing.assert_allclose(result, of_values(4.0**power, 2.0**power, 0), rtol=0, atol=1e-14)
    np.testing.assert_allclose(
        spectral(of_values(*values), 0.0, power)[0], of_values(*values**power), rtol=0, atol=1e-13
    )
    # at the floor itself nothing is kept
    assert spectral(jnp.diag(jnp.asarray([4.0, 1.0])), 0.25, power)[0][1, 1] == 0


def test_a_polar_factor_without_full_rank():
    factor, _ = spectral(of_values(2.0, 0.0, 0.0), -1.0, 0)
    np.testing.assert_allclose(factor @ factor.T, np.eye(3), rtol=0, atol=1e-14)
    np.testing.assert_array_equal(spectral(jnp.zeros((3, 4)), 0.0, -1)[0], 0)


@pytest.mark.parametrize("power", [-1, 0])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("floor", [0.0, 0.2])
def test_spectral_derivative(power, transposed, floor):
    # with the floor, 0.5 is not kept and 2 is: directions that couple the two count
    matrix, change = of_values(4.0, 2.0, 0.5), random(5)
    if transposed:
        matrix, change = matrix.T, change.T
    moved = jax.jvp(lambda x: spectral(x, floor, power), (matrix,), (change,))[1]
    for part, found in enumerate(moved):
        expected = slope(lambda x, part=part: spectral(x, floor, power)[part], matrix, change)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("power", "expected"),
    [
        # (1 + x)^-T, and the rotation of 1 + x
        pytest.param(-1, lambda x: -x.T, id="inverse"),
        pytest.param(0, lambda x: (x - x.T) / 2, id="polar"),
    ],
)
def test_spectral_derivative_where_values_repeat(power, expected):
    change = random(6, (3, 3))
    moved, _ = jax.jvp(lambda x: spectral(x, 0.0, power), (jnp.eye(3),), (change,))[1]
    np.testing.assert_allclose(moved, expected(change), rtol=0, atol=1e-14)


def test_spectral_derivative_at_zero_is_finite():
    moved = jax.jvp(lambda x: spectral(x, 0.0, 0), (jnp.zeros((3, 4)),), (random(7),))[1]
    assert all(jnp.all(jnp.isfinite(part)) for part in moved)
