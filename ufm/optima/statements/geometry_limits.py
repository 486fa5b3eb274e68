"""What the geometry of cross-entropy without a bias tends to as the decay vanishes."""

from __future__ import annotations

from collections.abc import Iterator

from ufm.optima.facts import Facts
from ufm.optima.hypotheses import (
    Hypothesis,
    loss_named,
    one_hot,
    one_layer,
    plain_decay,
    room,
    target_per_class,
    unconstrained,
    without_bias,
)
from ufm.optima.statement import Statement, whatever_decay


def _accepts(facts: Facts) -> Iterator[Hypothesis]:
    yield from (
        loss_named(facts, "cross-entropy"),
        unconstrained(facts),
        *whatever_decay(plain_decay(facts)),
    )
    yield from (
        one_layer(facts),
        *target_per_class(facts),
        one_hot(facts),
        without_bias(facts, "SELI"),
    )
    yield room(facts, facts.K - 1)


STATEMENTS = (
    Statement(
        kind="limit",
        name="simplex-encoded labels (SELI)",
        source="Thrampoulidis et al. 2022 (arXiv 2208.05512); class level derived here",
        call="ufm.laws.seli(class_counts)",
        accepts=_accepts,
        says=lambda facts: (
            "logits tend in direction to I − 11ᵀ/K as λ → 0, but only like 1/log(1/λ)"
        ),
    ),
)
