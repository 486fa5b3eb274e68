"""Flows as checks see them.

Run one, assert that it got to its end, and compare a whole trajectory with a law.
"""

from __future__ import annotations

import jax
import numpy as np

import ufm
from theory_checks.engine.refusals import require
from theory_checks.engine.registry import Case, Claim, NotConverged, Record

# Relative, at every time. The flow runs at 1e-12 a step; a few hundred steps and an amplification
# by the unstable directions of up to a few thousand stay below this.
LAW = 1e-8
RTOL = 1e-12
# Absolute, for what should not happen at all: a logarithm from a flow at 1e-12 a step that stands
# still moves by this much.
TREND = 1e-9


def flow(
    case: Case,
    *,
    ts,
    start: ufm.Params,
    observables,
    path: str | ufm.flows.Path = "gradient",
    problem=None,
    rtol: float = RTOL,
    atol: float = 1e-16,
) -> ufm.Trajectory:
    """The gradient flow of a case to its last time, at the tolerance that the laws are checked
    to."""
    trajectory = ufm.flow(
        case.problem if problem is None else problem,
        ts=ts,
        start=start,
        path=path,
        observables=ufm.flows.Record(observables, keep_params=False),
        integration=ufm.flows.Integration(rtol=rtol, atol=atol, steady=0.0),
        progress=False,
    )
    if trajectory.result is ufm.Result.INTERRUPTED:
        raise KeyboardInterrupt
    if trajectory.result is not ufm.Result.REACHED_END:
        raise NotConverged(str(trajectory.result))
    return trajectory


def ratio_claim(name: str, measured, predicted, *, tolerance: float = LAW) -> Claim:
    """Positive numbers at all times.

    Their ratio to the law, so that the error is relative at every time.
    """
    measured, predicted = np.asarray(measured), np.asarray(predicted)
    require(np.all(predicted > 0), f"{name}: the law must be positive to be divided by")
    return Claim(name, measured / predicted, np.ones_like(predicted), tolerance)


def path_claim(
    name: str, measured, predicted, *, tolerance: float = LAW, scale: float | None = None
) -> Claim:
    """Arrays at all times, relative to the largest entry of the law (or to `scale`) over the whole
    trajectory."""
    predicted = np.asarray(predicted)
    return Claim(
        name,
        np.asarray(measured),
        predicted,
        tolerance,
        scale=float(np.max(np.abs(predicted))) if scale is None else scale,
    )


def band_claim(name: str, measured, predicted, *, band: float) -> Claim:
    """An asymptotic statement at a finite size.

    What of the distance to its limit is not forgiven by `band` must be nothing.
    """
    excess = np.maximum(np.abs(np.asarray(measured, dtype=float) - predicted) - band, 0)
    return Claim(f"{name}, beyond {band:.1g} of its limit", excess, np.zeros_like(excess), TREND)


def one_sided_claim(name: str, wrong) -> Claim:
    """A trend: whatever goes the wrong way, `wrong` > 0, must be rounding."""
    wrong = np.maximum(np.asarray(wrong, dtype=float), 0)
    return Claim(name, wrong, np.zeros_like(wrong), TREND)


def record(name: str, ts, **columns) -> Record:
    """The trajectory beside its law, for figures."""
    return Record(
        name, {"t": np.asarray(ts), **{key: np.asarray(value) for key, value in columns.items()}}
    )


def orthonormal(rows: int, columns: int, key) -> np.ndarray:
    """A random matrix with orthonormal columns."""
    return np.linalg.qr(np.asarray(jax.random.normal(key, (rows, columns))))[0]


def params(weights, features, bias=None) -> ufm.Params:
    """A point from NumPy arrays."""
    arrays = [jax.numpy.asarray(W) for W in weights]
    return ufm.Params(
        tuple(arrays),
        jax.numpy.asarray(features),
        None if bias is None else jax.numpy.asarray(bias),
    )


# observables are module-level functions, because every new function object is another compilation


def logits(problem, params):
    """Z (K, C)."""
    return params.logits


def factors(problem, params):
    """All factors, features last."""
    return (*params.weights, params.features)


def classifier(problem, params):
    """W (K, d)."""
    return params.classifier


def features(problem, params):
    """H (d, C)."""
    return params.features
