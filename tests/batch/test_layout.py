"""Stacked lanes: the same numbers whichever way they are worked on, and no call that waits for
ever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ufm.batch.layout import one_by_one, over_lanes

ROOT = Path(__file__).resolve().parents[2]

# As many programs at a time as XLA has threads, each with two orthonormal factors for every lane:
# with batched LAPACK, within the first few rounds both threads wait for the other.
STARTS = """
import threading
import jax
import numpy as np
import ufm
from ufm.solvers.start import random_starts
labels, decay = ufm.one_hot([5] * 20, collapsed=True), {"lambda_W": 0.1, "lambda_H": 0.1}
problem = ufm.Problem(labels, loss=ufm.CrossEntropy(), widths=(20,), **decay)
start = jax.jit(lambda key: random_starts(problem, key, 1000))
def work(seed):
    for i in range(10):
        jax.block_until_ready(start(jax.random.key(100 * seed + i)))
work(9)
threads = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_starts_in_threads_do_not_wait_for_ever():
    # XLA's pool has as many threads as NPROC says
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "NPROC": "2"}
    subprocess.run([sys.executable, "-c", STARTS], env=environment, timeout=100, check=True)


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_lanes_in_a_loop_and_in_a_batch_are_the_same(platform):
    matrices = jnp.asarray(np.random.default_rng(0).standard_normal((3, 2, 4, 4)))
    expected = np.linalg.svd(matrices, compute_uv=False)
    single = one_by_one(lambda matrix: jnp.linalg.svd(matrix, compute_uv=False))
    np.testing.assert_allclose(
        over_lanes(jax.vmap(single), matrices, platform=platform), expected, rtol=1e-13
    )
    np.testing.assert_allclose(jax.vmap(jax.vmap(single))(matrices), expected, rtol=1e-13)
    np.testing.assert_allclose(single(matrices[0, 0]), expected[0, 0], rtol=1e-13)
