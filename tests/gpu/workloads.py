"""What is run on an accelerator and on the CPU beside it: sweeps, flows, large labels, streams."""

from __future__ import annotations

import jax
import numpy as np

import ufm

K = 10


def certified(lam, counts) -> ufm.Problem:
    """Ten classes with a long tail."""
    labels = ufm.one_hot(counts, collapsed=True)
    return ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=(64,), lambda_W=lam, lambda_H=lam, bias="free"
    )


def sweep_of(number: int):
    """So many certified ten-class problems in one call."""
    counts = [ufm.labels.exponential_counts(K, largest=100, ratio=r) for r in (1, 10, 100)]
    lams = np.geomspace(1e-4, 5e-3, 10)
    over = {"seed": range(-(-number // 30)), "lam": lams, "counts": counts}
    return ufm.sweep(
        certified,
        over,
        key=jax.random.key(0),
        progress=False,
        report=ufm.sweeping.Report(metrics=()),
    )


def two_layers() -> ufm.Problem:
    """A deep product under squared error."""
    return ufm.Problem(
        ufm.one_hot((4, 3, 2, 1), collapsed=True),
        loss=ufm.MeanSquaredError(),
        widths=(8, 8),
        lambda_W=1e-3,
        lambda_H=1e-3,
    )


def flows_of(number: int):
    """Gradient flows of two layers, one a seed."""
    keys = jax.random.split(jax.random.key(1), number)
    return ufm.flows.flow_batch(two_layers(), ufm.flows.Flow(np.linspace(0.0, 50.0, 11)), keys=keys)


def mixed() -> ufm.Solution:
    """Mixup of ten classes."""
    labels = ufm.mixup(K, alpha=1.0, nodes=6)
    problem = ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=(16,), lambda_W=1e-3, lambda_H=1e-5
    )
    return ufm.minimise(problem, key=jax.random.key(2))


def vocabulary(V: int, d: int, dtype: str = "float64") -> ufm.Problem:
    """V words with counts of Zipf, held sparsely and taken a chunk of columns at a time."""
    labels = ufm.one_hot(1e5 / np.arange(1, V + 1), collapsed=True, sparse=True, dtype=dtype)
    assert isinstance(labels, ufm.labels.SparseLabels)
    return ufm.Problem(
        labels.in_chunks(max(d, 1024)),
        loss=ufm.CrossEntropy(),
        widths=(d,),
        lambda_W=1e-6,
        lambda_H=1e-6,
    )


def streamed(V: int, d: int, tokens: int):
    """Metrics of features that come in batches."""
    rng = np.random.default_rng(3)
    means = rng.standard_normal((d, V))
    seen = ufm.metrics.stream(V, d)
    for _ in range(0, tokens, 20_000):
        words = rng.integers(0, V, 20_000)
        seen.update(means[:, words] + 0.1 * rng.standard_normal((d, 20_000)), words)
    return seen.finish(classifier=means.T)
