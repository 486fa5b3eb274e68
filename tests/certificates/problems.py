"""Problems to prove things about, and the checker that shares no code with the prover."""

from __future__ import annotations

import functools
import importlib.util
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import ufm

CHECKER = Path(__file__).resolve().parents[2] / "docs" / "check_enclosure.py"
K, d = 4, 6
TAIL = (50, 20, 7, 1)
ADJUSTED = ufm.losses.AdjustedCrossEntropy(
    multiplicative=[0.5, 1.0, 2.0, 1.5], additive=[-1.0, 0.3, 0.0, 1.0]
)
LOSSES = {
    "ce": ufm.CrossEntropy(),
    "mse": ufm.MeanSquaredError(),
    "rescaled": ufm.losses.RescaledSquaredError(length=3.0, weight=5.0),
    "adjusted": ADJUSTED,
}
BIASES = {"none": None, "free": "free", "penalised": 0.01}


def uneven(seed: int = 0, columns: int = 6) -> ufm.Labels:
    """Soft targets that sum to one to rounding, masses and weights over four decades."""
    rng = np.random.default_rng(seed)
    targets = rng.dirichlet(0.3 * np.ones(K), size=columns).T
    masses, weights = 10 ** rng.uniform(-2, 2, size=(2, columns))
    return ufm.soft(targets, masses, weights=weights)


LABELS = {
    "balanced": lambda: ufm.one_hot((6,) * K, collapsed=True),
    "tail": lambda: ufm.one_hot(TAIL, collapsed=True),
    "smoothed": lambda: ufm.labels.smoothed(TAIL, smoothing=0.1, collapsed=True),
    "full": lambda: ufm.one_hot((5, 3, 2, 1), class_weights=(1.0, 2.0, 3.0, 5.0)),
    "uneven": uneven,
    "two-columns": lambda: uneven(1, columns=2),
}


def problem_of(loss="ce", bias="none", labels="tail", lam=1e-3) -> ufm.Problem:
    decay = {"lambda_W": 5 * lam, "lambda_H": lam / 5, "bias": BIASES[bias]}
    return ufm.Problem(LABELS[labels](), loss=LOSSES[loss], widths=(d,), **decay)


@functools.cache
def solved(loss="ce", bias="none", labels="tail", lam=1e-3) -> tuple[ufm.Problem, ufm.Params]:
    problem = problem_of(loss, bias, labels, lam)
    solution = ufm.minimise(problem, key=jax.random.key(0), progress=False)
    # a solve may end on rounding: a proof asks for no more
    assert solution.result in (ufm.Result.CONVERGED, ufm.Result.STALLED)
    return problem, solution.params


def moved(params: ufm.Params, size: float, seed: int = 0) -> ufm.Params:
    """The point with every number off by about `size`, relatively."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: x * jnp.asarray(1 + size * rng.standard_normal(x.shape)), params)


def checker():
    """`docs/check_enclosure.py` as a module."""
    spec = importlib.util.spec_from_file_location("check_enclosure", CHECKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def on_file(enclosure: ufm.Enclosure) -> dict:
    """What a reader of the file has."""
    return json.loads(json.dumps(enclosure.to_dict()))
