"""Next tokens as the decay vanishes: log-ratios inside the supports, and what diverges outside."""

from __future__ import annotations

import itertools

import numpy as np

import ufm
from theory_checks.engine.claims import Claim, worst_of
from theory_checks.engine.measure import GEOMETRY, Point, solve
from theory_checks.engine.registry import Case, Setting, check
from theory_checks.formulas.frames import directions_apart
from theory_checks.papers.zhao2024.formulas import (
    Design,
    label_matrix,
    next_token_problem,
    support_matrix,
)

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
_PAIRS, _TWICE = "pairs of 5", "5 supports, twice"
_VANISHING, _NOT = (1e-3, 1e-4, 1e-5, 1e-6), (0.08, 0.07, 0.06, 0.05)


def _case(name: str, setting: Setting, *, decays=_VANISHING, supports=_TWICE, **options) -> Case:
    parameters = {"supports": supports, "probabilities": 1, "dim": 5, "decay": decays[0], **options}
    return Case(name, setting, parameters, build=next_token_problem, options={"decays": decays})


def _vanish(case: Case) -> bool:
    decays = case.options["decays"]
    return max(decays) >= 1e3 * min(decays) and min(decays) <= 1e-5


def _points(case: Case, **changed) -> list[Point]:
    """One for each decay."""
    cases = (
        Case(case.id, case.setting, {**case.parameters, **changed, "decay": mu}, case.build)
        for mu in case.options["decays"]
    )
    return [Point.of(solve(each)) for each in cases]


def _trend(name: str, values, times) -> list[Claim]:
    """The values fall, and settle when multiplied by `times`."""
    values, settled = np.asarray(values), np.asarray(values) * times
    falls = np.diff(values) < 0
    ratio = float(settled[-1] / settled[-2])
    return [
        Claim(f"{name} falls", falls, np.ones(len(falls)), GEOMETRY),
        Claim(f"{name}, times the rate, settles", abs(ratio - 1) < 0.1, 1.0, GEOMETRY),
    ]


# inside the supports
# ----------------------------------------------------------------------


def inside_regime(case: Case) -> Setting:
    """Any supports but all words, decays that span a factor of 1000 and end at 1e-5 or below."""
    return Setting.all_of(
        _vanish(case), bool(np.any(support_matrix(case.parameters["supports"]) == 0))
    )


def _ratio_error(Z: np.ndarray, Q: np.ndarray) -> float:
    """The largest error of a log-ratio inside a support."""
    errors = [0.0]
    for z, q in zip(Z.T, Q.T, strict=True):
        for u, v in itertools.combinations(np.flatnonzero(q), 2):
            errors.append(abs(z[u] - z[v] - np.log(q[u] / q[v])))
    return max(errors)


@check(
    key="zhao2024/log-ratios",
    formula=(
        r"v,v'\in S_c:\ z_{vc}-z_{v'c} = \log\tfrac{q_{vc}}{q_{v'c}}+O(\mu),\quad "
        r"L^*-\mathcal H = O(\mu\log\tfrac1\mu)"
    ),
    source="Zhao et al. 2024, the sparse part (abstract; recalled); the rates are derived",
    regime=inside_regime,
    cases=(
        _case("5 supports", _INSIDE),
        _case("pairs of 5", _INSIDE, supports=_PAIRS),
        _case("decay that does not vanish", _OUTSIDE, decays=_NOT),
    ),
)
def log_ratios(case: Case):
    """As the decay vanishes, logits inside a support get the log-ratios of its probabilities, to
    first order in the decay."""
    points, decays = _points(case), np.asarray(case.options["decays"])
    Q = label_matrix(case.parameters["supports"], case.parameters["probabilities"])
    yield worst_of([point.certificate_claim() for point in points])
    errors = np.array([_ratio_error(point.logits, Q) for point in points])
    slopes = np.diff(np.log(errors)) / np.diff(np.log(decays))
    yield Claim("slope 1 of the error, to a tenth", abs(slopes[-1] - 1) < 0.1, 1.0, GEOMETRY)
    logs = np.where(Q > 0, np.log(np.where(Q > 0, Q, 1)), 0)
    entropy = -float(np.sum(Q * logs)) / Q.shape[1]
    above = np.array([point.value for point in points]) - entropy
    yield Claim("the entropy is below", bool(np.all(above > 0)), 1.0, GEOMETRY)
    yield from _trend("value less entropy", above, 1 / (decays * np.log(1 / decays)))


