"""Exact networks below collapse, and points built and measured by the library."""

from __future__ import annotations

import ufm
from theory_checks.engine.measure import VALUE
from theory_checks.engine.registry import Case, Claim, Setting, check
from theory_checks.formulas.rectified import below_collapse as collapse_beaten
from theory_checks.papers.ours_relu.formulas import (
    beside,
    complexity,
    distance_to_identity,
    least_pairs,
    least_triple,
    output,
    pairs,
    triple,
)

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
# shares of the strength at which zero is as good as collapse
_SHARES = (0.01, 0.3, 0.7, 0.95)


def _case(K: int, L: int, setting: Setting = _INSIDE, *, full: bool = False) -> Case:
    return Case(f"K = {K}, L = {L}", setting, {"K": K, "L": L}, build=dict, full=full)


def _exact(factors, K: int):
    """Its output is the identity, and it is cheaper than collapse, in exact fractions."""
    yield Claim("Z - I", float(distance_to_identity(output(factors))), 0.0, VALUE)
    yield Claim("complexity less than K", float(complexity(factors) < K), 1.0, VALUE)


def triple_regime(case: Case) -> Setting:
    """K >= 3 classes, L >= 4 weight matrices, every width at least K."""
    return Setting.all_of(case.parameters["K"] >= 3, case.parameters["L"] >= 4)


@check(
    key="ours_relu/triple",
    formula=r"\kappa \le \tfrac1{L+1}\big(\|H\|^2+\sum_l\|W_l\|^2\big) < K",
    source="ours: an explicit network in exact fractions",
    regime=triple_regime,
    cases=(
        *(_case(K, 4) for K in range(3, 21)),
        *(_case(3, L) for L in (5, 6, 8, 12, 30)),
        _case(20, 12),
        _case(3, 3, _OUTSIDE),
        _case(10, 3, _OUTSIDE),
    ),
)
def triple_is_cheaper(case: Case):
    """Deep neural collapse is not optimal for any three classes or more behind four or more
    matrices with ReLU between them: an exact network is cheaper.

    Three classes on two nonnegative directions, .995934 of collapse at L = 4; a layer more is an
    identity on the two and costs 2, and ((L + 1)κ + 2)/(L + 2) < 3 for κ < 3. The other classes
    are alone beside it.
    """
    K, L = case.parameters["K"], case.parameters["L"]
    yield from _exact(beside(triple(L), K - 3), K)
    more = complexity(triple(L + 1)) * (L + 2) - complexity(triple(L)) * (L + 1)
    yield Claim("cost of a layer more", float(more), 2.0, VALUE)


def pairs_regime(case: Case) -> Setting:
    """K >= 12 classes, L = 3 weight matrices, every width at least K."""
    return Setting.all_of(case.parameters["K"] >= 12, case.parameters["L"] == 3)


@check(
    key="ours_relu/pairs",
    formula=r"\kappa_{\mathrm{pairs}}^2 = 2\sqrt2\,q^2(1+q^{-1/2}) < K^2 = 4q^2"
    r"\iff q\ge 6\qquad(L=3)",
    source="ours: an explicit network in exact fractions",
    regime=pairs_regime,
    cases=(
        *(_case(K, 3) for K in range(12, 21)),
        _case(8, 3, _OUTSIDE),
        _case(10, 3, _OUTSIDE),
        _case(11, 3, _OUTSIDE),
    ),
)
def pairs_are_cheaper(case: Case):
    """Behind three matrices with ReLU between them deep neural collapse is not optimal from twelve
    classes on: an exact network of pairs is cheaper.

    A class is half of a set of eight and the other of its pair the other half; any two that are no
    pair share two. 1 + 1/√6 < √2 as 289 > 288. Outside this network is dearer, which leaves open
    what is optimal.
    """
    K = case.parameters["K"]
    count = 7 if K >= 14 else 6 if K >= 12 else K // 2
    yield from _exact(beside(pairs(count), K - 2 * count), K)


def below_regime(case: Case) -> Setting:
    """K >= 3 classes behind L >= 4 weight matrices, or K >= 12 behind three."""
    K, L = case.parameters["K"], case.parameters["L"]
    return Setting.all_of((K >= 3 and L >= 4) or (K >= 12 and L == 3))


@check(
    key="ours_relu/below-collapse",
    formula=r"F = V(\kappa) < V(K),\qquad \kappa_{\mathrm{triple}} = "
    r"2\Big(\tfrac14\min_\theta\tfrac{1+\sin\theta}{\cos\theta}\Big(1+\tfrac{2\sqrt{1+\cos^2\theta}}"
    r"{\sin\theta}\Big)\Big)^{2/(L+1)}",
    source="ours: points built at their best scale",
    regime=below_regime,
    cases=(
        _case(3, 4),
        _case(3, 5),
        _case(3, 8),
        _case(4, 4),
        _case(12, 3),
        _case(2, 6, _OUTSIDE),
        _case(3, 3, _OUTSIDE),
        _case(10, 3, _OUTSIDE),
    ),
)
def below_collapse(case: Case):
    """At every decay at which collapse is better than zero, points of the objective lie below it,
    with the value of the scalar problem.

    Outside no structure of the library lies below; nothing is claimed of the optimum there, which
    for two classes is collapse by Súkeník et al. 2023 (recalled).
    """
    K, L = case.parameters["K"], case.parameters["L"]
    structures = ufm.laws.rectified_structures(K, L)
    best = next(structure for structure in structures if structure.realised)
    kappas = {
        "triple": lambda size: least_triple(L),
        "pairs": lambda size: least_pairs(size, L),
        "collapse": float,
    }
    kappa = sum(kappas[kind](size) for kind, size in best.blocks)
    yield from collapse_beaten(best, kappa, _SHARES)
