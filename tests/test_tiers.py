"""A program that is drafted at first and compiled well for later calls says one thing all the
while."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from ufm._programs import tiers
from ufm._programs.tiers import Tiers


@pytest.fixture
def no_level(monkeypatch):
    """No level of LLVM chosen by who runs this."""
    monkeypatch.setenv("XLA_FLAGS", "")


@pytest.fixture
def used(monkeypatch):
    """The levels that were asked for, call by call."""
    seen, jit = [], jax.jit

    class Seen:
        def __init__(self, function, *, compiler_options, **options):
            self.compiled, self.level = jit(function, **options), compiler_options.get(LEVEL)

        def __call__(self, *arguments, **named):
            seen.append(self.level)
            return self.compiled(*arguments, **named)

        def lower(self, *arguments, **named):
            seen.append(("lower", self.level))
            return self.compiled.lower(*arguments, **named)

    monkeypatch.setattr(jax, "jit", Seen)
    return seen


LEVEL = "xla_backend_optimization_level"


def test_a_kind_is_drafted_so_often(no_level, used, monkeypatch):
    monkeypatch.setattr(tiers, "_DRAFTS", 4)
    form = Tiers(lambda x, *, shift: x + shift, draft={}, final={}, loses=lambda *_: 1e-3)
    for i in range(6):
        assert float(form(np.asarray(float(i)), shift=1.0)) == i + 1
    assert used == [0, ("lower", None), 0, 0, 0, None, None]
    # of another kind, by shapes and by types
    used.clear()
    assert form(np.zeros(3), shift=1.0).shape == (3,)
    assert form(np.zeros(3, np.float32), shift=1.0).dtype == np.float32
    assert used == [0, 0]


@pytest.mark.parametrize(("loses", "drafts"), [(1e-3, 64), (0.25, 4), (2.0, 0), (np.inf, 0)])
def test_what_loses_more_is_drafted_less_often(no_level, used, loses, drafts):
    form = Tiers(lambda x: x + 1, draft={}, final={}, loses=lambda x: loses)
    for _ in range(66):
        assert float(form(1.0)) == 2
    levels = [level for level in used if not isinstance(level, tuple)]
    assert levels == [0] * drafts + [None] * (66 - drafts)
    assert used[max(drafts // 4, 1)] == (("lower", None) if drafts else None)


def test_a_level_of_the_users_own_stands(used, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", f"--{LEVEL}=2")
    form = Tiers(lambda x: x + 1, draft={}, final={}, loses=lambda *_: 1e-3)
    assert float(form(1.0)) == 2
    assert used == [None]


def test_where_optimisation_is_off_it_stays_off(no_level, used):
    form = Tiers(lambda x: x + 1, draft={}, final={}, loses=lambda *_: 1e-3)
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        for _ in range(70):
            form(1.0)
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
    assert set(used) == {0}


def test_what_is_compiled_beside_is_compiled_once(no_level, monkeypatch):
    monkeypatch.setattr(tiers, "_DRAFTS", 2)
    made = []

    def heard(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            made.append(duration_secs)

    form = Tiers(lambda x: 3 * x + 0.123, draft={}, final={}, loses=lambda *_: 1e-3)
    jax.monitoring.register_event_duration_secs_listener(heard)
    try:
        found = [float(form(2.0)) for _ in range(5)]
    finally:
        jax.monitoring.unregister_event_duration_listener(heard)
    assert found == [6.123] * 5
    assert len(made) == 2
