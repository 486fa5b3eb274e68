r"""Cross-entropy, one linear layer, balanced classes, label smoothing or none: the simplex ETF.

$Z = a(I - \tfrac1K\mathbf 1\mathbf 1^\top)$ with $a = \log(1/(s/K + \sqrt{n\lambda_W\lambda_H}) - K
+ 1)_+$ and zero bias (a free one is determined up to a common shift).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from ufm.optima.cross_entropy import etf_scale, etf_value
from ufm.optima.facts import Facts
from ufm.optima.form import AbstractForm
from ufm.optima.forms.zero_product import below_threshold
from ufm.optima.hypotheses import (
    Hypothesis,
    balanced,
    loss_named,
    one_layer,
    plain_decay,
    room,
    smoothed,
    target_per_class,
    unconstrained,
)
from ufm.optima.one_layer import product_optimum
from ufm.optima.optimum import Optimum

_ZHU = "Zhu et al. 2021 (arXiv 2105.02375), cross-entropy with bias, global minimisers"
_ZHOU = "Zhou et al. 2022 (arXiv 2210.02192), label smoothing, global minimisers"
_DERIVED = "scale and threshold derived here"


class SimplexETF(AbstractForm):
    """The simplex ETF of balanced cross-entropy."""

    name: ClassVar[str] = "simplex ETF of cross-entropy"
    source: ClassVar[str] = f"{_ZHU}; {_ZHOU}; {_DERIVED}"

    def accepts(self, facts: Facts) -> Iterator[Hypothesis]:
        """Cross-entropy, M = 1, balanced, targets (1 − s) e_k + s/K, weak decay, d >= K − 1."""
        plain = [
            loss_named(facts, "cross-entropy"),
            unconstrained(facts),
            *plain_decay(facts),
            one_layer(facts),
        ]
        plain += [*target_per_class(facts), smoothed(facts)]
        plain += [balanced(facts, " for a nonzero product with a bias" if facts.bias else "")]
        yield from plain
        if all(hypothesis.holds for hypothesis in plain):
            yield below_threshold(facts)
            yield room(facts, facts.K - 1)

    def optimum(self, facts: Facts) -> Optimum:
        """a (I − 11ᵀ/K)."""
        K, strength, smoothing = (
            facts.K,
            facts.mu * np.sqrt(facts.classes.masses[0]),
            facts.smoothing,
        )
        assert smoothing is not None
        a = etf_scale(K, strength, smoothing=smoothing)
        return product_optimum(
            facts,
            a * (np.eye(K) - 1 / K),
            value=etf_value(a, K, strength, smoothing=smoothing),
            regime="simplex ETF",
            source=f"{_ZHOU if smoothing else _ZHU}; {_DERIVED}",
            loss="cross-entropy",
        )


FORM = SimplexETF()
