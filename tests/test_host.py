"""Functions done by NumPy: as compiled ones, in what the library and its users write."""

from __future__ import annotations

import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm._host import choice, program
from ufm._host.choice import small_on_host
from ufm.certificates import bound


def problem(loss=None, **options) -> ufm.Problem:
    labels = ufm.one_hot((9, 7, 3, 1), collapsed=True)
    settings = {"widths": (6,), "lambda_W": 2e-3, "lambda_H": 2e-3, **options}
    return ufm.Problem(labels, loss=loss or ufm.CrossEntropy(), **settings)


def alike(ours, theirs, *, rtol=1e-10, atol=1e-14):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert isinstance(a, jax.Array)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


PROBLEMS = {
    "plain": problem(),
    "free-bias": problem(bias="free"),
    "penalised-bias": problem(bias=0.1),
    "squared-error": problem(ufm.MeanSquaredError(), bias="free"),
    "sphere": problem(features=ufm.domains.Sphere(1.0)),
    "nonnegative": problem(features=ufm.domains.Nonnegative()),
    "balls": problem(features=ufm.domains.Ball(1.0), classifier=ufm.domains.Sphere(1.0)),
}


@pytest.mark.lean("plain", "free-bias", "balls")
@pytest.mark.parametrize("name", PROBLEMS)
def test_certificates_and_metrics_are_those_that_are_compiled(name, key, monkeypatch):
    p = PROBLEMS[name]
    params = ufm.solvers.random_start(p, key=key)
    compiled = jax.jit(bound._certify.__wrapped__)(p, params)
    asked = []
    monkeypatch.setattr(program, "by_jax", lambda *args: asked.append(args))
    ours = ufm.certify(p, params)
    for field in ("value", "lower_bound", "gap", "spectral_ratio"):
        np.testing.assert_allclose(getattr(ours, field), getattr(compiled, field), rtol=1e-10)
    assert ours.valid
    assert compiled.valid
    # what is no more than rounding is of the same size
    for field in ("rounding", "contradiction"):
        assert 0.1 < float(getattr(ours, field)) / float(getattr(compiled, field)) < 10
    ours = ufm.metrics.measure_params(p, params)
    alike(ours, jax.jit(lambda params: ufm.metrics.measure_params(p, params))(params), atol=1e-12)
    # no operation had to be left to JAX, which compiles it
    assert asked == []


def counted(monkeypatch) -> list:
    done, run = [], program.Program.__call__
    monkeypatch.setattr(
        program.Program, "__call__", lambda self, *arrays: done.append(1) or run(self, *arrays)
    )
    return done


def test_the_host_goes_on_until_a_program_is_compiled(monkeypatch):
    monkeypatch.setattr(choice, "_MANY", 3)
    done, ready = counted(monkeypatch), threading.Event()

    threads, compile_it = [], jax.stages.Lowered.compile

    def slowly(lowered):
        threads.append(threading.current_thread())
        assert ready.wait(60)
        return compile_it(lowered)

    monkeypatch.setattr(jax.stages.Lowered, "compile", slowly)
    twice = small_on_host(lambda x: 2 * x)
    for _ in range(6):
        assert twice(jnp.ones(2)).tolist() == [2.0, 2.0]
    assert len(done) == 6
    # one thread makes it, which is none of the callers, and is waited for
    (maker,) = threads
    assert maker is not threading.current_thread()
    ready.set()
    assert twice(jnp.ones(2)).tolist() == [2.0, 2.0]
    assert not maker.is_alive()
    assert len(done) == 6
    # inside `jit` and for large arrays it is compiled from the first
    assert jax.jit(twice)(jnp.ones(3)).tolist() == [2.0] * 3
    assert twice(jnp.ones(10**6)).shape == (10**6,)
    assert len(done) == 6


