"""The simplex-ETF points of balanced cross-entropy behind M linear layers, and their thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm.model import Problem, require_decay
from ufm.optima.deep_blocks import BalancedSetting, deep_hypotheses
from ufm.optima.facts import Facts
from ufm.optima.hypotheses import require_all
from ufm.optima.optimum import NoClosedForm
from ufm.optima.scale import ScaleProblem


@dataclass(frozen=True, kw_only=True, eq=False)
class EtfBranch:
    r"""The simplex-ETF points $\bar Z = a(I_K - \tfrac1K\mathbf 1\mathbf 1^\top)$ of balanced
    cross-entropy.

    `large`, `small`: the stationary scales a, the local minimum and the local maximum along the
    branch; NaN where they do not exist (for M = 1 there is no small one). `large_value`,
    `small_value`: the objective there, NaN likewise. `trivial_value`: log K. `strength`: $\Lambda
    n^{1/(M+1)}$. `threshold`: the strength from which on zero logits are better than the branch.
    `existence`: the strength from which on there is no stationary scale. For M = 1 the large one is
    the global optimum; for M >= 2 it is a stationary point.
    """

    large: float
    small: float
    large_value: float
    small_value: float
    trivial_value: float
    strength: float
    threshold: float
    existence: float


def etf_branch(problem: Problem) -> EtfBranch:
    r"""Both simplex-ETF points of balanced cross-entropy with M >= 1 linear layers, with their
    thresholds.

    The scale solves $1/(e^a + K - 1) = \Lambda n^{1/(M+1)} a^{(1-M)/(1+M)}$; the value is
    $\log(1+(K-1)e^{-a}) + \tfrac{M+1}{2}\Lambda (K-1)(a\sqrt n)^{2/(M+1)}$. A bias is 0 there.
    Stationary for every M, globally optimal for M = 1 (Zhu et al. 2021) and, for M >= 2, in general
    not: see `deep_candidates`.

    Raises `NoClosedForm` unless the labels are one-hot and balanced, the loss cross-entropy, every
    width at least K − 1, without anchor or frozen weights; `ValueError` for λ <= 0. Source: Garrod
    & Keating 2025.
    """
    facts = Facts.of(problem)
    require_decay(problem, "a closed form")
    require_all(deep_hypotheses(facts))
    setting = BalancedSetting.of(facts)
    if setting.rank_limit < setting.K - 1:
        raise NoClosedForm(
            f"needs every width >= K - 1; got widths={problem.widths}, K={setting.K}"
        )
    scale = setting.scale_problem("simplex", setting.K)
    stretch = setting.K / (setting.K - 1)
    # along the branch the objective falls to a minimum at the largest scale, and for M >= 2 rises
    # to a maximum before
    found: list[float] = [*scale.roots]
    large = found.pop() if found else np.nan
    small = found.pop() if found else np.nan
    return EtfBranch(
        large=stretch * large,
        small=stretch * small,
        large_value=scale.value(large),
        small_value=scale.value(small),
        trivial_value=float(np.log(setting.K)),
        strength=setting.strength,
        threshold=scale.threshold,
        existence=scale.existence,
    )


def etf_scale_problem(facts: Facts) -> ScaleProblem:
    """The scalar problem of the simplex ETF, for facts that meet `deep_hypotheses` or all of them
    but decay."""
    return BalancedSetting.of(facts).scale_problem("simplex", facts.K)
