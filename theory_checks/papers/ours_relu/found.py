"""Points that searches found, and tuned triples, in exact fractions."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import ufm
from theory_checks.engine.measure import VALUE
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.formulas.rectified import rectified_problem, threshold, value
from theory_checks.papers.ours_relu.formulas import (
    complexity,
    distance_to_identity,
    least_triple,
    output,
)
from theory_checks.papers.ours_relu.points import Point, collapse_at_least, load, tuned_triple

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
# of the strength at which zero is as good as collapse
SHARE = 0.3
DEPTHS, CLASSES = range(3, 11), range(3, 13)
STRUCTURES = ("triple", "pairs", "triangular", "polygon", "best sum")
_POINTS = {point.name: point for point in load()}
# κ/3 of the least triple, as it was printed before there was a closed form
PRINTED = {4: 0.981883, 5: 0.920523, 6: 0.879056, 8: 0.826658, 10: 0.794952, 16: 0.747076}
# eight decimals of factors of size one
_ROUNDED = 1e-7


def _inside(K: int, L: int) -> bool:
    return (K >= 3 and L >= 4) or (K >= 7 and L == 3)


def _point_case(point: Point) -> Case:
    setting = _INSIDE if _inside(point.classes, point.depth) else _OUTSIDE
    parameters = {"K": point.classes, "L": point.depth, "point": point.name}
    return Case(point.name, setting, parameters, build=dict)


# made once: figures ask for these very cases
POINT_CASES = tuple(_point_case(point) for point in _POINTS.values())
TRIPLE_CASE = (Case("L = 4", _INSIDE, {"L": 4}, build=dict),)


def regime(case: Case) -> Setting:
    """K >= 3 classes behind L >= 4 weight matrices, or K >= 7 behind three, the points that are
    saved, at three tenths of the strength at which zero is as good as collapse."""
    return Setting.all_of(_inside(case.parameters["K"], case.parameters["L"]))


@check(
    key="ours_relu/best-known",
    formula=r"F(\text{point}) < \min_x \tfrac12(x-1)^2 + \tfrac{L+1}2\Lambda K x^{2/(L+1)}",
    source="ours: found by ufm.search, evaluated in exact fractions",
    regime=regime,
    cases=POINT_CASES,
)
def best_known(case: Case):
    """Points that searches found lie below collapse, in exact fractions, and below every structure
    in closed form.

    They are the best that is known, and not known to be optimal. For two classes, and behind three
    matrices for few, what was found is collapse.
    """
    point = _POINTS[case.parameters["point"]]
    K, L, Lam = point.classes, point.depth, float(point.strength)
    exact, collapsed = point.value, collapse_at_least(K, L, point.strength)
    yield Claim("lower than collapse, exactly", float(exact < collapsed), 1.0, VALUE)
    ratio = float(exact / collapsed)
    yield Claim("value over that of collapse", ratio, point.ratio, 1e-8, witness=True)
    H, *weights = (np.array(factor, dtype=np.float64) for factor in point.network)
    problem = rectified_problem(K, L, Lam, width=point.width)
    params = ufm.Params(tuple(jnp.asarray(W) for W in reversed(weights)), jnp.asarray(H))
    Z = np.asarray(problem.logits(params))
    yield Claim("output", Z, np.array(output(point.network), dtype=np.float64), VALUE, witness=True)
    structure = next(s for s in ufm.laws.rectified_structures(K, L) if s.realised)
    best = ufm.laws.rectified_scale(structure.complexity, strength=Lam, depth=L).value
    yield Claim("lower than every structure", float(float(exact) < best * (1 - 1e-9)), 1.0, VALUE)
    scalar = ufm.laws.rectified_scale(float(K), strength=Lam, depth=L).value
    yield Claim("collapse in floats", float(collapsed), scalar, VALUE, witness=True)
    yield Record(
        "ratios",
        {
            "K": np.array([K], dtype=float),
            "L": np.array([L], dtype=float),
            "width": np.array([point.width], dtype=float),
            "best known": np.array([ratio]),
            "best structure": np.array([best / scalar]),
        },
    )
    layers = np.arange(1, L + 1, dtype=float)
    yield Record("ranks", {"layer": layers, "rank": np.array(point.ranks, dtype=float)})
    yield Record("over depth", _curves((K, depth) for depth in DEPTHS))
    yield Record("over classes", _curves((classes, L) for classes in CLASSES))


def _curves(settings) -> dict[str, np.ndarray]:
    """K, L and every structure's value over that of collapse, NaN where there is none of it."""
    rows = [{"K": K, "L": L, **structure_ratios(K, L)} for K, L in settings]
    names = ("K", "L", *STRUCTURES)
    return {name: np.array([row.get(name, np.nan) for row in rows], dtype=float) for name in names}


