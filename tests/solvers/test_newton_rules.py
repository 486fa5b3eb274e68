"""Every form of the trust-region method, step by step: against a plain twin and each other."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.solvers.coordinates import bounds, flat_objective, relative_norm, to_flat
from ufm.solvers.newton.rounds import fresh_lanes, newton_round
from ufm.solvers.one_layer import queue_of
from ufm.tolerances import for_dtype

TOLERANCE = for_dtype(np.float64).gradient


def make(counts=(8, 3, 2), *, loss=None, widths=(5,), lam=1e-2, **kwargs) -> ufm.Problem:
    labels = ufm.one_hot(counts, collapsed=True)
    loss = loss or ufm.CrossEntropy()
    return ufm.Problem(labels, loss=loss, widths=widths, lambda_W=lam, lambda_H=lam, **kwargs)


# compiled once for all problems of one shape
_value = jax.jit(flat_objective)
_gradient = jax.jit(jax.grad(flat_objective, argnums=1))
_hessian = jax.jit(jax.hessian(flat_objective, argnums=1))
# (a number of weak type is firm after a step, which would be compiled again)
_launch = jax.jit(
    lambda solver, problem, flat: jax.tree.map(
        lambda leaf: leaf.astype(leaf.dtype), solver.launch(problem, flat)
    )
)
_step = jax.jit(lambda solver, problem, state: solver.step(problem, state))
_round = jax.jit(newton_round)
_flat, _bounds, _relative = jax.jit(to_flat), jax.jit(bounds), jax.jit(relative_norm)


@jax.jit
def _queue(problem, flats):
    """Lanes of one problem, last, and their states before a step."""
    number = len(flats)
    stacked = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (number, *leaf.shape)), problem)
    lanes = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), queue_of(stacked))
    return lanes, fresh_lanes(flats.T, jnp.arange(float(number)), jnp.ones(number, bool))


@dataclass
class Place:
    """Where a twin stands."""

    x: np.ndarray
    radius: float
    smallest: float
    since: int


class Twin:
    """The method with dense Hessians, norms that are computed afresh, and ifs."""

    def __init__(self, problem: ufm.Problem, solver):
        self.problem, self.solver = problem, solver
        self.value = functools.partial(_value, problem)
        self.gradient = functools.partial(_gradient, problem)
        self.hessian = functools.partial(_hessian, problem)

    def relative(self, x) -> float:
        bounded, gradient = np.asarray(_bounds(self.problem)), np.asarray(self.gradient(x))
        down = np.where(bounded & (x <= 0), np.minimum(gradient, 0), gradient)
        return float(_relative(self.problem, down, x, self.value(x)))

    def steihaug(self, H, g, radius, relative) -> tuple[np.ndarray, bool]:
        p, r, d = np.zeros_like(g), g, -g
        tightest, loosest = self.solver.forcing
        wanted = min(max(np.sqrt(relative), tightest), loosest) * np.linalg.norm(g)
        for _ in range(self.solver.max_cg):
            if np.linalg.norm(r) <= wanted:
                break
            curvature = d @ H @ d
            longer = p + (r @ r) / curvature * d if curvature > 0 else None
            if longer is None or np.linalg.norm(longer) >= radius:
                roots = np.roots([d @ d, 2 * p @ d, p @ p - radius**2])
                return p + np.max(roots.real) * d, True
            before, p, r = r, longer, g + H @ longer
            d = (r @ r) / (before @ before) * d - r
        return p, False

    def newton(self, place: Place) -> Place:
        g, H = np.asarray(self.gradient(place.x)), np.asarray(self.hessian(place.x))
        p, far = self.steihaug(H, g, place.radius, self.relative(place.x))
        return self.judged(place, g, H, p, np.linalg.norm(p), far)

    def projected(self, place: Place) -> Place:
        solver, x, radius = self.solver, place.x, place.radius
        bounded = np.asarray(_bounds(self.problem))
        g, H = np.asarray(self.gradient(x)), np.asarray(self.hessian(x))

        def project(step):
            return np.where(bounded, np.maximum(x + step, 0), x + step) - x

        def model(p):
            return g @ p + 0.5 * p @ H @ p

        down = np.where(bounded & (x <= 0), np.minimum(g, 0), g)
        size = np.linalg.norm(down)
        curvature = down @ H @ down / size**2
        length = min(radius / size, 1 / curvature) if curvature > 0 else radius / size
        while model(project(-length * down)) > solver.decrease * g @ project(-length * down):
            length *= solver.cut
        p = project(-length * down)
        for _ in range(solver.faces):
            free = ~(bounded & (x + p <= 0))
            residual = np.where(free, g + H @ p, 0)
            q, _ = self.steihaug(H * np.outer(free, free), residual, radius, self.relative(x))
            share = 1.0
            while model(project(p + share * q)) > model(p) + solver.decrease * share * residual @ q:
                share *= solver.cut
            p = project(p + share * q)
            if not np.any(bounded & free & (x + p <= 0)):
                break
        length = np.linalg.norm(p)
        return self.judged(place, g, H, p, min(length, radius), length >= 0.5 * radius)

    def judged(self, place: Place, g, H, p, length, far) -> Place:
        solver, value = self.solver, float(self.value(place.x))
        trial, there = float(self.value(place.x + p)), np.asarray(self.gradient(place.x + p))
        predicted = -(g @ p + 0.5 * p @ H @ p)
        noisy = predicted < solver.noise * np.finfo(float).eps * abs(value)
        gained = -0.5 * (g + there) @ p if noisy else value - trial
        ratio = gained / predicted if predicted > 0 and np.isfinite(trial) else -1
        radius = place.radius
        if ratio < solver.poor:
            radius = solver.shrink * length
        elif ratio > solver.good and far:
            radius = solver.grow * radius
        norm = self.relative(place.x)
        since = 0 if norm < place.smallest or not noisy else place.since + 1
        x = place.x + p if ratio > solver.accept else place.x
        return Place(x, radius, min(place.smallest, norm), since)


def trajectory(problem: ufm.Problem, solver, start, tolerance=TOLERANCE) -> list:
    """The states of a solver from a flat start to convergence."""
    # (the first step does not move: it is `init`)
    states = [_step(solver, problem, _launch(solver, problem, start))]
    while float(states[-1].grad_norm) > tolerance:
        assert len(states) < 200
        states.append(_step(solver, problem, states[-1]))
    return states


PROBLEMS = {
    "cross-entropy": make(),
    "free-bias": make(bias="free", lam=1e-4),
    "squared-error-penalised-bias": make(bias=0.1, loss=ufm.MeanSquaredError()),
    "not-convex": make(loss=ufm.losses.Focal(2.0)),
    "d-below-K": make(widths=(2,), lam=1e-3),
    "long-tail": make((50, 9, 3, 1), lam=1e-3),
    "deep": make(widths=(5, 4), lam=2e-3),
    "nonnegative": make(features=ufm.domains.Nonnegative()),
    "nonnegative-free-bias": make(features=ufm.domains.Nonnegative(), bias="free"),
    "nonnegative-deep": make(features=ufm.domains.Nonnegative(), widths=(5, 4), lam=2e-3),
}
# others than the defaults, so that no rule can be a constant that was written out
OTHERS = {"first": 0.8, "poor": 0.4, "good": 0.6, "shrink": 0.5, "grow": 3.0, "forcing": (0.1, 0.3)}


def table(*names: str, others: str):
    """Problems with the numbers by default, and one with others."""
    cases = [(name, {}) for name in names] + [(others, OTHERS)]
    ids = [*names, f"{others}-other-numbers"]
    return pytest.mark.parametrize(("name", "numbers"), cases, ids=ids)


@table("cross-entropy", "free-bias", "squared-error-penalised-bias", others="deep")
def test_each_step_of_newton_is_that_of_the_twin(name, numbers, key):
    problem, solver = PROBLEMS[name], ufm.solvers.Newton(**numbers)
    twin = Twin(problem, solver)
    states = trajectory(problem, solver, _flat(problem, ufm.solvers.random_start(problem, key=key)))
    follow(twin, twin.newton, states, lambda state: state.memory.trust)


@table("free-bias", "nonnegative", "nonnegative-free-bias", others="nonnegative-deep")
def test_each_step_of_the_projected_form_is_that_of_the_twin(name, numbers, key):
    problem, solver = PROBLEMS[name], ufm.solvers.ProjectedNewton(**numbers)
    twin = Twin(problem, solver)
    states = trajectory(problem, solver, _flat(problem, ufm.solvers.random_start(problem, key=key)))
    follow(twin, twin.projected, states, lambda state: state.memory.trust)


def follow(twin: Twin, step, states, trust_of) -> None:
    """One step of the twin from every state of the solver."""
    moved = 0
    for before, after in itertools.pairwise(states):
        trust, kept = trust_of(before), trust_of(after)
        x = np.asarray(before.flat)
        size = float(np.linalg.norm(x))
        if np.any(np.asarray(_bounds(twin.problem)) & (x > 0) & (x < 1e-12 * size)):
            # whether a step reaches a bound that is one rounding away is rounding
            continue
        place = Place(x, float(trust.radius), float(trust.smallest), int(trust.since))
        there = step(place)
        assert np.array_equal(there.x, x) == np.array_equal(after.flat, x)
        # a solve stops at the same product unless its residual is within rounding of the target:
        # then a step is as exact as its products, and differs by some roundings
        np.testing.assert_allclose(there.x, after.flat, rtol=0, atol=1e-13 * size)
        np.testing.assert_allclose(there.radius, kept.radius, rtol=1e-13)
        np.testing.assert_allclose(twin.value(there.x), after.value, rtol=1e-13)
        assert there.since == int(kept.since)
        moved += not np.array_equal(after.flat, x)
    assert moved >= 3


@pytest.mark.lean("free-bias", "not-convex")
@table(*(list(PROBLEMS)[:6]), others="long-tail")
def test_each_step_of_the_lanes_is_that_of_newton(name, numbers, key):
    problem, solver = PROBLEMS[name], ufm.solvers.Newton(**numbers)
    starts = [ufm.solvers.random_start(problem, key=k) for k in jax.random.split(key, 3)]
    flats = np.stack([_flat(problem, start) for start in starts])
    lanes, s = _queue(problem, flats)
    # at the tightest tolerance rounding decides whether there is one more step
    tolerance = 1e-9
    expected = [trajectory(problem, solver, flat, tolerance) for flat in flats]
    seen = [set() for _ in expected]
    while np.any(np.asarray(s.numbers.code) == ufm.Result.RUNNING):
        s = _round(solver, lanes, s, tolerance)
        numbers_of = jax.tree.map(np.asarray, s.numbers)
        for lane, states in enumerate(expected):
            step = int(numbers_of.steps[lane])
            state = states[step]
            seen[lane].add(step)
            size = float(np.linalg.norm(state.flat))
            # roundings of up to ten steps, of which each is continued from the one before; a value
            # is a difference where it is small
            np.testing.assert_allclose(s.x[:, lane], state.flat, rtol=0, atol=2e-13 * size)
            np.testing.assert_allclose(numbers_of.value[lane], state.value, rtol=2e-12)
            np.testing.assert_allclose(
                numbers_of.radius[lane], state.memory.trust.radius, rtol=2e-13
            )
            assert numbers_of.since[lane] == int(state.memory.trust.since)
    assert seen == [set(range(len(states))) for states in expected]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        pytest.param({"first": 0.0}, "`first` must be > 0; got 0.0", id="first"),
        pytest.param({"poor": 0.8}, "`accept`, `poor` and `good` must increase", id="order"),
        pytest.param({"accept": 0.3}, "`accept`, `poor` and `good` must increase", id="accept"),
        pytest.param({"shrink": 1.0}, r"`shrink` must lie in \(0, 1\); got 1.0", id="shrink"),
        pytest.param({"grow": 1.0}, "`grow` must be > 1; got 1.0", id="grow"),
        pytest.param({"noise": -1.0}, "`noise` must be >= 0", id="noise"),
        pytest.param({"patience": 0}, "`patience` must be a whole number >= 1", id="patience"),
        pytest.param({"forcing": (0.5, 0.1)}, "`forcing` must be", id="forcing"),
    ],
)
def test_numbers_that_make_no_method_are_refused(numbers, message):
    for solver in (ufm.solvers.Newton, ufm.solvers.ProjectedNewton):
        with pytest.raises(ValueError, match=message):
            solver(**numbers)
