"""Next tokens at a given decay: the closed form, its threshold, the rank, and what merges."""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.measure import CERTIFICATE, GEOMETRY, Point, matrix_claim, solve
from theory_checks.engine.registry import Case, Claim, Setting, check
from theory_checks.papers.zhao2024.formulas import (
    Design,
    label_matrix,
    next_token_problem,
    support_matrix,
    zero_threshold,
)

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE
_PAIRS, _PLANE, _TWICE = "pairs of 5", "the 7-point plane", "5 supports, twice"
_MASSES = (9.0, 1.0, 4.0, 2.0, 1.0, 3.0, 1.0, 1.0, 2.0, 5.0)


def _of_design(name: str, setting: Setting, share: float, *, supports=_PAIRS, **options) -> Case:
    """A decay of so much of the threshold."""
    design = Design.of(supports) or Design.of(_PAIRS)
    assert design is not None
    full = options.pop("full", False)
    parameters = {"supports": supports, "decay": share * design.threshold, "dim": design.V}
    return Case(name, setting, {**parameters, **options}, build=next_token_problem, full=full)


# the closed form
# ----------------------------------------------------------------------


def design_regime(case: Case) -> Setting:
    """Supports of one size that are a 2-design (all of one size are), uniform labels, equal masses,
    d >= V − 1, any decay."""
    design = Design.of(case.parameters["supports"])
    return Setting.all_of(
        design is not None,
        case.parameters.get("probabilities") is None,
        case.parameters.get("masses") is None,
        design is not None and case.parameters["dim"] >= design.V - 1,
    )


@check(
    key="zhao2024/symmetric-supports",
    formula=(
        r"Z = a(S-\tfrac kV),\quad a = \log\tfrac{p(V-k)}{(1-p)k},\ p = 1-\mu(V-1)\sigma,\quad "
        r"\sigma^2 = r_1\tfrac{V-k}{V-1}"
    ),
    source="derived for the next-token setting of Zhao et al. 2024",
    regime=design_regime,
    cases=(
        _of_design("pairs of 5, 0.3", _INSIDE, 0.3),
        _of_design("pairs of 5, d = V-1", _INSIDE, 0.01, dim=4),
        _of_design("pairs of 5, 0.97", _INSIDE, 0.97),
        _of_design("pairs of 5, at the threshold", _INSIDE, 1.0),
        _of_design("pairs of 5, 1.03", _INSIDE, 1.03),
        _of_design("7-point plane, 0.3", _INSIDE, 0.3, supports=_PLANE, full=True),
        _of_design("one word each, 0.3", _INSIDE, 0.3, supports="one word each, twice"),
        _of_design("pairs of 5, d = V-2", _OUTSIDE, 0.3, dim=3),
        _of_design("pairs of 5, other probabilities", _OUTSIDE, 0.3, probabilities=0),
        _of_design("no design", _OUTSIDE, 0.3, supports=_TWICE),
        _of_design("unequal masses", _OUTSIDE, 0.3, masses=_MASSES),
    ),
)
def symmetric_supports(case: Case):
    """For uniform labels on supports that are a 2-design logits are the centred support matrix, and
    zero from μ (V − 1) σ = 1 − k/V on."""
    point, supports, mu = (
        Point.of(solve(case)),
        case.parameters["supports"],
        case.parameters["decay"],
    )
    design = Design.of(supports) or Design.of(_PAIRS)
    assert design is not None
    if case.parameters["dim"] >= design.V - 1:
        yield point.certificate_claim()
    yield point.value_claim(design.value(mu))
    Z = design.scale(mu) * (support_matrix(supports) - design.k / design.V)
    yield matrix_claim("logits", point.logits, Z, size=1.0)


# zero
# ----------------------------------------------------------------------


def _zero(name: str, setting: Setting, share: float, **options) -> Case:
    parameters = {"supports": _TWICE, "probabilities": 1, "masses": None, **options}
    parameters["decay"] = share * zero_threshold(**parameters)
    return Case(name, setting, {**parameters, "dim": 5}, build=next_token_problem)


def zero_regime(case: Case) -> Setting:
    """Any labels and masses, one feature an occurrence; μ above the operator norm (at it as
    well)."""
    of = {name: case.parameters[name] for name in ("supports", "probabilities", "masses")}
    return Setting.above(case.parameters["decay"], zero_threshold(**of))


@check(
    key="zhao2024/zero",
    formula=(
        r"\mu\ge\big\|[\omega_c(\tfrac1V-q_c)/\sqrt{m_c}]\big\|_{op}\ \Leftrightarrow\ Z = 0,\ "
        r"L^* = \log V"
    ),
    source="derived for the next-token setting of Zhao et al. 2024",
    regime=zero_regime,
    cases=(
        _zero("1.03", _INSIDE, 1.03),
        _zero("1.03, unequal masses", _INSIDE, 1.03, masses=_MASSES),
        _zero("1.03, uniform labels", _INSIDE, 1.03, probabilities=None),
        _zero("at the norm, unequal masses", _BOUNDARY, 1.0, masses=_MASSES),
        _zero("0.97", _OUTSIDE, 0.97),
        _zero("0.97, unequal masses", _OUTSIDE, 0.97, masses=_MASSES),
    ),
)
def zero(case: Case):
    """Whatever the labels, everything vanishes from the operator norm of their weighted deviations
    from uniform on."""
    point = Point.of(solve(case))
    yield point.certificate_claim()
    yield point.value_claim(float(np.log(5)))
    yield Claim("logits", point.logits, np.zeros((5, 10)), GEOMETRY)


