"""Two classes behind ReLU layers, from random starts."""

from __future__ import annotations

import ufm
from theory_checks.engine.registry import Case, Setting, check
from theory_checks.formulas.rectified import collapse_claims, rectified_problem, threshold

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
_STARTS = 16


def _case(
    K: int, L: int, share: float, setting: Setting = _INSIDE, *, full: bool = False, width: int = 4
) -> Case:
    name = f"K = {K}, L = {L}, {share:g} of the threshold"
    parameters = {"K": K, "L": L, "share": share, "width": width}
    return Case(name, setting, parameters, build=_build, full=full)


def _build(*, K, L, share, width) -> ufm.Problem:
    return rectified_problem(K, L, share * threshold(K, L), width=width)


def regime(case: Case) -> Setting:
    """Two equal classes, every width at least two, any depth from two matrices on, any decay."""
    return Setting.all_of(case.parameters["K"] == 2, case.parameters["L"] >= 2)


@check(
    key="sukenik2023/two-classes",
    formula=r"\min F = \min_x \tfrac12(x-1)^2 + (L+1)\Lambda x^{2/(L+1)},\quad"
    r"\Lambda^{L+1} = n\lambda_{H_1}\textstyle\prod_l\lambda_l",
    source="Súkeník et al. 2023 (recalled)",
    regime=regime,
    cases=(
        _case(2, 4, 0.3),
        _case(2, 4, 1.2),
        _case(2, 2, 0.3, full=True),
        _case(2, 6, 0.3, full=True),
        _case(2, 4, 0.9, full=True),
        _case(2, 3, 0.05, full=True),
        _case(3, 5, 0.3, _OUTSIDE, width=5),
    ),
)
def two_classes(case: Case):
    """For two classes deep neural collapse is optimal at any depth: no random start ends below it,
    the best of them at it, and behind every ReLU the two class means are orthogonal and equally
    long."""
    p, problem = case.parameters, case.problem
    Lam = p["share"] * threshold(p["K"], p["L"])
    yield from collapse_claims(problem, Lam, key=case.key, starts=_STARTS)
