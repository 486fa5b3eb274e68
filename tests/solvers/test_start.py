"""Random starts: drawn on the host, they are those that are drawn inside `jit`."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import ufm
from ufm._host import random
from ufm.batch.stacked import stack
from ufm.solvers import draws, random_start
from ufm.solvers.draws import draws_of_seeds, random_draws
from ufm.solvers.start import each_start

# a draw goes through a quantile, steep in the tails, and a QR decomposition
ROUNDING = 1e-13


def problem(widths, *, counts=(5, 3, 2, 1), **options) -> ufm.Problem:
    labels = ufm.one_hot(counts, collapsed=True)
    return ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=widths, lambda_W=1e-3, lambda_H=1e-3, **options
    )


@pytest.mark.parametrize("seed", [0, 7, 2**31 + 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_host_draws_what_jax_draws(seed, dtype):
    key = jax.random.key(seed)
    host = random.host_key(key)
    assert np.array_equal(random.split(host, 5), jax.random.key_data(jax.random.split(key, 5)))
    ours = random.uniform(host, (7, 9), dtype, -1.5, 0.5)
    assert np.array_equal(ours, jax.random.uniform(key, (7, 9), dtype, -1.5, 0.5))
    (_, ours) = random.normals([(3, 4), host], [(2, 5), (40, 30)], dtype)
    theirs = jax.random.normal(key, (40, 30), dtype)
    assert ours.dtype == theirs.dtype
    # XLA's inverse error function takes 1 - u^2 to an eps, so a quantile to that over its density
    slope = np.sqrt(2 * np.pi) * np.exp(np.asarray(theirs) ** 2 / 2)
    assert np.all(np.abs(ours - theirs) <= 8 * np.finfo(dtype).eps * slope)


@pytest.mark.parametrize("widths", [(6,), (3,), (5, 3)], ids=["wide", "bottleneck", "two layers"])
def test_a_start_is_the_same_inside_jit(widths, key):
    p = problem(widths, bias="free")

    def all_of_them(key):
        starts = [random_start(p, key=key, std=std) for std in (None, 0.3)]
        return starts, random_draws(p, key, 4)

    ours, traced = all_of_them(key), jax.jit(all_of_them)(key)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=ROUNDING), ours, traced)
    assert ours[1].multiple[0] == 1


def test_draws_of_seeds_are_those_of_their_keys(key, monkeypatch):
    p, seeds = problem((6,)), np.array([0, 7, 2**32 - 1], np.uint32)
    found = draws_of_seeds(p, key, seeds)
    for i, seed in enumerate(seeds):
        wanted = random_draws(p, jax.random.fold_in(key, seed), 1)
        jax.tree.map(lambda a, b, i=i: np.testing.assert_array_equal(a[i], b[0]), found, wanted)
    assert draws_of_seeds(p, jax.random.key(0, impl="rbg"), seeds) is None
    limits = (draws, "_MOST_ON_HOST", 3), (random, "LARGEST_ON_HOST", 3 * 2 * 4 * 6)
    for module, most, number in limits:
        with monkeypatch.context() as patch:
            patch.setattr(module, most, number)
            assert draws_of_seeds(p, key, seeds) is not None
            patch.setattr(module, most, number - 1)
            assert draws_of_seeds(p, key, seeds) is None


@pytest.mark.parametrize("largest", [10_000, 0], ids=["on the host", "compiled"])
def test_starts_of_many_problems_are_those_of_each(largest, key, monkeypatch):
    monkeypatch.setattr("ufm._host.random.LARGEST_ON_HOST", largest)
    keys = jax.random.split(key, 2)
    problems = [problem((6,)).replace(lambda_W=lam) for lam in (1e-3, 1e-2)]
    starts = each_start(problems[0], stack(problems), keys)
    for i, one in enumerate(problems):
        alone = random_start(one, key=keys[i])
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=0, atol=ROUNDING),
            starts,
            alone,
        )


def test_keys_that_the_host_does_not_know_are_left_to_jax():
    assert random.host_key(jax.random.key(0, impl="rbg")) is None
    drawn = random_start(problem((6,)), key=jax.random.key(0, impl="rbg"))
    assert np.all(np.isfinite(drawn.features))
