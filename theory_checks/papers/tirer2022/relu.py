"""Their extended model with a ReLU between the two matrices: W_2 σ(W_1 H)."""

from __future__ import annotations

import ufm
from theory_checks.engine.registry import Case, Setting, check
from theory_checks.formulas.rectified import collapse_claims, rectified_problem, threshold

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
# on three classes behind five matrices 7 of 10 random starts end below collapse
_STARTS = 16


def _case(
    K: int, L: int, share: float, setting: Setting = _INSIDE, *, full: bool = False, width: int
) -> Case:
    parameters = {"K": K, "L": L, "share": share, "width": width}
    name = f"K = {K}, L = {L}, {share:g} of the threshold"
    return Case(name, setting, parameters, build=_build, full=full)


def _build(*, K, L, share, width) -> ufm.Problem:
    return rectified_problem(K, L, share * threshold(K, L), width=width)


def regime(case: Case) -> Setting:
    """Two matrices with a ReLU between them, equal classes, no bias, widths at least K."""
    p = case.parameters
    return Setting.all_of(p["L"] == 2, p["width"] >= p["K"])


@check(
    key="tirer2022/relu-model",
    formula=r"\min F = \min_x \tfrac12(x-1)^2 + \tfrac{3K}2\Lambda x^{2/3},\quad"
    r"\sigma(W_1\bar H)^\top\sigma(W_1\bar H)\propto I_K",
    source="measured; the model is that of Tirer & Bruna 2022, section on ReLU (recalled)",
    regime=regime,
    cases=(
        _case(4, 2, 0.3, width=6),
        _case(3, 2, 0.7, width=3, full=True),
        _case(10, 2, 0.3, width=12, full=True),
        _case(3, 5, 0.3, _OUTSIDE, width=5),
    ),
)
def relu_model(case: Case):
    """Behind two matrices with a ReLU between them random starts end at collapse and none below:
    behind the ReLU class means are orthogonal and equally long.

    That this is the global optimum is not proved here. Features, and what enters the ReLU, are not
    determined: off-diagonal entries there may be any that keep it positive semidefinite.
    """
    p = case.parameters
    Lam = p["share"] * threshold(p["K"], p["L"])
    yield from collapse_claims(case.problem, Lam, key=case.key, starts=_STARTS)
