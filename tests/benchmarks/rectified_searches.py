"""How often a call of `ufm.search` ends at or below the best values that were known before it.

On models with ReLU layers, at three tenths of the strength at which zero is as good as collapse;
beside it in how many starts a prototype in NumPy reached that value, of random starts alone. Calls
that the file has already are not made again, and each is written as it ends.

`python -m tests.benchmarks.rectified_searches --calls 10 --json \
tests/benchmarks/results/rectified_searches.json`

Exit 1 where fewer than nine in ten calls do, or where one takes more than ten minutes of two cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import jax
import numpy as np

import ufm
from tests.benchmarks import harness
from tests.benchmarks.__main__ import ALL_CORES
from tests.benchmarks.rectified import SHARE, problem

# K, L, width, the value over that of collapse that was known (a triple after descent and sums of
# it, and starts of a prototype), and in how many of its starts the prototype reached it
KNOWN = (
    (3, 4, 5, 0.977422, (0, 16)),
    (3, 5, 5, 0.918409, (1, 16)),
    (4, 4, 6, 0.983066, (1, 16)),
    (4, 5, 6, 0.938807, (5, 16)),
    (4, 6, 6, 0.906444, (0, 16)),
    (5, 4, 7, 0.986453, (4, 16)),
    (6, 4, 8, 0.936014, (1, 24)),
)
STARTS = 32
REQUIRED = 0.9
# ten minutes of two cores, in seconds of processors
MOST_SECONDS = 1200.0
# the last digit of what was known
_DIGIT = 1e-6


def call(classes: int, depth: int, width: int, seed: int) -> dict:
    """One search: its value over that of collapse, what it costs, and what it found."""
    here = problem(classes, depth, SHARE, width=width)
    strength = float(here.lambda_H)
    collapsed = ufm.laws.rectified_scale(classes, strength=strength, depth=depth).value
    began, clock = time.process_time(), time.perf_counter()
    found = ufm.search(here, key=jax.random.key(seed), starts=STARTS, progress=False)
    return {
        "seed": seed,
        "ratio": found.value / collapsed,
        "cpu seconds": time.process_time() - began,
        "seconds": time.perf_counter() - clock,
        "best": str(found).split("\n")[1].strip(),
    }


def hits(row: dict) -> int:
    """Calls that end at what was known or below."""
    return sum(each["ratio"] <= row["known"] + _DIGIT for each in row["calls"])


def met(row: dict) -> bool:
    """Whether there are enough of them, each in its time."""
    often = hits(row) >= REQUIRED * len(row["calls"])
    return often and all(each["cpu seconds"] <= MOST_SECONDS for each in row["calls"])


def table(rows: list[dict]) -> str:
    """In Markdown."""
    lines = [
        "| K | L | width | known | calls there or below | least | prototype's starts "
        "| CPU seconds of a call, median and most |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        seconds = [each["cpu seconds"] for each in row["calls"]]
        least = min(each["ratio"] for each in row["calls"])
        reached, of = row["prototype"]
        lines.append(
            f"| {row['K']} | {row['L']} | {row['width']} | {row['known']} "
            f"| {hits(row)} of {len(seconds)} | {least:.6f} | {reached} of {of} "
            f"| {np.median(seconds):.0f}, {max(seconds):.0f} |"
        )
    return "\n".join(lines)


def measured(calls: int, chosen: list[str], path: Path | None) -> list[dict]:
    """The rows that were asked for, with those of the file; written after every call."""
    document = {"environments": [], "rows": []}
    if path is not None and path.exists():
        document = json.loads(path.read_text(encoding="utf-8"))
    rows = {(row["K"], row["L"], row["width"]): row for row in document["rows"]}
    for K, L, width, known, prototype in KNOWN:
        if chosen and f"{K}:{L}" not in chosen:
            continue
        row = rows.setdefault(
            (K, L, width),
            {"K": K, "L": L, "width": width, "share": SHARE, "known": known,
             "prototype": list(prototype), "starts": STARTS, "calls": []},
        )  # fmt: skip
        for seed in sorted(set(range(calls)) - {each["seed"] for each in row["calls"]}):
            last = call(K, L, width, seed)
            about = harness.environment(ALL_CORES)
            last["environment"] = harness.number_of(about, document["environments"])
            row["calls"].append(last)
            print(f"K = {K}, L = {L}: {last['ratio']:.9f} {last['cpu seconds']:.0f} s", flush=True)
            if path is not None:
                harness.write_json(str(path), document | {"rows": [*rows.values()]})
    return [row for row in rows.values() if row["calls"]]


def main(arguments: list[str] | None = None) -> int:
    """Print how often searches succeed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.rectified_searches")
    parser.add_argument("--calls", type=int, default=10, help="of each setting (default 10)")
    parser.add_argument(
        "--settings", nargs="*", default=[], metavar="K:L", help="some of them, such as 3:4"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="what is there, and goes there")
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    rows = measured(options.calls, options.settings, options.json)
    print(table(rows))
    return int(not all(map(met, rows)))


if __name__ == "__main__":
    sys.exit(main())
