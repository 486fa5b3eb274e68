"""How close to orthogonal N vectors get, and what cross-entropy makes of them as a classifier."""

from __future__ import annotations

import functools
import math

import jax
import numpy as np
import scipy.special

import ufm
from theory_checks.engine.measure import VALUE, Point, solve
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.formulas.bounded import simplex_loss

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE
# At a tight frame all pairs have one size, which makes it stationary for every sharpness: what is
# left is where L-BFGS stops, the root of the rounding of the value over the sharpness.
_FOUND = 1e-6


@functools.cache
def _basis(N: int, d: int, steps: int = 300) -> ufm.frames.EquiangularBasis:
    return ufm.frames.equiangular_basis(N, d, key=jax.random.key(0), steps=steps, progress=False)


def _sizes(N: int, d: int, setting: Setting) -> Case:
    return Case(f"N={N}, d={d}", setting, {"N": N, "d": d}, build=dict)


def tight_regime(case: Case) -> Setting:
    """N = d + 1 or the known conditions on N lines at one angle that are a tight frame: N at most
    d(d + 1)/2 and (N − d)(N − d + 1)/2; for N = 2d a sum of two squares N − 1, else two odd
    roots."""
    N, d = case.parameters["N"], case.parameters["d"]
    if d + 1 >= N:
        return Setting.below(N, d + 1)
    few = max(N - d * (d + 1) / 2, N - (N - d) * (N - d + 1) / 2)
    if 2 * d == N:
        squares = any(
            math.isqrt(N - 1 - a * a) ** 2 == N - 1 - a * a for a in range(math.isqrt(N - 1) + 1)
        )
        return Setting.all_of(few <= 0, squares)
    roots = d * (N - 1) / (N - d), (N - d) * (N - 1) / d
    return Setting.all_of(few <= 0, *(math.sqrt(root) % 2 == 1 for root in roots))


# in as many dimensions as each, fewer and more vectors are looked for too
CURVES = _sizes(6, 3, _INSIDE), _sizes(12, 6, _OUTSIDE)


@check(
    key="shen2023/coherence",
    formula=r"\min_{\|w\|=1}\max_{j\ne k}|w_j\cdot w_k| = \sqrt{\tfrac{N-d}{d(N-1)}}",
    source="Welch 1974 (recalled), for the bases that Shen et al. 2023 search for",
    regime=tight_regime,
    cases=(
        CURVES[0],
        _sizes(28, 7, _INSIDE),
        _sizes(5, 4, _BOUNDARY),
        _sizes(5, 3, _OUTSIDE),
        _sizes(7, 3, _OUTSIDE),
        CURVES[1],
    ),
)
def coherence(case: Case):
    """No vectors are nearer to orthogonal than Welch's bound, and the search ends at it where an
    equiangular tight frame exists."""
    N, d = case.parameters["N"], case.parameters["d"]
    basis = _basis(N, d)
    below = max(basis.lower_bound / basis.coherence - 1, 0.0)
    yield Claim("below the bounds of Welch and Levenshtein", below, 0.0, VALUE, witness=True)
    welch = math.sqrt((N - d) / (d * (N - 1)))
    yield Claim("coherence", basis.coherence, welch, _FOUND, welch)
    if any(case.id == curve.id for curve in CURVES):
        yield Record("coherence over N", _curve(d))


