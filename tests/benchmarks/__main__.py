"""Time ours against the rivals, on one thread, and print a table of ratios; exit 1 where a required one is missed."""

from __future__ import annotations

import argparse
import os

THREADS = {
    # one thread for both sides: default threads were measured 8 to 28 times slower on a shared machine, and uneven
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="random starts (default 3)")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each start; medians are reported (default 5)")
    parser.add_argument("--json", metavar="FILE", help="also write rows, machine, versions and threads here, whole or not at all")
    args = parser.parse_args()
    if min(args.seeds, args.repeats) < 1:
        parser.error(f"--seeds and --repeats must be >= 1; got {args.seeds} and {args.repeats}")

    # before NumPy and XLA are loaded, which read these once
    os.environ.update(THREADS)
    import jax

    jax.config.update("jax_enable_x64", True)
    from tests.benchmarks import cross_entropy, flows, harness, squared_error

    environment = harness.environment(THREADS)
    print(harness.describe(environment), flush=True)
    rows = squared_error.rows(seeds=range(args.seeds), repeats=args.repeats)
    rows += cross_entropy.rows(seeds=range(args.seeds), repeats=args.repeats)
    rows += flows.rows(repeats=args.repeats)
    print(harness.table(rows))
    if args.json:
        harness.write_json(args.json, {"environment": environment, "rows": [row.as_dict() for row in rows]})
    return 0 if all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
