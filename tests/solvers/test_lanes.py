"""Many small problems at once: a lane has the path of `Newton`, not only its end."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import ufm
from ufm.sweeping.sweeps import sweep

DECAYS = (1e-4, 1e-3, 1e-2, 3e-2)


def make(lam) -> ufm.Problem:
    labels = ufm.one_hot((9, 3, 1), collapsed=True)
    return ufm.Problem(labels, loss=ufm.CrossEntropy(), widths=(3,), lambda_W=lam, lambda_H=lam)


@pytest.mark.parametrize("max_steps", [2, 8])
def test_a_lane_has_the_path_of_newton(max_steps, key):
    """Steps are cut at the trust region while it is small.

    Where they leave it decides what every later one costs.
    """
    solver = ufm.solvers.Newton(max_steps=max_steps)
    lanes = sweep(
        make,
        {"lam": DECAYS, "seed": range(4)},
        key=key,
        solver=solver,
        threads=1,
        metrics=(),
        progress=False,
    )
    singles = [
        [
            ufm.minimise(
                make(lam), key=jax.random.fold_in(key, seed), solver=solver, progress=False
            )
            for seed in range(4)
        ]
        for lam in DECAYS
    ]
    for name in ("num_steps", "num_evaluations", "code"):
        np.testing.assert_array_equal(
            lanes[name], [[int(getattr(s, name)) for s in row] for row in singles]
        )
    np.testing.assert_allclose(
        lanes["value"], [[float(s.value) for s in row] for row in singles], rtol=1e-12
    )
