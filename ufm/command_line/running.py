"""`python -m ufm sweep`: the problems of SPEC.toml into a store."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from typing import Any

from ufm._system.command import path_argument
from ufm.command_line.printing import environment, plain


def add_sweep(commands) -> argparse.ArgumentParser:
    """The command, its arguments and their help."""
    from ufm.command_line import spec

    form = re.findall(r"^(?: {4}.*)?\n", spec.__doc__ or "", re.MULTILINE)
    command = commands.add_parser(
        "sweep",
        help="run a sweep into a store",
        description="Solve the problems of SPEC.toml into a store, which ufm.open_sweep reads.",
        epilog="the format of SPEC.toml:\n\n" + "".join(form).strip("\n"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "spec", metavar="SPEC.toml", type=path_argument, help="what is shared, and what is swept"
    )
    command.add_argument(
        "--out", required=True, metavar="STORE", type=path_argument, help="folder of the results"
    )
    command.add_argument("--resume", action="store_true", help="go on with a store that is there")
    return command


def sweep(options: argparse.Namespace) -> int:
    """Run the sweep of the options and print what came of it; the exit status."""
    from ufm.command_line.spec import read_spec

    spec = read_spec(options.spec)
    if os.path.exists(options.out) and not options.resume:
        raise ValueError(
            f"--out {options.out}: there is something already; add --resume to go on with it"
        )
    dataset = spec.run(options.out)
    document = _summary(dataset) | {"store": options.out}
    if options.json:
        print(
            json.dumps(
                plain(environment(dataset["value"].dtype) | document), indent=1, allow_nan=False
            )
        )
    else:
        results = ", ".join(f"{number} {name}" for name, number in document["results"].items())
        gap = document["largest_gap"]
        certified = "" if gap is None else f"\nlargest relative duality gap {gap:.1e}"
        done, stored = f"{document['done']} of {document['lanes']} lanes done", document["stored"]
        if stored:
            done += f", {stored} of them stored before and {document['done'] - stored} solved now"
        print(
            f"{done}, {document['seconds']:.3g} s in this run: {results}{certified}\nstored in "
            f"{options.out}"
        )
    if not document["complete"]:
        print("interrupted: go on with --resume", file=sys.stderr)
    return document["status"]


def _summary(dataset) -> dict[str, Any]:
    """What a finished or interrupted sweep comes to."""
    import numpy as np

    from ufm.solution import Result

    codes, numbers = np.unique(dataset["code"].values, return_counts=True)
    gaps = dataset["gap"].values if "gap" in dataset else np.empty(0)
    gaps = gaps[~np.isnan(gaps)]
    complete, failed = bool(dataset.attrs["complete"]), int(dataset.attrs["failed"])
    return {
        "lanes": int(dataset.attrs["lanes"]),
        "done": int(dataset.attrs["done"]),
        "stored": int(dataset.attrs["stored"]),
        "failed": failed,
        "complete": complete,
        "results": {
            Result(int(code)).name: int(number) for code, number in zip(codes, numbers, strict=True)
        },
        "largest_gap": float(gaps.max()) if gaps.size else None,
        "seconds": float(dataset.attrs["seconds"]),
        "status": 130 if not complete else 1 if failed else 0,
    }
