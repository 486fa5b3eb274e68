"""One gradient of a large problem, a chunk of columns at a time, beside the dense gradient.

Seconds, and what the programs hold.
"""

from __future__ import annotations

import functools

import jax
import numpy as np

import ufm
from tests.benchmarks.harness import Row, time_turns
from tests.benchmarks.numpy_objective import matrix_product_rate

# K = C, and d
SIZES = ((1000, 64), (4000, 64), (4000, 512))
# A vocabulary: compiled for its memory, not run.
VOCABULARY = (32_000, 512)


def make(K: int, d: int) -> ufm.Problem:
    """Cross-entropy on a long tail with a free bias, a chunk of logits at a time."""
    labels = ufm.one_hot(np.geomspace(1000, 1, K), collapsed=True, sparse=True)
    return ufm.Problem(
        labels.in_chunks(max(d, 128)),
        loss=ufm.CrossEntropy(),
        widths=(d,),
        lambda_W=1e-5,
        lambda_H=1e-5,
        bias="free",
    )


def rows(*, repeats: int, sizes=SIZES, vocabulary=VOCABULARY) -> list[Row]:
    """One row a size; the memory of the vocabulary is noted in the last.

    Values must agree, else `RuntimeError`.
    """
    function = jax.jit(jax.value_and_grad(ufm.model.objective, argnums=1))
    result = []
    for K, d in sizes:
        problem = make(K, d)
        whole = problem.replace(labels=ufm.labels.written_out(problem.labels))
        point = ufm.solvers.random_start(whole, key=jax.random.key(0))
        ours, rival = (functools.partial(_run, function, p, point) for p in (problem, whole))
        values = [float(call()[0]) for call in (ours, rival)]
        if not abs(values[0] - values[1]) <= 1e-12 * abs(values[1]):
            raise RuntimeError(f"K = {K}, d = {d}: the two objectives differ, {values}")
        mine, other = time_turns([[ours], [rival]], repeats=repeats)
        # logits, and the gradients of both factors: three products of 2 K C d operations
        fraction = 6.0 * K * K * d / mine.wall / matrix_product_rate()
        notes = {
            "MB held": held(function, problem, point) / 2**20,
            "dense": held(function, whole, point) / 2**20,
            "of the matrix-product rate of one thread": fraction,
        }
        data = {"K": K, "d": d, "fraction of the matrix-product rate": fraction}
        result.append(
            Row(
                f"gradient, K = C = {K}, d = {d}",
                "all logits at once",
                mine,
                other,
                notes=notes,
                data=data,
            )
        )
    K, d = vocabulary
    W, H, b = (jax.ShapeDtypeStruct(shape, np.float64) for shape in ((K, d), (d, K), (K,)))
    result[-1].notes[f"MB held at K = {K}, d = {d} (compiled only)"] = (
        held(function, make(K, d), ufm.Params((W,), H, b)) / 2**20
    )  # type: ignore[arg-type]
    return result


def held(function, *arguments) -> int:
    """Bytes of results and temporaries of a compiled function."""
    stats = function.lower(*arguments).compile().memory_analysis()
    return stats.temp_size_in_bytes + stats.output_size_in_bytes


def _run(function, problem, point):
    return jax.block_until_ready(function(problem, point))
