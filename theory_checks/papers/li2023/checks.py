"""One client under a fixed simplex ETF: where its features go, and where they are said to go."""

from __future__ import annotations

import functools

import numpy as np

import ufm
from theory_checks.engine.counterexamples import MARGIN, Refutation
from theory_checks.engine.measure import EXACT, VALUE, Point, solve
from theory_checks.engine.registry import Case, Claim, Record, Setting, Verdict, check
from theory_checks.formulas.roots import bisect
from theory_checks.papers.li2023.formulas import (
    aligned_least,
    aligned_value,
    client_problem,
    cosines,
    predicted_logits,
)

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
_DERIVED = "derived here, for the loss of Li et al. 2023"
_TAIL = (100, 30, 10, 3, 1)


def _case(name: str, setting: Setting, *, full=False, **parameters) -> Case:
    return Case(name, setting, parameters, build=client_problem, full=full)


def etf_regime(case: Case) -> Setting:
    """The fixed classifier is a simplex ETF."""
    return Setting.all_of(case.parameters.get("skew", 0.0) == 0.0)


@check(
    key="li2023/closed-form",
    formula=(
        r"z_k=-W_0(n_k\tau_y),\quad z_y=\sum_{k\ne y}W_0(n_k\tau_y),\quad "
        r"s\,(S+n_y\tau e^S)=1\ \text{or}\ S^2+\sum_{k\ne y}W_0(n_k\tau)^2=a\beta^2"
    ),
    source=_DERIVED,
    regime=etf_regime,
    cases=(
        _case("decay, all classes", _INSIDE, counts=_TAIL, decay=0.01),
        _case("decay, two classes missing", _INSIDE, counts=(100, 0, 10, 0, 1), decay=1e-3),
        _case(
            "decay, three clients",
            _INSIDE,
            counts=((5, 1, 0), (0, 2, 2), (1, 1, 9)),
            decay=0.1,
            full=True,
        ),
        _case("unit features, β=1", _INSIDE, counts=_TAIL),
        _case("unit features, β=4", _INSIDE, counts=(100, 0, 10, 0, 1), beta=4.0),
        _case("decay, a row is skewed", _OUTSIDE, counts=_TAIL, decay=0.01, skew=0.1),
    ),
)
def closed_form(case: Case):
    """Balanced softmax on a fixed simplex ETF has Lambert functions of one number a class for
    logits; the class's own count only sets that number, and not at all for unit features."""
    point, predicted = Point.of(solve(case)), predicted_logits(**case.parameters)
    logits = point.logits - point.logits.mean(axis=0)
    yield Claim("logits", logits, predicted, EXACT)
    yield point.certificate_claim()
    own = np.sum(np.where(np.asarray(case.problem.labels.targets) > 0, predicted, 0), axis=0)
    others = np.where(np.asarray(case.problem.labels.targets) > 0, -1, predicted).max(axis=0)
    yield Claim("own logit > 0 >= others", np.all((own > 0) & (others <= 0)), 1.0, VALUE)


ALIGNED = (
    _case("other counts equal", _INSIDE, counts=(9, 9, 9, 9), decay=0.01),
    _case("a class missing", _INSIDE, counts=(9, 9, 9, 0), decay=0.01),
    _case("one class beside the own", _INSIDE, counts=(5, 5, *(0,) * 8), decay=1e-3),
    _case("counts 100 … 1", _INSIDE, counts=_TAIL, decay=0.01),
    _case("one count twice the others", _INSIDE, counts=(9, 9, 9, 18), decay=0.01),
)


@check(
    key="li2023/aligned",
    formula=r"h_y \parallel v_y\quad\text{for every class } y",
    source="the picture of Li et al. 2023 (recalled); refuted here",
    regime=etf_regime,
    expected=Verdict.REFUTED,
    cases=(
        *ALIGNED,
        _case("counts 100 … 1, weak decay", _INSIDE, counts=_TAIL, decay=1e-3, full=True),
        _case("a row is skewed", _OUTSIDE, counts=(9, 9, 9, 9), decay=0.01, skew=0.1),
    ),
)
def aligned(case: Case):
    """Features go to the direction of their own row of the fixed simplex ETF.

    Refuted under balanced softmax: with a class missing on the client, or unequal counts of the
    other classes, features along the rows are not optimal. They are exactly where the other counts
    are equal.
    """
    point = Point.of(solve(case))
    labels = np.asarray(case.problem.labels.class_index)
    found, claimed = cosines(point.logits, labels), aligned_value(case.problem)
    yield Claim("cosine with the own row", found, np.ones_like(found), EXACT)
    yield point.value_claim(claimed, name="least value of aligned features")
    yield point.certificate_claim()
    lower = Refutation.at(
        "the minimum",
        claimed,
        case.problem,
        point.params,
        least=functools.partial(aligned_least, case.problem),
    )
    yield point.plain_claim(lower.value)
    yield Record(
        "aligned and found",
        {
            "aligned": np.array([claimed]),
            "found": np.array([point.value]),
            "lower": np.array([float(ufm.certify(case.problem, point.params).lower_bound)]),
            "cosine": np.array([found.min()]),
        },
    )
    if case.setting is _INSIDE and point.value < claimed * (1 - MARGIN):
        if case.id == "one count twice the others":
            yield _turning(case)
        yield lower


