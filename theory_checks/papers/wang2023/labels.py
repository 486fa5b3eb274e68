"""Distillation by labels: soft ones, a temperature, both at once, and generation after
generation."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import ufm
from theory_checks.engine.claims import worst_of
from theory_checks.engine.measure import GEOMETRY, VALUE, Point, solve
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.formulas.frames import contrast
from theory_checks.formulas.roots import bisect

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE


def student(class_counts, *, dim, lambda_W, lambda_H, soft, share, temperature, bias=None):
    """Full columns: share α of the hard label, the rest of the teacher's softened `soft` (K, K)."""
    hard = np.asarray(ufm.one_hot(class_counts).targets)
    given, T = soft @ hard, temperature
    target = (share * hard + (1 - share) * T * given) / (share + (1 - share) * T)
    cool = ufm.losses.AdjustedCrossEntropy(multiplicative=np.full(len(hard), 1 / T))
    if T == 1:
        loss = ufm.CrossEntropy()
    else:
        parts, weights = (ufm.CrossEntropy(), cool), (share, (1 - share) * T**2)
        kept = [i for i in range(2) if weights[i] > 0]
        loss = ufm.losses.Sum(tuple(parts[i] for i in kept), tuple(float(weights[i]) for i in kept))
    return ufm.Problem(
        ufm.soft(target),
        loss=loss,
        widths=(dim,),
        lambda_W=lambda_W,
        lambda_H=lambda_H,
        bias=bias,
    )


def softened(logits: np.ndarray, T: float) -> np.ndarray:
    """softmax(z/T) of columns."""
    powers = np.exp((logits - logits.max(axis=0)) / T)
    return powers / powers.sum(axis=0)


def _teacher(case: Case) -> np.ndarray:
    """Logits of the teacher (K, K): of the case, or a P."""
    given = case.options["teacher"]
    K = len(case.parameters["class_counts"])
    return given * contrast(K) if np.ndim(given) == 0 else np.asarray(given, dtype=np.float64)


_UNEVEN = ((3.0, 0, 0, 0), (0.5, 2.0, 0, 0), (0, 0, 1.0, 0), (0, 0, 0, 2.5))


def _case(
    name,
    setting,
    *,
    share,
    T,
    teacher: Any = 4.0,
    c0=0.3,
    counts=(3,) * 4,
    dim=4,
    bias=None,
    full=False,
):
    """c0: K √(n λ_W λ_H)."""
    K, n = len(counts), sum(counts) / len(counts)
    lam = c0 / (K * n**0.5)
    logits = teacher * contrast(K) if np.ndim(teacher) == 0 else np.array(teacher)
    parameters = {
        "class_counts": counts,
        "dim": dim,
        "lambda_W": 2 * lam,
        "lambda_H": lam / 2,
        "soft": softened(logits, T),
        "share": share,
        "temperature": T,
        "bias": bias,
    }
    options = {"teacher": teacher, "c": c0 / K}
    return Case(name, setting, parameters, build=student, options=options, full=full)


def student_scale(K: int, c: float, share: float, T: float, teacher: float) -> float:
    """a with α p(a) + (1 − α) T [p(a/T) − p(a_t/T)] = c, p(x) = 1/(K − 1 + eˣ)."""

    def wrong(x):
        return 1 / (K - 1 + np.exp(x))

    def excess(a):
        pull = share * wrong(a) + (1 - share) * T * (wrong(a / T) - wrong(teacher / T))
        return c - pull

    return float(bisect(excess, -50.0, 200.0))


def regime(case: Case) -> Setting:
    """Equal counts, a teacher with logits a_t P, d >= K − 1, √(n λ_W λ_H) below what pulls at
    zero."""
    p, o = case.parameters, case.options
    K, T, share = len(p["class_counts"]), p["temperature"], p["share"]
    if np.ndim(o["teacher"]):
        return _OUTSIDE
    threshold = share / K + (1 - share) * T * (1 / K - 1 / (K - 1 + np.exp(o["teacher"] / T)))
    return Setting.all_of(
        len(set(p["class_counts"])) == 1,
        p["dim"] >= K - 1,
        Setting.below(o["c"], threshold),
    )


