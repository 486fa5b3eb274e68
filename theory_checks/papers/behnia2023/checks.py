"""Class-dependent losses: their max-margin limits, and a kernel that forbids an ETF."""

from __future__ import annotations

import functools

import numpy as np

import ufm
from theory_checks.engine.claims import worst_of
from theory_checks.engine.counterexamples import MARGIN, Refutation
from theory_checks.engine.measure import EXACT, VALUE, Point, matrix_claim, solve
from theory_checks.engine.registry import Case, Claim, Record, Setting, Verdict, check
from theory_checks.formulas.etf_classifier import EtfClassifier
from theory_checks.formulas.frames import contrast, directions_apart
from theory_checks.formulas.roots import bisect
from theory_checks.papers.behnia2023.formulas import (
    dual,
    grams,
    logits,
    margins,
    quartic_margins,
    temperatures,
    wide_enough,
)

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
_STEP, _TAIL = (10, 10, 1, 1), (8, 4, 2, 1)


def adjusted(class_counts, *, delta, decay, iota=None, margins=None, dim=4, collapsed=True):
    """Class-dependent temperatures and shifts; margins m_y shift the true class alone."""
    loss = ufm.losses.AdjustedCrossEntropy(multiplicative=np.asarray(delta), additive=iota)
    labels = ufm.one_hot(class_counts, collapsed=collapsed)
    if margins is not None:
        labels = ufm.labels.with_offsets(labels, -np.diag(np.asarray(margins)))
    return ufm.Problem(labels, loss=loss, widths=(dim,), lambda_W=decay, lambda_H=decay)


# the limit
# ----------------------------------------------------------------------


# 1/distance grows by log(1/λ) evenly, from 1e-8 to 1e-10 as to 1e-12 but for a fiftieth; the powers
# 1/2 and 3/2 of the logarithm would be a tenth off
_BEND = 0.04


def _limit(name, setting, counts, gamma, *, decays=(1e-2, 1e-5, 1e-8, 1e-10, 1e-12), **shifts):
    parameters = {
        "class_counts": counts,
        "delta": tuple(temperatures(counts, gamma)),
        "decay": decays[0],
        **shifts,
    }
    return Case(name, setting, parameters, build=adjusted, options={"decays": decays})


def limit_regime(case: Case) -> Setting:
    """Any counts, δ > 0 and shifts, d >= K − 1, decays that span a factor of 1000 and end at 1e-5
    or below."""
    decays, positive = case.options["decays"], min(case.parameters["delta"]) > 0
    return Setting.all_of(
        positive and wide_enough(case),
        max(decays) >= 999 * min(decays),
        min(decays) <= 1.001e-5,
    )


