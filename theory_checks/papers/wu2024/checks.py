"""Least values of the metrics of NC1 and (G)NC2, who attains them, and what they are blind to."""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.measure import VALUE
from theory_checks.engine.registry import Case, Claim, Setting, check

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE
_CODES = {
    "E8 roots": ufm.frames.root_system_e8,
    "icosahedron": ufm.frames.icosahedron,
    "27 in R^6": ufm.frames.schlaefli_polytope,
    "orthoplex in R^5": lambda: ufm.frames.orthoplex(5),
    "simplex in R^9": lambda: ufm.frames.simplex(9),
    "simplex in R^3": lambda: ufm.frames.simplex(3),
}


def _means(name: str) -> np.ndarray:
    """Class means (V, d): a code, or so many random vectors."""
    if name in _CODES:
        return _CODES[name]().vectors
    V, d = map(int, name.removeprefix("random ").split(" in R^"))
    return np.random.default_rng(0).normal(size=(V, d))


def _centred(name: str) -> np.ndarray:
    means = _means(name)
    return means - means.mean(axis=0)


def _measured(means: np.ndarray, *, moved=None) -> ufm.metrics.StreamMetrics:
    """Of two samples a class, on either side of its mean; `moved`: a map of all features."""
    noise = np.random.default_rng(1).normal(size=means.shape)
    features = np.concatenate([means + noise, means - noise])
    features = features if moved is None else moved(features)
    stream = ufm.metrics.stream(*means.shape)
    stream.update(features.T, np.tile(np.arange(len(means)), 2))
    return stream.finish()


def _case(name: str, setting: Setting, **parameters) -> Case:
    words = "".join(f", {key} = {value:g}" for key, value in parameters.items())
    return Case(f"{name}{words}", setting, {"means": name, **parameters}, build=dict)


# NC2
# ----------------------------------------------------------------------


def tight_regime(case: Case) -> Setting:
    r"""Centred class means that are a tight frame, $\bar M^\top\bar M\propto I$, V >= d + 1."""
    M = _centred(case.parameters["means"])
    spectrum = np.linalg.svd(M, compute_uv=False)
    tight = bool(spectrum[0] <= spectrum[-1] * (1 + 1e-9))
    return Setting.all_of(tight, Setting.above(len(M), M.shape[1] + 1))


@check(
    key="wu2024/equiangularity",
    formula=(
        r"\Big\|\tfrac{\bar M\bar M^\top}{\|\bar M\bar M^\top\|_F}-\tfrac{P}{\sqrt{V-1}}\Big\|_F^2"
        r"\ \ge\ 2-2\sqrt{\tfrac d{V-1}}\ \to\ 2\quad(V\gg d)"
    ),
    source="derived for the metric NC2 of Wu & Papyan 2024",
    regime=tight_regime,
    cases=(
        _case("E8 roots", _INSIDE),
        _case("icosahedron", _INSIDE),
        _case("27 in R^6", _INSIDE),
        _case("simplex in R^9", _BOUNDARY),
        _case("random 200 in R^8", _OUTSIDE),
        _case("random 12 in R^3", _OUTSIDE),
    ),
)
def equiangularity(case: Case):
    """V class means in d dimensions are no nearer to a simplex than a tight frame is, and it is
    nearest: with many more words than dimensions every model reads √2."""
    means = _means(case.parameters["means"])
    V, d = means.shape
    found = _measured(means)
    least = np.sqrt(max(2 - 2 * np.sqrt(d / (V - 1)), 0.0))
    yield Claim("the least distance, reported", found.etf_distance_least, least, VALUE, 1.0)
    # a root of what is rounding at a simplex
    yield Claim("squared distance", found.etf_distance**2, least**2, VALUE, 1.0)
    below = max(least**2 - found.etf_distance**2, 0.0)
    yield Claim("below the least distance", below, 0.0, VALUE, 1.0, witness=True)