def test_no_clock_chooses(monkeypatch):
    """A script rounds alike whenever it is run: what NumPy does is reckoned, not timed."""
    monkeypatch.setattr(choice, "_SECONDS", 0.01)
    done, given_up, add = counted(monkeypatch), [], program.OPERATIONS["add"]
    for pause in (0.0, 1e-4):

        def slowly(*given, pause=pause, **options):
            time.sleep(pause)
            return add(*given, **options)

        monkeypatch.setitem(program.OPERATIONS, "add", slowly)
        count = small_on_host(
            lambda end: jax.lax.while_loop(lambda n: n < end, lambda n: n + 1.0, jnp.zeros(()))
        )
        before = len(done)
        assert float(count(jnp.asarray(1e6))) == 1e6
        given_up.append(len(done) - before)
    assert given_up[0] == given_up[1] > 100


MATRIX = np.array([[4.0, 1.0, 0.3], [1.0, 3.0, -0.2], [0.3, -0.2, 2.0]])
FUNCTIONS = {
    "solve": lambda x: jnp.linalg.solve(x + jnp.diag(jnp.arange(3.0)), x[0]),
    "solve-with-pivots": lambda x: jnp.linalg.solve(x[::-1], x),
    "svd": lambda x: jnp.linalg.svd(x[:2], compute_uv=False),
    "eigh": lambda x: jnp.linalg.eigh(x)[0],
    "qr": lambda x: jnp.abs(jnp.linalg.qr(x)[1]),
    "loops-side-by-side": lambda x: jax.vmap(
        lambda y: jax.lax.while_loop(lambda y: y.sum() < 100, lambda y: 2 * y + 1, y)
    )(jnp.stack([x, 60 * x, x + 7])),
    "loop": lambda x: jax.lax.while_loop(lambda y: y.sum() < 100, lambda y: 2 * y + x, x),
    "scan": lambda x: jax.lax.scan(lambda c, row: (c + row, c * row), x[0], x, reverse=True),
    "cond": lambda x: jax.lax.cond(x[0, 0] > 1, jnp.sin, jnp.cos, x),
    "switch": lambda x: jax.lax.switch(7, [jnp.sin, jnp.cos], x),
    "gather": lambda x: x[jnp.array([2, 0, 1]), jnp.array([0, 0, 2])],
    "rows": lambda x: x[:, jnp.array([2, 0])],
    "segments": lambda x: jax.ops.segment_sum(x, jnp.array([1, 0, 1]), 2),
    "out-of-range": lambda x: jax.ops.segment_sum(x, jnp.array([1, 9, 1]), 2),
    "set": lambda x: x.at[1, 2].set(5.0).at[0].add(1.0),
    "sort": lambda x: (jnp.sort(x, axis=0), jnp.argsort(x, axis=1), jnp.argmax(x, axis=1)),
    "integers": lambda x: (x.astype(int) // 2, x.astype(int) % 2, x.astype(jnp.float32)),
    "bits": lambda x: (jnp.frexp(x), jnp.ldexp(x, 3), jnp.sign(x) * jnp.abs(x) ** 1.5),
    "batched": lambda x: jax.vmap(jnp.dot)(x, x),
    "gradient": jax.grad(lambda x: jax.nn.logsumexp(x) + jnp.sum(jax.nn.relu(x - 1))),
    "not-a-number": lambda x: (jnp.log(x), jnp.max(jnp.log(x), axis=0), jnp.log(x) > 0),
    "nothing": lambda x: (jnp.max(x[:0], initial=-3.0), jnp.sum(x[:0], axis=0)),
    "erf": lambda x: jax.scipy.special.erf(x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_any_function_is_what_jax_makes_of_it(name):
    x = jnp.asarray(MATRIX)
    alike(small_on_host(FUNCTIONS[name])(x), jax.jit(FUNCTIONS[name])(x))


def test_a_loop_that_takes_too_long_is_compiled(monkeypatch):
    monkeypatch.setattr(choice, "_SECONDS", 0.05)
    done = counted(monkeypatch)
    count = small_on_host(
        lambda end: jax.lax.while_loop(lambda n: n < end, lambda n: n + 1.0, jnp.zeros(()))
    )
    assert float(count(jnp.asarray(10.0))) == 10
    # a program, and two of each turn of its loop
    assert len(done) >= 1 + 2 * 10
    assert float(count(jnp.asarray(1e6))) == 1e6
    assert len(done) < 10**6
    before = len(done)
    assert float(count(jnp.asarray(20.0))) == 20
    assert len(done) == before
