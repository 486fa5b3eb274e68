"""The store of a sweep: killed, joined, refused, read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import ufm
from ufm._system.files import read_sealed, sealed_json, write_sealed
from ufm.sweeping.dataset import counted
from ufm.sweeping.store import FORMAT, Store, plan_of
from ufm.sweeping.sweeps import open_sweep, sweep

ROOT = Path(__file__).resolve().parents[2]


OVER = {"lam": np.geomspace(1e-3, 1e-1, 6), "seed": range(4)}

SCRIPT = """
import sys, time
import jax
jax.config.update("jax_enable_x64", True)
from tests.sweeping.test_sweep_store import run
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
    return ufm.Problem(
        ufm.one_hot((9, 3, 1), collapsed=True),
        loss=ufm.CrossEntropy(),
        widths=(4,),
        lambda_W=lam,
        lambda_H=lam,
    )


def run(store, make=make, over=OVER, **options):
    """A sweep in chunks of three lanes, so that all of them share what is compiled."""
    return sweep(
        make,
        over,
        **(
            {
                "key": jax.random.key(0),
                "store": store,
                "report": ufm.sweeping.Report(metrics=()),
                "execution": ufm.batch.Execution(chunk=3, threads=1),
            }
            | options
        ),
    )


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """Starts the sweep in a process, which prints the chunks that it has written and pauses after
    each. They keep what they compile."""
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    env = os.environ | cache | {"PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}

    def start(store, pause: float) -> subprocess.Popen:
        arguments = [sys.executable, "-c", SCRIPT, str(store), str(pause)]
        return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=env)

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


def edited(store, change):
    """The manifest of a store as another version, or another sweep, would have written it."""
    file = store / "manifest.json"
    manifest = json.loads(file.read_text())
    del manifest["seal"]
    file.write_text(json.dumps(sealed_json(manifest | change)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"ufm": "0.0.0"}, "version of ufm", id="version"),
        pytest.param({"dtype": "float32"}, "dtype", id="dtype"),
        pytest.param({"definition": "0"}, "definition", id="definition"),
        pytest.param({"format": 99}, f"format {FORMAT}; got 99", id="format"),
        pytest.param({"probe": [0.1]}, "the loss of .* was", id="loss"),
    ],
)
def test_a_store_of_another_sweep_is_refused(tmp_path, whole, change, words):
    run(tmp_path / "store")
    edited(tmp_path / "store", change)
    with pytest.raises(ValueError, match=words):
        run(tmp_path / "store")


def test_a_store_of_other_values_says_how_points_are_added(finished):
    over = {**OVER, "lam": [*OVER["lam"], 0.5]}
    with pytest.raises(ValueError, match=r"other values of lam \(sweep over new values alone"):
        run(finished / "store", over=over)


_NUMBERED = f'"format": {FORMAT}'


@pytest.mark.parametrize(
    "content", ["{", "[]", "", f"{{{_NUMBERED}}}", f'{{{_NUMBERED}, "seal": "0"}}']
)
def test_a_damaged_manifest_is_named(tmp_path, content):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "manifest.json").write_text(content)
    with pytest.raises(
        ValueError,
        match=r"`store` must have (a readable manifest; got .*manifest\.json|format \d; got None)",
    ):
        open_sweep(tmp_path / "store")


