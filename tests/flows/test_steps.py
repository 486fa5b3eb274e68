"""Steps up to a time, against `diffrax.diffeqsolve`, which takes the same."""

from __future__ import annotations

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ufm.flows.motion import Motion
from ufm.flows.steps import Watch, stepped

TIMES = np.array([0.0, 0.3, 0.31, 0.5, 4.0])
TERM = diffrax.ODETerm(lambda t, y, rate: rate * y * (1 - y))


def control():
    return diffrax.PIDController(rtol=1e-6, atol=1e-9)


def logistic(rate, stops_at, max_steps=100, every=1):
    """From 0.1 on; beyond `stops_at` it counts as at rest, and beyond twice that as elsewhere."""
    began = jnp.asarray(0.0)
    found = stepped(
        Motion(TERM, diffrax.Tsit5(), control(), rate),
        began,
        0.1 + began,
        jnp.asarray(TIMES),
        last=jnp.asarray(TIMES[-1]),
        step=None,
        watch=Watch(
            lambda y: {"square": y**2}, lambda y: y > stops_at, lambda y: y > 2 * stops_at, every
        ),
        max_steps=max_steps,
    )
    return found._replace(result=diffrax.is_successful(found.result))


def test_the_steps_of_diffeqsolve():
    ours = jax.jit(logistic)(1.3, 2.0)
    theirs = diffrax.diffeqsolve(
        TERM,
        diffrax.Tsit5(),
        0.0,
        TIMES[-1],
        0.01,
        jnp.asarray(0.1),
        1.3,
        saveat=diffrax.SaveAt(ts=jnp.asarray(TIMES), fn=lambda t, y, args: y**2),
        stepsize_controller=control(),
    )
    assert ours.result
    assert ours.steps == theirs.stats["num_steps"]
    np.testing.assert_allclose(ours.rows["square"], theirs.ys, rtol=1e-14)
    exact = 1 / (1 + 9 * np.exp(-1.3 * TIMES))
    np.testing.assert_allclose(ours.rows["square"], exact**2, rtol=1e-5)


def test_every_lane_stops_by_itself():
    program, rates, stops = jax.jit(logistic), [1.3, 1.3, 4.0], [2.0, 0.5, 0.04]
    lanes = jax.jit(jax.vmap(logistic))(jnp.asarray(rates), jnp.asarray(stops))
    for i in range(3):
        one = program(rates[i], stops[i])
        assert one.steps == lanes.steps[i]
        # (lengths of steps follow an estimate of their error, which is a small difference)
        np.testing.assert_allclose(one.reached, lanes.reached[i], rtol=1e-9)
        np.testing.assert_allclose(one.rows["square"], lanes.rows["square"][i], rtol=1e-9)
    np.testing.assert_array_equal(lanes.reached == TIMES[-1], [True, False, False])
    # (0.1 is beyond both limits of the third, where the end of a phase comes first)
    np.testing.assert_array_equal(lanes.phase_over, [False, False, True])
    np.testing.assert_array_equal(lanes.at_rest, [False, True, False])


def test_rest_is_asked_for_now_and_then_and_at_the_end():
    often, seldom, never = (
        jax.jit(logistic, static_argnums=(2, 3))(1.3, 0.5, 100, every) for every in (1, 3, 100)
    )
    assert often.at_rest & seldom.at_rest & never.at_rest
    assert seldom.steps == -(-often.steps // 3) * 3
    assert never.reached == TIMES[-1]


def test_rows_at_rest_are_those_of_the_state():
    found = jax.jit(logistic)(1.3, 0.09)
    assert found.at_rest
    assert found.steps == 0
    np.testing.assert_allclose(found.rows["square"], 0.01, rtol=1e-14)


def test_rows_that_are_not_reached_are_infinite():
    found = jax.jit(logistic, static_argnums=2)(1.3, 2.0, 6)
    assert not found.result
    assert found.steps == 6
    np.testing.assert_array_equal(np.isfinite(found.rows["square"]), float(found.reached) >= TIMES)
    assert 0 < found.reached < TIMES[-1]


@pytest.mark.parametrize("lanes", [False, True])
def test_programs_call_nothing_back_and_can_be_kept(lanes):
    one = jnp.asarray([1.0]) if lanes else 1.0
    text = jax.jit(jax.vmap(logistic) if lanes else logistic).lower(one, one).as_text()
    assert "callback" not in text
