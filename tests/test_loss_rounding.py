"""What rounding can amount to in losses and conjugates.

As it is written, and no less than it is.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb, ctx

import ufm
from ufm._exact.fractions import fractions
from ufm.losses import loss_and_dual

CE, MSE = ufm.CrossEntropy(), ufm.MeanSquaredError()
DELTA, IOTA = np.array([1.0, 0.5, 2.0]), np.array([0.3, -1.0, 0.0])
ADJUSTED = ufm.losses.AdjustedCrossEntropy(multiplicative=DELTA, additive=IOTA)
RESCALED = ufm.losses.RescaledSquaredError(length=3.0, weight=5.0)
UNIT = 2.0**-53


class Own(ufm.losses.AbstractLoss):
    """Squared error that does not say how it rounds."""

    def __call__(self, logits, targets):
        return MSE(logits, targets)

    def conjugate(self, dual, targets):
        return MSE.conjugate(dual, targets)


def entropy_value(z, q):
    loss = float(CE(jnp.asarray(z), jnp.asarray(q)))
    return (11 + np.log(3 / loss)) * loss


def entropy_conjugate(u, q):
    a = q + u
    return 11 * (3 * np.sum(-a * np.log(a)) + np.abs(u).sum() * (1 - np.log(a.max())))


def adjusted_value(z, q):
    p = np.exp(DELTA * z + IOTA) / np.exp(DELTA * z + IOTA).sum()
    return entropy_value(DELTA * z + IOTA, q) + 4 * np.sum(
        np.abs(p - q) * (np.abs(DELTA * z) + np.abs(IOTA))
    )


# loss, and in units of the roundoff what its value and its conjugate may be off by
WORDS = [
    pytest.param(CE, entropy_value, entropy_conjugate, id="ce"),
    pytest.param(
        ADJUSTED,
        adjusted_value,
        lambda u, q: entropy_conjugate(u / DELTA, q) + 7 * np.abs(IOTA * u / DELTA).sum(),
        id="adjusted",
    ),
    pytest.param(
        MSE,
        lambda z, q: 7 * np.sum((z - q) ** 2) / 2,
        lambda u, q: 7 * np.sum(u**2 / 2 + np.abs(q * u)),
        id="mse",
    ),
    pytest.param(
        RESCALED,
        # (1 + 4 q)/2 (z - 3 q)², twice, and the targets 3 q
        lambda z, q: 11 * np.sum((1 + 4 * q) * ((z - 3 * q) ** 2 + np.abs((z - 3 * q) * 3 * q))),
        lambda u, q: 11 * np.sum(u**2 / (1 + 4 * q) + np.abs(3 * q * u)),
        id="rescaled",
    ),
    pytest.param(
        Own(),
        lambda z, q: (
            112 * (1 + np.sum((z - q) ** 2) / 2 + np.sum(np.abs(z) * (1 + np.abs(q)) + q**2))
        ),
        lambda u, q: 112 * (1 + np.abs(np.sum(u**2 / 2 + q * u)) + np.sum(u**2 + np.abs(q * u))),
        id="own",
    ),
]


@pytest.mark.parametrize(("loss", "of_value", "of_conjugate"), WORDS)
@pytest.mark.parametrize("q", [[0.9, 0.06, 0.04], [0.2, 0.5, 0.3]])
def test_as_it_is_written(loss, of_value, of_conjugate, q):
    z, q = np.array([2.0, -0.7, 0.4]), np.array(q)
    u = np.asarray(0.8 * loss_and_dual(loss, jnp.asarray(z), jnp.asarray(q))[1])
    np.testing.assert_allclose(
        loss.value_error(jnp.asarray(z), jnp.asarray(q)), of_value(z, q) * UNIT, rtol=1e-12
    )
    np.testing.assert_allclose(
        loss.conjugate_error(jnp.asarray(u), jnp.asarray(q)), of_conjugate(u, q) * UNIT, rtol=1e-12
    )


# far from the class, near it, so near that the loss is 1e-9, and undecided
SIZES = [0.0, 0.3, 3.0, 20.0, 300.0]


@pytest.mark.parametrize(
    "loss", [pytest.param(loss, id=loss.name) for loss in (CE, ADJUSTED, MSE, RESCALED)]
)
def test_no_less_than_it_is(loss):
    rng = np.random.default_rng(0)
    q = np.stack(
        [np.eye(3)[rng.integers(3)] if n % 2 else rng.dirichlet(np.ones(3)) for n in range(60)],
        axis=1,
    )
    # columns that sum to one exactly, which the conjugate of cross-entropy needs
    q = np.round(q * 2**20) / 2**20
    q[0] = 1 - q[1] - q[2]
    z = np.repeat(SIZES, 12) * rng.standard_normal((3, 60)) + np.repeat(SIZES, 12) * q
    z, q = jnp.asarray(z), jnp.asarray(q)
    values, dual = jax.jit(lambda z: loss_and_dual(loss, z, q))(z)
    errors = loss.value_error(z, q), loss.conjugate_error(dual, q)
    conjugates = loss.conjugate(dual, q)
    with ctx.workprec(200):
        for n in range(60):
            target, column = fractions(q[:, n]), fractions(dual[:, n])
            exact = loss.enclose([arb(x) for x in z[:, n].tolist()], target)
            assert abs(exact - float(values[n])) <= float(errors[0][n])
            if loss.share_scale(3) is not None:
                # the largest entry makes up for what does not sum to zero exactly
                scale = fractions(loss.share_scale(3))
                shares = [u / d for u, d in zip(column, scale, strict=True)]
                points = [p + s for p, s in zip(target, shares, strict=True)]
                most = max(range(3), key=lambda k: points[k])
                column[most] -= scale[most] * sum(shares)
                if min(points) < 0:
                    continue
            exact = loss.enclose_conjugate(column, target)
            assert abs(exact - float(conjugates[n])) <= float(errors[1][n])
