"""The structure of edges of a complete graph: its value against collapse, and its ranks."""

from __future__ import annotations

import math

import numpy as np

import ufm
from theory_checks.engine.measure import VALUE
from theory_checks.engine.registry import Case, Claim, Setting, check
from theory_checks.formulas.rectified import below_collapse, network, threshold

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
# singular values below this, relative to the largest, are rounding
_RANK = 1e-9
# (outside the structure is better than zero up to .94 of the strength at which collapse is)
_SHARES = (0.01, 0.3, 0.9)


def _case(r: int, L: int, setting: Setting = _INSIDE, *, full: bool = False) -> Case:
    name = f"K = {r * (r - 1) // 2}, L = {L}"
    return Case(name, setting, {"r": r, "L": L}, build=dict, full=full)


def regime(case: Case) -> Setting:
    """K = r(r - 1)/2 classes with r >= 4, so at least six, behind L >= 4 weight matrices."""
    return Setting.all_of(case.parameters["r"] >= 4, case.parameters["L"] >= 4)


def least(r: int, L: int) -> float:
    r"""κ of the structure for r <= 6, inner layers at the edge of being nonnegative.

    Inner layers are multiples of the incidence matrix B, the last before its ReLU of
    $B^\top B - J$, with eigenvalues r − 2 (r − 1 times) and (r − 1)(4 − r)/2.
    """
    K, omega = r * (r - 1) / 2, math.sqrt(2 * (r - 1) / (r - 2))
    last = (r - 1) * (r - 2) ** 2 + ((r - 1) * (4 - r) / 2 / omega) ** 2
    total = (r - 1 + omega) * r ** ((L - 3) / 2) * math.sqrt(last * K)
    return total ** (2 / (L + 1))


@check(
    key="sukenik2024/low-rank",
    formula=r"\sigma(B^\top B-J)=I_K,\quad F < V_{\mathrm{DNC}},\quad \mathrm{rank}\,M_L \le r < K",
    source="abstract and captions; constants derived",
    regime=regime,
    cases=(
        _case(4, 4),
        _case(4, 8),
        _case(5, 4),
        _case(6, 5),
        _case(4, 3, _OUTSIDE),
        _case(5, 3, _OUTSIDE),
        _case(6, 3, _OUTSIDE),
    ),
)
def low_rank(case: Case):
    """From four weight matrices and six classes on, where the classes are the edges of a complete
    graph, a network of low rank before the last ReLU has a lower value than deep neural collapse.

    That it is the optimum is not claimed: descent finds points below it.
    """
    r, L = case.parameters["r"], case.parameters["L"]
    K = r * (r - 1) // 2
    # (the six edges of the complete graph on four vertices are three opposite pairs)
    block = (("pairs" if r == 4 else "triangular", K),)
    structure = next(s for s in ufm.laws.rectified_structures(K, L) if s.blocks == block)
    yield from below_collapse(structure, least(r, L), _SHARES)
    # (a scale changes no rank)
    _, point = network(structure, _SHARES[0] * threshold(K, L))
    entering = np.asarray(point.features)
    for W in point.weights[:1:-1]:
        entering = np.maximum(np.asarray(W) @ entering, 0)
    last = np.asarray(point.weights[1]) @ entering
    ranks = [
        np.linalg.matrix_rank(M, tol=_RANK * np.linalg.norm(M)) for M in (last, np.maximum(last, 0))
    ]
    yield Claim("rank before the last ReLU, and behind it", ranks, [r - (r == 4), K], VALUE)
