"""Losses in balls: they hold the loss, and touch it by Fenchel–Young where they must."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb, ctx, fmpq
from hypothesis import given
from hypothesis import strategies as st

import ufm

ADJUSTED = ufm.losses.AdjustedCrossEntropy(
    multiplicative=[1.0, 0.5, 2.0], additive=[0.3, -1.0, 0.0]
)
RESCALED = ufm.losses.RescaledSquaredError(length=3.0, weight=5.0)
LOSSES = [
    pytest.param(loss, id=type(loss).__name__)
    for loss in (ufm.MeanSquaredError(), RESCALED, ufm.CrossEntropy(), ADJUSTED)
]
SOFTMAX = LOSSES[2:]
# as a target, and exactly
TARGETS = [
    pytest.param([1, 0, 0], id="one-hot"),
    pytest.param([fmpq(7, 8), fmpq(1, 16), fmpq(1, 16)], id="smoothed"),
    # sums to more than one, as floats do by rounding
    pytest.param([fmpq(7, 8), fmpq(1, 8), fmpq(1, 1024)], id="sum"),
]


def floats(numbers):
    return jnp.array([int(fmpq(x).p) / int(fmpq(x).q) for x in numbers])


def at(loss, share, target, shift):
    """Logits in balls and dual logits exactly, which belong to each other."""
    if loss.share_scale(3) is None:
        (weight, length) = (5, 3) if isinstance(loss, ufm.losses.RescaledSquaredError) else (1, 1)
        dual = [(1 + (weight - 1) * q) * p for p, q in zip(share, target, strict=True)]
        return [arb(p + length * q) for p, q in zip(share, target, strict=True)], dual
    adjusted = isinstance(loss, ufm.losses.AdjustedCrossEntropy)
    scale = [fmpq(1), fmpq(1, 2), fmpq(2)] if adjusted else [fmpq(1)] * 3
    moved = [fmpq(*x.as_integer_ratio()) for x in (0.3, -1.0, 0.0)] if adjusted else [0] * 3
    logits = [(arb(p).log() + shift - s) / d for p, d, s in zip(share, scale, moved, strict=True)]
    total = sum(target)
    return logits, [d * (total * p - q) for d, p, q in zip(scale, share, target, strict=True)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("loss", LOSSES)
@given(counts=st.lists(st.integers(1, 10**9), min_size=3, max_size=3), shift=st.integers(-100, 100))
def test_value_and_conjugate_touch(loss, target, counts, shift):
    target = [fmpq(q) for q in target]
    share = [fmpq(n, sum(counts)) for n in counts]
    with ctx.workprec(200):
        logits, dual = at(loss, share, target, shift)
        value = loss.enclose(logits, target)
        conjugate = loss.enclose_conjugate(dual, target)
        surplus = value + conjugate - sum(u * z for u, z in zip(dual, logits, strict=True))
        assert surplus.contains(0)
        assert surplus.rad() < 1e-50
        # elsewhere the sum is larger
        elsewhere = [z + k for k, z in enumerate(logits)]
        apart = loss.enclose(elsewhere, target) + conjugate
        assert apart > sum(u * z for u, z in zip(dual, elsewhere, strict=True))
    if sum(target) == 1:
        # as floats, which know no other sum
        plain = loss(floats_of(logits), floats(target))
        close = {"rtol": 1e-11, "atol": 1e-12}
        np.testing.assert_allclose(float(value.mid()), plain, **close)
        plain = loss.conjugate(floats(dual), floats(target))
        np.testing.assert_allclose(float(conjugate.mid()), plain, **close)


def floats_of(balls):
    return jnp.array([float(z.mid()) for z in balls])


@pytest.mark.parametrize("loss", SOFTMAX)
@pytest.mark.parametrize(
    "dual",
    [
        pytest.param([fmpq(-9, 8), 0, fmpq(9, 8)], id="below-zero"),
        pytest.param([0, 0, fmpq(1, 2**200)], id="sum-a-little-too-large"),
        pytest.param([fmpq(-1, 2**200), 0, 0], id="sum-a-little-too-small"),
    ],
)
def test_outside_the_domain_the_conjugate_is_infinite(loss, dual):
    scale = [fmpq(*float(x).as_integer_ratio()) for x in loss.share_scale(3)]
    moved = [d * u for d, u in zip(scale, dual, strict=True)]
    assert not loss.enclose_conjugate(moved, [fmpq(1), fmpq(0), fmpq(0)]).is_finite()


@pytest.mark.parametrize("loss", SOFTMAX)
def test_corners_of_the_simplex_belong_to_the_domain(loss):
    target = [fmpq(1), fmpq(0), fmpq(0)]
    assert loss.enclose_conjugate([fmpq(0)] * 3, target) == 0


def test_a_weight_that_is_not_positive_has_no_conjugate():
    # 1 + 4 q = 0
    target = [fmpq(-1, 4), fmpq(1), fmpq(0)]
    assert not RESCALED.enclose_conjugate([fmpq(1)] * 3, target).is_finite()


def test_a_tiny_value_keeps_its_digits():
    # log(1 + 2 e^-60), far below the rounding of logits at 53 bits
    with ctx.workprec(53):
        value = ufm.CrossEntropy().enclose([arb(60), arb(0), arb(0)], [fmpq(1), fmpq(0), fmpq(0)])
    np.testing.assert_allclose(float(value.mid()), 2 * np.exp(-60.0), rtol=1e-14)
    assert value.rel_accuracy_bits() > 45


@pytest.mark.parametrize("loss", LOSSES[:2])
def test_targets_that_balls_of_logits_are_centred_at_have_a_value(loss):
    target = [fmpq(1), fmpq(0), fmpq(0)]
    wanted = target if loss.least_squares else [3 * q for q in target]
    logits = [arb(q) + arb(0, 1e-30) for q in wanted]
    value = loss.enclose(logits, target)
    assert value.is_finite()
    assert value.contains(0)
