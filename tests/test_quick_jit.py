"""Programs that compile in less time say what `jax.jit` says, and an XLA without the option too."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ufm._programs import jit, one_kernel
from ufm._programs.jit import QuickJit, compiles_quickly, quick_jit


@pytest.fixture
def asked(monkeypatch):
    """The options that JAX is given from here on."""
    given, jit = [], jax.jit

    def seen(function, **options):
        compiled = jit(function, **options)

        def call(*arguments):
            given.append(options.get("compiler_options"))
            return compiled(*arguments)

        return call

    monkeypatch.setattr(jax, "jit", seen)
    return given


def test_small_ones_are_quick_and_others_as_ever(asked):
    @quick_jit(when=lambda x, *_: len(x) < 4)
    def twice(x):
        """Doubled."""
        return 2 * x

    np.testing.assert_array_equal(twice(jnp.ones(3)), [2.0] * 3)
    np.testing.assert_array_equal(twice(jnp.ones(5)), [2.0] * 5)
    assert asked == [{"xla_cpu_use_fusion_emitters": False}, None]
    assert twice.__doc__ == "Doubled."


@pytest.mark.parametrize("quick", [True, False])
def test_what_has_work_is_drafted_first(asked, monkeypatch, quick):
    monkeypatch.setenv("XLA_FLAGS", "")
    form = QuickJit(lambda x: x + 1, when=lambda x: quick, loses=lambda x: 1.0)
    assert [float(form(float(i))) for i in range(3)] == [1.0, 2.0, 3.0]
    draft = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}
    final = {"xla_cpu_use_fusion_emitters": False} if quick else {}
    assert asked == [draft, final, final]


def test_other_platforms_are_left_alone(asked, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert float(QuickJit(lambda x: x + 1)(1.0)) == 2
    assert asked == [None]


def test_an_xla_without_the_option_compiles_as_ever(monkeypatch):
    monkeypatch.setattr(jit, "_OPTIONS", {"xla_cpu_no_such_thing": False})
    monkeypatch.setattr(QuickJit, "_refused", set())
    grown = QuickJit(lambda x: x + 1, donate_argnums=0)
    assert float(grown(jnp.asarray(1.0))) == 2
    assert QuickJit._refused == {"quick"}
    assert not compiles_quickly.__wrapped__()
    # nor is it asked again
    assert float(QuickJit(lambda x: x + 1)(1.0)) == 2


def test_this_xla_has_the_option():
    assert compiles_quickly() == (jax.default_backend() == "cpu")


def test_other_errors_pass(monkeypatch):
    def wrong(x):
        raise jax.errors.JaxRuntimeError("out of memory")

    monkeypatch.setattr(QuickJit, "_refused", set())
    with pytest.raises(jax.errors.JaxRuntimeError, match="out of memory"):
        QuickJit(wrong)(1.0)
    assert not QuickJit._refused


def test_what_is_traced_uses_the_plain_form():
    quick = QuickJit(lambda x: x**2)
    assert float(jax.grad(quick.plain)(3.0)) == 6
    assert float(jax.grad(quick)(3.0)) == 6
    assert float(jax.jit(lambda x: quick(x) + 1)(3.0)) == 10

    def wrong(x):
        raise ValueError("of its own")

    for call in (QuickJit(wrong), jax.jit(QuickJit(wrong))):
        with pytest.raises(ValueError, match="of its own"):
            call(3.0)


def _powers(A, x):
    """Ten steps of the power method, until it is at rest."""

    def step(carry):
        i, x, _ = carry
        y = A @ x
        y = y / jnp.sqrt(jnp.sum(y**2))
        return i + 1, y, jnp.max(jnp.abs(y - x))

    return jax.lax.while_loop(lambda c: (c[0] < 10) & (c[2] > 1e-9), step, (0, x, 1.0))


# (XLA itself makes one kernel of a very small loop)
MARK = 'inlineable="false"'
on_the_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="kernels of the CPU")


def little(*_, **__):
    """Seconds that a draft loses."""
    return 1e-3


@on_the_cpu
def test_a_small_program_is_one_kernel():
    form = QuickJit(_powers, small=lambda A, x: x.size < 9, loses=little)
    A = np.diag([3.0, 1.0, 0.5]) + 0.1
    for x in (np.ones(3), np.eye(3)):
        assert len(form.trace(A, x).jaxpr.jaxpr.outvars) == 3
        text = form.lower(A, x).compile().as_text()
        assert (MARK in text) == (x.ndim == 1)
        for ours, theirs in zip(form(A, x), form.plain(A, x), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-14)


def _varied(x, i):
    """Of a square matrix: what solvers, losses and domains do in a loop, of every kind."""
    rows = jax.lax.dynamic_slice(x, (i, 0), (1, 3))
    x = jax.lax.dynamic_update_slice(x, 2 * rows, (i - 1, 0)) + jnp.eye(3)[jnp.array([2, 0, 1])]
    x = x.at[0].set(jnp.pad(x[1, :2], (1, 0)))
    total, sums = jax.lax.scan(lambda c, row: (c + row, jnp.cumsum(c * row)), x[0], x)
    picked = jax.lax.switch(i, [lambda: x, lambda: x[::-1], lambda: x.T], *())
    batched = jnp.einsum("aij,ajk->aik", jnp.stack([x, picked]), jnp.stack([picked, sums]))
    wide = jnp.where(picked > 0.5, jax.nn.log_softmax(batched[0]), jnp.clip(batched[1], 0, 1))
    smooth = (
        jnp.tanh(wide) + jax.scipy.special.erf(x) + jax.nn.softplus(x) ** 1.5 + jnp.expm1(-wide)
    )

    def bent(x):
        return jnp.sum(jax.nn.relu(x - total[None]) ** 2) + jax.nn.logsumexp(x)

    slopes = jax.grad(bent)(smooth)
    ends = jnp.argmin(slopes, axis=1), jnp.argmax(slopes), jnp.all(slopes > 0), jnp.prod(x, 0)
    return slopes, jnp.split(slopes, 3), slopes.astype(jnp.float32) @ x.astype(jnp.float32), ends


@on_the_cpu
def test_one_kernel_says_what_xla_says():
    form = QuickJit(_varied, small=lambda *_: True, loses=little)
    x, i = np.random.default_rng(0).normal(size=(3, 3)), np.asarray(1)
    assert MARK in form.lower(x, i).compile().as_text()
    ours, theirs = form(x, i), form.plain(x, i)
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(
            mine, other, rtol=1e-5 if mine.dtype == np.float32 else 1e-12, atol=1e-12
        )


@on_the_cpu
@pytest.mark.parametrize(
    "constant",
    [
        pytest.param(lambda x: x.at[0].set(0.5), id="rows"),
        pytest.param(lambda x: jnp.concatenate([jnp.full((1, 3), 0.5), x[1:]]), id="no rest"),
        pytest.param(lambda x: jnp.where(jnp.arange(1)[:, None] == 0, 0.5, x), id="a mask"),
    ],
)
def test_a_kernel_that_nothing_is_left_of_compiles(constant):
    """XLA ended the process where a kernel read none of what it was given."""
    form = QuickJit(constant, small=lambda x: True, loses=little)
    assert MARK in form.lower(np.ones((1, 3))).compile().as_text()
    np.testing.assert_array_equal(form(np.ones((1, 3))), np.full((1, 3), 0.5))


@on_the_cpu
def test_what_no_kernel_holds_is_compiled_as_ever():
    form = QuickJit(
        lambda x: jnp.linalg.inv(jnp.sort(x, axis=1)), small=lambda x: True, loses=little
    )
    x = np.array([[2.0, 1.0], [0.0, 3.0]])
    assert MARK not in form.lower(x).compile().as_text()
    np.testing.assert_allclose(form(x), np.linalg.inv(np.sort(x)), rtol=1e-14)


@on_the_cpu
def test_a_kernel_that_does_not_compile_is_no_error(monkeypatch):
    monkeypatch.setattr(one_kernel, "_NAMES", one_kernel._NAMES | {"sort"})
    form = QuickJit(lambda x: jnp.sort(x) + 1, small=lambda x: True, loses=little)
    np.testing.assert_array_equal(form(np.array([2.0, 1.0])), [2.0, 3.0])
    assert not QuickJit._refused


@on_the_cpu
def test_an_xla_without_such_kernels_is_quick(monkeypatch):
    monkeypatch.setattr(one_kernel, "OPTIONS", {"xla_cpu_no_such_thing": ""})
    monkeypatch.setattr(QuickJit, "_refused", set())
    grown = QuickJit(lambda x: x + 1, small=lambda x: True, loses=little)
    assert float(grown(jnp.asarray(1.0))) == 2
    assert QuickJit._refused == {"kernel"}


@on_the_cpu
def test_arguments_by_name_and_given_away():
    form = QuickJit(
        lambda x, *, y: x + y, small=lambda x: True, loses=little, donate_argnames=("x",)
    )
    x, y = jnp.asarray([1.0, 2.0]), jnp.ones(2)
    np.testing.assert_array_equal(form(x, y=y), [2.0, 3.0])
    assert x.is_deleted()
    assert not y.is_deleted()
