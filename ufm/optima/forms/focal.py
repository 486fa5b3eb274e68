r"""Focal loss, one linear layer, balanced classes.

The simplex ETF of a scale that jumps (`ufm/optima/focal.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from ufm.optima.facts import Facts
from ufm.optima.focal import FocalScale, focal_scale
from ufm.optima.form import AbstractForm
from ufm.optima.hypotheses import (
    Hypothesis,
    balanced,
    loss_named,
    one_hot,
    one_layer,
    plain_decay,
    room,
    target_per_class,
    unconstrained,
)
from ufm.optima.one_layer import product_optimum
from ufm.optima.optimum import Optimum


def gamma_of(facts: Facts) -> float:
    """γ of the focal loss."""
    return float(np.asarray(vars(facts.loss)["gamma"]))


def _scale(facts: Facts) -> FocalScale:
    return focal_scale(
        facts.K, facts.mu * float(np.sqrt(facts.classes.masses[0])), gamma=gamma_of(facts)
    )


class FocalETF(AbstractForm):
    r"""$Z = a(I - \tfrac1K\mathbf 1\mathbf 1^\top)$, zero bias.

    The loss is not convex, so no certificate stands beside it.
    """

    name: ClassVar[str] = "simplex ETF of focal loss"
    source: ClassVar[str] = (
        "Zhou et al. 2022 (arXiv 2210.02192), focal loss, global minimisers; scale and "
        "transition derived here"
    )

    def accepts(self, facts: Facts) -> Iterator[Hypothesis]:
        """Focal loss, M = 1, one-hot, balanced, and d >= K − 1 unless the optimum is zero."""
        plain = [
            loss_named(facts, "focal"),
            unconstrained(facts),
            *plain_decay(facts),
            one_layer(facts),
        ]
        plain += [
            *target_per_class(facts),
            one_hot(facts, " for focal loss"),
            balanced(facts, " for focal loss"),
        ]
        yield from plain
        if all(hypothesis.holds for hypothesis in plain):
            yield room(facts, facts.K - 1 if facts.once(_scale).scale > 0 else 0)

    def optimum(self, facts: Facts) -> Optimum:
        """The scale of least value among the stationary ones."""
        found = facts.once(_scale)
        return product_optimum(
            facts,
            found.scale * (np.eye(facts.K) - 1 / facts.K),
            value=found.value,
            unique=not found.tie,
            regime="simplex ETF" if found.scale > 0 else "trivial",
            source=self.source,
            loss=f"focal loss with γ = {gamma_of(facts):g}",
        )


FORM = FocalETF()
