"""Features pulled to given ones: how the pull answers to a small change of them near collapse."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ufm.optima.facts import Facts
from ufm.optima.hypotheses import (
    Hypothesis,
    balanced,
    equal_weights,
    free_weights,
    loss_named,
    one_layer,
    positive_decay,
    room,
    target_per_class,
    unconstrained,
    without_bias,
)
from ufm.optima.statement import Statement


def _accepts(facts: Facts) -> Iterator[Hypothesis]:
    yield from (
        loss_named(facts, "squared-error"),
        unconstrained(facts),
        equal_weights(facts),
        one_layer(facts),
    )
    yield Hypothesis("anchor", facts.anchored, "an `anchor` for the features", "none", 3)
    yield free_weights(facts)
    yield from target_per_class(facts)
    yield Hypothesis("labels", facts.one_hot, "one-hot labels", "other targets", 1.2)
    yield from (
        balanced(facts),
        without_bias(facts, "the perturbation model"),
        positive_decay(facts),
    )
    yield room(facts, facts.K, f"d >= K = {facts.K}")
    # √(λ_W λ_H) in the paper's normalisation, K λ_W and K n λ_H
    c = float(np.sqrt(facts.K * facts.N) * facts.mu)
    yield Hypothesis("weak decay", c < 1, "√(λ_W λ_H) < 1 in the paper's normalisation", f"{c:g}")


NEAR_COLLAPSE = Statement(
    kind="law",
    name="perturbation near collapse",
    source="Tirer, Huang & Niles-Weed 2023 to leading order; exact gains derived here",
    call="ufm.perturbation.gains(…)",
    accepts=_accepts,
    says=lambda facts: (
        "to first order features answer by β/(β + curvature), piece by piece of the space of "
        "features"
    ),
)
STATEMENTS = (NEAR_COLLAPSE,)
