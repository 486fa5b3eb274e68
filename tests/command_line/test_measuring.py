"""`python -m ufm measure`: what it reads, what it says, and that a kill costs a checkpoint."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.commands import as_a_user
from ufm import __main__ as command
from ufm import metrics
from ufm.command_line import measuring, shards

V, D = 6, 4
RNG = np.random.default_rng(0)
Y = np.concatenate([np.arange(V), np.arange(V), RNG.integers(0, V, 78)])
F = (RNG.normal(size=(90, D)) + 2 * RNG.normal(size=(V, D))[Y]).astype(np.float32)
W, BIAS = RNG.normal(size=(V, D)), RNG.normal(size=V)
CUTS = [20, 21, 60]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Four shards in each form, a classifier and a bias; the working folder has them."""
    monkeypatch.chdir(tmp_path)
    for folder in ("npz", "npy", "labels", "tensors", "half"):
        (tmp_path / folder).mkdir()
    for number, (rows, labels) in enumerate(zip(np.split(F, CUTS), np.split(Y, CUTS), strict=True)):
        np.savez(f"npz/{number}.npz", features=rows, labels=labels)
        save_file({"features": rows, "labels": labels}, f"tensors/{number}.safetensors")
        halves = rows.astype(jnp.bfloat16)
        save_file({"x": halves, "y": labels}, f"half/{number}.safetensors")
        np.save(f"npy/{number}.npy", rows)
        np.save(f"labels/{number}.npy", labels)
    np.save("all.npy", Y)
    np.save("W.npy", W)
    np.save("b.npy", BIAS)
    return tmp_path


def run(*words: str) -> int:
    return command.main(["measure", *words, "--out", "metrics.json"])


def found() -> dict:
    with open("metrics.json", encoding="utf-8") as file:
        return json.load(file)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("npz",), id="npz"),
        pytest.param(("tensors",), id="safetensors"),
        pytest.param(("npy", "--labels", "labels"), id="npy-and-a-folder"),
        pytest.param(("npy", "--labels", "all.npy"), id="npy-and-one-file"),
    ],
)
def test_files_of_each_form_have_the_metrics_of_the_arrays(words, files, capsys, monkeypatch):
    monkeypatch.setattr(shards, "AT_ONCE", 28)
    assert run(*words, "--classifier", "W.npy", "--bias", "b.npy", "--global-mean", "samples") == 0
    document = found()
    stream = metrics.stream(V, D)
    stream.update(F.T, Y)
    expected = stream.finish(W, global_mean="samples").numbers()
    share = float(metrics.nc4_agreement(F.T, Y, W, BIAS, num_classes=V))
    expected |= {"nc4_agreement": share, "nc4_samples": 90}
    assert set(document["metrics"]) == set(expected)
    for name, value in expected.items():
        assert document["metrics"][name] == pytest.approx(value, rel=1e-12), name
    assert document["shards"] == 4
    assert not os.path.exists("metrics.json.state")
    shown = capsys.readouterr().out
    assert re.search(rf"^cdnv +{expected['cdnv']:.3e} +0 +1: classes spread", shown, re.MULTILINE)
    assert shown.endswith("written to metrics.json\n")


def test_without_a_classifier_there_are_no_duality_and_no_second_pass(files):
    assert run("npz", "--num-classes", "6") == 0
    numbers = found()["metrics"]
    assert numbers["nc3_cosine_mean"] is None
    assert "nc4_agreement" not in numbers


def test_the_second_pass_may_be_over_some_batches(files):
    assert run("npz", "--classifier", "W.npy", "--nc4-batches", "2") == 0
    assert found()["metrics"]["nc4_samples"] == 21
    os.remove("metrics.json")
    assert run("npz", "--classifier", "W.npy", "--nc4-batches", "0") == 0
    assert "nc4_samples" not in found()["metrics"]


