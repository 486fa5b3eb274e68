"""Nonnegative features under the supervised contrastive loss: an orthogonal frame at any
imbalance, and lengths that decay tells apart."""

from __future__ import annotations

import functools

import numpy as np

import ufm
from theory_checks.engine.measure import EXACT, GEOMETRY, Point, solve
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.formulas.contrastive import (
    contrastive_case,
    contrastive_problem,
    embedded,
    loss_of,
    of_samples,
    written_claim,
)
from theory_checks.formulas.roots import bisect

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE
_case = functools.partial(contrastive_case, kind="nonnegative sphere", starts=8)


def regime(case: Case) -> Setting:
    """Nonnegative features of length at most 1, n_k >= 2, d >= K."""
    p = case.parameters
    counts = p["class_counts"]
    return Setting.all_of(
        p["kind"].startswith("nonnegative"),
        min(counts) >= 2,
        _BOUNDARY if p["dim"] == len(counts) else p["dim"] > len(counts),
    )


def bound(counts, temperature: float) -> float:
    """Σ n_k ln(n_k − 1 + (N − n_k) e^{−1/τ}) over the samples that have a positive, a sample."""
    n, N = np.array(counts, dtype=np.float64), sum(counts)
    n = n[n >= 2]
    return float(n @ np.log(n - 1 + (N - n) * np.exp(-1 / temperature)) / n.sum())


FRAMES = (
    _case("counts 4/3/2", _INSIDE, (4, 3, 2), 6),
    _case("counts 4/3/2, τ=1/2", _INSIDE, (4, 3, 2), 6, temperature=0.5),
    _case("counts 5/2/2, d=K", _BOUNDARY, (5, 2, 2), 3),
    _case("counts 3/3/3, d=K-1", _OUTSIDE, (3, 3, 3), 2),
    _case("a class of one sample", _OUTSIDE, (5, 3, 1), 6, full=True),
    _case("features of any sign", _OUTSIDE, (4, 3, 2), 6, kind="sphere"),
)


@check(
    key="kini2024/orthogonal-frame",
    formula=(
        r"h\ge0,\ \|h\|\le1:\quad \mathcal L\ \ge\ \sum_kn_k\log\big(n_k-1+(N-n_k)e^{-1/\tau}\big),"
        r"\quad\text{equality iff } h_i^\top h_j = [y_i = y_j]"
    ),
    source="Kini et al. 2024 (abstract); the bound is derived",
    regime=regime,
    cases=FRAMES,
)
def orthogonal_frame(case: Case):
    """Nonnegative features form an orthogonal frame of collapsed classes, whatever their counts.

    A class of one sample has no positive: nothing fixes its length.
    """
    point, p = Point.of(solve(case)), case.parameters
    counts, tau = p["class_counts"], p["temperature"]
    X = embedded(point.problem, point.params)
    yield written_claim(case, point)
    if p["dim"] >= len(counts):
        yield point.certificate_claim()
    yield point.value_claim(bound(counts, tau), name="the bound over N")
    yield Claim("Gram of all samples", X.T @ X, of_samples(counts, np.eye(len(counts))), EXACT)
    first = np.cumsum([0, *counts[:-1]])
    gram = (X.T @ X)[np.ix_(first, first)]
    cosines = gram[np.triu_indices(len(counts), 1)]
    yield Record("products", {"between": cosines, "own": np.diag(gram)})
    yield point.bracket_record(bound(counts, tau), name="bound and found")
    # half the length of a class costs something
    index = np.repeat(np.arange(len(counts)), counts)
    for k, n in enumerate(counts):
        shorter = np.where(index[None, :] == k, X / 2, X)
        costs = loss_of(counts, shorter, tau) > point.value + 1e-6
        yield Claim(f"the length of class {k} of {n} counts", costs, 1.0, EXACT)


# decay
# ----------------------------------------------------------------------


def squared_lengths(counts, decay: float) -> np.ndarray:
    """‖h_k‖² = ln((N − n_k)(2/λ − 1)/(n_k − 1))_+."""
    n = np.array(counts, dtype=np.float64)
    return np.maximum(np.log((n.sum() - n) * (2 / decay - 1) / (n - 1)), 0)


