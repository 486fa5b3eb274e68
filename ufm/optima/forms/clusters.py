"""Cross-entropy, one linear layer, class counts of two values, no bias.

The four-variable convex problem, solved to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ufm.optima.facts import Facts
from ufm.optima.form import AbstractForm
from ufm.optima.forms.zero_product import below_threshold
from ufm.optima.hypotheses import (
    Hypothesis,
    loss_named,
    one_hot,
    one_layer,
    plain_decay,
    target_per_class,
    unconstrained,
    without_bias,
)
from ufm.optima.one_layer import product_optimum
from ufm.optima.optimum import Optimum
from ufm.optima.two_cluster_problem import two_cluster_logits
from ufm.optima.two_clusters import clusters_of
from ufm.optima.words import shown


class TwoValuedCounts(AbstractForm):
    """Majority and minority classes, of n_A and n_B samples each."""

    name: ClassVar[str] = "two clusters of cross-entropy"
    source: ClassVar[str] = (
        "Hong & Ling 2023 (arXiv 2309.09725), block structure for equal counts in a cluster; the "
        "four-variable problem derived here"
    )

    def accepts(self, facts: Facts) -> Iterator[Hypothesis]:
        """Cross-entropy, M = 1, one-hot, no bias, counts of two values, weak decay."""
        plain = [
            loss_named(facts, "cross-entropy"),
            unconstrained(facts),
            *plain_decay(facts),
            one_layer(facts),
        ]
        plain += [
            *target_per_class(facts),
            one_hot(facts),
            without_bias(facts, "class counts of two values"),
        ]
        masses = facts.classes.masses
        if not facts.balanced:
            # nearer than "balanced": it asks for less
            words = "class counts of at most two distinct values"
            plain += [
                Hypothesis("two values", clusters_of(masses) is not None, words, shown(masses), 0.9)
            ]
        else:
            plain += [
                Hypothesis(
                    "two values", False, "class counts of two distinct values", shown(masses), 2
                )
            ]
        yield from plain
        if all(hypothesis.holds for hypothesis in plain):
            yield below_threshold(facts)

    def optimum(self, facts: Facts) -> Optimum:
        """The optimum by the module `two_clusters`."""
        clusters = clusters_of(facts.classes.masses)
        assert clusters is not None
        logits, value, regime = two_cluster_logits(clusters, facts.mu)
        return product_optimum(
            facts, logits, value=value, regime=regime, source=self.source, loss="cross-entropy"
        )


FORM = TwoValuedCounts()
