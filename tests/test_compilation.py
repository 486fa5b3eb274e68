"""The cache of compiled programs, and the word about compiling."""

from __future__ import annotations

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

import ufm
from ufm._programs import compilation


@pytest.fixture(autouse=True)
def _settings_stay():
    names = (
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    before = {name: jax.config.values[name] for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_the_cache_lies_where_it_is_wanted(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    assert ufm.enable_compilation_cache(folder) == str(folder)
    assert jax.config.values["jax_compilation_cache_dir"] == str(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert ufm.enable_compilation_cache() == str(tmp_path / "ufm" / "compiled")


@pytest.mark.parametrize("folder", ["", 3])
def test_a_folder_is_a_path(folder):
    with pytest.raises(ValueError, match="`folder` must be"):
        ufm.enable_compilation_cache(folder)


def test_a_second_process_reads_what_the_first_compiled(tmp_path):
    script = f"""
import jax, jax.numpy as jnp, ufm
ufm.enable_compilation_cache({str(tmp_path)!r})
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))
jax.jit(lambda x: jnp.sin(x) + 1)(jnp.ones(3)).block_until_ready()
print(sum("cache_hits" in name for name in hits))
"""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("JAX_COMPILATION_CACHE")}
    hits = [
        int(
            subprocess.run(
                [sys.executable, "-c", script], env=clean, check=True, capture_output=True
            ).stdout
        )
        for _ in range(2)
    ]
    assert hits[0] == 0 < hits[1]


def test_compiling_that_takes_long_is_said_once(monkeypatch, capsys):
    monkeypatch.setattr(compilation, "_LONG", 0.0)
    program = jax.jit(lambda x: jnp.cos(x) * 3)
    for _ in range(2):
        with compilation.Compiling(show=True):
            program(1.0)
    assert capsys.readouterr().err.count("ufm.enable_compilation_cache()") == 1
    with compilation.Compiling(show=False):
        jax.jit(lambda x: jnp.cos(x) * 4)(1.0)
    assert capsys.readouterr().err == ""
