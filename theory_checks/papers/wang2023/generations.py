"""Self-distillation: what each generation loses, and the one at which a class dies."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

import ufm
from theory_checks.engine.claims import worst_of
from theory_checks.engine.measure import EXACT, VALUE, Point, precision, solve
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.formulas.frames import contrast
from theory_checks.formulas.roots import bisect
from theory_checks.formulas.vanishing import vanishing
from theory_checks.papers.wang2023.labels import projected, softened

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE
# the generations whose decay is found by bisection, at which all or a class becomes zero
_LAST, _DYING = 4, 2


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
        again = Case(case.id, case.setting, {**case.parameters, "targets": targets}, case.build)
        points.append(Point.of(solve(again)))
        targets = _taught(points[-1])
    return points


def _taught(point: Point) -> np.ndarray:
    """What the next generation is taught by this one."""
    squared = point.problem.loss.least_squares
    return point.logits if squared else softened(point.logits, 1.0)


def _at(case: Case, c0: float, generation: int) -> ufm.Problem:
    """The problem of a generation at √(λ_W λ_H) = c0 times that of the case, by solving all before
    it."""
    decays = {name: case.parameters[name] * c0 for name in ("lambda_W", "lambda_H")}
    again = dataclasses.replace(
        case,
        parameters={**case.parameters, **decays},
        options={**case.options, "number": generation - 1},
    )
    before = _solved(again)
    return case.build(**again.parameters, targets=_taught(before[-1]) if before else None)


def _alive(case: Case, c0: float, generation: int, k: int) -> float:
    """Whether more than k directions live in a generation: how far above the decay the gradient is
    across the first k of what is found. It is 1 in units of that where the next one dies."""
    problem = _at(case, c0, generation)
    point = Point.of(ufm.minimise(problem, key=case.key, progress=False))
    left, _, right = np.linalg.svd(point.logits, full_matrices=False)
    left, right = left[:, :k], right[:k]
    slopes = np.asarray(problem.labels.targets) / float(problem.labels.num_samples)
    across = slopes - left @ (left.T @ slopes)
    across = across - (across @ right.T) @ right
    decay = float(np.sqrt(problem.lambda_W[0] * problem.lambda_H))
    return float(np.linalg.norm(across, 2)) / decay - 1


def entropy_regime(case: Case) -> Setting:
    """Cross-entropy, equal counts, d >= K − 1, the same decay in every generation."""
    p = case.parameters
    K, loads = len(p["class_counts"]), case.options["c"] * p["class_counts"][0] ** 0.5
    return Setting.all_of(
        len(set(p["class_counts"])) == 1,
        p["dim"] >= K - 1,
        _meets(g * K * loads for g in range(1, case.options["number"] + 1)),
    )


CROSS_ENTROPY = (
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
)


@check(
    key="wang2023/generations-cross-entropy",
    formula=(
        r"K-1+e^{a_g} = \tfrac1{g\sqrt{n\lambda_W\lambda_H}},\quad Z_g = 0\ \Leftrightarrow\ "
        r"g\,K\sqrt{n\lambda_W\lambda_H}\ge 1"
    ),
    source="derived",
    regime=entropy_regime,
    cases=CROSS_ENTROPY,
)
def generations_of_cross_entropy(case: Case):
    """Self-distillation shrinks the logits from generation to generation and ends at zero exactly,
    at a predicted generation."""
    K, counts = len(case.parameters["class_counts"]), case.parameters["class_counts"]
    c = np.sqrt(counts[0] * case.parameters["lambda_W"] * case.parameters["lambda_H"])
    points = _solved(case)
    gaps = [point.certificate_claim() for point in points]
    yield worst_of(gaps)
    hard = np.repeat(np.eye(K), counts, axis=1)
    sizes = []
    for g, point in enumerate(points, start=1):
        a = float(np.log(max(1 / (g * c) - K + 1, 1.0)))
        logits = point.logits - point.logits.mean(axis=0)
        yield Claim(f"logits of generation {g}", logits, a * contrast(K) @ hard, precision(case))
        sizes.append((g, a, projected(logits, hard)))
    if case.setting is _INSIDE:
        dead = 1 + np.flatnonzero(np.array(sizes)[:, 2] <= precision(case))[0]
        name = "generation from which all is zero"
        yield Claim(name, dead, np.ceil(1 / (K * c)), VALUE, witness=True)
        predicted = 1 / (_LAST * K * c)
        measured = vanishing(lambda c0: _at(case, c0, _LAST), predicted / 2, 2 * predicted)
        name = f"decay at which all is zero in generation {_LAST}, over that here"
        yield Claim(name, measured, predicted, EXACT, scale=predicted, witness=True)
    g, law, measured = np.array(sizes).T
    yield Record(
        "generations",
        {"g": g, "law": law, "measured": measured, "gap": np.array([gap.error for gap in gaps])},
    )


def squares_regime(case: Case) -> Setting:
    """Squared error, no bias, d >= K, any class counts, the same decay in every generation."""
    p = case.parameters
    counts, load = p["class_counts"], case.options["c"] * sum(p["class_counts"])
    loads = (g * load / n**0.5 for g in range(1, case.options["number"] + 1) for n in counts)
    return Setting.all_of(p["dim"] >= len(counts), _meets(loads))


SQUARED_ERROR = (
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
)


@check(
    key="wang2023/generations-squared-error",
    formula=r"\sigma_k(W_gH_g) = (\sqrt{n_k} - g\,N\sqrt{\lambda_W\lambda_H})_+",
    source="derived",
    regime=squares_regime,
    cases=SQUARED_ERROR,
)
def generations_of_squared_error(case: Case):
    """Self-distillation kills classes one by one, the smallest first, at predicted generations."""
    counts = np.asarray(case.parameters["class_counts"], dtype=np.float64)
    c = counts.sum() * np.sqrt(case.parameters["lambda_W"] * case.parameters["lambda_H"])
    points = _solved(case)
    gaps = [point.certificate_claim() for point in points]
    if case.parameters["dim"] >= len(counts):
        yield worst_of(gaps)
    rows = []
    for g, point in enumerate(points, start=1):
        law = np.maximum(np.sqrt(counts) - g * c, 0)
        found = np.linalg.svd(point.logits)[1]
        yield Claim(
            f"singular values of generation {g}", found[: len(counts)], law, precision(case)
        )
        value = (
            np.sum(np.minimum(np.sqrt(counts) - (g - 1) * c, c).clip(0) ** 2) / 2 + c * np.sum(law)
        ) / counts.sum()
        yield Claim(f"value of generation {g}", point.value, value, VALUE, scale=max(value, 1e-3))
        rows.append([g, *law, *found[: len(counts)], gaps[g - 1].error])
    columns = np.array(rows).T
    if case.setting is _INSIDE:
        sizes = columns[-1 - len(counts) : -1]
        dead = [1 + np.flatnonzero(size <= precision(case))[0] for size in sizes]
        predicted = np.ceil(np.sqrt(counts) / c)
        yield Claim("generation at which each class dies", dead, predicted, VALUE, witness=True)
        for k, which in ((len(counts) - 1, "smallest"), (0, "largest")):
            at = np.sqrt(counts[k]) / _DYING / c
            found = bisect(
                lambda c0, k=k: -_alive(case, float(c0), _DYING, k), at / 2, 2 * at, steps=44
            )
            name = f"decay at which the {which} class dies in generation {_DYING}, over that here"
            yield Claim(name, float(found), at, EXACT, scale=at, witness=True)
    names = ["g", *(f"law {k}" for k in range(4)), *(f"measured {k}" for k in range(4)), "gap"]
    yield Record("generations", dict(zip(names, columns, strict=True)))
