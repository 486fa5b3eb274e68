"""Throughput of an accelerator beside the CPU of the same machine, a process each.

Ready to run in a checkout with nothing installed: `PYTHONPATH=. python -m tests.benchmarks gpu`.
Answers are compared by `python -m tests.gpu`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import astuple

from tests.benchmarks.harness import Row, Timing, first_call, median_turns

# Problems of a sweep, flows, words and d of a large gradient, tokens of a stream.
SIZES = {"sweep": 1_000_000, "flows": 20_000, "words": 32_000, "d": 512, "tokens": 2_000_000}
# The CPU gets this share of a sweep and of the flows; its seconds are multiplied.
SHARE = 100
TOY = {"sweep": 3000, "flows": 100, "words": 300, "d": 8, "tokens": 20_000}
# A gradient is three products of 2 V² d operations.
_PRODUCTS = 3


def rows(*, repeats: int, sizes: dict[str, int] = SIZES, accelerator: str | None = None):
    """One row a workload, seconds of the whole; none where JAX finds no accelerator.

    `accelerator`: JAX's name of the platform, "cpu" to try this program without one.
    """
    ours = _timed_apart(accelerator, sizes, repeats, share=1)
    if ours["platform"] == "cpu" and accelerator != "cpu":
        print("JAX finds no accelerator here: nothing to time", file=sys.stderr)
        return []
    rival = _timed_apart("cpu", sizes, repeats, share=SHARE)
    result = []
    for name, (wall, cpu) in ours["seconds"].items():
        notes = ours["notes"].get(name, {}) | {
            f"CPU: {key}": value for key, value in rival["notes"].get(name, {}).items()
        }
        other = Timing(*rival["seconds"][name])
        row = Row(
            f"{name} ({ours['device']})", "the CPU beside it", Timing(wall, cpu), other, notes=notes
        )
        result.append(row)
    return result


def _timed_apart(platform: str | None, sizes, repeats: int, *, share: int) -> dict:
    """What `_timed` finds, in a process of its own, which sees one platform."""
    environment = dict(os.environ)
    environment.pop("JAX_PLATFORMS", None)
    environment |= {"JAX_PLATFORMS": platform} if platform else {}
    asked = {"sizes": sizes, "repeats": repeats, "share": share, "accelerated": platform is None}
    command = [sys.executable, "-m", "tests.benchmarks.gpu", json.dumps(asked)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _timed(sizes: dict[str, int], repeats: int, share: int, accelerated: bool) -> dict:
    """Median seconds of each workload on JAX's default platform, compiled before.

    `accelerated`: only where that is no CPU.
    """
    import jax

    if accelerated and jax.default_backend() == "cpu":
        return {"platform": "cpu"}
    jax.config.update("jax_enable_x64", True)
    from tests.gpu import workloads

    seconds, notes = {}, {}

    def add(name: str, call: Callable[[], object], *, times: float = 1.0) -> float:
        notes[name] = {"first call s": first_call(call)}
        (timing,) = median_turns([[call]], repeats=repeats)
        seconds[name] = astuple(timing.times(times))
        return timing.wall

    least = 30
    number = max(sizes["sweep"] // share, least)
    lanes = {}

    def sweep():
        lanes["gap"] = float(workloads.sweep_of(number)["gap"].max())

    name = f"{sizes['sweep']} certified ten-class problems"
    add(name, sweep, times=sizes["sweep"] / number)
    notes[name]["largest gap"] = lanes["gap"]
    flows = max(sizes["flows"] // share, 2)
    add(
        f"{sizes['flows']} flows of two layers",
        lambda: workloads.flows_of(flows),
        times=sizes["flows"] / flows,
    )
    for dtype in ("float32", "float64"):
        name = f"gradient, V = {sizes['words']}, d = {sizes['d']}, {dtype}"
        wall = add(name, _gradient(sizes, dtype))
        work = _PRODUCTS * 2.0 * sizes["words"] ** 2 * sizes["d"]
        notes[name]["of the rate of a matmul of the same shape"] = (
            work / wall / _product_rate(sizes, dtype)
        )
    add(
        f"stream of {sizes['tokens']} tokens",
        lambda: workloads.streamed(2 * sizes["d"], sizes["d"], sizes["tokens"]),
    )
    device = jax.devices()[0]
    return {
        "platform": device.platform,
        "device": device.device_kind,
        "seconds": seconds,
        "notes": notes,
    }


def _gradient(sizes: dict[str, int], dtype: str) -> Callable[[], object]:
    import jax

    import ufm
    from tests.gpu import workloads

    problem = workloads.vocabulary(sizes["words"], sizes["d"], dtype)
    point = ufm.solvers.random_start(problem, key=jax.random.key(0), std=0.1)
    function = jax.jit(jax.value_and_grad(ufm.model.objective, argnums=1))
    return lambda: jax.block_until_ready(function(problem, point))


def _product_rate(sizes: dict[str, int], dtype: str) -> float:
    """Operations a second of W H for a chunk of columns, in this dtype."""
    import jax
    import jax.numpy as jnp

    V, d = sizes["words"], sizes["d"]
    W, H = jnp.ones((V, d), dtype), jnp.ones((d, min(V, 8192)), dtype)
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(W, H))
    times = []
    for _ in range(5):
        began = time.perf_counter()
        jax.block_until_ready(product(W, H))
        times.append(time.perf_counter() - began)
    return 2.0 * V * d * H.shape[1] / min(times)


if __name__ == "__main__":
    print(json.dumps(_timed(**json.loads(sys.argv[1]))))