@check(
    key="wang2023/soft-labels",
    formula=(
        r"Z = aP,\quad \alpha\,p(a) + (1-\alpha)T\,[p(\tfrac aT) - p(\tfrac{a_t}T)] = "
        r"\sqrt{n\lambda_W\lambda_H},\quad p(x) = \tfrac1{K-1+e^x}"
    ),
    source="derived",
    regime=regime,
    cases=(
        _case("α=0.4, T=1", _INSIDE, share=0.4, T=1.0),
        _case("α=0, T=4", _INSIDE, share=0.0, T=4.0),
        _case("α=0.4, T=4: a sum of two losses", _INSIDE, share=0.4, T=4.0),
        _case(
            "α=0.4, T=4, free bias, d=K-1", _INSIDE, share=0.4, T=4.0, bias="free", dim=3, full=True
        ),
        _case(
            "α=0, T=1, where it is zero", _BOUNDARY, share=0.0, T=1.0, c0=1 - 4 / (3 + np.exp(4.0))
        ),
        _case("a teacher that is no ETF", _OUTSIDE, share=0.4, T=1.0, teacher=_UNEVEN),
        _case("unequal counts", _OUTSIDE, share=0.4, T=4.0, counts=(6, 3, 2, 1)),
    ),
)
def soft_labels(case: Case):
    """A student of a collapsed teacher is collapsed, of a size that hard labels, soft ones and the
    temperature fix: its dark knowledge is label smoothing."""
    point, p, o = Point.of(solve(case)), case.parameters, case.options
    K, T, share = len(p["class_counts"]), p["temperature"], p["share"]
    yield point.certificate_claim()
    logits = point.logits - point.logits.mean(axis=0)
    size = float(np.mean(np.diag(_teacher(case)))) * K / (K - 1)
    a = student_scale(K, o["c"], share, T, size)
    hard = np.repeat(np.eye(K), p["class_counts"], axis=1)
    yield Claim("logits", logits, a * contrast(K) @ hard, GEOMETRY)
    # where it vanishes it is known to the root of what a minimum is known to
    tolerance = GEOMETRY if case.setting is _BOUNDARY else 1e-10
    yield Claim("scale", _projected(logits, hard), a, tolerance, scale=max(1.0, a))


def _projected(logits: np.ndarray, hard: np.ndarray) -> float:
    """The multiple of P that is nearest to the logits."""
    wanted = contrast(len(logits)) @ hard
    return float(np.sum(wanted * logits) / np.sum(wanted**2))


# generations
# ----------------------------------------------------------------------


def _first(class_counts, *, dim, lambda_W, lambda_H, loss, targets=None):
    """A generation: full columns, labels of the last one where given."""
    labels = ufm.one_hot(class_counts) if targets is None else ufm.soft(targets)
    return ufm.Problem(labels, loss=loss, widths=(dim,), lambda_W=lambda_W, lambda_H=lambda_H)


def _generations(name, setting, loss, *, c0, counts, number, dim=4, full=False):
    lam = c0 / sum(counts) if loss.least_squares else c0 / (len(counts) * counts[0] ** 0.5)
    parameters = {"class_counts": counts, "dim": dim, "lambda_W": 2 * lam, "lambda_H": lam / 2}
    build = functools.partial(_first, loss=loss)
    options = {"number": number, "c": lam}
    return Case(name, setting, parameters, build=build, options=options, full=full)


def _meets(values) -> Setting | bool:
    """On the boundary where some number of a generation is 1, at which something dies there."""
    met = (Setting.below(value, 1.0) is _BOUNDARY for value in values)
    return _BOUNDARY if any(met) else True


def _solved(case: Case) -> list[Point]:
    """Every generation: each is taught by the outputs of the one before, with no hard label."""
    points, targets = [], None
    for _ in range(case.options["number"]):
        parameters = {**case.parameters, "targets": targets}
        problem = case.build(**parameters)
        again = Case(case.id, case.setting, parameters, case.build)
        point = Point.of(solve(again))
        points.append(point)
        squared = problem.loss.least_squares
        targets = point.logits if squared else softened(point.logits, 1.0)
    return points


def entropy_regime(case: Case) -> Setting:
    """Cross-entropy, equal counts, d >= K − 1, the same decay in every generation."""
    p = case.parameters
    K, loads = len(p["class_counts"]), case.options["c"] * p["class_counts"][0] ** 0.5
    return Setting.all_of(
        len(set(p["class_counts"])) == 1,
        p["dim"] >= K - 1,
        _meets(g * K * loads for g in range(1, case.options["number"] + 1)),
    )


