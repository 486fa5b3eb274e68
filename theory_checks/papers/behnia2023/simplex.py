"""Two losses that do give a simplex at unequal counts: a temperature of the label, and margins of
the true class that are not the ones in use."""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.measure import (
    EXACT,
    VALUE,
    Point,
    matrix_claim,
    precision,
    solve,
)
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.formulas.frames import contrast
from theory_checks.formulas.roots import bisect
from theory_checks.papers.behnia2023.formulas import (
    LabelTemperature,
    inner_shares,
    quartic_margins,
    simplex_margins,
    wide_enough,
    with_margins,
)

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE
_TAIL, _STEP = (8, 4, 2, 1), (10, 10, 1, 1)


# margins of the true class
# ----------------------------------------------------------------------


def _case(name, setting, counts, margins, decay, *, full=False) -> Case:
    parameters = {"class_counts": counts, "margins": tuple(margins), "decay": decay}
    return Case(name, setting, parameters, build=with_margins, full=full)


def _size(counts, margins, decay: float) -> tuple[float, bool]:
    """α of the first class, and whether the margins of all give the same."""
    n = np.asarray(counts, dtype=np.float64)
    sizes = np.sqrt(n) * (np.asarray(margins) + np.log(inner_shares(n, decay)))
    return float(sizes[0]), bool(np.ptp(sizes) < 1e-9)


def regime(case: Case) -> Setting:
    """m_y = α/√n_y − log(K √n_y/(N √(λ_W λ_H)) − K + 1) with some α >= 0, of which 0 is the
    boundary; any counts, d >= K − 1, decay at which every logarithm exists."""
    p = case.parameters
    n = np.asarray(p["class_counts"], dtype=np.float64)
    if np.min(inner_shares(n, p["decay"])) <= 0:
        return _OUTSIDE
    alpha, same = _size(n, p["margins"], p["decay"])
    return Setting.all_of(same, wide_enough(case), Setting.above(1 + alpha, 1.0))


MARGINS = (
    _case("a tail", _INSIDE, _TAIL, simplex_margins(_TAIL, 4.0, 0.02), 0.02),
    _case("a step, weak decay", _INSIDE, _STEP, simplex_margins(_STEP, 9.0, 1e-3), 1e-3),
    _case("equal counts and margins", _INSIDE, (3,) * 4, (0.5,) * 4, 0.02),
    _case("where it is zero", _BOUNDARY, _TAIL, simplex_margins(_TAIL, 0.0, 0.02), 0.02),
    _case("no margins", _OUTSIDE, _TAIL, (0.0,) * 4, 0.02),
    _case("1/n^{1/4}", _OUTSIDE, _TAIL, quartic_margins(_TAIL, 2.0), 0.02),
    _case(
        "the margins of twice the decay", _OUTSIDE, _TAIL, simplex_margins(_TAIL, 4.0, 0.04), 0.02
    ),
)


@check(
    key="behnia2023/margins-for-an-etf",
    formula=(
        r"\mathrm{CE}(z-m_ye_y),\quad m_y = \tfrac\alpha{\sqrt{n_y}}-\log\Big(\tfrac{K\sqrt{n_y}}"
        r"{N\sqrt{\lambda_W\lambda_H}}-K+1\Big):\quad z_y = \tfrac\alpha{\sqrt{n_y}}\,Pe_y,\ "
        r"WW^\top = \sqrt{\tfrac{\lambda_H}{\lambda_W}}\,\alpha P"
    ),
    source="derived, for the loss of Cao et al. 2019",
    regime=regime,
    cases=MARGINS,
)
def margins_for_an_etf(case: Case):
    """A margin of the true class alone gives an exact simplex ETF at any counts and decay, if it is
    the right one: at weak decay about α/√n − (log n)/2, and not the 1/n^{1/4} that is in use.

    With equal counts every common margin does, and lengthens the gaps of the logits by itself.
    """
    point, p = Point.of(solve(case)), case.parameters
    n, K = np.asarray(p["class_counts"], dtype=np.float64), len(p["class_counts"])
    alpha, _ = _size(n, p["margins"], p["decay"])
    tolerance = precision(case)
    gap = point.certificate_claim()
    yield gap
    logits = point.logits - point.logits.mean(axis=0)
    yield Claim("logits", logits, alpha * contrast(K) / np.sqrt(n), tolerance)
    gram = point.classifier @ point.classifier.T
    size = point.weight_size()
    yield matrix_claim("W Wᵀ", gram, alpha * contrast(K), size=size, tolerance=tolerance)
    losses = np.log1p((K - 1) / inner_shares(n, p["decay"]))
    value = float(n / n.sum() @ losses) + p["decay"] * (K - 1) * alpha
    yield Claim("value", point.value, value, VALUE, scale=value)
    rows = {"count": n, "length": np.sqrt(np.diag(gram)), "gap": np.full(K, gap.error)}
    yield Record("rows", rows)
    if case.id == "a tail":
        yield Claim("decay at which rows are equal", _equal(case), 0.02, EXACT, scale=0.02)