# outside the supports
# ----------------------------------------------------------------------


def svm_regime(case: Case) -> Setting:
    """Supports that are a 2-design but not all words, any masses."""
    return Setting.all_of(Design.of(case.parameters["supports"]) is not None)


def _svm(name: str, setting: Setting, supports: str, masses=None) -> Case:
    return Case(name, setting, {"supports": supports, "masses": masses}, build=dict)


_MASSES = (9.0, 1.0, 4.0, 2.0, 1.0, 3.0, 1.0, 1.0, 2.0, 5.0)


@check(
    key="zhao2024/max-margin",
    formula=r"L^{mm} = S-\tfrac kV,\quad \|L^{mm}D_m^{1/2}\|_* = \mathrm{least}",
    source="derived for the max-margin problem of Zhao et al. 2024 (recalled)",
    regime=svm_regime,
    cases=(
        _svm("pairs of 5", _INSIDE, _PAIRS),
        _svm("pairs of 5, unequal masses", _INSIDE, _PAIRS, _MASSES),
        _svm("7-point plane, unequal masses", _INSIDE, "the 7-point plane", _MASSES[:7]),
        _svm("one word each, unequal masses", _INSIDE, "one word each, twice", _MASSES),
        _svm("5 supports", _OUTSIDE, _TWICE),
        _svm("5 supports, unequal masses", _OUTSIDE, _TWICE, _MASSES),
    ),
)
def max_margin(case: Case):
    """For a 2-design the max-margin logits are the centred support matrix, whatever the masses; for
    other supports it is only near."""
    S = support_matrix(case.parameters["supports"])
    masses = case.parameters["masses"]
    found = ufm.laws.next_token_svm(S, masses)
    S -= S.mean(axis=0)
    yield Claim("gap", found.gap, 0.0, 1e-8, witness=True)
    size = float(np.linalg.norm(S * np.sqrt(1.0 if masses is None else masses), "nuc"))
    yield Claim("the nuclear norm of the centred supports", size, found.value, 1e-8, found.value)


def direction_regime(case: Case) -> Setting:
    """Any supports but all words, any masses and probabilities; decays as above."""
    return inside_regime(case)


def _direction(Z: np.ndarray) -> np.ndarray:
    return Z / np.linalg.norm(Z)


