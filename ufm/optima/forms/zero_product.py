r"""Cross-entropy, one linear layer, decay so strong that the product is zero.

The subdifferential of the nuclear norm at zero.

With $\mu = \sqrt{\lambda_W\lambda_H}$ the problem is $\min_{Z,b}\ \sum_c
\tfrac{m_c}{N}\mathrm{CE}(z_c + b, q_c) + \mu\|Z D^{1/2}\|_* + \tfrac{\lambda_b}2\|b\|^2$ with $D =
\mathrm{diag}(m)$, convex in the logits Z of distinct targets and the bias.
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
    distributions,
    loss_named,
    one_layer,
    plain_decay,
    unconstrained,
)
from ufm.optima.one_layer import product_optimum
from ufm.optima.optimum import Optimum


def threshold(facts: Facts) -> float:
    """The least N√(λ_W λ_H) at which the product is zero."""
    _, probabilities = facts.once(best_constant)
    return gradient_norm(facts.columns.targets, facts.columns.masses, probabilities)


class ZeroProduct(AbstractForm):
    """W H = 0, with the best constant logits, for any class counts, any targets and any bias."""

    name: ClassVar[str] = "zero product under strong decay"
    source: ClassVar[str] = "derived here: the subdifferential of the nuclear norm at zero"

    def accepts(self, facts: Facts) -> Iterator[Hypothesis]:
        """Cross-entropy, M = 1, distributions as targets, and N√(λ_W λ_H) at or above
        `threshold`."""
        plain = [
            loss_named(facts, "cross-entropy"),
            unconstrained(facts),
            *plain_decay(facts),
            one_layer(facts),
            distributions(facts),
        ]
        if facts.bias == "free":
            plain.append(_every_class(facts))
        yield from plain
        if all(hypothesis.holds for hypothesis in plain):
            least, strength = facts.once(threshold), facts.N * facts.mu
            holds = strength >= _met(least)
            words = f"N √(λ_W λ_H) >= {least:g} for a zero product"
            # decay may be anything: how far it is from here says nothing about the problem, and
            # any targets have this optimum: what others ask of labels says more
            yield Hypothesis("strong decay", holds, words, f"{strength:g}", 4)

    def optimum(self, facts: Facts) -> Optimum:
        """Zero logits but for the bias."""
        bias, probabilities = facts.once(best_constant)
        columns = facts.columns
        value = float(np.dot(columns.masses / facts.N, -columns.targets.T @ np.log(probabilities)))
        if bias is not None and facts.lambda_b is not None:
            value += 0.5 * facts.lambda_b * float(np.sum(bias**2))
        zero = np.zeros_like(columns.targets)
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


def _every_class(facts: Facts) -> Hypothesis:
    """A target for each class, without which a free bias has no minimum."""
    missing = facts.class_counts <= 0
    words, got = f"some target for each of the {facts.K} classes", "none for class"
    return Hypothesis("classes", not missing.any(), words, f"{got} {int(missing.argmax())}", 2)


def _met(least: float) -> float:
    # less the rounding that would miss a threshold met exactly
    return least * (1 - 1e-14)


FORM = ZeroProduct()