@check(
    key="wang2023/generations-cross-entropy",
    formula=(
        r"K-1+e^{a_g} = \tfrac1{g\sqrt{n\lambda_W\lambda_H}},\quad Z_g = 0\ \Leftrightarrow\ "
        r"g\,K\sqrt{n\lambda_W\lambda_H}\ge 1"
    ),
    source="derived",
    regime=entropy_regime,
    cases=(
        _generations(
            "all zero from generation 4",
            _INSIDE,
            ufm.CrossEntropy(),
            c0=0.3,
            counts=(3,) * 4,
            number=5,
        ),
        _generations(
            "generation 4 at the threshold",
            _BOUNDARY,
            ufm.CrossEntropy(),
            c0=0.25,
            counts=(3,) * 4,
            number=4,
        ),
        _generations(
            "unequal counts", _OUTSIDE, ufm.CrossEntropy(), c0=0.3, counts=(6, 3, 2, 1), number=3
        ),
    ),
)
def generations_of_cross_entropy(case: Case):
    """Self-distillation shrinks the logits from generation to generation and ends at zero exactly,
    at a predicted generation."""
    K, counts = len(case.parameters["class_counts"]), case.parameters["class_counts"]
    c = np.sqrt(counts[0] * case.parameters["lambda_W"] * case.parameters["lambda_H"])
    points = _solved(case)
    yield worst_of([point.certificate_claim() for point in points])
    hard = np.repeat(np.eye(K), counts, axis=1)
    sizes = []
    for g, point in enumerate(points, start=1):
        a = float(np.log(max(1 / (g * c) - K + 1, 1.0)))
        logits = point.logits - point.logits.mean(axis=0)
        yield Claim(f"logits of generation {g}", logits, a * contrast(K) @ hard, GEOMETRY)
        sizes.append((g, a, _projected(logits, hard)))
    g, law, measured = np.array(sizes).T
    yield Record("generations", {"g": g, "law": law, "measured": measured})


def squares_regime(case: Case) -> Setting:
    """Squared error, no bias, d >= K, any class counts, the same decay in every generation."""
    p = case.parameters
    counts, load = p["class_counts"], case.options["c"] * sum(p["class_counts"])
    loads = (g * load / n**0.5 for g in range(1, case.options["number"] + 1) for n in counts)
    return Setting.all_of(p["dim"] >= len(counts), _meets(loads))


@check(
    key="wang2023/generations-squared-error",
    formula=r"\sigma_k(W_gH_g) = (\sqrt{n_k} - g\,N\sqrt{\lambda_W\lambda_H})_+",
    source="derived",
    regime=squares_regime,
    cases=(
        _generations(
            "counts 9/4/2/1, all dead from generation 7",
            _INSIDE,
            ufm.MeanSquaredError(),
            c0=0.45,
            counts=(9, 4, 2, 1),
            number=7,
        ),
        _generations(
            "a class dies exactly at generation 2",
            _BOUNDARY,
            ufm.MeanSquaredError(),
            c0=0.5,
            counts=(9, 4, 2, 1),
            number=2,
        ),
        _generations(
            "d=K-1", _OUTSIDE, ufm.MeanSquaredError(), c0=0.45, counts=(9, 4, 2, 1), number=1, dim=3
        ),
    ),
)
def generations_of_squared_error(case: Case):
    """Self-distillation kills classes one by one, the smallest first, at predicted generations."""
    counts = np.asarray(case.parameters["class_counts"], dtype=np.float64)
    c = counts.sum() * np.sqrt(case.parameters["lambda_W"] * case.parameters["lambda_H"])
    points = _solved(case)
    if case.parameters["dim"] >= len(counts):
        yield worst_of([point.certificate_claim() for point in points])
    rows = []
    for g, point in enumerate(points, start=1):
        law = np.maximum(np.sqrt(counts) - g * c, 0)
        found = np.linalg.svd(point.logits)[1]
        yield Claim(f"singular values of generation {g}", found[: len(counts)], law, GEOMETRY)
        value = (
            np.sum(np.minimum(np.sqrt(counts) - (g - 1) * c, c).clip(0) ** 2) / 2 + c * np.sum(law)
        ) / counts.sum()
        yield Claim(f"value of generation {g}", point.value, value, VALUE, scale=max(value, 1e-3))
        rows.append([g, *law, *found[: len(counts)]])
    columns = np.array(rows).T
    names = ["g", *(f"law {k}" for k in range(4)), *(f"measured {k}" for k in range(4))]
    yield Record("generations", dict(zip(names, columns, strict=True)))