def _equal(case: Case) -> float:
    """The decay at which the rows of the two outer classes are equally long, by bisection."""

    def shorter(decay: float) -> float:
        problem = with_margins(**{**case.parameters, "decay": float(decay)})
        found = ufm.minimise(problem, key=case.key, progress=False)
        squares = np.sum(np.asarray(found.params.classifier) ** 2, axis=1)
        return float(squares[-1] - squares[0])

    return float(bisect(shorter, 0.01, 0.04, steps=40))


# the temperature of a label
# ----------------------------------------------------------------------


def tempered(class_counts, *, t, decay, class_weights=None, dim=4):
    """CE(t_y z), full columns."""
    labels = ufm.one_hot(class_counts, class_weights=class_weights)
    loss = LabelTemperature(np.asarray(t, dtype=np.float64))
    return ufm.Problem(labels, loss=loss, widths=(dim,), lambda_W=decay, lambda_H=decay)


def _label(name, setting, counts, power, *, weighted=True, decay=0.02, full=False):
    n = np.asarray(counts, dtype=np.float64)
    parameters = {
        "class_counts": counts,
        "t": tuple(n**power),
        "decay": decay,
        "class_weights": tuple(1 / n) if weighted else None,
    }
    return Case(name, setting, parameters, build=tempered, full=full)


def label_regime(case: Case) -> Setting:
    """t_k = √n_k, loss weights 1/n_k, d >= K − 1, K √(λ_W λ_H) < 1."""
    p, counts = case.parameters, np.asarray(case.parameters["class_counts"], dtype=np.float64)
    weights = np.ones(len(counts)) if p["class_weights"] is None else np.array(p["class_weights"])
    symmetric = np.allclose(p["t"], np.sqrt(counts), rtol=1e-12, atol=0)
    inverse = np.allclose(weights, 1 / counts, rtol=1e-12, atol=0)
    load = len(counts) * p["decay"]
    return Setting.all_of(symmetric and inverse, wide_enough(case), Setting.below(load, 1.0))


@check(
    key="behnia2023/label-temperature",
    formula=(
        r"\mathrm{CE}(\sqrt{n_y}\,z),\ \text{weights } \tfrac1{n_y}:\quad \sqrt{n_y}\,z_y = "
        r"a(e_y-\tfrac1K\mathbf 1),\ WW^\top\propto P,\quad \tfrac1{K-1+e^a} = "
        r"\sqrt{\lambda_W\lambda_H}"
    ),
    source="derived: h → h/t makes it cross-entropy with masses n/t²",
    regime=label_regime,
    cases=(
        _label("a step", _INSIDE, (6, 6, 2, 1), 0.5),
        _label("a tail, weak decay", _INSIDE, (8, 4, 2, 1), 0.5, decay=1e-4),
        _label("where it is zero", _BOUNDARY, (6, 6, 2, 1), 0.5, decay=0.25),
        _label("t = n", _OUTSIDE, (6, 6, 2, 1), 1.0),
        _label("without weights", _OUTSIDE, (6, 6, 2, 1), 0.5, weighted=False),
    ),
)
def label_temperature(case: Case):
    """A temperature of the label, the root of its count, with weights inverse to it, gives an exact
    simplex ETF at every decay and imbalance."""
    point, p = Point.of(solve(case)), case.parameters
    K, t = len(p["class_counts"]), np.array(p["t"])
    a = max(float(np.log(1 / p["decay"] - K + 1)), 0.0)
    yield point.certificate_claim()
    Z = point.linear_logits
    Z = Z - Z.mean(axis=0)
    yield Claim("t_y z_y", Z * t, a * contrast(K), precision(case))
    gram = point.classifier @ point.classifier.T
    size = point.weight_size()
    # W Wᵀ = √(λ_H/λ_W) a P
    yield matrix_claim("W Wᵀ", gram, a * contrast(K), size=size, tolerance=precision(case))
    value = float(np.log1p((K - 1) * np.exp(-a))) + p["decay"] * (K - 1) * a
    yield Claim("value", point.value, value, VALUE, scale=value)
    if case.setting is not _OUTSIDE:
        yield point.collapse_claim(tolerance=EXACT)