def structure_ratios(K: int, L: int) -> dict[str, float]:
    """By structure; a triple leaves its other classes alone, a polygon is only a candidate."""
    kappas = {"triple": ufm.laws.triple_complexity(L) + K - 3} if K >= 3 else {}
    for structure in ufm.laws.rectified_structures(K, L):
        (kind, size), *others = structure.blocks
        if not others and size == K and kind in STRUCTURES:
            kappas[kind] = structure.complexity
    realised = [s for s in ufm.laws.rectified_structures(K, L) if s.realised]
    kappas["best sum"] = realised[0].complexity
    Lam = SHARE * threshold(K, L)
    return {name: value(kappa, Lam, L) / value(K, Lam, L) for name, kappa in kappas.items()}


def tuned_regime(case: Case) -> Setting:
    """Three classes behind L >= 4 weight matrices."""
    return Setting.all_of(case.parameters["L"] >= 4)


@check(
    key="ours_relu/tuned-triple",
    formula=r"\kappa_{\mathrm{triple}} \le \kappa(\text{network}) \le"
    r"\kappa_{\mathrm{triple}} + 10^{-7},\quad \kappa_{\mathrm{triple}} = 2(C/4)^{2/(L+1)} < 3",
    source="ours: networks in exact fractions",
    regime=tuned_regime,
    cases=(
        *TRIPLE_CASE,
        *(Case(f"L = {L}", _INSIDE, {"L": L}, build=dict) for L in PRINTED if L != 4),
        Case("L = 3", _OUTSIDE, {"L": 3}, build=dict),
    ),
)
def tuned(case: Case):
    """The least triple is no rounding error: networks in eight decimals with output I exactly are
    cheaper than collapse by as much as the closed form says."""
    L = case.parameters["L"]
    blocks = (("triple", 3),)
    triples = [s for s in ufm.laws.rectified_structures(3, L) if s.blocks == blocks]
    # (any decay will do: factors are scaled back to output I)
    weights, H = ufm.laws.rectified_point(triples[0], lambda_W=1e-6, lambda_H=1e-6)
    scale = ufm.laws.rectified_scale(triples[0].complexity, strength=1e-6, depth=L).scale
    back = scale ** (-1 / (L + 1))
    network = tuned_triple(back * H, [back * W for W in weights[:0:-1]])
    kappa = complexity(network)
    yield Claim("Z - I", float(distance_to_identity(output(network))), 0.0, VALUE)
    yield Claim("complexity less than 3", float(kappa < 3), 1.0, VALUE)
    least = least_triple(L)
    yield Claim("complexity", float(kappa), least, _ROUNDED, witness=True)
    # no network of the family is cheaper, so rounding can only have made it dearer
    yield Claim(
        "complexity below the least", max(least - float(kappa), 0.0), 0.0, VALUE, witness=True
    )
    yield Record("layers", _layers([np.array(factor, dtype=np.float64) for factor in network]))
    printed = PRINTED.get(L)
    if printed is not None:
        yield Claim("sixth digit", round(float(kappa) / 3, 6), printed, 1e-9, witness=True)


def _layers(factors: list[np.ndarray]) -> dict[str, np.ndarray]:
    """What every factor makes of the classes, before its ReLU, entry by entry."""
    entering, rows = factors[0], []
    for layer, before in enumerate((entering, *factors[1:])):
        if layer:
            before = before @ entering
            entering = np.maximum(before, 0)
        rows += [(layer, *place, entry) for place, entry in np.ndenumerate(before)]
    columns = np.array([(layer, unit, k, entry) for layer, unit, k, entry in rows], dtype=float).T
    return dict(zip(("layer", "unit", "class", "entry"), columns, strict=True))