def vanishes(case: Case, k: int, low: float, high: float) -> float:
    """λ from which on class k of what is found is zero, by bisection.

    Either its length or the curvature along a new direction vanishes: their difference changes its
    sign at that λ.
    """
    p = case.parameters
    own = np.repeat(np.arange(len(p["class_counts"])), p["class_counts"]) == k

    def slack(decay):
        problem = contrastive_problem(**{**p, "decay": float(decay)})
        found = ufm.minimise(problem, key=case.key, starts=4, progress=False)
        X, N = embedded(problem, found.params), len(own)
        Z = X.T @ X
        np.fill_diagonal(Z, -np.inf)
        slope = np.exp(Z - Z.max(axis=0))
        slope = slope / slope.sum(axis=0) - np.asarray(problem.labels.targets)
        curvature = float(decay) * own.sum() + 2 * float(own @ slope @ own)
        return curvature / N - float(np.sum(X[:, own] ** 2)) / own.sum()

    return float(bisect(slack, low, high, steps=40))


def _decay(name, setting, counts, decay, *, dim=6, kind="nonnegative decay", full=False):
    parameters = {"class_counts": counts, "dim": dim, "kind": kind, "decay": decay}
    return Case(name, setting, parameters, build=contrastive_problem, starts=16, full=full)


def decay_regime(case: Case) -> Setting:
    """Nonnegative features with decay 0 < λ < 2, n_k >= 2, d >= K, τ = 1; a class whose length
    begins to be zero is the boundary."""
    p = case.parameters
    n = np.array(p["class_counts"], dtype=np.float64)
    pulls = (n.sum() - n) * (2 / p["decay"] - 1)
    ends = (Setting.below(*pair) for pair in zip(pulls, n - 1, strict=True))
    return Setting.all_of(
        p["kind"].startswith("nonnegative"),
        0 < p["decay"] < 2,
        n.min() >= 2,
        p["dim"] >= len(n),
        _BOUNDARY if _BOUNDARY in ends else True,
    )


LENGTHS = (
    _decay("counts 4/3/2, λ=0.4", _INSIDE, (4, 3, 2), 0.4),
    _decay("counts 6/2, a class is zero", _INSIDE, (6, 2), 1.6, full=True),
    _decay("counts 5/2/2, where a class becomes zero", _BOUNDARY, (5, 2, 2), 1.0),
    _decay("counts 4/3/2, any sign", _OUTSIDE, (4, 3, 2), 0.4, kind="decay"),
)


@check(
    key="kini2024/lengths-under-decay",
    formula=(
        r"h\ge0,\ \mathcal L+\tfrac\lambda2\|H\|^2:\quad h_i^\top h_j = [y_i=y_j]\,\Big(\log"
        r"\tfrac{(N-n_k)(2/\lambda-1)}{n_k-1}\Big)_+"
    ),
    source="derived",
    regime=decay_regime,
    cases=LENGTHS,
)
def lengths_under_decay(case: Case):
    """Decay in place of norms keeps the frame orthogonal, but minority classes are longer: only
    directions are symmetric."""
    point, p = Point.of(solve(case)), case.parameters
    counts = p["class_counts"]
    X, lengths = embedded(point.problem, point.params), squared_lengths(counts, p["decay"])
    yield written_claim(case, point)
    yield point.certificate_claim()
    yield Claim("Gram of all samples", X.T @ X, of_samples(counts, np.diag(lengths)), EXACT)
    n, N = np.array(counts, dtype=np.float64), sum(counts)
    loss = n @ (np.log((n - 1) * np.exp(lengths) + N - n) - lengths)
    value = float(loss + p["decay"] / 2 * (n @ lengths)) / N
    yield point.value_claim(value)
    first = np.cumsum([0, *counts[:-1]])
    if case.setting is _BOUNDARY:
        ends = 2 * (N - n) / (N - 1)
        k = int(np.argmin(abs(ends - p["decay"])))
        found = vanishes(case, k, 0.7 * ends[k], 1.4 * ends[k])
        yield Claim("λ at which the class is zero", found, ends[k], GEOMETRY, scale=ends[k])
    gap = float(ufm.certify(point.problem, point.params).gap)
    measured = np.sum(X[:, first] ** 2, axis=0)
    yield Record("lengths", {"n": n, "law": lengths, "measured": measured, "gap": np.array([gap])})
