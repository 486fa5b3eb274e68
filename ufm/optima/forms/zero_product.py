r"""Cross-entropy, one linear layer, decay so strong that the product is zero.

The subdifferential of the nuclear norm at zero.

With $\mu = \sqrt{\lambda_W\lambda_H}$ the problem is $\min_{Z,b}\ \sum_k
\tfrac{n_k}{N}\mathrm{CE}(z_k + b, q_k) + \mu\|Z D^{1/2}\|_* + \tfrac{\lambda_b}2\|b\|^2$, convex in
class-level logits Z and bias.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from ufm.optima.cross_entropy import best_constant, gradient_norm
from ufm.optima.facts import Facts
from ufm.optima.form import AbstractForm
from ufm.optima.hypotheses import (
    Hypothesis,
    loss_named,
    one_layer,
    plain_decay,
    target_per_class,
    unconstrained,
)
from ufm.optima.one_layer import product_optimum
from ufm.optima.optimum import Optimum


def threshold(facts: Facts) -> float:
    """The least N√(λ_W λ_H) at which the product is zero."""
    _, probabilities = facts.once(best_constant)
    return gradient_norm(facts.classes.targets, facts.classes.masses, probabilities)


class ZeroProduct(AbstractForm):
    """W H = 0, with the best constant logits, for any class counts, any one target a class and any
    bias."""

    name: ClassVar[str] = "zero product under strong decay"
    source: ClassVar[str] = "derived here: the subdifferential of the nuclear norm at zero"

    def accepts(self, facts: Facts) -> Iterator[Hypothesis]:
        """Cross-entropy, M = 1, one target a class, and N√(λ_W λ_H) at or above `threshold`."""
        plain = [
            loss_named(facts, "cross-entropy"),
            unconstrained(facts),
            *plain_decay(facts),
            one_layer(facts),
        ]
        plain += target_per_class(facts)
        yield from plain
        if all(hypothesis.holds for hypothesis in plain):
            least, strength = facts.once(threshold), facts.N * facts.mu
            holds = strength >= _met(least)
            words = f"N √(λ_W λ_H) >= {least:g} for a zero product"
            # decay may be anything: how far it is from here says nothing about the problem
            yield Hypothesis("strong decay", holds, words, f"{strength:g}", 1.5)

    def optimum(self, facts: Facts) -> Optimum:
        """Zero logits but for the bias."""
        bias, probabilities = facts.once(best_constant)
        columns = facts.classes
        value = float(np.dot(columns.masses / facts.N, -columns.targets.T @ np.log(probabilities)))
        if bias is not None and facts.lambda_b is not None:
            value += 0.5 * facts.lambda_b * float(np.sum(bias**2))
        zero = np.zeros((facts.K, facts.K))
        return product_optimum(
            facts,
            zero,
            value=value,
            bias=bias,
            regime="trivial",
            source=self.source,
            loss="cross-entropy",
        )


def below_threshold(facts: Facts) -> Hypothesis:
    """A product that is not zero, which other forms of cross-entropy are about."""
    least, strength = facts.once(threshold), facts.N * facts.mu
    words = f"N √(λ_W λ_H) < {least:g} for a nonzero product"
    return Hypothesis("weak decay", strength < _met(least), words, f"{strength:g}", 1.5)


def _met(least: float) -> float:
    # less the rounding that would miss a threshold met exactly
    return least * (1 - 1e-14)


FORM = ZeroProduct()
