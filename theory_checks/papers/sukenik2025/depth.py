"""How fast a residual chain's value comes down to that of the reduced model, by solving it."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from theory_checks.engine.measure import GEOMETRY
from theory_checks.engine.registry import Case, Claim, NotConverged, Record, Setting, check
from theory_checks.engine.trajectories import band_claim, one_sided_claim

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
_CLASSES, _DECAY = 3, 0.02
# cosine of any two inputs: classes that differ, and are far from orthogonal
_COSINE = 0.8
_DEPTHS = (2, 4, 8, 16, 32, 64, 128)
# from sixteen blocks on the exponent is its limit but for a share of about their inverse
_BAND = 0.05
# relative to a gradient of the size of the decay
_STATIONARY = 1e-6
_TRIES = 5
# of values below .1
_ROUNDING = 1e-15


def _case(matrices: int, setting: Setting, depths=(4, 16, 64), *, full=False) -> Case:
    words = "one matrix a block" if matrices == 1 else "two matrices a block"
    parameters = {"matrices": matrices, "depths": depths}
    return Case(f"{words}, {len(depths)} depths", setting, parameters, build=dict, full=full)


# made once: the figure asks for these very cases
CHAINS = (_case(1, _INSIDE, _DEPTHS, full=True), _case(2, _OUTSIDE, _DEPTHS, full=True))


def regime(case: Case) -> Setting:
    """A linear residual chain with one matrix a block, constant decay, three fixed inputs of
    pairwise cosine .8, features of unit length at its end."""
    return Setting.all_of(case.parameters["matrices"] == 1)


def inputs() -> np.ndarray:
    """(K, K): unit columns of equal cosines."""
    gram = (1 - _COSINE) * np.eye(_CLASSES) + _COSINE
    return np.linalg.cholesky(gram).T


def head_value(features, decay: float = _DECAY):
    r"""The least of $\tfrac1{2K}\|WH-I\|^2+\tfrac\lambda2\|W\|^2$ over W:
    $\tfrac\lambda2\operatorname{tr}(H^\top H+K\lambda I)^{-1}$."""
    K = features.shape[1]
    gram = features.T @ features + K * decay * jnp.eye(K)
    return decay / 2 * jnp.trace(jnp.linalg.inv(gram))


@functools.partial(jax.jit, static_argnums=(1, 2))
@functools.partial(jax.value_and_grad, argnums=0)
def _objective(flat, L: int, matrices: int):
    K = _CLASSES
    factors = flat.reshape(L, matrices, K, K)

    def block(H, parts):
        step = parts[0] if matrices == 1 else parts[0] @ parts[1]
        return H + step @ H, None

    H, _ = jax.lax.scan(block, jnp.asarray(inputs()), factors)
    H = H / jnp.linalg.norm(H, axis=0, keepdims=True)
    return head_value(H) + _DECAY / 2 * jnp.sum(flat**2)


def least_value(L: int, matrices: int) -> tuple[float, float]:
    """Of three starts, with the size of its gradient over the decay."""
    found = []
    for seed in range(3):
        size = L * matrices * _CLASSES**2
        start = 0.3 / L ** (1 / matrices) * np.random.default_rng(seed).standard_normal(size)
        found.append(_descended(start, L, matrices))
    # of those that differ by rounding, the one that is best solved
    lowest = min(value for value, _ in found)
    return min((end for end in found if end[0] <= lowest + _ROUNDING), key=lambda end: end[1])


def _descended(point: np.ndarray, L: int, matrices: int) -> tuple[float, float]:
    """Where L-BFGS-B ends, begun anew where decreases below rounding ended it too early."""
    value, size = np.inf, np.inf
    for _ in range(_TRIES):
        end = minimize(
            lambda flat: tuple(map(np.asarray, _objective(jnp.asarray(flat), L, matrices))),
            point,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 5000, "maxfun": 10000, "ftol": 1e-16, "gtol": 1e-10},
        )
        point, value = end.x, float(end.fun)
        size = float(np.linalg.norm(end.jac)) / _DECAY
        if size <= _STATIONARY:
            break
    return value, size


@check(
    key="sukenik2025/value-over-depth",
    formula=r"F_L - F_\infty \sim L^{-1},\quad F_\infty = \frac{K\lambda}{2(1+K\lambda)}",
    source="measured here: no rate of the paper's is claimed",
    regime=regime,
    cases=(_case(1, _INSIDE), _case(2, _OUTSIDE), *CHAINS),
)
def value_over_depth(case: Case):
    """With one matrix a block and constant decay the least value of a residual chain under squared
    error falls to that of the reduced model, by an exponent of −1 in depth, as measured between
    16 and 64 blocks and from 64 to 128.

    With two matrices a block it stays a constant above. The exponent is of values; of distances it
    would be half as large wherever values grow quadratically about the optimum.
    """
    p = case.parameters
    K, lam = _CLASSES, _DECAY
    limit = K * lam / (2 * (1 + K * lam))
    solved = [least_value(L, p["matrices"]) for L in p["depths"]]
    if max(size for _, size in solved) > _STATIONARY:
        raise NotConverged(f"gradient {max(size for _, size in solved):.1e}")
    values = np.array([value for value, _ in solved])
    depths = np.array(p["depths"], dtype=float)
    above = values - limit
    yield one_sided_claim("value below the limit", -above / limit)
    yield one_sided_claim("value rises with depth", np.diff(values) / limit)
    exponents = np.diff(np.log(above)) / np.diff(np.log(depths))
    yield band_claim("exponent", exponents[-1:], -1.0, band=_BAND)
    # (the head's value is that of the reduced model at orthonormal features)
    at_limit = float(head_value(jnp.eye(K)))
    yield Claim("limit", at_limit, limit, GEOMETRY, scale=limit, witness=True)
    yield Record("over depth", {"L": depths, "above": above / limit})
    yield Record("exponents", {"L": depths[1:], "exponent": exponents})