def simplex_regime(case: Case) -> Setting:
    """Class means that are a simplex: all cosines −1/(V − 1), which needs V <= d + 1."""
    M = _centred(case.parameters["means"])
    V, d = M.shape
    units = M / np.linalg.norm(M, axis=1, keepdims=True)
    apart = np.max(np.abs((units @ units.T)[~np.eye(V, dtype=bool)] + 1 / (V - 1)))
    return Setting.all_of(bool(apart < 1e-9), Setting.below(V, d + 1))


@check(
    key="wu2024/pair-kernel",
    formula=(
        r"\tfrac{2}{V(V-1)}\sum_{c<c'}\log\tfrac1{\|\tilde\mu_c-\tilde\mu_{c'}\|}\ \ge\ "
        r"-\tfrac12\log\tfrac{2V}{V-1}"
    ),
    source="derived for the metric GNC2 of Wu & Papyan 2024",
    regime=simplex_regime,
    cases=(
        _case("simplex in R^9", _BOUNDARY),
        _case("simplex in R^3", _BOUNDARY),
        _case("icosahedron", _OUTSIDE),
        _case("E8 roots", _OUTSIDE),
        _case("random 5 in R^9", _OUTSIDE),
    ),
)
def pair_kernel(case: Case):
    """The mean logarithmic energy of directions is least at the simplex, where it does not vary;
    all others are above."""
    means = _means(case.parameters["means"])
    V, found = len(means), _measured(means)
    least = -0.5 * np.log(2 * V / (V - 1))
    yield Claim("mean of the kernel", found.kernel_mean, least, VALUE, 1.0)
    below = max(least - found.kernel_mean, 0.0)
    yield Claim("below the least mean", below, 0.0, VALUE, 1.0, witness=True)


# NC1
# ----------------------------------------------------------------------


def scale_regime(case: Case) -> Setting:
    """The second power of the distance (q = 1), or a scale of 1."""
    return Setting.all_of(case.parameters["q"] == 1 or case.parameters["scale"] == 1)


@check(
    key="wu2024/similarities",
    formula=(
        r"\mathrm{mean}_{c<c'}\tfrac{(s_c+s_{c'})/2}{\|\mu_c-\mu_{c'}\|^{2q}}\ "
        r"\text{is unchanged by } h\mapsto tQh+v\ \text{for } q = 1"
    ),
    source="derived for the metric NC1 (CDNV) of Wu & Papyan 2024 and its variant q = 2",
    regime=scale_regime,
    cases=(
        _case("random 40 in R^6", _INSIDE, q=1, scale=3.0),
        _case("random 40 in R^6", _INSIDE, q=1, scale=1e-4),
        _case("random 40 in R^6", _INSIDE, q=2, scale=1.0),
        _case("random 40 in R^6", _OUTSIDE, q=2, scale=3.0),
    ),
)
def similarities(case: Case):
    """Variability over squared distance is blind to rotation, shift and scale; over its fourth
    power it is not blind to scale, and numbers of two models cannot be compared."""
    means, p = _means(case.parameters["means"]), case.parameters
    rng = np.random.default_rng(2)
    Q = np.linalg.qr(rng.normal(size=(means.shape[1],) * 2))[0]
    shift = p["scale"] * rng.normal(size=means.shape[1])
    before = _measured(means)
    after = _measured(means, moved=lambda rows: p["scale"] * rows @ Q + shift)
    name = "cdnv" if p["q"] == 1 else "cdnv_fourth"
    # rounding of the shift, over distances of pairs that are near each other
    tolerance = 1e-10
    yield Claim("CDNV", getattr(after, name), getattr(before, name), tolerance)
    yield Claim("norms vary", after.norm_cv, before.norm_cv, tolerance)
    yield Claim("distance to a simplex", after.etf_distance, before.etf_distance, tolerance)
    yield Claim("kernel", after.kernel_mean, before.kernel_mean, tolerance, 1.0)
