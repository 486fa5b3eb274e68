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
from ufm.domains import Ball, Budget, Nonnegative, Sphere

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


# --- every mixture of decay, domains, anchors and frozen weights ---
COUNTS, D = (5, 3, 1), 4
FROZEN = np.random.default_rng(0).normal(size=(3, D))
ANCHOR = {"anchor": np.random.default_rng(1).normal(size=(D, 3)), "beta": 0.01}


def make(*, loss=None, counts=COUNTS, d=D, lambda_W=0.0, lambda_H=0.0, **parts):
    labels = ufm.one_hot(counts, collapsed=True)
    loss = ufm.CrossEntropy() if loss is None else loss
    return ufm.Problem(
        labels, loss=loss, widths=(d,), lambda_W=lambda_W, lambda_H=lambda_H, **parts
    )


BOTH = {"features": Sphere(2.0), "classifier": Sphere(1.0)}
MIXTURES: dict[str, ufm.Problem] = {
    "sphere-sphere": make(**BOTH),
    "ball-budget": make(features=Ball(2.0), classifier=Budget(3.0)),
    "budget-ball": make(features=Budget(4.0), classifier=Ball((1.0, 1.5, 2.0))),
    "free-bias": make(**BOTH, bias="free"),
    "penalised-bias": make(**BOTH, bias=0.3),
    "decay-sphere": make(features=Sphere(2.0), lambda_W=1e-2),
    "decay-ball-slack": make(features=Ball(2.0), lambda_W=1e-2, lambda_H=0.05),
    "budget-decay": make(classifier=Budget(2.0), lambda_H=1e-2),
    "decay-sphere-free-bias": make(features=Sphere(2.0), lambda_W=1e-2, bias="free"),
    "squared": make(features=Sphere(0.2), classifier=Sphere(1.0), loss=ufm.MeanSquaredError()),
    "nonnegative": make(features=Nonnegative(), lambda_W=1e-2, lambda_H=1e-2),
    "nonnegative-squared": make(
        features=Nonnegative(), lambda_W=1e-2, lambda_H=1e-2, loss=ufm.MeanSquaredError()
    ),
    "frozen": make(fixed_weights=(FROZEN,), lambda_H=1e-2),
    "frozen-free-bias": make(fixed_weights=(FROZEN,), lambda_W=0.1, lambda_H=1e-2, bias="free"),
    "frozen-nonnegative": make(fixed_weights=(FROZEN,), lambda_H=1e-2, features=Nonnegative()),
    "frozen-ball": make(fixed_weights=(FROZEN,), features=Ball(1.5)),
    "frozen-budget": make(fixed_weights=(FROZEN,), features=Budget(3.0)),
    "nonnegative-sphere": make(
        features=Nonnegative(), classifier=Sphere(1.0), lambda_H=1e-2, counts=(4, 4, 4)
    ),
    "anchor": make(**ANCHOR, lambda_W=1e-2, lambda_H=1e-2),
    "anchor-sphere": make(**ANCHOR, features=Sphere(2.0), lambda_W=1e-2),
    "anchor-ball-budget": make(**ANCHOR, features=Ball(2.0), classifier=Budget(3.0)),
    "anchor-frozen": make(**ANCHOR, fixed_weights=(FROZEN,), lambda_H=1e-2),
}


@functools.cache
def mixed(name: str) -> tuple[ufm.Problem, ufm.Params]:
    """A mixture and its minimum."""
    solution = ufm.minimise(MIXTURES[name], key=jax.random.key(0), progress=False)
    assert solution.result is ufm.Result.CONVERGED
    return solution.problem, solution.params