def _curve(d: int) -> dict[str, np.ndarray]:
    """What is found, and the bounds, up to where Levenshtein's speaks."""
    most = d * (d + 1) // 2
    numbers = np.unique(np.linspace(d + 1, most + max(3, most // 2), 14).astype(int))
    found = [_basis(int(N), d, 60) for N in numbers]
    return {
        "N": numbers,
        "coherence": np.array([basis.coherence for basis in found]),
        "Welch": np.array([basis.welch for basis in found]),
        "Levenshtein": np.array([basis.levenshtein for basis in found]),
    }


# as a classifier
# ----------------------------------------------------------------------


@functools.cache
def _rows(name: str) -> np.ndarray:
    """The classifier of this name; `twins` has a row twice, `axes` are those of the icosahedron
    with five around the first, `opposed` has rows at one angle and the first turned round."""
    if name == "axes":
        turns = 2 * np.pi * np.arange(5) / 5
        around = np.stack([2 * np.cos(turns), 2 * np.sin(turns), np.ones(5)], axis=1) / np.sqrt(5)
        return np.vstack([[0.0, 0.0, 1.0], around])
    if name == "opposed":
        rows = np.linalg.cholesky(0.6 * np.eye(6) + 0.4)
        rows[0] *= -1
        return rows
    if name == "twins":
        rows = _basis(12, 6).vectors.copy()
        rows[1] = rows[0]
        return rows
    N, d = map(int, name.split(" in "))
    return _basis(N, d).vectors


def _problem(*, rows: str, beta: float, alpha: float) -> ufm.Problem:
    W = _rows(rows)
    return ufm.Problem(
        ufm.one_hot((2,) * len(W)),
        loss=ufm.CrossEntropy(),
        widths=(W.shape[1],),
        lambda_W=0.0,
        lambda_H=0.0,
        fixed_weights=(W,),
        features=ufm.domains.Ball(beta),
    )


def _fixed(rows: str, beta: float, alpha: float, setting: Setting) -> Case:
    parameters = {"rows": rows, "beta": beta, "alpha": alpha}
    return Case(f"{rows}, β = {beta:g}", setting, parameters, build=_problem)


def classifier_regime(case: Case) -> Setting:
    """Unit rows of coherence at most α, features in a ball, any β."""
    height = ufm.frames.coherence(_rows(case.parameters["rows"]))
    # (an orthonormal one has a coherence of rounding)
    return Setting.below(height if height > 1e-12 else 0.0, case.parameters["alpha"])


@check(
    key="shen2023/fixed-classifier",
    formula=(
        r"\log\big(1+(N-1)e^{-\beta g}\big)\le\min_{\|h\|\le\beta}\ell(Wh,k)\le"
        r"\log\big(1+(N-1)e^{-\beta(1-\alpha)}\big),\quad "
        r"g^2 = \tfrac{N}{N-1}+\alpha\big(2+\tfrac{N-2}{N-1}\big)"
    ),
    source="derived for the classifiers of Shen et al. 2023",
    regime=classifier_regime,
    cases=(
        _fixed("12 in 6", 5.0, 0.4, _INSIDE),
        _fixed("12 in 6", 20.0, 0.4, _INSIDE),
        _fixed("28 in 7", 10.0, 0.34, _INSIDE),
        _fixed("12 in 12", 3.0, 0.0, _BOUNDARY),
        # (each attains one of the bounds, in its first class)
        _fixed("axes", 3.0, 1 / np.sqrt(5), _BOUNDARY),
        _fixed("opposed", 3.0, 0.4, _BOUNDARY),
        _fixed("twins", 20.0, 0.4, _OUTSIDE),
    ),
)
def fixed_classifier(case: Case):
    """The features of a fixed equiangular basis collapse to a certified optimum whose loss lies, in
    every class, between two functions of the coherence; the lower one for orthonormal rows."""
    point, p = Point.of(solve(case)), case.parameters
    N, beta, alpha = len(point.classifier), p["beta"], p["alpha"]
    yield point.certificate_claim()
    yield point.collapse_claim()
    upper = np.log1p((N - 1) * np.exp(-beta * (1 - alpha)))
    g = np.sqrt(N / (N - 1) + alpha * (2 + (N - 2) / (N - 1)))
    lower = np.log1p((N - 1) * np.exp(-beta * g))
    Z, y = point.logits, point.class_index
    losses = np.asarray(scipy.special.logsumexp(Z - Z[y, np.arange(len(y))], axis=0))
    above, below = max(losses.max() - upper, 0.0), max(lower - losses.min(), 0.0)
    yield Claim("above the upper bound", above, 0.0, VALUE, float(upper))
    yield Claim("below the lower bound", below, 0.0, VALUE, float(lower))
    if alpha == 0:
        # rows w_k − Σ_j w_j/N are a simplex of length √(1 − 1/N)
        yield point.value_claim(simplex_loss(N, beta * np.sqrt(1 - 1 / N)))
