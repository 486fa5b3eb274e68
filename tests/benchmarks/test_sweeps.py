"""The rival that the papers run is gradient descent with momentum on all N columns."""

from __future__ import annotations

import jax
import numpy as np

import ufm
from tests.benchmarks.long_tail_rival import LongTailCrossEntropy
from tests.benchmarks.sweeps import MOMENTUM, STEP, momentum_run


def test_collapsed_momentum_is_the_papers_run():
    counts, d, lam = (5, 2, 1), 4, 1e-2
    rival = LongTailCrossEntropy(counts, d, lam)
    rng = np.random.default_rng(0)
    W, means = rng.standard_normal((3, d)), rng.standard_normal((d, 3))
    full = ufm.Problem(
        ufm.one_hot(counts), loss=ufm.CrossEntropy(), widths=(d,), lambda_W=lam, lambda_H=lam
    )
    start = ufm.Params((jax.numpy.asarray(W),), jax.numpy.asarray(np.repeat(means, counts, axis=1)))
    script = ufm.solvers.descend(
        full,
        ufm.solvers.Momentum(step_size=STEP, momentum=MOMENTUM),
        steps=[0, 50],
        start=start,
        progress=False,
    )
    W, V = rival.split(momentum_run(rival, rival.flat(W, means), steps=50))
    np.testing.assert_allclose(W, script.final.weights[0], rtol=1e-12)
    np.testing.assert_allclose(V / np.sqrt(counts), script.final.features[:, [0, 5, 7]], rtol=1e-12)
