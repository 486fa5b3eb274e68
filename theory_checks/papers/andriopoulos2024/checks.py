"""Regression with a free bias: the optimum at any depth, one target too, and the three kinds of
collapse."""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.measure import EXACT, GEOMETRY, Point, matrix_claim, precision, solve
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.formulas.roots import bisect
from theory_checks.formulas.squared_error import missing, threshold

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE
_SAMPLES = 12
_SPECTRUM = (2.0, 1.0, 0.4)


def samples(eigenvalues, seed: int = 0) -> np.ndarray:
    """Y (n, M) with the covariance of these eigenvalues, and a mean."""
    rng, n = np.random.default_rng(seed), len(eigenvalues)
    centred = rng.normal(size=(n, _SAMPLES))
    centred = np.linalg.svd(centred - centred.mean(axis=1, keepdims=True), full_matrices=False)[2]
    axes = np.linalg.qr(rng.normal(size=(n, n)))[0]
    return axes @ (np.sqrt(_SAMPLES * np.array(eigenvalues))[:, None] * centred) + 0.7


def regression(eigenvalues, *, widths, c, ratio=2.0, bias="free", domain=None):
    """λ_W of every factor and λ_H with Π λ_W λ_H = c^M, so that c is λ_W λ_H for one layer."""
    M = len(widths)
    lam = c ** (M / (M + 1))
    decay = {"lambda_W": ratio * lam, "lambda_H": lam / ratio**M / _SAMPLES}
    extra = {} if domain is None else {"features": getattr(ufm.domains, domain)()}
    return ufm.Problem(
        ufm.soft(samples(eigenvalues)),
        loss=ufm.MeanSquaredError(),
        widths=widths,
        bias=bias,
        **decay,
        **extra,
    )


def _case(name, setting, c, *, eigenvalues=_SPECTRUM, widths=(4,), full=False, **other) -> Case:
    parameters = {"eigenvalues": eigenvalues, "widths": widths, "c": c, **other}
    starts = 1 if len(widths) == 1 else 16
    return Case(name, setting, parameters, build=regression, starts=starts, full=full)


