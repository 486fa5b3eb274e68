"""`python -m tests.gpu`: does an accelerator give the CPU's answers, to 1e-10 in float64?

It runs in a checkout with nothing installed (`PYTHONPATH=.`), without pytest: the same workloads
are run by two processes, one of them held to the CPU, and compared. Exit status 0 where all agree,
1 where one does not, 2 where JAX finds no accelerator. `--platform cpu` compares the CPU with
itself, which tries this program.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

TOLERANCE, GAP = 1e-10, 1e-9
_ABOUT = "Does an accelerator give the CPU's answers?"


def answers(small: bool) -> dict[str, np.ndarray]:
    """What every workload comes to, by name; those that end in "gap" are to be small."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import ufm
    from tests.gpu import workloads

    found, problem = {}, workloads.vocabulary(64 if small else 512, 8 if small else 32)

    def sweep():
        data = workloads.sweep_of(60 if small else 3000)
        found.update({"sweep: value": data["value"].values, "sweep: gap": data["gap"].values})

    def flows():
        run = workloads.flows_of(4 if small else 64)
        found["flows: value"] = run.value

    def mixup():
        solution = workloads.mixed()
        found["mixup: value"] = solution.value
        found["mixup: singular values"] = np.linalg.svd(solution.params.logits, compute_uv=False)
        found["mixup: gap"] = ufm.certify(solution.problem, solution.params).gap

    def deep():
        two = workloads.two_layers()
        found["deep: value"] = ufm.minimise(two, key=jax.random.key(5), starts=8).value

    def domains():
        one = workloads.certified(1e-3, (5, 4, 3, 1))
        ball = one.replace(features=ufm.domains.Ball(3.0), lambda_H=0.0)
        solution = ufm.minimise(ball, key=jax.random.key(6))
        found["ball: value"] = solution.value
        found["ball: gap"] = ufm.certify(ball, solution.params).gap

    def vocabulary():
        point = ufm.solvers.random_start(problem, key=jax.random.key(7), std=0.1)
        value, slope = jax.jit(jax.value_and_grad(ufm.model.objective, argnums=1))(problem, point)
        found["vocabulary: value"] = value
        found["vocabulary: gradient"] = slope.features

    def stream():
        metrics = workloads.streamed(50, 8, 40_000)
        numbers = {n: v for n, v in vars(metrics).items() if isinstance(v, float | np.floating)}
        found["stream"] = np.array([float(numbers[name]) for name in sorted(numbers)])

    for workload in (sweep, flows, mixup, deep, domains, vocabulary, stream):
        began = time.perf_counter()
        workload()
        seconds = time.perf_counter() - began
        print(f"{workload.__name__}: {seconds:.1f} s", file=sys.stderr, flush=True)
    found["platform"] = np.array(jax.default_backend())
    return {name: np.asarray(value) for name, value in found.items()}


def compared(wanted, found) -> list[tuple[str, float, bool]]:
    """Of every answer its name, its error relative to the largest entry, and whether it will do."""
    rows = []
    for name in wanted:
        if name == "platform":
            continue
        if name.endswith("gap"):
            error = float(max(np.max(wanted[name]), np.max(found[name])))
            rows.append((name, error, error <= GAP))
            continue
        size = np.max(np.abs(wanted[name]))
        error = float(np.max(np.abs(found[name] - wanted[name])) / size)
        rows.append((name, error, bool(error <= TOLERANCE)))
    return rows


def _of_process(platform: str | None, path: Path, small: bool) -> dict[str, np.ndarray]:
    environment = dict(os.environ) | ({"JAX_PLATFORMS": platform} if platform else {})
    command = [sys.executable, "-m", "tests.gpu", "--answers", str(path)]
    subprocess.run([*command, *(["--small"] if small else [])], env=environment, check=True)
    with np.load(path) as file:
        return dict(file)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=_ABOUT)
    parser.add_argument("--platform", help="JAX's name of the accelerator (default: what it finds)")
    parser.add_argument("--small", action="store_true", help="smaller workloads")
    parser.add_argument("--answers", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.answers:
        found: dict[str, Any] = answers(options.small)
        np.savez(options.answers, **found)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        found = _of_process(options.platform, Path(folder) / "found.npz", options.small)
        platform = str(found["platform"])
        if platform == "cpu" and options.platform != "cpu":
            print("JAX finds no accelerator here", file=sys.stderr)
            return 2
        wanted = _of_process("cpu", Path(folder) / "wanted.npz", options.small)
    rows = compared(wanted, found)
    for name, error, ok in rows:
        print(f"{name:<28} {error:9.1e}  {'ok' if ok else 'DIFFERS'}")
    print(f"{platform} against cpu: {sum(ok for *_, ok in rows)} of {len(rows)} agree")
    return 0 if all(ok for *_, ok in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