def test_no_character_of_a_manifest_changes_unnoticed(tmp_path, whole):
    run(tmp_path / "store")
    file = tmp_path / "store" / "manifest.json"
    text = file.read_text()
    # a swept value is nothing that two manifests are compared by
    value = text.index(repr(float(OVER["lam"][1])))
    file.write_text(text[:value] + "9" + text[value + 1 :])
    for read in (run, open_sweep):
        with pytest.raises(
            ValueError, match=r"manifest\.json: it has been changed since it was written"
        ):
            read(tmp_path / "store")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"over": OVER | {"seed": [0, 1, 2, 4]}}, id="seeds"),
        pytest.param({"over": OVER | {"lam": np.geomspace(1e-3, 1e-2, 6)}}, id="values"),
        pytest.param({"method": ufm.sweeping.Minimisation(tolerance=1e-9)}, id="tolerance"),
        pytest.param({"method": ufm.solvers.Newton(max_steps=5)}, id="solver"),
        pytest.param({"method": ufm.flows.Flow([1.0])}, id="flow"),
        pytest.param({"report": ufm.sweeping.Report(metrics=(), keep=("logits",))}, id="kept"),
        pytest.param({"key": jax.random.key(7)}, id="key"),
        pytest.param({"make": lambda lam: make(2 * lam)}, id="problem"),
    ],
)
def test_every_part_of_the_definition_counts(tmp_path, change):
    run(tmp_path / "store")
    with pytest.raises(ValueError, match="definition"):
        run(tmp_path / "store", **change)


class Scaled(ufm.MeanSquaredError):
    """A loss of a user's."""

    def __call__(self, logits, target):
        return 2 * super().__call__(logits, target)


def test_a_loss_that_says_something_else_under_its_name_is_another_sweep(tmp_path, monkeypatch):
    labels = ufm.one_hot((2, 1), collapsed=True)
    problem = ufm.Problem(labels, loss=Scaled(), widths=(2,), lambda_W=1e-2, lambda_H=1e-2)
    over = {"lambda_W": [1e-2, 2e-2]}
    plain = ufm.sweeping.Report(certificates=False, metrics=())
    run(tmp_path / "store", make=problem, over=over, report=plain)
    monkeypatch.setattr(Scaled, "__call__", lambda self, z, q: 2.1 * ufm.MeanSquaredError()(z, q))
    with pytest.raises(ValueError, match=r"the loss of .* was"):
        run(tmp_path / "store", make=problem, over=over, report=plain)


def small_store(path) -> Store:
    """A store of one chunk with three lanes."""
    same = {"format": FORMAT, "ufm": "", "dtype": "", "definition": ""}
    return Store.enter(path, same | {"plan": [plan_of(np.arange(3))]})


THREE = {"value": np.zeros(3), "code": np.ones(3, np.int8), "lane": np.arange(3)}