# the rank
# ----------------------------------------------------------------------


def _rank(name: str, setting: Setting, dim: int, *, decay=2e-2) -> Case:
    parameters = {"supports": _TWICE, "probabilities": 1, "decay": decay, "dim": dim}
    # the rank of the logits at d = V, which the check finds again
    return Case(name, setting, parameters, build=next_token_problem, options={"rank": 3})


def rank_regime(case: Case) -> Setting:
    """d at least the rank of the optimum of d = V."""
    return Setting.all_of(case.parameters["dim"] >= case.options["rank"])


@check(
    key="zhao2024/rank",
    formula=r"\min_{W,H} = \min_Z\ \sum_c\omega_c\mathrm{CE}(z_c,q_c)+\mu\|ZD_m^{1/2}\|_*",
    source="the nuclear norm of Zhao et al. 2024 (recalled); the rank is derived",
    regime=rank_regime,
    cases=(
        _rank("d = V", _INSIDE, 5),
        _rank("d = the rank", _INSIDE, 3),
        _rank("d below the rank", _OUTSIDE, 2),
    ),
)
def rank(case: Case):
    """The problem is convex in the logits, and its certificate closes, just where d is at least the
    rank of the optimum."""
    point = Point.of(solve(case))
    wide = Case("wide", case.setting, {**case.parameters, "dim": 5}, build=next_token_problem)
    free = Point.of(solve(wide))
    yield free.certificate_claim()
    found = np.linalg.matrix_rank(free.logits, tol=1e-6 * np.linalg.norm(free.logits))
    yield Claim("the rank at d = V", found, case.options["rank"], GEOMETRY, witness=True)
    gap = float(ufm.certify(point.problem, point.params).gap)
    yield Claim("certificate of d features", gap, 0.0, CERTIFICATE)
    yield point.value_claim(free.value)
    yield matrix_claim("logits", point.logits, free.logits, size=1.0)


# merging
# ----------------------------------------------------------------------


def _merging(name: str, setting: Setting, counts, *, per: str) -> Case:
    parameters = {"counts": tuple(counts), "per": per, "decay": 1e-2}
    return Case(name, setting, parameters, build=_all_contexts)


def _context_labels(counts, per: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """q (5, 10), m and w of contexts of which c and c + 5 have one distribution."""
    once = label_matrix(_TWICE, 1)[:, :5]
    counts = np.asarray(counts, dtype=np.float64)
    ones = np.ones(len(counts))
    masses, weights = (counts, ones) if per == "occurrence" else (ones, counts)
    return np.hstack([once, once]), masses, weights


def _soft_problem(targets, masses, weights, decay: float) -> ufm.Problem:
    # the decay of a sum over features, whatever their number
    lam = decay / masses.sum()
    labels = ufm.soft(targets, masses, weights=weights)
    loss = ufm.CrossEntropy()
    return ufm.Problem(labels, loss=loss, widths=(5,), lambda_W=decay, lambda_H=lam)


def _all_contexts(counts, *, per: str, decay: float) -> ufm.Problem:
    return _soft_problem(*_context_labels(counts, per), decay)


def merging_regime(case: Case) -> Setting:
    """Contexts of one distribution have the same ratio of loss weight to mass: one feature an
    occurrence, or one a context and equal counts."""
    _, _, weights = _context_labels(case.parameters["counts"], case.parameters["per"])
    return Setting.all_of(bool(np.all(weights[:5] == weights[5:])))


@check(
    key="zhao2024/merging",
    formula=r"q_c = q_{c'},\ \tfrac{\omega_c}{m_c} = \tfrac{\omega_{c'}}{m_{c'}}"
    r"\ \Rightarrow\ h_c = h_{c'}",
    source="derived for the next-token setting of Zhao et al. 2024",
    regime=merging_regime,
    cases=(
        _merging("a feature an occurrence", _INSIDE, _MASSES, per="occurrence"),
        _merging("a feature a context, equal counts", _INSIDE, _MASSES[:5] * 2, per="context"),
        _merging("a feature a context, unequal counts", _OUTSIDE, _MASSES, per="context"),
    ),
)
def merging(case: Case):
    """Contexts with one distribution share a column where their loss weights go with their masses,
    and nowhere else."""
    point = Point.of(solve(case))
    targets, masses, weights = _context_labels(case.parameters["counts"], case.parameters["per"])
    joint = masses[:5] + masses[5:]
    mean = (masses * weights)[:5] + (masses * weights)[5:]
    merged = _soft_problem(targets[:, :5], joint, mean / joint, case.parameters["decay"])
    other = Case("merged", case.setting, {}, build=lambda: merged)
    found = Point.of(solve(other))
    yield point.certificate_claim()
    yield found.certificate_claim()
    yield point.value_claim(found.value)
    yield matrix_claim("logits", point.logits, np.hstack([found.logits] * 2), size=1.0)
