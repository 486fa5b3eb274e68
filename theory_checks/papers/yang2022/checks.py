"""Plain cross-entropy and dot regression on a fixed classifier, and on one that is learned."""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.measure import CERTIFICATE, GEOMETRY, VALUE, Point, solve
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.formulas.frames import contrast
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
    yield Claim("logits", point.logits, gap * contrast(K), 1e-9, scale=max(gap, 1e-3))
    columns = ufm.solvers.fit_features(case.problem, progress=False)
    exact = np.asarray(columns.logits)
    yield Claim("logits, column by column", exact, gap * contrast(K), 1e-10, scale=max(gap, 1e-3))
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
    yield Claim("own logits", np.diag(point.logits), np.full(K, own), 1e-10)
    W = point.classifier
    cosines = np.sum(W * point.features.T, axis=1) / np.linalg.norm(W, axis=1)
    cosines = cosines / np.linalg.norm(point.features, axis=0)
    yield Claim("cosine with the row", cosines, np.ones(K), GEOMETRY, witness=True)
    gap = float(ufm.certify(case.problem, point.params).gap)
    yield Claim("gap of the dual bound", gap, 0.0, CERTIFICATE, witness=True)


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
    orthogonal frame and of rank one, at chance accuracy, have the same value, which is the least.

    So the claim that dot regression gives neural collapse needs the frame to be fixed.
    """
    p, problem = case.parameters, case.problem
    K, n, lam, c = p["K"], p["n"], p.get("lam", 0.02), p.get("wanted", 2.0)
    own = max(c * (1 - K * lam), 0.0)
    value = 0.5 * (own - c) ** 2 / c + K * lam * own
    point = Point.of(solve(case))
    shapes = {
        "simplex ETF": own * K / (K - 1) * contrast(K),
        "orthogonal frame": own * np.eye(K),
        "rank one": own * np.ones((K, K)),
    }
    gaps = []
    for name, Z in shapes.items():
        params = with_logits(problem, Z)
        reached = float(ufm.model.objective(problem, params))
        yield Claim(f"value of the {name}", reached, value, VALUE, scale=value)
        # at the same z_kk the duals are the same: one certificate for all
        gaps.append(float(ufm.certify(problem, params).gap))
    yield Claim("gaps of all three", gaps, np.zeros(3), 1e-9)
    yield Claim("least value found", point.value, value, 1e-9, scale=value)
    found = float(ufm.certify(problem, point.params).gap)
    yield Claim("gap of what is found", found, 0.0, 1e-9, witness=True)
    values = [float(ufm.model.objective(problem, with_logits(problem, Z))) for Z in shapes.values()]
    columns = {"values": values, "gaps": gaps, "found": [point.value] * 3, "n": [n] * 3}
    yield Record("ties", {name: np.asarray(x, dtype=float) for name, x in columns.items()})
