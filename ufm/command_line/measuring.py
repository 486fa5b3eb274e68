"""`python -m ufm measure`: collapse of features in files, at the size of a vocabulary.

Nothing heavy is imported until the command runs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from ufm._system.command import path_argument
from ufm._system.progress import Progress
from ufm._version import __version__

# Seconds between two checkpoints: what a kill costs at most.
CHECKPOINT = 30.0
_MEANS = ("classes", "samples")


def add_measure(commands) -> None:
    """The command, its arguments and their help."""
    command = commands.add_parser(
        "measure",
        help="measure features in files",
        description="Metrics of neural collapse of the features in the .npz, .safetensors or "
        ".npy files of a folder: one pass over them, and a second one for NC4 where there is a "
        "classifier. What is held is O(V d).",
    )
    _add_files(command.add_argument)
    _add_metrics(command.add_argument)


def _add_files(add) -> None:
    """Where features, labels and the classifier are."""
    add(
        "folder",
        metavar="FOLDER",
        type=path_argument,
        help="shards, in the order of their names: .npz or .safetensors files of features (N, d) "
        "and labels (N,), or .npy files of features; or one such file",
    )
    add(
        "--labels",
        default="labels",
        type=path_argument,
        metavar="NAME",
        help="array of the labels in each .npz or .safetensors file (default: labels); for .npy "
        "files a folder of files with the same names, or one .npy file for all rows",
    )
    add("--features", default="features", metavar="NAME", help="likewise (default: features)")
    add(
        "--num-classes",
        type=int,
        metavar="V",
        help="how many classes; the rows of the classifier unless given",
    )
    add("--classifier", type=path_argument, metavar="W.npy", help="(V, d): for NC3 and NC4")
    add("--bias", type=path_argument, metavar="B.npy", help="(V,): for NC4")


def _add_metrics(add) -> None:
    """What is measured, and where that goes."""
    add(
        "--least",
        type=int,
        default=2,
        metavar="N",
        help="classes with fewer samples are left out (default: 2)",
    )
    add(
        "--global-mean",
        default=_MEANS[0],
        choices=_MEANS,
        help="of the class means (default), or of all samples",
    )
    add(
        "--nc4-batches",
        type=int,
        metavar="N",
        help="NC4 on the first batches alone, which the answer states; 0 for none (default: all)",
    )
    add("--out", required=True, type=path_argument, metavar="FILE.json", help="the metrics")
    add("--resume", action="store_true", help="go on where an interrupted run stopped")


def measure(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    out, state = Path(options.out), Path(f"{options.out}.state")
    there = next((path for path in (out, state) if path.exists()), None)
    if there is not None and (there == out or not options.resume):
        advice = "add --resume to go on with it, or " if there == state else ""
        raise ValueError(f"--out {there}: there is something already; {advice}remove it")
    from ufm.command_line.shards import fingerprint, read_array, shards_of

    shards = shards_of(options.folder, options.features, options.labels)
    classifier = options.classifier and read_array(options.classifier, "--classifier")
    bias = options.bias and read_array(options.bias, "--bias")
    if options.bias and not options.classifier:
        raise ValueError("--bias needs --classifier")
    if options.nc4_batches is not None and options.nc4_batches < 0:
        raise ValueError(f"--nc4-batches must be >= 0; got {options.nc4_batches}")
    settings: dict[str, Any] = {
        "folder": options.folder,
        "labels": options.labels,
        "features": options.features,
        "num_classes": _num_classes(options.num_classes, classifier),
        "classifier": options.classifier,
        "bias": options.bias,
        "least": options.least,
        "global_mean": options.global_mean,
    }
    _begin(state, settings | {"shards": fingerprint(shards)})
    try:
        document = _passes(settings, shards, classifier, bias, state, options.nc4_batches)
    except Exception:
        # nothing to go on with: what is mended in the command may be given at once
        if not _moments(state).exists():
            shutil.rmtree(state)
        raise
    from ufm._system.files import write_whole

    write_whole(out, json.dumps(document, indent=1, allow_nan=False) + "\n")
    shutil.rmtree(state)
    from ufm.metrics.table import stream_table

    print(stream_table(document["metrics"]))
    print(f"written to {out}")
    return 0


def _num_classes(given: int | None, classifier) -> int:
    if given is None and classifier is None:
        raise ValueError("--num-classes must be given where there is no --classifier")
    if given is None:
        return len(classifier)
    if classifier is not None and len(classifier) != given:
        raise ValueError(
            f"--num-classes must be the rows of --classifier, {len(classifier)}; got {given}"
        )
    return given


def _begin(state: Path, settings: dict[str, Any]) -> None:
    """The folder of checkpoints, for these files and settings alone."""
    from ufm._system.files import checked_json, sealed_json, write_whole

    about = state / "settings.json"
    if not state.exists():
        state.mkdir()
    if not about.exists():
        write_whole(about, json.dumps(sealed_json(settings)))
        return
    try:
        found = checked_json(about.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{about}: {error}") from error
    if found != json.loads(json.dumps(settings)):
        wrong = [name for name in settings if found.get(name) != settings[name]]
        advice = "remove it, or give another --out"
        raise ValueError(f"--resume: {state} is of a run with other {', '.join(wrong)}; {advice}")


def _moments(state: Path) -> Path:
    """The first checkpoint there is."""
    return state / "moments.npz"


def _passes(settings, shards, classifier, bias, state: Path, most: int | None) -> dict[str, Any]:
    """Both passes, from where they stopped, and what they come to."""
    from ufm.metrics import load_stream, stream
    from ufm.metrics.batches import checked_bias, checked_classifier

    moments, agreement = _moments(state), state / "agreement.json"
    V, dim = settings["num_classes"], shards[0].read_features().shape[-1]
    seen = load_stream(moments) if moments.exists() else stream(V, dim)
    # now, not after an hour
    if classifier is not None:
        checked_classifier(classifier, V, dim)
    if bias is not None:
        checked_bias(bias, V)
    _run("moments", seen, shards, dim, moments, None)
    found = seen.finish(classifier, least=settings["least"], global_mean=settings["global_mean"])
    metrics = {name: _plain(value) for name, value in found.numbers().items()}
    if classifier is not None and most != 0:
        second = seen.agreement(classifier, bias, least=settings["least"])
        if agreement.exists():
            second.resume(agreement)
        _run("NC4", second, shards, dim, agreement, most)
        metrics |= {"nc4_agreement": _plain(second.finish()), "nc4_samples": second.samples}
    return {"ufm": __version__, **settings, "shards": len(shards), "metrics": metrics}


def _run(what: str, accumulator, shards, dim: int, path: Path, most: int | None) -> None:
    """Every batch that it has not seen, with a checkpoint now and then and at the end."""
    from ufm.command_line.shards import batches_of

    bar = Progress(what, total=len(shards), left="about")
    saved = time.monotonic()
    try:
        for where, done, features, labels in batches_of(shards, dim, accumulator.batches):
            if most is not None and accumulator.batches >= most:
                break
            try:
                accumulator.update(features, labels)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
            if time.monotonic() - saved >= CHECKPOINT:
                accumulator.save(path)
                saved = time.monotonic()
            bar.update(done, "shards")
    except KeyboardInterrupt:
        # a batch may be in by half: what counts is the last checkpoint
        print(f"go on with --resume; {path.parent} has what was seen", file=sys.stderr)
        raise
    finally:
        bar.close()
    accumulator.save(path)


def _plain(value: float) -> float | int | None:
    """A number that JSON has a word for."""
    return value if isinstance(value, int) or abs(value) < float("inf") else None
