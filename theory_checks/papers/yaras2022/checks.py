"""The simplex on spheres, and the saddles below it."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import ufm
from theory_checks.engine.measure import GEOMETRY, Point, solve
from theory_checks.engine.registry import Case, Claim, Setting, check
from theory_checks.formulas.bounded import bounded_problem, simplex_claims, simplex_loss

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE
_BALANCED, _UNEVEN = (2,) * 5, (4, 2, 2, 1, 1)


def _problem(*, class_counts, width, temperature):
    return bounded_problem(
        class_counts, width=width, feature_radius=temperature, classifier_radius=1.0
    )


def _case(
    name, setting, temperature, *, counts=_BALANCED, width=6, starts=1, full=False, **options
) -> Case:
    parameters = {"class_counts": counts, "width": width, "temperature": temperature}
    return Case(
        name, setting, parameters, build=_problem, options=options, starts=starts, full=full
    )


def simplex_regime(case: Case) -> Setting:
    """Features and rows on spheres, equal class counts, d >= K − 1, any temperature."""
    p = case.parameters
    K = len(p["class_counts"])
    return Setting.all_of(len(set(p["class_counts"])) == 1, Setting.above(p["width"], K - 1))


@check(
    key="yaras2022/global-optimum",
    formula=(
        r"\min L = \log\big(1+(K-1)e^{-\tau K/(K-1)}\big),\quad W = \bar H^\top/\tau,\quad"
        r" WW^\top = \tfrac{K}{K-1}(I-\tfrac1K\mathbf 1\mathbf 1^\top)"
    ),
    source="Yaras et al. 2022, global minimisers on spheres (recalled)",
    regime=simplex_regime,
    cases=(
        _case("τ = 0.1", _INSIDE, 0.1),
        _case("τ = 1", _INSIDE, 1.0),
        _case("τ = 10", _INSIDE, 10.0),
        _case("τ = 30", _INSIDE, 30.0),
        _case("d = K − 1", _BOUNDARY, 3.0, width=4, full=True),
        _case("d = 3 < K − 1", _OUTSIDE, 3.0, width=3, full=True),
        _case("counts 4/2/2/1/1", _OUTSIDE, 3.0, counts=_UNEVEN),
    ),
)
def global_optimum(case: Case):
    """On spheres the global minimum is the simplex, at every temperature: collapsed, equiangular,
    self-dual."""
    point, p = Point.of(solve(case)), case.parameters
    K, tau = len(p["class_counts"]), p["temperature"]
    yield point.value_claim(simplex_loss(K, tau), name="loss")
    if p["width"] >= K - 1:
        yield point.certificate_claim()
    yield from simplex_claims(point, rows=1.0, features=tau)


def _embedded(plane: np.ndarray, width: int) -> np.ndarray:
    return np.pad(plane, ((0, 0), (0, width - plane.shape[1])))


def _star(K: int, turns: int) -> np.ndarray:
    angles = 2 * np.pi * turns * np.arange(K) / K
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def symmetric_points(K: int, width: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Unit rows and features (K, d) that are critical at every temperature, by symmetry: all in one
    point, or stars in a plane, of which a mirror fixes every ray."""
    one = _embedded(np.ones((K, 1)), width)
    rays = {turns: _embedded(_star(K, turns), width) for turns in (1, 2)}
    return {
        "one point": (one, one),
        "a point and its antipode": (one, -one),
        "polygon": (rays[1], rays[1]),
        "polygon and its antipode": (rays[1], -rays[1]),
        "star": (rays[2], rays[2]),
    }


def saddle_regime(case: Case) -> Setting:
    """Features and rows on spheres, equal class counts, d > K, τ < 2 (d − 2)/(1 + (K mod 2)/K)."""
    p = case.parameters
    K, d = len(p["class_counts"]), p["width"]
    limit = 2 * (d - 2) / (1 + (K % 2) / K)
    return Setting.all_of(
        len(set(p["class_counts"])) == 1, d > K, Setting.below(p["temperature"], limit)
    )


_LIMIT = 2 * 4 / 1.2


@check(
    key="yaras2022/strict-saddles",
    formula=(
        r"\tau < \tfrac{2(d-2)}{1+(K\bmod 2)/K},\ \nabla L = 0,\ (W,H)\ne\text{simplex}"
        r"\ \Rightarrow\ \lambda_{\min}(\mathrm{Hess}\,L) < 0"
    ),
    source="Yaras et al. 2022, strict saddles (recalled), at critical points of one and two "
    "dimensions",
    regime=saddle_regime,
    cases=(
        _case("τ = 0.5", _INSIDE, 0.5),
        _case("0.9 of the limit", _INSIDE, 0.9 * _LIMIT),
        _case("at the limit", _BOUNDARY, _LIMIT),
        # in the plane of the polygon nothing leads out of it
        _case("d = 2 < K", _OUTSIDE, 0.5, width=2),
        _case("d = 2 < K, τ = 6", _OUTSIDE, 6.0, width=2),
    ),
)
def strict_saddles(case: Case):
    """Critical points on spheres other than the simplex have a direction of negative curvature."""
    p, problem = case.parameters, case.problem
    K, tau = len(p["class_counts"]), p["temperature"]
    found, slopes = [], []
    for W, H in symmetric_points(K, p["width"]).values():
        features = tau * H.T[:, np.asarray(problem.labels.class_index)]
        kind = ufm.classify(problem, ufm.Params((jnp.asarray(W),), jnp.asarray(features)))
        slopes.append(kind.spectrum.grad_norm)
        found.append(float(kind.kind == "strict saddle"))
    yield Claim("gradients", np.array(slopes), np.zeros(len(slopes)), GEOMETRY, witness=True)
    yield Claim("strict saddles among critical points", found, np.ones(len(found)), GEOMETRY)


_STARTS = 64
# Relative, of losses: far above rounding, far below what parts the minima.
_SAME = 1e-6


@check(
    key="yaras2022/random-starts",
    formula=(
        r"\tau < \tfrac{2(d-2)}{1+(K\bmod 2)/K}\ \Rightarrow\ \text{every descent that leaves"
        r" strict saddles ends at the simplex}"
    ),
    source="ours, of what strict saddles (Yaras et al. 2022, recalled) mean to a solver",
    regime=saddle_regime,
    cases=(
        _case("half of the limit", _INSIDE, 0.5 * _LIMIT, starts=_STARTS),
        _case("at the limit", _BOUNDARY, _LIMIT, starts=_STARTS),
        # one start in ten ends at a local minimum, where all rows of W are within 30 degrees
        _case("K = 3, d = 2, τ = 20", _OUTSIDE, 20.0, counts=(2,) * 3, width=2, starts=_STARTS),
    ),
)
def random_starts(case: Case):
    """Every random start on spheres ends at the simplex."""
    p = case.parameters
    least = simplex_loss(len(p["class_counts"]), p["temperature"])
    values = np.asarray(solve(case, tolerance=1e-9).values)
    ended = np.mean(np.abs(values / least - 1) < _SAME)
    yield Claim("starts that end at the simplex", ended, 1.0, GEOMETRY)
