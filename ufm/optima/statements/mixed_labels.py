"""Labels that mix two classes.

Channels of a fixed classifier, and the simplex ETF of a free one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ufm.optima.facts import Facts
from ufm.optima.forms.mixture import FORM, of_two_classes
from ufm.optima.hypotheses import (
    Hypothesis,
    equal_weights,
    loss_named,
    no_anchor,
    positive_decay,
    unconstrained,
)
from ufm.optima.statement import Statement


def simplex_scale(facts: Facts) -> float | None:
    """a where the fixed weights have $WW^\\top = a(I - J/K)$, None where they have not."""
    W, K = facts.classifier, facts.K
    if W is None or K < 2:
        return None
    gram = W @ W.T
    a = float(np.trace(gram)) / (K - 1)
    return (
        a
        if a > 0 and np.max(np.abs(gram - a * (np.eye(K) - 1 / K))) <= 64 * K * facts.eps * a
        else None
    )


def under_simplex_etf(facts: Facts) -> Hypothesis:
    """Fixed weights that form a simplex ETF."""
    words = "fixed weights that form a simplex ETF"
    return Hypothesis("weights", simplex_scale(facts) is not None, words, "others", 3)


def _channel(facts: Facts) -> Iterator[Hypothesis]:
    yield from (loss_named(facts, "cross-entropy"), unconstrained(facts), equal_weights(facts))
    yield no_anchor(facts)
    yield under_simplex_etf(facts)
    words = "one-hot labels, or mixtures of two classes"
    yield Hypothesis("mixtures", of_two_classes(facts), words, "other targets", 2)
    yield Hypothesis("no bias", facts.bias is None, "bias=None", f"{facts.bias} bias")
    yield positive_decay(facts)


def _says(facts: Facts) -> str:
    a = simplex_scale(facts)
    assert a is not None
    strength = facts.N * facts.lambda_H / a
    return f"logits of every label in closed form, at strength s = N λ_H/a = {strength:g}"


CHANNELS = Statement(
    kind="law",
    name="channels under a simplex ETF",
    source="Fisher, Meng & Papyan 2024 for the features; channel form derived here",
    call="ufm.channels.channel(K, lam, strength=…)",
    accepts=_channel,
    says=_says,
)
STATEMENTS = (
    CHANNELS,
    Statement(
        kind="law",
        name="multiplier of mixup",
        source=FORM.source,
        call="ufm.laws.mixup_optimum(K, alpha, …)",
        accepts=FORM.accepts,
        says=lambda facts: "W Wᵀ = a(I − J/K), with a from one scalar equation over the law of λ",
    ),
)
