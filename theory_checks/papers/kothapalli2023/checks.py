"""Classes that are an equitable partition collapse, alike or unlike their neighbours; those of a
random draw do not."""

from __future__ import annotations

import numpy as np

from theory_checks.engine.measure import VALUE, Point, precision, solve
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.formulas.frames import contrast
from theory_checks.papers.kothapalli2023.formulas import graph_problem

_INSIDE, _BOUNDARY, _OUTSIDE = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE


def _case(name, setting, inside, across, *, load=0.1, share=0.0, full=False) -> Case:
    parameters = {"K": 3, "n": 8, "inside": inside, "across": across, "load": load, "share": share}
    return Case(name, setting, parameters, build=graph_problem, full=full)


def _contrast_gain(p) -> float:
    """β: own neighbours less those of another class, of all."""
    return (p["inside"] - p["across"]) / (p["inside"] + (p["K"] - 1) * p["across"])


def regime(case: Case) -> Setting:
    """Squared error, no bias, equal classes, every node with equally many neighbours of its own
    class and of each other one, d >= K."""
    p = case.parameters
    met = Setting.below(abs(_contrast_gain(p)), p["load"]) is _BOUNDARY
    return Setting.all_of(p["share"] == 0, _BOUNDARY if met else True)


EQUITABLE = (
    _case("alike: 4 own of 6 neighbours", _INSIDE, 4, 1),
    _case("unlike: none own of 6", _INSIDE, 0, 3),
    _case("contrasts that decay kills", _INSIDE, 4, 2, load=0.4),
    _case("where contrasts vanish", _BOUNDARY, 4, 2, load=0.25),
    _case("a hundredth of a random draw", _OUTSIDE, 4, 1, share=0.01),
    _case("a tenth of a random draw", _OUTSIDE, 4, 1, share=0.1),
    _case("a random draw", _OUTSIDE, 4, 1, share=1.0),
)


@check(
    key="kothapalli2023/equitable-partition",
    formula=(
        r"Y\hat A=QY,\ Q=\beta P+\tfrac1K\mathbf{11}^\top:\quad h_i=\bar h_{y_i},\quad "
        r"Z=(1-\tfrac c{|\beta|})_+P\,Y+(1-c)_+\tfrac1K\mathbf{11}^\top Y,\quad "
        r"c=K\sqrt{n\lambda_W\lambda_H}"
    ),
    source="derived here, for a model of Kothapalli, Tirer & Bruna 2023",
    regime=regime,
    cases=EQUITABLE,
)
def equitable_partition(case: Case):
    """Where the classes are an equitable partition of the graph, features collapse, whether
    neighbours are alike or not: averaging over classes commutes with averaging over neighbours.

    On a random draw they do not, by an amount in proportion to its share of the operator.
    """
    point, p = Point.of(solve(case)), case.parameters
    K, beta, c = p["K"], _contrast_gain(p), p["load"]
    certificate = point.certificate_claim()
    gap = float(np.ravel(certificate.measured)[0])
    yield certificate
    yield point.collapse_claim(tolerance=precision(case))
    own = np.array([max(1 - c / abs(beta), 0.0), max(1 - c, 0.0)])
    Z = own[0] * contrast(K) + own[1] / K
    logits = np.asarray(case.problem.logits(point.params))
    yield Claim("logits", logits, Z[:, point.class_index], precision(case))
    # of every direction: half the missing square, and c times what it costs to be there
    costs = (1 - own) ** 2 / 2 + c * own / np.abs([beta, 1.0])
    yield Claim("value", point.value, float(costs @ [K - 1, 1]) / K, VALUE)
    means = point.class_means[:, point.class_index]
    spread = np.linalg.norm(point.features - means) / np.linalg.norm(point.features)
    columns = {"share": p["share"], "spread": spread, "gap": gap}
    yield Record("spread", {name: np.array([float(x)]) for name, x in columns.items()})
