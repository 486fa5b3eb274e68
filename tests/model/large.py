"""Small problems that are taken a chunk of columns at a time, and their dense twins."""

from __future__ import annotations

import jax
import numpy as np

import ufm
from ufm.labels import written_out

_RNG = np.random.default_rng(0)
# 40 contexts, each followed by up to three of 15 tokens, one of them named twice, some only by two
NEXT_TOKEN = dict(
    index=_RNG.integers(0, 15, (3, 40)),
    entries=np.where(_RNG.random(40) < 0.3, [[0.6], [0.4], [0.0]], [[0.5], [0.3], [0.2]]),
    masses=_RNG.integers(1, 9, 40),
    num_classes=15,
)
LABELS = {
    "long-tail": lambda: ufm.one_hot(
        ufm.labels.exponential_counts(11, largest=60, ratio=20), collapsed=True, sparse=True
    ),
    "smoothed": lambda: ufm.labels.smoothed((7,) * 10, smoothing=0.1, collapsed=True, sparse=True),
    "next-token": lambda: ufm.labels.sparse_soft(**NEXT_TOKEN),
    "weighted": lambda: ufm.one_hot(
        (9, 5, 4, 2), class_weights=(1, 2, 3, 4), collapsed=True, sparse=True
    ),
}
LOSSES = {
    "cross-entropy": ufm.CrossEntropy(),
    "adjusted": ufm.losses.AdjustedCrossEntropy(
        multiplicative=np.linspace(0.5, 1, 11), additive=np.linspace(0, 1, 11)
    ),
    "rescaled": ufm.losses.RescaledSquaredError(length=2.0, weight=3.0),
    "squared-error": ufm.MeanSquaredError(),
    "focal": ufm.losses.Focal(2.0),
}


def large(
    labels: str,
    loss: str = "cross-entropy",
    *,
    decay: float = 3e-3,
    d: int = 6,
    chunk: int = 4,
    **options,
) -> ufm.Problem:
    return ufm.Problem(
        LABELS[labels]().in_chunks(chunk),
        loss=LOSSES[loss],
        widths=(d,),
        lambda_W=decay,
        lambda_H=2 * decay,
        **options,
    )


def solvable(**options) -> ufm.Problem:
    """One shape for all tests of the solver, which compile it once.

    The optimum has rank 6 of d = 9 here.
    """
    return large("long-tail", **{"decay": 1e-2, "d": 9, "chunk": 4, **options})


def twin(problem: ufm.Problem) -> ufm.Problem:
    """The same problem with its label matrix written out."""
    return problem.replace(labels=written_out(problem.labels))


def random_point(problem: ufm.Problem, key, scale: float = 1.0) -> ufm.Params:
    K, C, d = problem.labels.num_classes, problem.labels.num_columns, problem.feature_dim
    keys = jax.random.split(key, 3)
    shapes = ((K, d), (d, C), (K,))
    W, H, b = (
        scale * jax.random.normal(k, shape, problem.dtype)
        for k, shape in zip(keys, shapes, strict=True)
    )
    return ufm.Params((W,), H, b if problem.has_bias else None)
