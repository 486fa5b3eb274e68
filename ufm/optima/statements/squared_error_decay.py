"""Strengths of decay at which directions of a squared-error problem are given up, and at which
their nonzero branch ends."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ufm.optima.facts import Facts
from ufm.optima.forms import nonnegative_squared_error, squared_error
from ufm.optima.hypotheses import Hypothesis
from ufm.optima.scalar import collapse_load, existence_load
from ufm.optima.squared_error_target import target_of
from ufm.optima.statement import Threshold, ThresholdRule, whatever_decay

# Critical strengths closer than this are one threshold.
_SAME = 1e-9


def _accepts(facts: Facts) -> Iterator[Hypothesis]:
    return iter(whatever_decay(_form(facts).accepts(facts)))


def _form(facts: Facts):
    return squared_error.FORM if facts.features == "real" else nonnegative_squared_error.FORM


def _find(facts: Facts) -> Iterator[Threshold]:
    target, M = facts.once(target_of), facts.M
    # a direction has the load M (N Λ)^{(M+1)/M} / (μ w^{(M+1)/M})
    gains = target.sigma ** (2 * M / (M + 1)) * target.loss_weight
    gains = gains[: min(facts.widths)]
    source = _form(facts).source_of(facts)
    for load, of_optimum in ((collapse_load(M), True), (existence_load(M), False)):
        critical = (load / M) ** (M / (M + 1)) * gains
        if not of_optimum and M == 1:
            continue
        left = len(critical)
        while left:
            # the smallest gains go first
            strength = critical[left - 1]
            kept = int(np.sum(critical > strength * (1 + _SAME)))
            many = f"{left - kept} direction{'s' * (left - kept > 1)}"
            words = (
                f"{many} given up" if of_optimum else f"no stationary point uses {many} any more"
            )
            yield Threshold(
                strength=float(strength),
                change=words,
                source=source,
                of_optimum=of_optimum,
                drop=left - kept if of_optimum else None,
                rank=kept if of_optimum else None,
            )
            left = kept


# (`_find` knows the width)
THRESHOLDS = (
    ThresholdRule(name="squared error", accepts=_accepts, find=_find, room=lambda facts: 1),
)
