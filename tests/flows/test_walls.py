"""Flows in balls and under budgets: to the boundary, along it, and away from it again."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import ufm
from ufm.domains import Ball, Budget, Nonnegative, Real
from ufm.flows import Flow, Integration, Path, flow, flow_batch
from ufm.flows.gradient_velocity import GradientVelocity
from ufm.flows.walls import entered, over

TO_REST = Integration(rtol=1e-10, atol=1e-13)
EXACTLY = replace(TO_REST, steady=0)
# what was promised at these tolerances
ERROR = 1e-8
EYE, TIMES = np.eye(3), np.linspace(0, 24, 13)
# columns of targets: beyond the ball from two sides, and in it; and where the columns begin
TARGETS = np.array([[3.0, 0.0, 0.3], [1.0, -2.0, 0.1], [0.0, 0.5, 0.2]])
START = np.array([[-0.3, 0.5, 0.1], [0.2, 0.3, -0.2], [0.4, 0.1, 0.1]])


def towards(target, start, radius, clock):
    r"""Of $\dot h = t - h$ in a ball: straight on, and on the boundary, where the angle θ between h
    and t obeys $\dot\theta = -\frac{|t|}{r}\sin\theta$."""
    far, gap = np.linalg.norm(target), start - target
    out = target + np.exp(-clock)[:, None] * gap
    if far <= radius:
        return out
    # |t + e (h_0 − t)| = r at e = e^{−s}
    square, half = gap @ gap, target @ gap
    met = (-half - np.sqrt(half**2 - square * (far**2 - radius**2))) / square
    there, unit = target + met * gap, target / far
    angle = np.arccos(there @ unit / radius)
    across = there - (there @ unit) * unit
    later = clock > -np.log(met)
    since = clock[later] + np.log(met)
    angles = 2 * np.arctan(np.tan(angle / 2) * np.exp(-far * since / radius))[:, None]
    out[later] = radius * (np.cos(angles) * unit + np.sin(angles) * across / np.linalg.norm(across))
    return out


def squares(targets, **parts):
    return ufm.Problem(
        ufm.soft(targets),
        loss=ufm.MeanSquaredError(),
        widths=(len(targets),),
        lambda_W=0.0,
        lambda_H=0.0,
        **parts,
    )


@pytest.mark.parametrize("drawn_to", [1 - 2e-6, 1.0], ids=["just inside", "the boundary"])
def test_float32_holds_nothing_that_only_rounding_pushes_outwards(drawn_to):
    # columns a little further in than the places they are drawn to, or there but for rounding: held
    # by the one and let go by the other, a flow would stand still for ever
    units = np.random.default_rng(0).standard_normal((3, 16))
    units = (units / np.linalg.norm(units, axis=0)).astype("float32")
    problem = ufm.Problem(
        ufm.soft(drawn_to * units, dtype="float32"),
        loss=ufm.MeanSquaredError(),
        widths=(3,),
        fixed_weights=(np.eye(3, dtype="float32"),),
        features=Ball(jnp.ones((), "float32")),
    )
    velocity, tolerance = GradientVelocity(), jnp.asarray(1e-5, "float32")
    state = (jnp.asarray((2 * drawn_to - 1) * units),)
    moving, placed = entered(problem, velocity, state, tolerance)
    assert not np.any(moving.held[0])
    assert not over(problem, moving, placed, tolerance)


def test_columns_go_to_the_boundary_and_slide_to_the_nearest_point():
    radii = np.array([1.0, 0.8, 1.0])
    problem = squares(TARGETS, features=Ball(tuple(radii)), fixed_weights=(EYE,))
    start = ufm.Params((EYE,), START)
    there = flow(problem, ts=TIMES, start=start, integration=EXACTLY)
    assert there.result == ufm.Result.REACHED_END
    for c in range(3):
        # the mean over three columns is a clock three times slower
        wanted = towards(TARGETS[:, c], START[:, c], radii[c], TIMES / 3)
        np.testing.assert_allclose(there.params.features[:, :, c], wanted, rtol=0, atol=ERROR)
    lengths = np.linalg.norm(there.params.features, axis=1)
    assert np.all(lengths <= radii * (1 + 1e-15))
    np.testing.assert_allclose(lengths[-1, :2], radii[:2], rtol=1e-15)


def test_rows_of_a_classifier_do_too():
    problem = squares(TARGETS.T, classifier=Ball((1.0, 0.7, 2.0)), features=Real())
    rates = Path(rates={"features": 0.0, "weights": 3.0})
    start = ufm.Params((START.T * 0.9,), EYE)
    there = flow(problem, ts=TIMES / 3, start=start, path=rates, integration=EXACTLY)
    for k, radius in enumerate((1.0, 0.7, 2.0)):
        wanted = towards(TARGETS[:, k], 0.9 * START[:, k], radius, TIMES / 3)
        np.testing.assert_allclose(there.params.weights[0][:, k], wanted, rtol=0, atol=ERROR)


def test_one_budget_is_a_ball_of_all_columns():
    problem = squares(TARGETS, features=Budget(2.0), fixed_weights=(EYE,))
    there = flow(problem, ts=TIMES, start=ufm.Params((EYE,), START), integration=EXACTLY)
    wanted = towards(TARGETS.ravel(), START.ravel(), np.sqrt(2), TIMES / 3)
    np.testing.assert_allclose(
        there.params.features.reshape(len(TIMES), -1), wanted, rtol=0, atol=ERROR
    )


# of a flow that bulges out: ḣ = A (t − h), which without a ball goes as far as FARTHEST from 0
SPEEDS, GOAL, BEGIN = np.array([0.3, 3.0]), np.array([0.0, 0.9]), np.array([0.9, 0.0])


def unbounded(clock):
    return GOAL + (BEGIN - GOAL) * np.exp(-SPEEDS * np.asarray(clock)[..., None])


_NEAREST = brentq(lambda s: unbounded(s) @ (SPEEDS * (GOAL - unbounded(s))), 0.5, 2.0, xtol=1e-15)
FARTHEST = np.linalg.norm(unbounded(_NEAREST))


def there_and_away(radius, clock):
    """The same in a ball: by the angle, while the boundary holds it."""
    out = unbounded(clock)
    if radius >= FARTHEST:
        return out
    met = brentq(lambda s: np.linalg.norm(unbounded(s)) - radius, 0.3, _NEAREST, xtol=1e-15)

    def point(angle):
        return radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)

    def slope(s, angle):
        x, y = SPEEDS * (GOAL - point(angle[0]))
        return [(np.cos(angle[0]) * y - np.sin(angle[0]) * x) / radius]

    def pushed(s, angle):
        return point(angle[0]) @ (SPEEDS * (GOAL - point(angle[0])))

    pushed.terminal, pushed.direction = True, -1
    first = np.arctan2(*unbounded(met)[::-1])
    held = solve_ivp(
        slope, (met, clock[-1]), [first], "DOP853", dense_output=True, events=pushed,
        rtol=1e-13, atol=1e-15,
    )  # fmt: skip
    left, angle = held.t[-1], held.y[0, -1]
    on = (clock > met) & (clock <= left)
    if on.any():
        out[on] = point(held.sol(clock[on])[0])
    after = clock > left
    gone = np.exp(-SPEEDS * (clock[after] - left)[:, None])
    out[after] = GOAL + (point(angle) - GOAL) * gone
    return out


@pytest.mark.parametrize("share", [0.05, 1e-3, 1e-6, 1e-9, 1e-12, 0.0, -1e-12, -1e-9, -1e-3])
def test_a_column_leaves_the_boundary_when_nothing_holds_it_there(share):
    """However short or shallow the visit, which no step of the integrator may jump over."""
    W, clock = np.diag(np.sqrt(SPEEDS)), np.linspace(0, 12, 25)
    radius = FARTHEST * (1 - share)
    problem = squares((W @ GOAL)[:, None], features=Ball(radius), fixed_weights=(W,))
    start = ufm.Params((W,), BEGIN[:, None])
    there = flow(problem, ts=clock, start=start, integration=EXACTLY)
    assert there.result == ufm.Result.REACHED_END
    found = there.params.features[:, :, 0]
    np.testing.assert_allclose(found, there_and_away(radius, clock), rtol=0, atol=ERROR)
    assert np.linalg.norm(found[-1]) < 0.99


def test_entries_come_to_zero_one_by_one():
    problem = squares(TARGETS, features=Nonnegative(), fixed_weights=(EYE,))
    start = np.abs(START)
    there = flow(problem, ts=TIMES, start=ufm.Params((EYE,), start), integration=EXACTLY)
    assert there.result == ufm.Result.REACHED_END
    free = TARGETS + np.exp(-TIMES / 3)[:, None, None] * (start - TARGETS)
    np.testing.assert_allclose(there.params.features, np.maximum(free, 0), rtol=0, atol=ERROR)
    assert np.all(there.params.features >= 0)
    assert np.all((there.final.features == 0) == (TARGETS < 0))


def kept_nonnegative(curved, pull, start, clock):
    r"""$\dot h = b - Ah$ with entries held at 0 while they are pushed there, an ODE a phase."""
    out, began, h = np.empty((len(clock), len(start))), 0.0, np.array(start)
    out[0] = h
    while began < clock[-1]:
        held = (h <= 0) & (pull - curved @ h < 0)

        def velocity(s, now, held=held):
            return np.where(held, 0, pull - curved @ np.where(held, 0, now))

        def ends(i, held=held):
            def left(s, now):
                return curved[i] @ np.where(held, 0, now) - pull[i] if held[i] else now[i]

            left.terminal, left.direction = True, -1
            return left

        phase = solve_ivp(
            velocity, (began, clock[-1]), h, "DOP853", dense_output=True,
            events=[ends(i) for i in range(len(h))], rtol=1e-13, atol=1e-15,
        )  # fmt: skip
        on = (clock > began) & (clock <= phase.t[-1])
        out[on] = phase.sol(clock[on]).T if on.any() else out[on]
        began, h = phase.t[-1], phase.y[:, -1]
        h = np.where(held | (np.abs(h) < 1e-12), 0, h)
    return np.maximum(out, 0)


def test_entries_leave_zero_when_nothing_pushes_them_there():
    W = np.array([[1.0, 0.9, 0.0], [0.0, 0.5, 0.7], [0.3, 0.0, 1.1]])
    target, start, clock = np.array([0.6, 1.0, 0.2]), [3.0, 0.5, 0.5], np.linspace(0, 20, 41)
    problem = squares(target[:, None], features=Nonnegative(), fixed_weights=(W,))
    begin = ufm.Params((W,), np.array(start)[:, None])
    there = flow(problem, ts=clock, start=begin, integration=EXACTLY)
    assert there.result == ufm.Result.REACHED_END
    found = there.params.features[:, :, 0]
    wanted = kept_nonnegative(W.T @ W, W.T @ target, start, clock)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=ERROR)
    touched, gone = np.any(found == 0, axis=0), found[-1] > 0.01
    assert np.any(touched & gone)
    assert np.any(touched & ~gone)


def test_a_domain_that_says_nothing_of_flows_has_none():
    with pytest.raises(ValueError, match=r"`problem.features` must be a domain that is `smooth`"):
        flow(entropies(Silent(1.0), Real()), ts=[0.0, 1.0], key=jax.random.key(0))


class Silent(Ball):
    walled = False


OF_CLASS, COUNTS = np.array([1.0, 4.0, 2.0]), (3, 1, 2)


def entropies(features, classifier, *, collapsed=True):
    return ufm.Problem(
        ufm.one_hot(COUNTS, collapsed=collapsed),
        loss=ufm.CrossEntropy(),
        widths=(2,),
        lambda_W=0.02,
        lambda_H=0.01,
        bias="free",
        features=features,
        classifier=classifier,
    )


@pytest.mark.thorough
def test_collapsed_columns_flow_as_all_samples_do():
    """Under a budget with weights of its own, to which the velocity is not parallel."""
    each = np.repeat(OF_CLASS / np.array(COUNTS), COUNTS)
    collapsed = entropies(Budget(2.0, OF_CLASS), Ball(0.8))
    full = entropies(Budget(2.0, each), Ball(0.8), collapsed=False)
    start = ufm.solvers.random_start(collapsed, key=jax.random.key(0))
    spread = ufm.Params(
        start.weights, jnp.repeat(start.features, np.array(COUNTS), axis=1), start.bias
    )
    ends = [
        flow(problem, ts=[0.0, 2.0, 8.0], start=at, integration=TO_REST)
        for problem, at in ((collapsed, start), (full, spread))
    ]
    np.testing.assert_allclose(ends[0].value, ends[1].value, rtol=1e-8)
    assert [end.result for end in ends] == [ufm.Result.REACHED_END] * 2
    first = np.concatenate([[0], np.cumsum(COUNTS)[:-1]])
    np.testing.assert_allclose(
        ends[1].params.features[:, :, first], ends[0].params.features, rtol=0, atol=ERROR
    )
    used = np.sum(OF_CLASS * np.sum(ends[0].final.features ** 2, axis=0))
    assert used == pytest.approx(2.0, abs=1e-12)


@pytest.mark.lean("Nonnegative()")
@pytest.mark.parametrize("features", [Budget(2.0, OF_CLASS), Nonnegative()], ids=str)
def test_batches_and_steady_ends_of_flows_with_walls(features):
    problem = entropies(features, Ball(0.8))
    starts = [ufm.solvers.random_start(problem, key=jax.random.key(seed)) for seed in range(2)]
    # one begins on the boundary
    starts[1] = problem.projected(jax.tree.map(lambda leaf: 5 * leaf, starts[1]))
    ts = np.array([0.0, 3.0, 4000.0])
    batch = flow_batch(problem, Flow(ts), starts=starts)
    for i, start in enumerate(starts):
        one = flow(problem, ts=ts, start=start)
        assert one.result == ufm.Result.STEADY_STATE == batch.results[i]
        np.testing.assert_allclose(one.value, batch.value[i], rtol=1e-8)
        assert np.all(np.diff(one.value) < 0)
        # all that is left of the gradient holds columns on the boundary
        assert ufm.observables.gradient_norm(problem, one.final) < 1e-7
        # the smallest value that there is nearby, which Newton knows by another way
        best = ufm.minimise(problem, start=one.final)
        assert float(one.value[-1]) == pytest.approx(float(best.value), rel=1e-9)