@pytest.mark.parametrize("accumulator", [metrics.Stream, metrics.Agreement])
@pytest.mark.parametrize("after", [1, 5])
def test_an_interrupted_run_goes_on(accumulator, after, files, monkeypatch, capsys):
    """In either pass, with and without a checkpoint: the same numbers to the last bit."""
    words = ("npz", "--classifier", "W.npy")
    monkeypatch.setattr(shards, "AT_ONCE", 40)
    assert run(*words) == 0
    whole = found()
    os.remove("metrics.json")
    update, calls = accumulator.update, []

    def interrupted(self, features, labels):
        if len(calls) == after:
            raise KeyboardInterrupt
        calls.append(1)
        update(self, features, labels)

    monkeypatch.setattr(measuring, "CHECKPOINT", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(accumulator, "update", interrupted)
        assert run(*words) == 130
    assert "go on with --resume" in capsys.readouterr().err
    assert not os.path.exists("metrics.json")
    assert run(*words) == 2
    assert "add --resume to go on with it, or remove it" in capsys.readouterr().err
    seen = []
    monkeypatch.setattr(
        accumulator, "update", lambda self, f, y: (seen.append(1), update(self, f, y))[1]
    )
    assert run(*words, "--resume") == 0
    # (batches of ten rows or fewer: 2, 1, 4 and 3)
    assert len(seen) == 10 - after
    assert found() == whole
    assert run(*words, "--resume") == 2
    assert "there is something already; remove it" in capsys.readouterr().err


def test_another_run_is_not_gone_on_with(files, monkeypatch, capsys):
    def interrupted(self, features, labels):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(metrics.Stream, "update", interrupted)
        assert run("npz", "--num-classes", "6") == 130
    assert run("npz", "--num-classes", "7", "--resume") == 2
    assert "is of a run with other num_classes; remove it, or" in capsys.readouterr().err
    np.savez("npz/4.npz", features=F, labels=Y)
    assert run("npz", "--num-classes", "6", "--resume") == 2
    assert "is of a run with other shards" in capsys.readouterr().err


def test_a_killed_process_is_resumed(files):
    """As by SIGKILL, which nothing can catch: every checkpoint is whole."""
    words = ["npz", "--classifier", "W.npy", "--out", "metrics.json"]
    script = (
        "import sys, time; from ufm import __main__ as c, metrics; from ufm.command_line import "
        "measuring\nmeasuring.CHECKPOINT = 0\nupdate = metrics.Stream.update\n"
        "def slow(self, *batch):\n    update(self, *batch); time.sleep(0.4)\n"
        f"metrics.Stream.update = slow\nsys.exit(c.main(['measure', *{words!r}]))"
    )
    started = subprocess.Popen([sys.executable, "-c", script], env=as_a_user())
    state = files / "metrics.json.state" / "moments.npz"
    deadline = time.monotonic() + 60
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    started.send_signal(signal.SIGKILL)
    assert started.wait() == -signal.SIGKILL
    assert 1 <= metrics.load_stream(state).batches < 4
    assert run(*words[:-2], "--resume") == 0
    stream = metrics.stream(V, D)
    for rows, labels in zip(np.split(F, CUTS), np.split(Y, CUTS), strict=True):
        stream.update(rows.T, labels)
    assert found()["metrics"]["cdnv"] == stream.finish(W).cdnv


def test_features_of_half_precision_are_widened(files):
    """bfloat16, which NumPy has no word for, under names of the user's."""
    assert run("half", "--features", "x", "--labels", "y", "--num-classes", "6") == 0
    stream = metrics.stream(V, D)
    for rows, labels in zip(np.split(F, CUTS), np.split(Y, CUTS), strict=True):
        stream.update(rows.astype(jnp.bfloat16).astype(np.float32).T, labels)
    assert found()["metrics"]["cdnv"] == stream.finish().cdnv


def test_tensors_without_their_library(files, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert run("tensors", "--num-classes", "6") == 2
    assert "the extra `ufm[files]`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "words", "named"),
    [
        pytest.param(None, ("npz",), "--num-classes must be given", id="no-V"),
        pytest.param(None, ("none", "--num-classes", "6"), "FOLDER must hold", id="no-folder"),
        pytest.param(
            None, ("npz", "--num-classes", "6", "--bias", "b.npy"), "--bias needs", id="bias"
        ),
        pytest.param(
            None,
            ("npz", "--num-classes", "5", "--classifier", "W.npy"),
            "--num-classes must be the rows of --classifier, 6; got 5",
            id="other-V",
        ),
        pytest.param(
            None,
            ("npz", "--classifier", "W.npy", "--nc4-batches", "-1"),
            "--nc4-batches must be >= 0",
            id="batches",
        ),
        pytest.param(None, ("npz", "--num-classes", "3"), "0.npz, rows 0 to 20: `labels`", id="id"),
        pytest.param(None, ("npz", "--classifier", "b.npy"), "`classifier` must be", id="W"),
        pytest.param(
            None, ("npz", "--classifier", "npz/0.npz"), "--classifier npz/0.npz must be", id="W.npz"
        ),
        pytest.param(
            None,
            ("npy", "--num-classes", "6", "--labels", "nowhere"),
            "--labels must be a folder",
            id="no-labels",
        ),
        pytest.param(
            None,
            ("npy", "--num-classes", "6", "--labels", "b.npy"),
            "--labels must have a label for each of 90 rows; got 6",
            id="few-labels",
        ),
        pytest.param(
            None,
            ("npz", "--num-classes", "6", "--labels", "y"),
            "must hold an array 'y', or --labels another; it has; got features, labels",
            id="no-such-array",
        ),
        pytest.param(
            None,
            ("tensors", "--num-classes", "6", "--features", "x"),
            "must hold an array 'x', or --features another; it has; got features, labels",
            id="no-such-tensor",
        ),
        pytest.param(
            lambda: os.truncate("tensors/1.safetensors", 60),
            ("tensors", "--num-classes", "6"),
            "1.safetensors: not a .safetensors file",
            id="half-a-file-of-tensors",
        ),
        pytest.param(
            lambda: np.savez("npz/2.npz", features=F[:9, :3], labels=Y[:9]),
            ("npz", "--num-classes", "6"),
            r"2.npz must have shape (9, 4); got (9, 3)",
            id="another-width",
        ),
        pytest.param(
            lambda: np.savez("npz/2.npz", features=np.full((9, 4), np.nan), labels=Y[:9]),
            ("npz", "--num-classes", "6"),
            "2.npz, rows 0 to 9: `features` must be finite",
            id="NaN",
        ),
        pytest.param(
            lambda: np.save("labels/2.npy", Y[None]),
            ("npy", "--num-classes", "6", "--labels", "labels"),
            "2.npy must be a sequence",
            id="deep-labels",
        ),
    ],
)
def test_bad_input_is_named(spoil, words, named, files, capsys):
    if spoil is not None:
        spoil()
    assert run(*words) == 2
    assert named in capsys.readouterr().err
    # nothing was seen, and the command can be given again once it is mended
    assert not os.path.exists("metrics.json.state")