def test_a_chunk_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    store = small_store(tmp_path / "store")

    def broken(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", broken)
    with pytest.raises(OSError, match="disk full"):
        store.write(0, THREE)
    assert store.read(0) is None
    assert list((tmp_path / "store" / "chunks").iterdir()) == []


def test_a_claimed_chunk_is_nobody_elses(tmp_path):
    store = small_store(tmp_path / "store")
    with store.claim(0) as mine, store.claim(0) as theirs:
        assert (mine, theirs) == (True, False)
    store.write(0, THREE)
    with store.claim(0) as again:
        assert again is False


@pytest.fixture(scope="module")
def finished(tmp_path_factory, whole):
    """A store, and one of another key."""
    folder = tmp_path_factory.mktemp("finished")
    run(folder / "store")
    run(folder / "other", key=jax.random.key(7))
    return folder


def resealed(file, *, about=None, arrays=None):
    """The file as something that means to write chunks, but is mistaken, would write it."""
    said, held = read_sealed(file)
    with open(file, "wb") as written:
        write_sealed(written, said | (about or {}), held | (arrays or {}))


def with_other_value(file):
    """One array of an archive changed, the others and the seal as they were."""
    with np.load(file) as arrays:
        held = dict(arrays)
    held["value"] = held["value"] * (1 + 1e-15)
    np.savez(file, **held)


def with_a_lane_less(file):
    _, held = read_sealed(file)
    resealed(file, arrays={name: array[:-1] for name, array in held.items() if array.ndim})


def of_a_figure(file):
    with open(file, "wb") as written:
        write_sealed(written, {"figure": "x"}, {})


# (id, what happens to the file of chunk 1, what is said of it)
DAMAGES = (
    (
        "another-name",
        lambda f: f.write_bytes((f.parent / "000002.npz").read_bytes()),
        "chunk 2 under the name of chunk 1",
    ),
    (
        "another-sweep",
        lambda f: f.write_bytes((f.parents[2] / "other/chunks/000001.npz").read_bytes()),
        "another definition",
    ),
    ("another-version", lambda f: resealed(f, about={"ufm": "0.0.0"}), "another version of ufm"),
    ("another-dtype", lambda f: resealed(f, about={"dtype": "float32"}), "another dtype"),
    ("truncated", lambda f: f.write_bytes(f.read_bytes()[:-100]), "not an .npz file"),
    ("empty", lambda f: f.write_bytes(b""), "not an .npz file"),
    ("no-archive", lambda f: f.write_bytes(b"not an archive"), "not an .npz file"),
    ("no-chunk", lambda f: np.savez(f, value=np.zeros(3)), "does not say what it holds"),
    ("of-a-figure", of_a_figure, "no chunk of a sweep"),
    ("changed-value", with_other_value, "has been changed since it was written"),
    ("other-lanes", lambda f: resealed(f, arrays={"lane": np.arange(3)}), "results of other lanes"),
    (
        "lanes-reordered",
        lambda f: resealed(f, arrays={"lane": np.array([5, 4, 3])}),
        "results of other lanes",
    ),
    ("a-lane-less", with_a_lane_less, "results of other lanes"),
    (
        "a-value-less",
        lambda f: resealed(f, arrays={"value": np.zeros(2)}),
        "no result of each of its 3 lanes in value",
    ),
    (
        "one-value",
        lambda f: resealed(f, arrays={"value": np.float64(0)}),
        "no result of each of its 3 lanes in value",
    ),
    (
        "interrupted",
        lambda f: resealed(f, arrays={"code": np.array([1, 5, 1])}),
        "lanes that were not solved",
    ),
    (
        "running",
        lambda f: resealed(f, arrays={"code": np.array([1, 1, 0])}),
        "lanes that were not solved",
    ),
    (
        "no-code",
        lambda f: resealed(f, arrays={"code": np.array([1, 1, 99])}),
        "lanes that were not solved",
    ),
)


@pytest.mark.parametrize(("damage", "words"), [pytest.param(*d[1:], id=d[0]) for d in DAMAGES])
def test_a_file_that_is_not_its_chunk_is_named(tmp_path, finished, whole, damage, words):
    shutil.copytree(finished, tmp_path / "copy")
    store = tmp_path / "copy" / "store"
    file = store / "chunks" / "000001.npz"
    damage(file)
    for read in (run, open_sweep):
        with pytest.raises(
            ValueError,
            match=rf"`store` must hold its own chunks, whole; delete .*000001\.npz .*{words}",
        ):
            read(store)
    # and what the message advises works
    file.unlink()
    data = run(store)
    assert data.attrs["complete"] == 1
    np.testing.assert_array_equal(data["value"], whole["value"])


def test_no_bit_of_a_chunk_changes_unnoticed(finished, tmp_path):
    shutil.copytree(finished / "store", tmp_path / "store")
    store = Store.open(tmp_path / "store")
    content = bytearray(store.file(1).read_bytes())
    right = store.read(1)
    for place in range(0, len(content), 7):
        changed = content.copy()
        changed[place] ^= 1 << place % 8
        store.file(1).write_bytes(changed)
        # a change that says nothing (a date in the archive) may pass, with what was there
        try:
            read = store.read(1)
        except ValueError:
            continue
        for name in right:
            np.testing.assert_array_equal(read[name], right[name])


def test_a_sweep_is_complete_where_every_lane_was_solved(whole):
    assert counted(whole.copy(deep=True), seconds=1.0).attrs["complete"] == 1
    for code in (ufm.Result.RUNNING, ufm.Result.INTERRUPTED):
        data = whole.copy(deep=True)
        data["code"].values[2, 1] = code
        assert [counted(data, seconds=1.0).attrs[name] for name in ("complete", "done")] == [0, 23]


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