@check(
    key="behnia2023/svm-limit",
    formula=(
        r"\lambda\to0:\ Z\to\Pi_u\Delta^{-1},\ u\propto\tfrac1\delta,\quad WW^\top\propto(\Pi_u\,"
        r"\mathrm{diag}(n_k/\delta_k^2)\,\Pi_u)^{1/2},\quad\text{whatever the shifts}"
    ),
    source="derived: optimal for all n and δ, all constraints active",
    regime=limit_regime,
    cases=(
        _limit("CDT, γ=1/2, a tail", _INSIDE, _TAIL, 0.5),
        _limit("CDT, γ=1, a step", _INSIDE, _STEP, 1.0),
        _limit("logit adjustment", _INSIDE, _TAIL, 0.0, iota=tuple(np.log(_TAIL))),
        _limit(
            "margins 1/n^{1/4}", _INSIDE, _TAIL, 0.0, margins=tuple(quartic_margins(_TAIL, 0.5))
        ),
        _limit("decay that does not vanish", _OUTSIDE, _TAIL, 0.5, decays=(0.1, 0.09, 0.08, 0.07)),
    ),
)
def svm_limit(case: Case):
    """As the decay vanishes, class-dependent temperatures tend to the closed form of a max-margin
    problem, like 1/log(1/λ); shifts of the logits, and margins of the true class, leave no trace
    there."""
    counts, delta = case.parameters["class_counts"], np.array(case.parameters["delta"])
    wanted = {"logits": logits(delta)}
    wanted |= dict(zip(("W Wᵀ", "H̄ᵀ H̄"), grams(counts, delta), strict=True))
    yield from _optimal(counts, delta)
    distances: dict[str, list[float]] = {name: [] for name in wanted}
    gaps, decays = [], np.asarray(case.options["decays"])
    for decay in decays:
        parameters = {**case.parameters, "decay": decay}
        point = Point.of(solve(Case(case.id, case.setting, parameters, case.build)))
        gaps.append(point.certificate_claim())
        found = (
            point.linear_logits,
            point.classifier @ point.classifier.T,
            point.class_means.T @ point.class_means,
        )
        for name, matrix in zip(wanted, found, strict=True):
            distances[name].append(directions_apart(matrix, wanted[name]))
    yield worst_of(gaps)
    logs, ones = np.log(1 / decays), np.ones(len(decays) - 1)
    for name, values in distances.items():
        yield Claim(f"{name}: the distance falls", np.diff(values) < 0, ones, EXACT)
        *_, before, last = np.diff(1 / np.asarray(values)) / np.diff(logs)
        steady = abs(last - before) < _BEND * abs(before)
        yield Claim(f"{name}: 1/distance is linear in log(1/λ)", steady, 1.0, EXACT)


def _optimal(counts, delta: np.ndarray):
    """The closed form is feasible, and a dual point has its value."""
    n = np.asarray(counts, dtype=np.float64)
    Z, (beta, B) = logits(delta), dual(counts, delta)
    nuclear = float(np.linalg.svd(Z * np.sqrt(n))[1].sum())
    gaps = margins(Z, delta)
    yield Claim("all constraints are active", gaps, np.ones(len(gaps)), EXACT, witness=True)
    yield Claim("multipliers are not negative", min(0.0, beta.min()), 0.0, EXACT, witness=True)
    own = delta * beta.sum(axis=0)
    yield Claim("the dual point fits", np.diag(B), own, EXACT, scale=own.max(), witness=True)
    norm = float(np.linalg.norm(B / np.sqrt(n), 2))
    yield Claim("the dual norm", norm, 1.0, EXACT, witness=True)
    total = float(beta.sum())
    yield Claim("no duality gap", total, nuclear, VALUE, scale=nuclear, witness=True)


# no ETF
# ----------------------------------------------------------------------


def _never(name, setting, counts, delta, *, decay=3e-3, full=False):
    parameters = {"class_counts": counts, "delta": tuple(delta), "decay": decay}
    return Case(name, setting, parameters, build=adjusted, full=full)


def never_regime(case: Case) -> Setting:
    """δ_k = (n_k/n_max)^γ with some γ >= 0, any counts, learned W, d >= K − 1."""
    p = case.parameters
    shares, delta = np.array(p["class_counts"]) / max(p["class_counts"]), np.array(p["delta"])
    uneven = shares < 1
    if not uneven.any():
        return Setting.all_of(bool(np.all(delta == 1)), wide_enough(case))
    powers = np.log(delta[uneven]) / np.log(shares[uneven])
    return Setting.all_of(
        bool(np.ptp(powers) < 1e-9 and powers.min() > -1e-9 and np.all(delta[~uneven] == 1)),
        wide_enough(case),
    )


def limit_rows(counts, gamma: float) -> tuple[float, float]:
    """Of the max-margin limit: length of the smallest class's row over that of the largest, and the
    cosine of the two smallest ones."""
    gram, _ = grams(counts, temperatures(counts, gamma))
    lengths = np.sqrt(np.diag(gram))
    return float(lengths[-1] / lengths[0]), float(gram[-2, -1] / lengths[-2] / lengths[-1])


