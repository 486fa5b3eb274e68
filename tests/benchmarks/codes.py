"""Where sharp codes are proved, as a table, and random points against every bound.

With `--searches`: how often `ufm.search` ends at the best known codes where random starts fail.

`python -m tests.benchmarks.codes`.

Exit 1 where a point is below a bound, or fewer than nine searches in ten succeed. Tries are shared
among codes in inverse proportion to their size.
"""

from __future__ import annotations

import argparse
import sys
import time

import jax
import numpy as np

import ufm

BETAS = (0.02, 0.2, 1.0, 3.0, 8.0, 20.0, 60.0)
# Bounds are rounded down, losses are not.
ROUNDING = 1e-12
# Entries of the matrices that are made at once.
BATCH = 2 * 10**6


def table(codes, *, width: float) -> str:
    """Of the intervals of β, in Markdown."""
    lines = [
        "| code | K | d | among W = H (theorem A, ours) | over all W, H (theorem B, ours) |",
        "|---|---|---|---|---|",
    ]
    for code in codes:
        cells = [code.name, str(code.num_vectors), str(code.dim)]
        for theorem in "AB":
            found = ufm.certificates.proved_intervals(code, theorem=theorem, width=width)
            cells.append(", ".join(map(str, found)) or "best known")
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


def successes(number: int, dim: int, least: float, calls: int) -> tuple[int, list[float]]:
    """How many searches end at the least loss known, and the seconds of each."""
    problem = ufm.Problem(
        ufm.one_hot((1,) * number, collapsed=True),
        loss=ufm.CrossEntropy(),
        widths=(dim,),
        lambda_W=0.0,
        lambda_H=0.0,
        features=ufm.domains.Sphere(20.0),
        classifier=ufm.domains.Sphere(1.0),
    )
    found, seconds = 0, []
    for seed in range(calls):
        start = time.perf_counter()
        value = ufm.search(problem, key=jax.random.key(seed), starts=STARTS, progress=False).value
        seconds.append(time.perf_counter() - start)
        found += value <= least * (1 + 1e-9)
    return found, seconds


def search_table(calls: int) -> tuple[str, bool]:
    """Of the successes, in Markdown, and whether there are enough."""
    lines = [
        "| vectors | d | searches that succeed | seconds, median and most |",
        "|---|---|---|---|",
    ]
    enough = True
    for number, dim, least in HARD:
        found, seconds = successes(number, dim, least, calls)
        enough &= found >= 0.9 * calls
        times = f"{np.median(seconds):.0f}, {max(seconds):.0f}"
        lines.append(f"| {number} | {dim} | {found} of {calls} | {times} |")
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
    options = parser.parse_args(arguments)
    if options.searches:
        jax.config.update("jax_enable_x64", True)
        lines, enough = search_table(options.searches)
        print(lines)
        return int(not enough)
    codes, rng, start = ufm.frames.sharp_codes(), np.random.default_rng(0), time.perf_counter()
    print(table(codes, width=options.width), f"\n\n{time.perf_counter() - start:.0f} s", flush=True)
    shares = np.array([1 / code.num_vectors for code in codes])
    counts = np.ceil(options.tries / len(BETAS) * shares / shares.sum()).astype(int)
    worst = np.inf
    for code, count in zip(codes, counts, strict=True):
        for beta in BETAS:
            excess = least_excess(code, beta, int(count), rng)
            worst = min(worst, excess)
            if excess < -ROUNDING:
                print(f"{code.name}, beta = {beta:g}: below the bound by {-excess:.1e}")
    print(
        f"{counts.sum() * len(BETAS)} points for each theorem: least relative distance above a "
        f"bound {worst:.1e}"
    )
    print(f"{time.perf_counter() - start:.0f} s")
    return int(worst < -ROUNDING)


if __name__ == "__main__":
    sys.exit(main())
