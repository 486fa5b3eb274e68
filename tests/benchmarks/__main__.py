"""Time ours against the rivals and print a table of ratios; exit 1 where a required one is missed.

The groups that use one thread run in this process; those that use every core run in a process of
their own each.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

THREADS = {
    # one thread for both sides: default threads were measured 8 to 28 times slower on a shared
    # machine, and uneven
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}
# What a batch is for: our side may use every core the process has, a Python loop over scipy uses
# one whatever it is given.
ALL_CORES = {"OPENBLAS_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}


@dataclass(frozen=True)
class Group:
    """A module of this package whose `rows` takes `repeats` and perhaps `seeds`, and the threads
    that it runs with."""

    module: str
    threads: dict[str, str]


GROUPS = {
    "squared-error": Group("squared_error", THREADS),
    "cross-entropy": Group("cross_entropy", THREADS),
    "flows": Group("flows", THREADS),
    "accuracy": Group("time_to_accuracy", THREADS),
    "scaling": Group("scaling", THREADS),
    "start-up": Group("start_up", THREADS),
    "fixed-classifier": Group("fixed_classifier", THREADS),
    "federated": Group("federated", THREADS),
    "proofs": Group("proofs", THREADS),
    "spheres": Group("spheres", THREADS),
    "metrics": Group("metrics", THREADS),
    "large": Group("large", ALL_CORES),
    "sweeps": Group("sweeps", ALL_CORES),
    "notebooks": Group("notebooks", ALL_CORES),
    "rectified": Group("rectified", ALL_CORES),
    "gpu": Group("gpu", {}),
}
# run where it is named: elsewhere there is nothing to time
_ON_REQUEST = ("gpu",)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    top.add_argument(
        "groups",
        nargs="*",
        metavar="GROUP",
        help=f"which to run, all but gpu unless given: {', '.join(GROUPS)}",
    )
    top.add_argument("--seeds", type=int, default=3, help="random starts (default 3)")
    top.add_argument(
        "--repeats",
        type=int,
        default=5,
        help="timed runs of each start; medians are reported (default 5)",
    )
    top.add_argument(
        "--json",
        metavar="FILE",
        help="also write rows, machine, versions and threads here, whole or not at all",
    )
    return top


def main(argv: list[str] | None = None) -> int:
    arguments = parser()
    args = arguments.parse_args(argv)
    if min(args.seeds, args.repeats) < 1:
        arguments.error(f"--seeds and --repeats must be >= 1; got {args.seeds} and {args.repeats}")
    unknown = [name for name in args.groups if name not in GROUPS]
    if unknown:
        arguments.error(f"GROUP must be one of {', '.join(GROUPS)}; got {', '.join(unknown)}")
    names = args.groups or [name for name in GROUPS if name not in _ON_REQUEST]
    if len(names) == 1:
        return _run(names[0], args)
    documents = [_run_apart(name, args) for name in names]
    if args.json:
        from tests.benchmarks import harness

        harness.write_json(
            args.json,
            {name: document for name, document in zip(names, documents, strict=True) if document},
        )
    return (
        0
        if all(
            document and all(row["met"] is not False for row in document["rows"])
            for document in documents
        )
        else 1
    )


def _run(name: str, args) -> int:
    """One group, in this process."""
    group = GROUPS[name]
    # before NumPy and XLA are loaded, which read these once
    os.environ.update(group.threads)
    import jax

    jax.config.update("jax_enable_x64", True)
    from tests.benchmarks import harness

    environment = harness.environment(group.threads)
    print(f"== {name}\n{harness.describe(environment)}", flush=True)
    rows_of = importlib.import_module(f"tests.benchmarks.{group.module}").rows
    options = (
        {"seeds": range(args.seeds)} if "seeds" in inspect.signature(rows_of).parameters else {}
    )
    rows = rows_of(repeats=args.repeats, **options)
    print(harness.table(rows), flush=True)
    if args.json:
        harness.write_json(
            args.json, {"environment": environment, "rows": [row.as_dict() for row in rows]}
        )
    return 0 if all(row.met is not False for row in rows) else 1


def _run_apart(name: str, args) -> dict | None:
    """One group, in a process of its own, whose threads are set before anything is loaded.

    None where it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "rows.json"
        command = [
            sys.executable,
            "-m",
            "tests.benchmarks",
            name,
            "--seeds",
            str(args.seeds),
            "--repeats",
            str(args.repeats),
        ]
        subprocess.run([*command, "--json", str(target)], check=False)
        return json.loads(target.read_text(encoding="utf-8")) if target.exists() else None


if __name__ == "__main__":
    raise SystemExit(main())
