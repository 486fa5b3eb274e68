"""The nearest simplex ETF is a polar factor: no Riemannian solver is needed."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import ufm
from theory_checks.engine.measure import EXACT, VALUE
from theory_checks.engine.registry import Case, Claim, NotConverged, Record, Setting, check
from theory_checks.formulas.frames import contrast

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
_STARTS = 2
# squared length of the tangent at which a descent ends
_SOLVED = 1e-26


def _means(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """H̃ of unit norm and of the rank asked for, and U_prox."""
    p, rng = case.parameters, np.random.default_rng(case.parameters["seed"])
    H = rng.normal(size=(p["d"], p["K"]))
    left, sigma, right = np.linalg.svd(H @ contrast(p["K"]), full_matrices=False)
    sigma[p.get("rank", p["K"] - 1) :] = 0
    H = (left * sigma) @ right
    return H / np.linalg.norm(H), _polar(rng.normal(size=(p["d"], p["K"])))


def _polar(X: np.ndarray) -> np.ndarray:
    left, _, right = np.linalg.svd(X, full_matrices=False)
    return left @ right


def _objective(U, H, prox, delta: float) -> float:
    K = U.shape[1]
    fit = np.sum((H - U @ contrast(K) / np.sqrt(K - 1)) ** 2)
    return float(fit + delta / 2 * np.sum((U - prox) ** 2))


def _descended(U, H, prox, delta: float) -> np.ndarray:
    """Riemannian gradient descent with polar retractions, which knows nothing of a closed form."""
    K, P = U.shape[1], contrast(U.shape[1])

    def tangent_at(U):
        slope = 2 * (U @ P / np.sqrt(K - 1) - H) @ P / np.sqrt(K - 1) + delta * (U - prox)
        return slope - U @ (U.T @ slope + slope.T @ U) / 2

    tangent = tangent_at(U)
    for _ in range(4000):
        square = np.sum(tangent**2)
        if square < _SOLVED:
            return U
        size, here, there = 4.0, _objective(U, H, prox, delta), U
        while size > 1e-6:
            there = _polar(U - size * tangent)
            # near the end values differ by rounding alone, and only a shorter tangent tells
            if square < 1e-12:
                better = np.sum(tangent_at(there) ** 2) < square
            else:
                better = _objective(there, H, prox, delta) <= here - 1e-4 * size * square
            if better:
                break
            size /= 2
        U = there
        tangent = tangent_at(U)
    raise NotConverged(f"a tangent of {np.linalg.norm(tangent):.1e} is left")


def unique_regime(case: Case) -> Setting:
    """H̃P has rank K − 1, or a proximal term makes what is factored of full rank."""
    p = case.parameters
    return Setting.all_of(p.get("rank", p["K"] - 1) == p["K"] - 1 or p["delta"] > 0)


def _case(name: str, setting: Setting, **parameters) -> Case:
    parameters = {"K": 5, "d": 7, "delta": 0.0, "seed": 0} | parameters
    return Case(name, setting, parameters, build=dict)


NEAREST = (
    _case("no proximal term", _INSIDE),
    _case("δ=0.05", _INSIDE, delta=0.05),
    _case("K=10, d=10", _INSIDE, K=10, d=10, delta=0.01),
    _case("rank K−2 with a proximal term", _INSIDE, rank=3, delta=0.05),
    _case("rank K−2", _OUTSIDE, rank=3),
)


@check(
    key="markou2024/nearest",
    formula=r"U=\mathrm{polar}\big(\tfrac2{\sqrt{K-1}}\tilde HP+\delta U_{\mathrm{prox}}\big)",
    source="derived here, for the problem of Markou, Ajanthan & Gould 2024",
    regime=unique_regime,
    cases=NEAREST,
)
def nearest(case: Case):
    """The nearest simplex ETF, with or without a proximal term, is one polar factor, since both
    quadratic terms are constant on the Stiefel manifold. Its frame is unique if and only if the
    matrix that is factored has full rank on the contrasts."""
    (H, prox), delta = _means(case), case.parameters["delta"]
    K, d = case.parameters["K"], case.parameters["d"]
    P = contrast(K)
    U = _polar(2 / np.sqrt(K - 1) * H @ P + delta * prox)
    claimed = _objective(U, H, prox, delta)
    rng = np.random.default_rng(1)
    ends = [_descended(_polar(rng.normal(size=(d, K))), H, prox, delta) for _ in range(_STARTS)]
    found = [_objective(end, H, prox, delta) for end in ends]
    lower = max(0.0, claimed - min(found))
    yield Claim("a lower value found", lower, 0.0, VALUE, scale=claimed, witness=True)
    # ⟨U, M⟩ <= ‖M‖_* is all that the objective leaves free
    nuclear = np.linalg.svd(2 / np.sqrt(K - 1) * H @ P + delta * prox, compute_uv=False).sum()
    bound = float(np.sum(H**2) + 1 + delta * K - nuclear)
    yield Claim("the bound by a nuclear norm", bound, claimed, VALUE, scale=claimed, witness=True)
    best = ends[int(np.argmin(found))]
    others = [end for end, value in zip(ends, found, strict=True) if value < claimed + 1e-10]
    yield Claim("least value found", min(found), claimed, EXACT, scale=claimed, witness=True)
    frames = np.array([end @ P for end in (best, *others)])
    yield Claim("frames found", frames, np.broadcast_to(U @ P, frames.shape), EXACT)
    apart = [float(np.max(np.abs(end @ P - U @ P))) for end in ends]
    columns = {"apart": apart, "found": found, "bound": [bound] * _STARTS}
    yield Record("frames", {name: np.asarray(x, dtype=float) for name, x in columns.items()})
    if delta == 0 and case.setting is _INSIDE:
        near = np.asarray(ufm.frames.nearest_etf(jnp.asarray(H)))
        near = near * np.sqrt(K - 1) / np.linalg.norm(near)
        yield Claim("ufm.frames.nearest_etf", near, U @ P, EXACT, witness=True)
