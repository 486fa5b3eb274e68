"""Saddles of one layer, spurious minima of several."""

from __future__ import annotations

import jax
import numpy as np

import ufm
from theory_checks.engine.measure import VALUE, Setup, value_at
from theory_checks.engine.registry import (
    Case,
    Claim,
    NotConverged,
    Record,
    Setting,
    check,
    one_hot_problem,
)
from theory_checks.formulas.squared_error import branch, strengths, threshold

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
# numbers that are counts or yes and no
_EXACT = 1e-9
# a certified gap beyond this says that a point is not global; those of global points are below
# 1e-10
_NOT_GLOBAL = 1e-6


def _case(name: str, setting: Setting, *, counts, widths, lam, loss, bias=None, full=False) -> Case:
    parameters = {
        "class_counts": counts,
        "widths": widths,
        "lambda_W": lam,
        "lambda_H": lam,
        "bias": bias,
        "loss": loss,
        "collapsed": True,
    }
    return Case(name, setting, parameters, build=one_hot_problem, full=full)


def one_layer_regime(case: Case) -> Setting:
    """One linear layer, d > K, any class counts."""
    s = Setup.of(case.problem)
    return Setting.all_of(s.M == 1, s.R > s.K)


def _stationary(case: Case, r: int) -> ufm.Params:
    """A minimum among the points that use the first r dimensions of every hidden space, which
    Newton's method never leaves.

    What is 0 in all factors has no gradient, so it is a stationary point of the whole problem; for
    r = 0 only a bias is left.
    """
    problem = case.problem
    start = ufm.solvers.random_start(problem, key=case.key)
    weights = [_only(W, rows=r if m else None, columns=r) for m, W in enumerate(start.weights)]
    start = ufm.Params(tuple(weights), _only(start.features, rows=r, columns=None), start.bias)
    solution = ufm.minimise(problem, start=start, progress=False)
    if solution.result is ufm.Result.INTERRUPTED:
        raise KeyboardInterrupt
    if solution.result is not ufm.Result.CONVERGED:
        raise NotConverged(str(solution))
    return solution.params


def _only(matrix, *, rows: int | None, columns: int | None):
    """The matrix with zeros outside the first rows and columns; None keeps all."""
    kept = np.zeros(matrix.shape)
    kept[:rows, :columns] = np.asarray(matrix)[:rows, :columns]
    return jax.numpy.asarray(kept)


_PLAIN = {"counts": (5, 4, 3, 2), "widths": (5,), "lam": 0.01}


@check(
    key="landscape/one-layer-strict-saddles",
    formula=r"\nabla f = 0,\ f > \min f\ \Rightarrow\ \lambda_{\min}(\nabla^2 f) < 0",
    source="Zhu et al. 2021 for cross-entropy (recalled), Zhou et al. 2022 for squared error, "
    "landscape of the plain model",
    regime=one_layer_regime,
    cases=(
        _case(
            "cross-entropy, balanced",
            _INSIDE,
            counts=(3,) * 4,
            widths=(6,),
            lam=0.01,
            loss="CrossEntropy",
        ),
        _case("cross-entropy, unequal counts", _INSIDE, loss="CrossEntropy", **_PLAIN, full=True),
        _case(
            "cross-entropy, penalised bias",
            _INSIDE,
            loss="CrossEntropy",
            bias=0.1,
            **_PLAIN,
            full=True,
        ),
        _case(
            "squared error, balanced",
            _INSIDE,
            counts=(3,) * 3,
            widths=(4,),
            lam=0.01,
            loss="MeanSquaredError",
        ),
        _case(
            "squared error, penalised bias",
            _INSIDE,
            loss="MeanSquaredError",
            bias=0.1,
            **_PLAIN,
            full=True,
        ),
        _case(
            "cross-entropy, two layers",
            _OUTSIDE,
            counts=(3,) * 4,
            widths=(6, 6),
            lam=0.01,
            loss="CrossEntropy",
        ),
        _case(
            "squared error, three layers",
            _OUTSIDE,
            counts=(5, 4, 3, 2),
            widths=(4, 5, 6),
            lam=0.01,
            loss="MeanSquaredError",
            full=True,
        ),
    ),
)
def one_layer_strict_saddles(case: Case):
    """With one linear layer and d > K every stationary point that is not a global minimum has
    negative curvature.

    Sampled points: minima among those that use r <= K dimensions, the origin among them. Global or
    not is decided by the certificate, and for more layers by a lower value.
    """
    problem = case.problem
    rows = []
    best = (
        ufm.search(problem, key=case.key, starts=8, progress=False).value
        if problem.depth >= 2
        else None
    )
    for r in range(problem.labels.num_classes + 1):
        params = _stationary(case, r)
        found = ufm.classify(problem, params)
        yield Claim(
            f"gradient at the point from r={r}", found.spectrum.grad_norm, 0.0, 1e-10, witness=True
        )
        gap = (
            float(ufm.certify(problem, params).gap)
            if best is None
            else value_at(problem, params) / best - 1
        )
        if gap > _NOT_GLOBAL:
            yield Claim(
                f"r={r}: a strict saddle (1: yes)",
                float(found.kind == "strict saddle"),
                1.0,
                _EXACT,
            )
        else:
            # what is called global by its certificate can be proved to be
            points = ((problem, params),) if best is None else ()
            yield Claim(
                f"r={r}: global, no negative curvature",
                found.spectrum.negative,
                0,
                _EXACT,
                points=points,
            )
        rows.append(
            (
                r,
                gap,
                found.spectrum.eigenvalues[0],
                found.spectrum.negative,
                found.spectrum.zeros,
                found.spectrum.gauge_zeros,
            )
        )
    names = ("r", "gap", "smallest", "negative", "zeros", "by symmetry")
    yield Record(
        "stationary points",
        {
            name: np.array(column)
            for name, column in zip(names, zip(*rows, strict=True), strict=True)
        },
    )


