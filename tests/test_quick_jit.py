"""Programs that compile in less time say what `jax.jit` says, and an XLA without the option too."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ufm import _quick_jit
from ufm._quick_jit import QuickJit, compiles_quickly, quick_jit


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


def test_other_platforms_are_left_alone(asked, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert float(QuickJit(lambda x: x + 1)(1.0)) == 2
    assert asked == [None]


def test_an_xla_without_the_option_compiles_as_ever(monkeypatch):
    monkeypatch.setattr(_quick_jit, "_OPTIONS", {"xla_cpu_no_such_thing": False})
    monkeypatch.setattr(QuickJit, "_known", True)
    grown = QuickJit(lambda x: x + 1, donate_argnums=0)
    assert float(grown(jnp.asarray(1.0))) == 2
    assert not QuickJit._known
    assert not compiles_quickly.__wrapped__()
    # nor is it asked again
    assert float(QuickJit(lambda x: x + 1)(1.0)) == 2


def test_this_xla_has_the_option():
    assert compiles_quickly() == (jax.default_backend() == "cpu")


def test_other_errors_pass(monkeypatch):
    def wrong(x):
        raise jax.errors.JaxRuntimeError("out of memory")

    monkeypatch.setattr(QuickJit, "_known", True)
    with pytest.raises(jax.errors.JaxRuntimeError, match="out of memory"):
        QuickJit(wrong)(1.0)
    assert QuickJit._known


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