def _equal_count(case: Case) -> float:
    """The count of the rare classes at which rows sum to zero, by bisection of what is found."""
    p = case.parameters
    gamma = np.log(p["delta"][-1]) / np.log(p["class_counts"][-1] / p["class_counts"][0])

    def sums(rare: float) -> float:
        counts = (*p["class_counts"][:2], float(rare), float(rare))
        problem = adjusted(counts, delta=temperatures(counts, gamma), decay=p["decay"])
        W = np.asarray(ufm.minimise(problem, key=case.key, progress=False).params.classifier)
        total = W @ W.sum(axis=0)
        return float(total[-1] - total[0])

    return float(bisect(sums, 3.0, 40.0, steps=45))


TEMPERATURES = (
    _never("equal counts", _INSIDE, (4, 4, 4, 4), (1.0,) * 4),
    *(
        _never(f"step 10/1, γ={g:g}", _INSIDE, _STEP, temperatures(_STEP, g), decay=1e-5)
        for g in (0.5, 0.75, 1.0)
    ),
    _never("a tail, γ=0.25", _INSIDE, _TAIL, temperatures(_TAIL, 0.25), full=True),
    _never("other temperatures, equal counts", _OUTSIDE, (4, 4, 4, 4), (1.0, 0.9, 0.5, 0.3)),
)


@check(
    key="behnia2023/temperatures-for-an-etf",
    formula=r"\Delta = (n_k/n_{\max})^\gamma:\quad WW^\top\propto I - \tfrac1K\mathbf{11}^\top",
    source=(
        "what one might read in class-dependent temperatures that are tuned to symmetry (Ye et al. "
        "2020; Behnia et al. 2023)"
    ),
    regime=never_regime,
    expected=Verdict.REFUTED,
    cases=TEMPERATURES,
)
def temperatures_for_an_etf(case: Case):
    """Class-dependent temperatures make the classifier a simplex ETF.

    Refuted for unequal counts: 1/δ lies in the kernel of W Wᵀ at every decay, and the minimum is
    below the value of every ETF. As the decay vanishes, lengths are equal at a γ found by
    bisection; angles are not.
    """
    point, counts = Point.of(solve(case)), case.parameters["class_counts"]
    K, delta = len(counts), np.array(case.parameters["delta"])
    etf = EtfClassifier.of(case.problem)
    claimed, gram = etf.value(), point.classifier @ point.classifier.T
    size = point.weight_size()
    yield point.certificate_claim()
    kernel = gram @ (1 / delta)
    yield Claim(
        "1/δ is in the kernel",
        kernel,
        np.zeros(K),
        EXACT,
        scale=float(np.trace(gram)),
        witness=True,
    )
    yield point.value_claim(claimed, name="least value of an ETF")
    yield matrix_claim(
        "W Wᵀ is an ETF", gram, np.trace(gram) / (K - 1) * contrast(K), size=size, tolerance=EXACT
    )
    lengths = np.sqrt(np.diag(gram))
    yield Record(
        "lengths and cosines",
        {
            "n": np.array(counts, dtype=float),
            "length": lengths,
            "cosine to the next": (gram / np.outer(lengths, lengths))[
                np.arange(K), np.arange(1, K + 1) % K
            ],
        },
    )
    yield point.bracket_record(claimed, name="ETF and found")
    lower = Refutation.at(
        "the minimum",
        claimed,
        case.problem,
        point.params,
        least=functools.partial(EtfClassifier.least, etf),
    )
    yield point.plain_claim(lower.value)
    if case.setting is _INSIDE and point.value < claimed * (1 - MARGIN):
        if counts == _STEP:
            gamma = float(bisect(lambda g: limit_rows(counts, float(g))[0] - 1, 0.3, 1.5))
            minority = limit_rows(counts, gamma)[1]
            other = abs(minority + 1 / (K - 1)) > 0.1
            yield Claim("equal lengths have other angles", other, 1.0, EXACT, witness=True)
            often, equal = counts[0], _equal_count(case)
            name = "count of the rare classes at which it is an ETF"
            yield Claim(name, equal, often, EXACT, scale=often, witness=True)
            yield Record(
                "equal lengths in the limit",
                {"gamma": np.array([gamma]), "minority cosine": np.array([minority])},
            )
        yield lower
