"""The store of a sweep: killed, joined, refused, read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import ufm
from ufm.sweeping.store import Store
from ufm.sweeps import open_sweep, sweep

ROOT = Path(__file__).resolve().parents[1]
OVER = {"lam": np.geomspace(1e-3, 1e-1, 6), "seed": range(4)}

SCRIPT = """
import sys, time
import jax
jax.config.update("jax_enable_x64", True)
from tests.test_sweep_store import run
from ufm.sweeping.store import Store

slow = Store.write
def write(self, chunk, arrays):
    slow(self, chunk, arrays)
    print(chunk, flush=True)
    time.sleep(float(sys.argv[2]))
Store.write = write
data = run(sys.argv[1])
print("done", float(data["value"].sum()).hex(), flush=True)
"""


def make(lam) -> ufm.Problem:
    return ufm.Problem(ufm.one_hot((9, 3, 1), collapsed=True), loss=ufm.CrossEntropy(), widths=(4,), lambda_W=lam, lambda_H=lam)


def run(store, make=make, over=OVER, **options):
    """A sweep in chunks of three lanes, so that all of them share what is compiled."""
    return sweep(make, over, **({"key": jax.random.key(0), "store": store, "chunk": 3, "threads": 1, "metrics": ()} | options))


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """Starts the sweep in a process, which prints the chunks that it has written and pauses after each. They keep what they compile."""
    cache = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}

    def start(store, pause: float) -> subprocess.Popen:
        arguments = [sys.executable, "-c", SCRIPT, str(store), str(pause)]
        return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | cache | {"PYTHONPATH": str(ROOT)})

    return start


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("sweep") / "store")


def test_a_killed_sweep_goes_on_where_it_was(tmp_path, whole, process):
    store = tmp_path / "store"
    with process(store, 60.0) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline().strip() == "0"
        victim.send_signal(signal.SIGKILL)
    assert victim.returncode == -signal.SIGKILL
    with pytest.raises(ValueError, match="1 of 8 chunks"):
        open_sweep(store)
    part = open_sweep(store, partial=True)
    assert (part.attrs["complete"], part.attrs["done"]) == (0, 3)
    assert np.isnan(part["value"].values).sum() == 21
    before = (store / "chunks" / "000000.npz").stat().st_mtime_ns
    resumed = run(store)
    # what was there is read, not computed again, and the end is the same to the last bit
    assert (store / "chunks" / "000000.npz").stat().st_mtime_ns == before
    for name in whole:
        np.testing.assert_array_equal(resumed[name], whole[name])
    assert resumed.attrs["complete"] == 1


def test_two_processes_share_one_store(tmp_path, whole, process):
    store = tmp_path / "store"
    began = time.monotonic()
    with process(store, 0.1) as one, process(store, 0.1) as two:
        outs = [worker.communicate(timeout=120)[0].split() for worker in (one, two)]
    assert time.monotonic() - began < 120
    wrote = [int(word) for out in outs for word in out[: out.index("done")]]
    assert sorted(wrote) == list(range(8))
    assert {out[-1] for out in outs} == {float(whole["value"].sum()).hex()}
    np.testing.assert_array_equal(open_sweep(store)["value"], whole["value"])


def test_a_finished_store_opens_as_the_dataset(tmp_path, whole):
    run(tmp_path / "store")
    data = open_sweep(tmp_path / "store")
    assert set(data.variables) == set(whole.variables)
    for name in whole.variables:
        np.testing.assert_array_equal(data[name], whole[name])
    assert data.attrs["definition"] == whole.attrs["definition"]
    assert data.attrs["complete"] == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"ufm": "0.0.0"}, "version of ufm", id="version"),
        pytest.param({"dtype": "float32"}, "dtype", id="dtype"),
        pytest.param({"definition": "0"}, "definition", id="definition"),
        pytest.param({"format": 99}, "format 1", id="format"),
    ],
)
def test_a_store_of_another_sweep_is_refused(tmp_path, whole, change, words):
    run(tmp_path / "store")
    file = tmp_path / "store" / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ValueError, match=words):
        run(tmp_path / "store")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"over": OVER | {"seed": [0, 1, 2, 4]}}, id="seeds"),
        pytest.param({"over": OVER | {"lam": np.geomspace(1e-3, 1e-2, 6)}}, id="values"),
        pytest.param({"tolerance": 1e-9}, id="tolerance"),
        pytest.param({"solver": ufm.Newton(max_steps=5)}, id="solver"),
        pytest.param({"keep": ("logits",)}, id="kept"),
        pytest.param({"key": jax.random.key(7)}, id="key"),
        pytest.param({"make": lambda lam: make(2 * lam)}, id="problem"),
    ],
)
def test_every_part_of_the_definition_counts(tmp_path, change):
    run(tmp_path / "store")
    with pytest.raises(ValueError, match="definition"):
        run(tmp_path / "store", **change)


def test_a_chunk_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    store = Store.enter(tmp_path / "store", {"format": 1, "ufm": "", "dtype": "", "definition": ""})

    def broken(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", broken)
    with pytest.raises(OSError, match="disk full"):
        store.write(0, {"value": np.zeros(3)})
    assert store.read(0) is None
    assert list((tmp_path / "store" / "chunks").iterdir()) == []


def test_a_claimed_chunk_is_nobody_elses(tmp_path):
    store = Store.enter(tmp_path / "store", {"format": 1, "ufm": "", "dtype": "", "definition": ""})
    with store.claim(0) as mine, store.claim(0) as theirs:
        assert (mine, theirs) == (True, False)
    store.write(0, {"value": np.zeros(3)})
    with store.claim(0) as again:
        assert again is False


def test_a_damaged_chunk_is_named(tmp_path):
    run(tmp_path / "store")
    (tmp_path / "store" / "chunks" / "000002.npz").write_bytes(b"not an archive")
    with pytest.raises(ValueError, match=r"delete .*000002\.npz"):
        open_sweep(tmp_path / "store")


def test_ctrl_c_leaves_a_store_to_go_on_with(tmp_path, whole, monkeypatch):
    kept = Store.write

    def write(self, chunk, arrays):
        kept(self, chunk, arrays)
        if chunk == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Store, "write", write)
    data = run(tmp_path / "store")
    assert data.attrs["complete"] == 0
    assert (data["code"].values == ufm.Result.INTERRUPTED).sum() == 18
    monkeypatch.setattr(Store, "write", kept)
    np.testing.assert_array_equal(run(tmp_path / "store")["value"], whole["value"])
