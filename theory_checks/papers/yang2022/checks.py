"""Plain cross-entropy and dot regression on a fixed classifier, and on one that is learned."""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.claims import worst_of
from theory_checks.engine.measure import EXACT, VALUE, Point, solve, value_at
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.formulas.frames import contrast
from theory_checks.formulas.vanishing import vanishing
from theory_checks.papers.yang2022.formulas import fixed_problem, learned_problem, with_logits

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
_DERIVED = "derived here, for the recipe of Yang et al. 2022"
_TAIL = (100, 30, 10, 3, 1)


def _fixed(name: str, setting: Setting, counts=_TAIL, **parameters) -> Case:
    return Case(name, setting, {"counts": counts, **parameters}, build=fixed_problem)


def frame_regime(case: Case) -> Setting:
    """Plain cross-entropy, the fixed classifier a simplex ETF, features with decay."""
    return Setting.all_of(case.parameters["rows"] == "etf")


@check(
    key="yang2022/fixed-frame",
    formula=r"h_y=\tfrac\xi a w_y,\qquad \xi e^\xi+(K-1)\xi=K/s,\quad s=\mu/a",
    source=_DERIVED,
    regime=frame_regime,
    cases=(
        _fixed("counts 100 … 1", _INSIDE, rows="etf", loss="ce"),
        _fixed("weak decay", _INSIDE, rows="etf", loss="ce", decay=1e-6),
        _fixed("strong decay", _INSIDE, rows="etf", loss="ce", decay=100.0),
        _fixed("skewed rows", _OUTSIDE, rows="skewed", loss="ce"),
    ),
)
def fixed_frame(case: Case):
    """On a fixed simplex ETF features of plain cross-entropy lie along their rows with one length,
    whatever the class counts."""
    point, counts = Point.of(solve(case)), case.parameters["counts"]
    K, a = len(counts), 1.5**2 * len(counts) / (len(counts) - 1)
    gap = float(ufm.channels.same_class_gap(K, case.parameters.get("decay", 0.1) / a))
    yield Claim("logits", point.logits, gap * contrast(K), EXACT, scale=max(gap, 1e-3))
    columns = ufm.solvers.fit_features(case.problem, progress=False)
    exact = np.asarray(columns.logits)
    yield Claim("logits, column by column", exact, gap * contrast(K), EXACT, scale=max(gap, 1e-3))
    yield point.certificate_claim()


def rows_regime(case: Case) -> Setting:
    """Dot regression, fixed rows of one length, features with decay."""
    return Setting.all_of(case.parameters["rows"] != "lengths")


@check(
    key="yang2022/dot-regression",
    formula=r"w_y\cdot h_y=\frac{cE_W}{E_W+\mu c},\qquad h_y\parallel w_y",
    source=_DERIVED,
    regime=rows_regime,
    cases=(
        _fixed("simplex ETF", _INSIDE, rows="etf"),
        _fixed("any rows of one length", _INSIDE, rows="random"),
        _fixed("weak decay", _INSIDE, rows="etf", decay=1e-3),
        _fixed("rows of two lengths", _OUTSIDE, rows="lengths"),
    ),
)
def dot_regression(case: Case):
    """Dot regression pulls every feature along its own row to one logit: it is the frame that is
    fixed, and not the loss, that makes the features an ETF."""
    point, p = Point.of(solve(case)), case.parameters
    K, E, c, mu = len(p["counts"]), 1.5**2, 2.0, p.get("decay", 0.1)
    own = c * E / (E + mu * c)
    yield Claim("own logits", np.diag(point.logits), np.full(K, own), EXACT)
    W = point.classifier
    cosines = np.sum(W * point.features.T, axis=1) / np.linalg.norm(W, axis=1)
    cosines = cosines / np.linalg.norm(point.features, axis=0)
    yield Claim("cosine with the row", cosines, np.ones(K), EXACT, witness=True)
    yield point.certificate_claim()


def tie_regime(case: Case) -> Setting:
    """Dot regression, balanced classes, both factors free with decay."""
    return Setting.all_of(case.parameters.get("loss", "dot") == "dot")


def _learned(name: str, setting: Setting, **parameters) -> Case:
    return Case(name, setting, {"K": 4, "n": 5, **parameters}, build=learned_problem)


TIES = (
    _learned("λ=0.02", _INSIDE),
    _learned("λ=0.1", _INSIDE, lam=0.1),
    _learned("at the threshold, λ=1/4", _INSIDE, lam=0.25),
    _learned("beyond it", _INSIDE, lam=0.5),
    _learned("cross-entropy", _OUTSIDE, loss="ce"),
)


@check(
    key="yang2022/learned",
    formula=(
        r"\|Z\|_*\ge\mathrm{tr}\,Z\ \text{with equality for } I,\ \tfrac K{K-1}P,\ "
        r"\mathbf 1\mathbf 1^\top;\quad z_{kk}=c\,(1-K\sqrt{n\lambda_W\lambda_H})_+"
    ),
    source=_DERIVED,
    regime=tie_regime,
    cases=TIES,
)
def learned(case: Case):
    """With a learned classifier dot regression selects no frame: logits of a simplex ETF, of an
    orthogonal frame and of rank one, at chance accuracy, have the same value, which is the least;
    a classifier in one dimension reaches it.

    So the claim that dot regression gives neural collapse needs the frame to be fixed.
    """
    p, problem = case.parameters, case.problem
    K, lam, c = p["K"], p.get("lam", 0.02), p.get("wanted", 2.0)
    own = max(c * (1 - K * lam), 0.0)
    value = 0.5 * (own - c) ** 2 / c + K * lam * own
    point = Point.of(solve(case))
    shapes = {
        "simplex ETF": own * K / (K - 1) * contrast(K),
        "orthogonal frame": own * np.eye(K),
        "rank one": own * np.ones((K, K)),
    }
    optimal, values = [point], []
    for name, Z in shapes.items():
        params = with_logits(problem, Z)
        values.append(value_at(problem, params))
        yield Claim(f"value of the {name}", values[-1], value, VALUE, scale=value)
        if case.setting is not _OUTSIDE:
            optimal.append(Point(problem, params, values[-1]))
    yield worst_of([at.certificate_claim() for at in optimal])
    yield Claim("least value found", point.value, value, VALUE, scale=value)
    # one dimension, and nothing is lost: a classifier of rank one is found too
    line = learned_problem(**{**p, "dim": 1})
    thin = ufm.minimise(line, key=case.key, starts=4, progress=False, throw=True)
    yield Claim("least value found for d = 1", float(thin.value), value, VALUE, scale=value)
    if case.id == "beyond it":
        end = vanishing(lambda lam: learned_problem(**{**p, "lam": lam}), 0.01, 1.0)
        yield Claim("λ at which all vanishes", end, 1 / K, EXACT, scale=1 / K)
    lower = [float(ufm.certify(problem, at.params).lower_bound) for at in optimal]
    columns = {"values": values, "found": [point.value], "thin": [float(thin.value)]}
    columns |= {"lower": [max(lower)], "predicted": [value]}
    yield Record("ties", {name: np.asarray(x, dtype=float) for name, x in columns.items()})
