"""Where sharp codes are proved, as a table, and random points against every bound.

With `--searches`: how often `ufm.search` ends, within a minute of two cores, at the best known
codes where random starts fail.

`python -m tests.benchmarks.codes --json tests/benchmarks/results/codes.json`, and the same with
`--searches 20`: the file keeps what the other has measured, each with its environment.

Exit 1 where a point is below a bound, or fewer than nine searches in ten succeed. Tries are shared
among codes in inverse proportion to their size.
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
from tests.benchmarks.manifold_rival import SphereCrossEntropy
from tests.benchmarks.spheres import our_problem

BETAS = (0.02, 0.2, 1.0, 3.0, 8.0, 20.0, 60.0)
# Bounds are rounded down, losses are not.
ROUNDING = 1e-12
# Entries of the matrices that are made at once.
BATCH = 2 * 10**6


def intervals(codes, *, width: float) -> list[dict]:
    """Where each code is proved by either theorem: pairs of β, None where there is no end."""
    rows = []
    for code in codes:
        row = {"code": code.name, "K": code.num_vectors, "d": code.dim}
        for theorem in "AB":
            found = ufm.certificates.proved_intervals(code, theorem=theorem, width=width)
            row[theorem] = [
                [each.low, each.high if np.isfinite(each.high) else None] for each in found
            ]
        rows.append(row)
    return rows


def table(rows: list[dict]) -> str:
    """Of the intervals of β, in Markdown."""
    lines = [
        "| code | K | d | among W = H (theorem A, ours) | over all W, H (theorem B, ours) |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [row["code"], str(row["K"]), str(row["d"])]
        for theorem in "AB":
            ends = (
                f"[{low:.4g}, {'inf)' if high is None else f'{high:.4g}]'}"
                for low, high in row[theorem]
            )
            cells.append(", ".join(ends) or "best known")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def losses(W: np.ndarray, H: np.ndarray, beta: float) -> np.ndarray:
    """Cross-entropy of a batch of unit rows w and h, (n, K, d)."""
    gaps = W @ np.swapaxes(H, 1, 2)
    own = np.einsum("nkk->nk", gaps).copy()
    np.einsum("nkk->nk", gaps)[:] = -np.inf
    return np.log1p(np.exp(beta * (gaps - own[:, None, :])).sum(axis=1)).mean(axis=1)


def least_excess(code, beta: float, tries: int, rng) -> float:
    """The least of loss / bound − 1 over random points, half of them near the code, for both
    theorems."""
    bounds = [ufm.certificates.code_bound(code, beta, theorem=theorem).lower() for theorem in "AB"]
    least, (K, d) = np.inf, code.vectors.shape
    for size in [min(tries, max(1, BATCH // K**2))] * -(-tries // max(1, BATCH // K**2)):
        sizes = np.where(rng.random(size) < 0.5, 10.0 ** rng.uniform(-4, 0, size), 1e9)[
            :, None, None
        ]
        points = code.vectors + sizes * rng.normal(size=(2, size, K, d))
        W, H = points / np.linalg.norm(points, axis=3, keepdims=True)
        for bound, features in zip(bounds, (W, H), strict=True):
            least = min(least, float(np.min(losses(W, features, beta) / bound)) - 1)
    return least


# Vectors, dimension and the least loss known at an inverse temperature of 20: the 24-cell, and what
# 14 of 512 random starts end at.
HARD = ((24, 4, 3.6314586032992654e-4), (30, 10, 5.940877484832878e-7))
STARTS = 256
# A minute of two cores, in seconds of processors; and how many of the searches must succeed in it.
MOST_SECONDS, REQUIRED = 120.0, 0.9


def searched(number: int, dim: int, least: float, seed: int) -> dict:
    """One search: its loss over the least known, less 1, and what it costs."""
    problem = our_problem(SphereCrossEntropy(number, dim, 20.0))
    began, clock = time.process_time(), time.perf_counter()
    value = ufm.search(problem, key=jax.random.key(seed), starts=STARTS, progress=False).value
    return {
        "seed": seed,
        "excess": float(value / least - 1),
        "cpu seconds": time.process_time() - began,
        "seconds": time.perf_counter() - clock,
    }


def succeeds(one: dict) -> bool:
    """Whether a search ends at the least loss known, or below it, in its time."""
    return one["excess"] <= 1e-9 and one["cpu seconds"] <= MOST_SECONDS


def searches(calls: int) -> list[dict]:
    """All searches of each hard code."""
    return [
        {
            "vectors": number,
            "d": dim,
            "calls": [searched(number, dim, least, seed) for seed in range(calls)],
        }
        for number, dim, least in HARD
    ]


def search_table(rows: list[dict]) -> tuple[str, bool]:
    """Of the successes, in Markdown, and whether there are enough."""
    lines = [
        "| vectors | d | searches that succeed | seconds, median and most | of processors |",
        "|---|---|---|---|---|",
    ]
    enough = True
    for row in rows:
        calls = row["calls"]
        found = sum(map(succeeds, calls))
        enough &= found >= REQUIRED * len(calls)
        times = [
            f"{np.median(seconds):.0f}, {max(seconds):.0f}"
            for kind in ("seconds", "cpu seconds")
            for seconds in [[each[kind] for each in calls]]
        ]
        cells = (row["vectors"], row["d"], f"{found} of {len(calls)}", *times)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines), enough


def main(arguments: list[str] | None = None) -> int:
    """Print the table and the tries."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.codes", description=__doc__)
    parser.add_argument(
        "--tries",
        type=int,
        default=100_000,
        help="points in all, for each theorem (default 100000)",
    )
    parser.add_argument(
        "--width", type=float, default=1e-3, help="how closely the ends are found (default 1e-3)"
    )
    parser.add_argument(
        "--searches", type=int, default=0, help="searches of each hard code, and nothing else"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write what is found here")
    options = parser.parse_args(arguments)
    if options.searches:
        jax.config.update("jax_enable_x64", True)
        rows = searches(options.searches)
        lines, enough = search_table(rows)
        print(lines)
        _written(options.json, "searches", rows)
        return int(not enough)
    codes, start = ufm.frames.sharp_codes(), time.perf_counter()
    rows = intervals(codes, width=options.width)
    print(table(rows), f"\n\n{time.perf_counter() - start:.0f} s", flush=True)
    _written(options.json, "intervals", rows)
    number, worst = tried(codes, options.tries)
    print(
        f"{number} points for each theorem: least relative distance above a bound {worst:.1e}, "
        f"{time.perf_counter() - start:.0f} s"
    )
    _written(options.json, "tries", [{"points": number, "least excess": worst}])
    return int(worst < -ROUNDING)


def tried(codes, tries: int) -> tuple[int, float]:
    """How many points were tried for each theorem, and the least relative distance above a
    bound."""
    rng, shares = np.random.default_rng(0), np.array([1 / code.num_vectors for code in codes])
    counts = np.ceil(tries / len(BETAS) * shares / shares.sum()).astype(int)
    worst = np.inf
    for code, count in zip(codes, counts, strict=True):
        for beta in BETAS:
            excess = least_excess(code, beta, int(count), rng)
            worst = min(worst, excess)
            if excess < -ROUNDING:
                print(f"{code.name}, beta = {beta:g}: below the bound by {-excess:.1e}")
    return int(counts.sum()) * len(BETAS), worst


def _written(path: Path | None, part: str, rows: list[dict]) -> None:
    """The file with one part of it new, in its own environment."""
    if path is None:
        return
    document = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    document[part] = {"environment": harness.environment(ALL_CORES), "rows": rows}
    harness.write_json(str(path), document)


if __name__ == "__main__":
    sys.exit(main())