def _turning(case: Case) -> Claim:
    """The count of the last class at which the feature of the first leaves its row, by bisection
    of the logits that are found, z_2 − z_4."""
    counts = case.parameters["counts"]

    def off(last: float) -> float:
        problem = client_problem(**{**case.parameters, "counts": (*counts[:-1], float(last))})
        z = np.asarray(ufm.minimise(problem, key=case.key, progress=False).logits)
        return float(z[1, 0] - z[3, 0])

    root = float(bisect(off, 1.0, 40.0, steps=46))
    return Claim("count at which it is aligned", root, 9.0, EXACT, scale=9.0, witness=True)


def missing_regime(case: Case) -> Setting:
    """A fixed simplex ETF; all classes that the client has but the own one have equal counts."""
    counts = np.asarray(case.parameters["counts"], dtype=float)
    present = counts[counts > 0]
    return Setting.all_of(etf_regime(case), np.ptp(present) == 0)


def _angle(name: str, setting: Setting, counts, **parameters) -> Case:
    return _case(name, setting, counts=counts, **parameters)


BESIDE = tuple(
    _angle(f"{m} of 9 others", _INSIDE, (3,) * (m + 1) + (0,) * (9 - m), decay=0.01)
    for m in (1, 4, 9)
)


@check(
    key="li2023/missing-class",
    formula=r"\cos\angle(h_y,v_y)=\sqrt{\tfrac{K}{K-1}\,\tfrac{m}{m+1}}",
    source=_DERIVED,
    regime=missing_regime,
    cases=(
        *BESIDE,
        _angle("weak decay", _INSIDE, (3, 3, 3, *(0,) * 7), decay=1e-8),
        _angle("unit features, β=1", _INSIDE, (3, 3, 3, *(0,) * 7), full=True),
        _angle("counts unequal", _OUTSIDE, (3, 9, 1, *(0,) * 7), decay=0.01),
    ),
)
def missing_class(case: Case):
    """With m other classes on the client a feature stays at a fixed angle to its own row, at every
    decay and temperature: 42 degrees for one of nine.

    For unequal counts that cosine is not reached, but a bound and the limit of weak decay.
    """
    point, counts = Point.of(solve(case)), np.asarray(case.parameters["counts"])
    K, m = len(counts), int((counts > 0).sum()) - 1
    limit = np.sqrt(K / (K - 1) * m / (m + 1))
    found = cosines(point.logits, np.asarray(case.problem.labels.class_index))
    yield Claim("cosine with the own row", found, np.full(m + 1, limit), EXACT)
    beyond = max(0.0, float(found.max() - limit))
    yield Claim("cosine beyond its bound", beyond, 0.0, EXACT, witness=True)
    gap = point.certificate_claim()
    yield gap
    columns = {"others": m, "cosine": found.min(), "limit": limit, "gap": gap.error}
    yield Record("angle", {name: np.array([x]) for name, x in columns.items()})


def balanced_regime(case: Case) -> Setting:
    """A fixed simplex ETF, balanced classes, a temperature with a ridge."""
    return Setting.all_of(np.ptp(case.parameters["counts"]) == 0)


def _temperature(name: str, setting: Setting, counts, ridge: float) -> Case:
    return Case(name, setting, {"counts": counts, "ridge": ridge}, build=dict)


@check(
    key="li2023/temperature",
    formula=(
        r"\beta=\tfrac{K-1}K\xi,\quad \xi e^\xi+(K-1)\xi=\tfrac{aK}{\lambda_\beta},\qquad"
        r"\sum_y\tfrac{n_y}N\,a\,\tfrac{1-p_y}{z_y}=\lambda_\beta"
    ),
    source=_DERIVED,
    regime=balanced_regime,
    cases=(
        _temperature("λ_β=0.1", _INSIDE, (5, 5, 5, 5), 0.1),
        _temperature("counts 100 … 1", _OUTSIDE, _TAIL, 0.1),
    ),
)
def temperature(case: Case):
    """A learned inverse temperature with a ridge λ_β/2 β² has one optimum, in closed form for
    balanced classes; without the ridge the loss falls in β for ever."""
    counts, ridge = np.asarray(case.parameters["counts"], float), case.parameters["ridge"]
    K = len(counts)
    a, V = K / (K - 1), np.asarray(client_problem(counts=counts).fixed_weights)[0]

    def slope(beta: float) -> float:
        """Of the least loss over unit features, at the minimum found, in β."""
        problem = client_problem(counts=counts, beta=float(beta))
        found = ufm.minimise(problem, key=case.key, progress=False, throw=True)
        _, dual = ufm.losses.loss_and_dual(problem.loss, found.logits, problem.labels.targets)
        pulled = np.asarray(dual) * np.asarray(problem.labels.column_weights)
        return float(np.sum(pulled * (V @ np.asarray(found.params.features))))

    gap = float(ufm.channels.same_class_gap(K, ridge / a))
    beta = float(bisect(lambda beta: slope(beta) + ridge * beta, 0.05, 12.0, steps=44))
    yield Claim("β", beta, (K - 1) / K * gap, EXACT)
    z = predicted_logits(counts=counts, beta=beta)
    powers = counts[:, None] * np.exp(z)
    own = np.diag(powers) / powers.sum(axis=0)
    mean = counts / counts.sum() @ (a * (1 - own) / np.diag(z))
    yield Claim("mean of a s_y", mean, ridge, EXACT, scale=ridge, witness=True)
    falls = [slope(b) < 0 for b in (0.5, 2.0, 6.0)]
    yield Claim("the loss falls in β", falls, np.ones(3), VALUE, witness=True)
