"""Many small problems at once: a lane has the path of `Newton`, not only its end."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm.batch.fastest import fastest
from ufm.solvers.draws import draws_of_seeds
from ufm.solvers.lanes import minimise_lanes, place_lanes, start_lanes
from ufm.solvers.newton.lanes import WIDTH
from ufm.sweeping import chunk
from ufm.sweeping.sweeps import sweep

DECAYS = (1e-4, 1e-3, 1e-2, 3e-2)
# (chunks of one size, which share their programs)
ONE_THREAD = ufm.batch.Execution(chunk=8, threads=1)


def make(lam) -> ufm.Problem:
    labels = ufm.one_hot((9, 3, 1), collapsed=True)
    return ufm.Problem(labels, loss=ufm.CrossEntropy(), widths=(3,), lambda_W=lam, lambda_H=lam)


@pytest.mark.parametrize("max_steps", [2, 8])
def test_a_lane_has_the_path_of_newton(max_steps, key):
    """Steps are cut at the trust region while it is small.

    Where they leave it decides what every later one costs.
    """
    solver = ufm.solvers.Newton(max_steps=max_steps)
    lanes = sweep(
        make,
        {"lam": DECAYS, "seed": range(4)},
        key=key,
        progress=False,
        method=solver,
        report=ufm.sweeping.Report(metrics=()),
        execution=ONE_THREAD,
    )
    singles = [
        [
            ufm.minimise(
                make(lam), key=jax.random.fold_in(key, seed), solver=solver, progress=False
            )
            for seed in range(4)
        ]
        for lam in DECAYS
    ]
    for name in ("num_steps", "num_evaluations", "code"):
        np.testing.assert_array_equal(
            lanes[name], [[int(getattr(s, name)) for s in row] for row in singles]
        )
    np.testing.assert_allclose(
        lanes["value"], [[float(s.value) for s in row] for row in singles], rtol=1e-12
    )


@pytest.fixture(scope="module")
def lanes():
    """70 problems as they are solved, and their starts: drawn on the host, and inside `jit`."""
    labels = [ufm.one_hot((9, 3, n % 4 + 1), collapsed=True) for n in range(70)]
    problems = [
        make(lam).replace(labels=one) for lam, one in zip(DECAYS * 18, labels, strict=False)
    ]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *problems)
    key, seeds = jax.random.key(0), np.arange(70, dtype=np.uint32)
    solver = ufm.solvers.Newton()
    draws = draws_of_seeds(problems[0], key, seeds)
    small, flats = jax.jit(functools.partial(place_lanes, solver=solver))(stacked, draws)

    @jax.jit
    def started(key):
        keys = jax.vmap(lambda seed: jax.random.fold_in(key, seed))(seeds)
        return start_lanes(stacked, keys, solver=solver)[1]

    return small, flats, started(key)


def test_starts_drawn_on_the_host_are_those_drawn_inside_jit(lanes):
    _, flats, inside = lanes
    np.testing.assert_allclose(flats, inside, rtol=0, atol=1e-13)


@functools.partial(jax.jit, static_argnames="abreast")
def solved(small, flats, abreast):
    return minimise_lanes(
        small,
        flats,
        jnp.asarray(1e-12),
        67,
        solver=ufm.solvers.Newton(),
        platform="cpu",
        abreast=abreast,
    )


@pytest.mark.parametrize("abreast", [0, 60])
def test_every_layout_has_the_same_lanes(abreast, lanes):
    """What an accelerator may choose between, on more lanes than go abreast, some left alone."""
    small, flats, _ = lanes
    wanted, found = (solved(small, flats, n) for n in (WIDTH, abreast))
    np.testing.assert_allclose(found.value[:67], wanted.value[:67], rtol=1e-12)
    assert np.all(found.code[:67] == int(ufm.Result.CONVERGED))


@pytest.mark.parametrize("abreast", [0, WIDTH, 60])
def test_lanes_that_are_left_alone_stay_where_they_are(abreast, lanes):
    small, flats, _ = lanes
    found = solved(small, flats, abreast)
    np.testing.assert_array_equal(found.flat[67:], flats[67:])
    if abreast:
        assert np.all(found.code[67:] == int(ufm.Result.INTERRUPTED))
        assert np.all(found.value[67:] == np.inf)
        assert np.all(found.grad_norm[67:] == np.inf)
        assert np.all(found.num_steps[67:] == 0)


def test_a_sweep_times_its_layouts_where_there_are_several(monkeypatch, key):
    """As on an accelerator; starts of many seeds are drawn inside `jit`."""
    kinds = []

    def noted(ways, run, *, kind):
        kinds.append(kind)
        return fastest(ways, run, kind=kind)

    monkeypatch.setattr(chunk, "layouts", lambda *about: (0, WIDTH))
    monkeypatch.setattr(chunk, "fastest", noted)
    over = {"lam": DECAYS, "seed": range(4)}
    report = ufm.sweeping.Report(metrics=())

    monkeypatch.setattr(chunk, "draws_of_seeds", lambda *about: None)

    def swept():
        return sweep(make, over, key=key, progress=False, report=report, execution=ONE_THREAD)

    data = swept()
    monkeypatch.undo()
    # one choice for both chunks, and none by the empty one that compiles
    assert len(kinds) == 2
    assert len(set(kinds)) == 1
    wanted = swept()
    np.testing.assert_allclose(data["value"], wanted["value"], rtol=1e-12)
