"""Problems of clients with a fixed classifier, and what a point says of the claims made of them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

import ufm
from theory_checks.engine.counterexamples import Floor

# far above what floats round, far below a margin
_ROUNDED = 1e-12


def unit_etf(K: int, skew: float = 0.0) -> np.ndarray:
    """Unit rows (K, K); `skew` lengthens the first and turns it towards the second."""
    V = np.asarray(ufm.simplex_etf(K).T)
    V = V / np.linalg.norm(V, axis=1, keepdims=True)
    V[0] += skew * V[1]
    return V


def client_problem(
    *, counts, beta=1.0, decay=None, skew=0.0, balanced=True, weighting="samples"
) -> ufm.Problem:
    """Clients under W = β V; decay μ a sample, or unit features without it."""
    counts = np.atleast_2d(np.asarray(counts, dtype=float))
    K = counts.shape[1]
    form = {"lambda_H": 0.0, "features": ufm.domains.Sphere(1.0)}
    if decay is not None:
        form = {"lambda_H": decay / counts.sum()}
    return ufm.Problem(
        ufm.labels.federated(counts, weighting=weighting, balanced=balanced),
        loss=ufm.CrossEntropy(),
        widths=(K,),
        lambda_W=0.0,
        fixed_weights=(beta * unit_etf(K, skew),),
        **form,
    )


def predicted_logits(*, counts, beta=1.0, decay=None, **_) -> np.ndarray:
    """The closed form, a column for each class that a client has."""
    counts = np.atleast_2d(np.asarray(counts, dtype=float))
    K = counts.shape[1]
    a = beta**2 * K / (K - 1)
    size = {"length": np.sqrt(a)} if decay is None else {"strength": decay / a}
    z = ufm.laws.balanced_softmax_logits(counts, **size)
    client, label = np.nonzero(counts)
    return z[client, :, label].T


def cosines(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """cos∠(h_c, v_y) of features without a part that the ETF does not see."""
    K, columns = len(logits), np.arange(logits.shape[1])
    own = logits[labels, columns] - logits.mean(axis=0)
    lengths = np.linalg.norm(logits - logits.mean(axis=0), axis=0)
    return own * np.sqrt(K / (K - 1)) / lengths


def _ray(problem: ufm.Problem, column: int) -> ufm.Problem:
    """The problem of one feature r v_y with decay: its one free number is r."""
    labels, (W,) = problem.labels, map(np.asarray, problem.fixed_weights or ())
    y = int(np.asarray(labels.class_index)[column])
    target = ufm.soft(np.eye(len(W))[:, [y]])
    if labels.offsets is not None:
        target = ufm.labels.with_offsets(target, np.asarray(labels.offsets)[:, [column]])
    along = W @ W[y] / np.linalg.norm(W[y])
    return ufm.Problem(
        target,
        loss=ufm.CrossEntropy(),
        widths=(1,),
        lambda_W=0.0,
        lambda_H=problem.lambda_H * problem.labels.num_samples,
        fixed_weights=(along[:, None],),
    )


def _rays(problem: ufm.Problem):
    for column, weight in enumerate(np.asarray(problem.labels.column_weights)):
        ray = _ray(problem, column)
        yield float(weight), ray, ufm.solvers.fit_features(ray, progress=False)


def aligned_value(problem: ufm.Problem) -> float:
    """The least value of features along their own rows."""
    return sum(weight * float(found.value) for weight, _, found in _rays(problem))


def aligned_least(problem: ufm.Problem) -> Floor:
    """What no features along their own rows get below, with roundings accounted for.

    Its witness: `lengths` a (C,), features a w_y in units of their rows that are nearly the best.
    """
    total, lengths = Fraction(0), []
    for weight, ray, found in _rays(problem):
        total += Fraction(weight) * Fraction(ufm.prove(ray, found.params).lower)
        lengths.append(float(found.params.features[0, 0]))
    (W,) = map(np.asarray, problem.fixed_weights or ())
    rows = np.linalg.norm(W, axis=1)[np.asarray(problem.labels.class_index)]
    # far more than weights, directions and this product are rounded by
    value = float(total) * (1 - _ROUNDED) - _ROUNDED
    return Floor(value, {"lengths": np.array(lengths) / rows})