def deep_regime(case: Case) -> Setting:
    """Squared error, no bias, at least two linear layers, every width at least K, counts all
    different, decay below every threshold t_c."""
    s = Setup.of(case.problem)
    different = len(set(s.counts.tolist())) == s.K
    squared = isinstance(case.problem.loss, ufm.MeanSquaredError)
    decay = Setting.below(float(strengths(s).max()), threshold(s.M))
    return Setting.all_of(s.M >= 2, s.bias is None, s.R >= s.K, different, squared, decay)


@check(
    key="landscape/deep-spurious-minima",
    formula=(
        r"M\ge2:\ \text{top-}r\text{ truncations, } r=0,\dots,K,\ \text{are local minima up to "
        r"symmetry;}\ \text{other active sets are strict saddles}"
    ),
    source="derived, the landscape of squared error with M >= 2 linear layers",
    regime=deep_regime,
    cases=(
        _case("M=2", _INSIDE, counts=(5, 3, 2), widths=(4, 3), lam=0.004, loss="MeanSquaredError"),
        _case(
            "M=3, unequal widths",
            _INSIDE,
            counts=(5, 3, 2),
            widths=(3, 5, 4),
            lam=0.004,
            loss="MeanSquaredError",
        ),
        _case(
            "M=2, small decay",
            _INSIDE,
            counts=(5, 3, 2),
            widths=(3, 3),
            lam=1e-4,
            loss="MeanSquaredError",
        ),
        _case("M=1", _OUTSIDE, counts=(5, 3, 2), widths=(4,), lam=0.02, loss="MeanSquaredError"),
    ),
)
def deep_spurious_minima(case: Case):
    """With two layers or more, keeping the r largest classes is a local minimum, r = 0, …, K;
    dropping a larger one is a strict saddle."""
    problem, s = case.problem, Setup.of(case.problem)
    solved = branch(s, clip=False)
    rows = []
    for chosen in range(2**s.K):
        active = np.array([chosen >> k & 1 for k in range(s.K)], dtype=bool)
        logits = np.diag(np.where(active, solved.fraction, 0.0))
        params = ufm.analysis.start_from_logits(
            problem, logits, key=jax.random.key(chosen), noise=0.0
        )
        found = ufm.classify(problem, params)
        value = float(s.counts @ np.where(active, solved.value_terms, 1.0)) / (2 * s.N)
        name = f"classes {np.flatnonzero(active).tolist()}"
        yield Claim(
            f"objective, {name}",
            value_at(problem, params),
            value,
            VALUE,
            scale=value,
            witness=True,
        )
        yield Claim(f"gradient, {name}", found.spectrum.grad_norm, 0.0, 1e-10, witness=True)
        top = not np.any(np.diff(active.astype(int)) > 0)
        kind = "minimum" if top else "strict saddle"
        yield Claim(f"{kind}, {name} (1: yes)", float(found.kind == kind), 1.0, _EXACT)
        rows.append(
            (
                active.sum(),
                top,
                value,
                found.spectrum.eigenvalues[0],
                found.spectrum.zeros,
                found.spectrum.gauge_zeros,
            )
        )
    names = ("rank", "largest kept", "value", "smallest", "zeros", "by symmetry")
    yield Record(
        "stationary points",
        {
            name: np.array(column)
            for name, column in zip(names, zip(*rows, strict=True), strict=True)
        },
    )
    if s.M >= 2:
        origin = ufm.analysis.start_from_logits(problem, np.zeros((s.K, s.K)), key=case.key)
        eigenvalues = ufm.analysis.hessian_spectrum(problem, origin).eigenvalues
        yield Claim("eigenvalues at the origin", eigenvalues, np.ones(len(eigenvalues)), 1e-12)