@check(
    key="zhao2024/direction",
    formula=(
        r"\tfrac{Z}{\|Z\|}\to\tfrac{L^{mm}}{\|L^{mm}\|}\ "
        r"\text{like } \tfrac1{\log(1/\mu)},"
        r"\quad L^{mm} = \arg\min\|LD_m^{1/2}\|_*\ \text{with margins 1}"
    ),
    source="Zhao et al. 2024, the low-rank part (abstract; recalled); the rate is derived",
    regime=direction_regime,
    cases=(
        _case("pairs of 5", _INSIDE, supports=_PAIRS),
        _case(
            "one word each, SELI",
            _INSIDE,
            supports="one word each, twice",
            masses=_MASSES,
        ),
        _case("5 supports", _INSIDE),
        _case("5 supports, unequal masses", _INSIDE, masses=_MASSES),
        _case("decay that does not vanish", _OUTSIDE, decays=_NOT, supports=_PAIRS),
        _case("every word", _OUTSIDE, supports="every word"),
    ),
)
def direction(case: Case):
    """What diverges depends on supports and masses alone: the max-margin logits, for one word each
    SELI; approached like 1/log(1/μ)."""
    points, others = _points(case), _points(case, probabilities=2)
    yield worst_of([point.certificate_claim() for point in (*points, *others)])
    S = support_matrix(case.parameters["supports"])
    margin = ufm.laws.next_token_svm(S, case.parameters.get("masses"))
    yield Claim("gap of the max-margin problem", margin.gap, 0.0, 1e-8, witness=True)
    limit = margin.logits / max(float(np.linalg.norm(margin.logits)), 1.0)
    rate = np.log(1 / np.asarray(case.options["decays"]))
    distances = [float(np.linalg.norm(_direction(p.logits) - limit)) for p in points]
    yield from _trend("distance to the max-margin logits", distances, rate)
    # (on one word each there is one distribution)
    if np.any(S.sum(axis=0) > 1):
        between = [
            float(np.linalg.norm(_direction(p.logits) - _direction(other.logits)))
            for p, other in zip(points, others, strict=True)
        ]
        yield from _trend("distance of two sets of probabilities", between, rate)


# contexts of one support
# ----------------------------------------------------------------------


def collapse_regime(case: Case) -> Setting:
    """Two contexts with one support and mass, which is not all words, whatever their probabilities;
    decays as above."""
    S = support_matrix(case.parameters["supports"])
    first, second = case.options["contexts"]
    return Setting.all_of(inside_regime(case), bool(np.all(S[:, first] == S[:, second])))


def _collapsing(name: str, setting: Setting, contexts, **options) -> Case:
    case = _case(name, setting, **options)
    case_options = {**case.options, "contexts": contexts}
    return Case(name, setting, case.parameters, build=next_token_problem, options=case_options)


@check(
    key="zhao2024/subspace-collapse",
    formula=(
        r"S_c = S_{c'}\ \Rightarrow\ 1-\cos(P_{T^\perp}z_c,P_{T^\perp}z_{c'}) = "
        r"o\big(\log^{-2}\tfrac1\mu\big),\quad "
        r"1-\cos(z_c,z_{c'})\sim\mathrm{const}\cdot\log^{-2}\tfrac1\mu"
    ),
    source="Zhao et al. 2024, subspace collapse (abstract; recalled); the rates are measured",
    regime=collapse_regime,
    cases=(
        _collapsing("contexts 0 and 5", _INSIDE, (0, 5)),
        _collapsing("contexts 2 and 7", _INSIDE, (2, 7)),
        _collapsing("other supports", _OUTSIDE, (0, 1)),
        _collapsing("decay that does not vanish", _OUTSIDE, (0, 5), decays=_NOT),
    ),
)
def subspace_collapse(case: Case):
    """Contexts followed by the same words align as the decay vanishes, whatever the probabilities:
    like 1/log² as they are, and faster when projected off their support."""
    points = _points(case)
    yield worst_of([point.certificate_claim() for point in points])
    S = support_matrix(case.parameters["supports"]).astype(bool)
    projected, raw = [], []
    for point in points:
        columns = [point.logits[:, c] - point.logits[:, c].mean() for c in case.options["contexts"]]
        raw.append(_one_less_cosine(*columns))
        for z, c in zip(columns, case.options["contexts"], strict=True):
            z[S[:, c]] = z[S[:, c]].mean()
        projected.append(_one_less_cosine(*columns))
    rate = np.log(1 / np.asarray(case.options["decays"])) ** 2
    yield from _trend("1 − cos", raw, rate)
    share = np.asarray(projected) / raw
    yield Claim("projected, it is smaller", share < 1, np.ones(len(raw)), GEOMETRY)
    yield Claim("ever more so", np.diff(share) < 0, np.ones(len(raw) - 1), GEOMETRY)


def _one_less_cosine(a: np.ndarray, b: np.ndarray) -> float:
    return directions_apart(a, b) ** 2 / 2