def _covariance(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Y less its mean, and eigenvalues and eigenvectors of Σ."""
    Y = samples(case.parameters["eigenvalues"])
    centred = Y - Y.mean(axis=1, keepdims=True)
    eigenvalues, axes = np.linalg.eigh(centred @ centred.T / _SAMPLES)
    return centred, eigenvalues, axes


def _strengths(case: Case) -> np.ndarray:
    """t_j of Dang et al. 2023 for each direction: c/eig_j for one layer."""
    p = case.parameters
    depth, eigenvalues = len(p["widths"]), np.array(p["eigenvalues"])
    return depth * p["c"] / eigenvalues


def _lost(case: Case, axis: int, low: float, high: float) -> float:
    """c from which on the predictions of what is found lack an axis, by bisection.

    Of each axis either the predictions or the slack of the slope vanish: their difference changes
    its sign where the axis is lost. One layer.
    """

    def slack(c):
        problem = case.build(**{**case.parameters, "c": float(c)})
        found = ufm.minimise(problem, key=case.key, progress=False)
        Z, Y = np.asarray(found.logits), np.asarray(problem.labels.targets)
        mu = float(np.sqrt(problem.lambda_W[0] * problem.lambda_H))
        slope = np.linalg.svd((Z - Y) / _SAMPLES, compute_uv=False)[axis] / mu
        kept = np.linalg.svd(Z - Z.mean(axis=1, keepdims=True), compute_uv=False)[axis]
        return 1 - slope - kept

    return float(bisect(slack, low, high, steps=44))


def regime(case: Case) -> Setting:
    """A free bias, every width at least the number of directions that survive, features that may be
    anything; m layers, whose decays have the product c^m. A direction at its threshold is the
    boundary of one layer."""
    p, t = case.parameters, _strengths(case)
    depth = len(p["widths"])
    tc = threshold(depth)
    met = any(Setting.below(x, tc) is _BOUNDARY for x in t)
    return Setting.all_of(
        p.get("bias", "free") == "free",
        p.get("domain") is None,
        min(p["widths"]) >= int(np.sum(t < tc)),
        (_BOUNDARY if depth == 1 else False) if met else True,
    )


OPTIMA = (
    _case("c below the spectrum", _INSIDE, 0.05),
    _case("c inside it", _INSIDE, 0.7),
    _case("c above it", _INSIDE, 2.5),
    _case("one target", _INSIDE, 0.3, eigenvalues=(1.3,), widths=(3,)),
    _case("one target, c above", _INSIDE, 1.5, eigenvalues=(1.3,), widths=(3,)),
    _case("two layers", _INSIDE, 0.05, widths=(4, 4)),
    _case(
        "three layers, one target",
        _INSIDE,
        0.05,
        eigenvalues=(1.3,),
        widths=(3, 3, 3),
        full=True,
    ),
    _case("d = 2 directions that survive", _INSIDE, 0.7, widths=(2,), full=True),
    _case("an eigenvalue at c", _BOUNDARY, 1.0),
    _case("d = 1 < 3 directions", _OUTSIDE, 0.05, widths=(1,)),
    _case("nonnegative features", _OUTSIDE, 0.05, domain="Nonnegative"),
    _case("no bias", _OUTSIDE, 0.05, bias=None),
)


@check(
    key="andriopoulos2024/optimum",
    formula=(
        r"Z - Y = -\sum_j\tfrac{q_jq_j^\top}{1+x_j^m}(Y-\bar Y),\quad L^* = \tfrac12\sum_j\Big("
        r"\tfrac{\sigma_j}{1+x_j^m}+mc\,x_j\Big),\quad \tfrac c{\sigma_j} = "
        r"\tfrac{x_j^{m-1}}{(1+x_j^m)^2},\ \text{the largest root, or } x_j=0\ \text{from } "
        r"\tfrac{(m-1)^{(m-1)/m}}{m^2}\text{ on};\quad m=1:\ \tfrac1{1+x_j} = "
        r"\min\big(\sqrt{\tfrac c{\sigma_j}},1\big),\ WW^\top = "
        r"\sqrt{\tfrac{\lambda_H}{\lambda_W}}\,(\Sigma^{1/2}-\sqrt c\,I)_+"
    ),
    source="Andriopoulos et al. 2024, global minimisers for m = 1; deeper products are derived",
    regime=regime,
    cases=OPTIMA,
)
def optimum(case: Case):
    """Predictions are the targets shrunk along the principal axes of their covariance, by a scalar
    equation of the depth, and axes below its threshold are lost."""
    point, p = Point.of(solve(case)), case.parameters
    Y, eigenvalues, axes = _covariance(case)
    depth = len(p["widths"])
    tc = threshold(depth)
    u = np.array(
        [
            missing(depth * p["c"] / e, depth) if depth * p["c"] / e < tc else 1.0
            for e in eigenvalues
        ]
    )
    t = depth * p["c"] / eigenvalues
    narrow = min(p["widths"]) < int(np.sum(t < tc))
    # neither few dimensions nor nonnegative ones let the convex bound close
    if depth == 1 and not narrow and p.get("domain") is None:
        yield point.certificate_claim()
    Z = (axes * (1 - u)) @ axes.T @ Y + samples(p["eigenvalues"]).mean(axis=1, keepdims=True)
    size = float(np.abs(Z).max())
    if case.setting is _BOUNDARY:
        end = float(eigenvalues[np.argmin(abs(eigenvalues - p["c"]))])
        found = _lost(case, int(np.sum(eigenvalues > end)), 0.7 * end, 1.4 * end)
        yield Claim("c at which the axis is lost", found, end, GEOMETRY, scale=end)
    yield Claim("predictions", point.logits, Z, precision(case), scale=size)
    spread = point.logits - point.logits.mean(axis=1, keepdims=True)
    kept = np.linalg.svd(spread, compute_uv=False)[: len(eigenvalues)] / np.sqrt(_SAMPLES)
    record = {"found": kept, "law": np.sort((1 - u) * np.sqrt(eigenvalues))[::-1]}
    if depth == 1:
        certificate = ufm.certify(case.problem, point.params)
        record["gap"] = np.array([float(certificate.gap)])
    yield Record("axes", record)
    terms = u + t * ((1 - u) / np.where(u > 0, u, 1)) ** (1 / depth)
    value = float(eigenvalues @ terms) / 2
    yield point.value_claim(value)
    if depth == 1:
        wanted = (axes * np.maximum(np.sqrt(eigenvalues) - np.sqrt(p["c"]), 0)) @ axes.T
        decay = float(case.problem.lambda_H) * _SAMPLES / float(case.problem.lambda_W[0])
        factor = np.sqrt(decay)
        yield point.weight_gram_claim(factor * wanted, tolerance=precision(case))


# the three kinds of collapse
# ----------------------------------------------------------------------


def collapse_regime(case: Case) -> Setting:
    """A free bias, one layer, d >= n, λ_W λ_H > 0 below the smallest eigenvalue of Σ."""
    p = case.parameters
    return Setting.all_of(
        p.get("bias", "free") == "free",
        p.get("domain") is None,
        len(p["widths"]) == 1,
        min(p["widths"]) >= len(p["eigenvalues"]),
        Setting.below(p["c"], min(p["eigenvalues"])),
    )


def off_span(features: np.ndarray, basis: np.ndarray) -> float:
    """Mean squared distance of normalised features to the span of orthonormal columns."""
    unit = features / np.linalg.norm(features, axis=0)
    return float(np.mean(np.sum((unit - basis @ (basis.T @ unit)) ** 2, axis=0)))


COLLAPSED = (
    _case("c=0.05", _INSIDE, 0.05, widths=(5,)),
    _case("c=0.3", _INSIDE, 0.3, widths=(5,)),
    _case("one target", _INSIDE, 0.3, eigenvalues=(1.3,), widths=(5,)),
    _case("c the smallest eigenvalue", _BOUNDARY, 0.4, widths=(5,)),
    _case("c=0.7, an axis lost", _OUTSIDE, 0.7, widths=(5,)),
    _case("nonnegative features", _OUTSIDE, 0.05, widths=(5,), domain="Nonnegative"),
)


@check(
    key="andriopoulos2024/collapse",
    formula=(
        r"\mathrm{NRC1} = \mathrm{NRC2} = 0,\quad \mathrm{NRC3}(\gamma) = \Big\|\tfrac{WW^\top}"
        r"{\|WW^\top\|}-\tfrac{\Sigma^{1/2}-\sqrt\gamma I}{\|\Sigma^{1/2}-\sqrt\gamma I\|}\Big\|^2 "
        r"= 0\ \text{ at } \gamma = c"
    ),
    source="Andriopoulos et al. 2024, NRC1 to NRC3",
    regime=collapse_regime,
    cases=COLLAPSED,
)
def collapse(case: Case):
    """Features lie in the span of their n leading principal components and in the row space of the
    classifier, whose Gram is the root of the covariance less the root of the decay."""
    point, p = Point.of(solve(case)), case.parameters
    n, (_, eigenvalues, axes) = len(p["eigenvalues"]), _covariance(case)
    if p.get("domain") is None:
        yield point.certificate_claim()
    H, W = point.features, point.classifier
    leading = np.linalg.svd(H - H.mean(axis=1, keepdims=True), full_matrices=False)[0][:, :n]
    yield Claim("NRC1", off_span(H, leading), 0.0, EXACT)
    yield Claim("NRC2", off_span(H, np.linalg.svd(W.T, full_matrices=False)[0]), 0.0, EXACT)
    root = axes * np.sqrt(eigenvalues) @ axes.T
    wanted, gram = root - np.sqrt(p["c"]) * np.eye(n), W @ W.T
    wanted = wanted / np.linalg.norm(wanted)
    yield matrix_claim(
        "NRC3 at γ = c", gram / np.linalg.norm(gram), wanted, size=1.0, tolerance=precision(case)
    )
    # (at the end of one target alone nothing is left to compare with)
    shifts = np.linspace(0, float(eigenvalues.min()), 200, endpoint=False)
    yield Record("NRC3", {"gamma": shifts, "NRC3": _misfits(gram, root, shifts)})
    if n > 1 and case.setting is _INSIDE:
        yield Claim("γ of NRC3", _best_shift(gram, root), p["c"], EXACT, scale=p["c"])


def _misfits(gram: np.ndarray, root: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """NRC3 at each γ."""
    gram, found = gram / np.linalg.norm(gram), []
    for gamma in shifts:
        wanted = root - np.sqrt(gamma) * np.eye(len(gram))
        found.append(np.linalg.norm(gram - wanted / np.linalg.norm(wanted)) ** 2)
    return np.array(found)


def _best_shift(gram: np.ndarray, root: np.ndarray) -> float:
    """γ at which Σ^{1/2} − √γ I points most nearly along W Wᵀ, by bisection on the derivative."""
    identity = np.eye(len(gram))

    def slope(s):
        A = root - s * identity
        # of ⟨G, A⟩/‖A‖ with respect to s, of the sign that rises
        return np.trace(gram) * np.sum(A**2) - np.sum(gram * A) * np.trace(A)

    return float(bisect(slope, 0.0, np.sqrt(np.linalg.eigvalsh(root).min() ** 2))) ** 2
