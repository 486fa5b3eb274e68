r"""Cross-entropy, one linear layer, balanced classes, factors of bounded length: the simplex again.

With rows of length $r_W$ and features of length $r_H$, and $\beta = r_W r_H$,

$$Z = \tfrac{\beta K}{K-1}\big(I - \tfrac1K\mathbf 1\mathbf 1^\top\big),\qquad \log\big(1 +
(K-1)e^{-\beta K/(K-1)}\big),$$

on spheres, in balls and within budgets, for every β and W ≠ H allowed: the dual point $V =
-\kappa(I - \tfrac1K\mathbf 1\mathbf 1^\top)$ with constant multipliers makes the bound of
`ufm/certificates/lift.py` tight. Where one factor has decay in place of a bound its length is what
minimises the sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from ufm._host.roots import past_root, root_between
from ufm.optima.facts import Facts
from ufm.optima.form import AbstractForm
from ufm.optima.hypotheses import (
    Hypothesis,
    balanced,
    equal_weights,
    free_weights,
    loss_named,
    no_anchor,
    one_hot,
    one_layer,
    room,
    target_per_class,
)
from ufm.optima.one_layer import product_optimum
from ufm.optima.optimum import Optimum

_YARAS = "Yaras et al. 2022 (arXiv 2209.09211), spheres"
_LU = "Lu & Steinerberger 2022 (arXiv 2012.08465), spheres"
_OURS = "ours for balls, budgets and one factor with decay, by a dual point"


class BoundedSimplex(AbstractForm):
    """The simplex of factors whose lengths are bounded."""

    name: ClassVar[str] = "simplex of bounded lengths"
    source: ClassVar[str] = f"{_YARAS}; {_LU}; {_OURS}"

    def accepts(self, facts: Facts) -> Iterator[Hypothesis]:
        """Cross-entropy, M = 1, balanced, one-hot, lengths bounded alike or decay alone on one
        factor, d >= K − 1."""
        yield loss_named(facts, "cross-entropy")
        yield Hypothesis(
            "domain", not facts.unconstrained, "a factor of bounded length", "decay alone", 5
        )
        yield from (one_layer(facts), equal_weights(facts), free_weights(facts), no_anchor(facts))
        yield from (*target_per_class(facts), one_hot(facts), balanced(facts))
        yield from (self._held(facts, *side) for side in self._sides(facts))
        yield room(facts, facts.K - 1)

    @staticmethod
    def _sides(facts: Facts) -> tuple[tuple[str, str, float | None, float], ...]:
        return (
            (
                "classifier",
                facts.classifier_domain,
                facts.classifier_length,
                float(facts.lambda_W[0]),
            ),
            ("features", facts.features, facts.feature_length, facts.lambda_H),
        )

    @staticmethod
    def _held(
        facts: Facts, name: str, domain: str, length: float | None, decay: float
    ) -> Hypothesis:
        """Spheres cost what they cost.

        In a ball decay may leave room, and without a bound it has to be there.
        """
        if domain == "real":
            return Hypothesis(
                name, decay > 0, f"λ > 0 where nothing bounds the {name}", f"λ = {decay:g}", 3
            )
        alike = Hypothesis(
            name,
            length is not None,
            f"one length for all vectors of the {name}",
            f"several ({domain})",
            1,
        )
        if domain == "sphere" or not alike.holds:
            return alike
        return Hypothesis(
            name, decay == 0, f"no decay beside the bound of the {name}", f"λ = {decay:g}", 1
        )

    def optimum(self, facts: Facts) -> Optimum:
        """β K/(K − 1) (I − 11ᵀ/K)."""
        K, N = facts.K, facts.N
        r_W, r_H = facts.classifier_length, facts.feature_length
        if r_W is None:
            r_W = _best_length(K, r_H, K * float(facts.lambda_W[0]))
        if r_H is None:
            r_H = _best_length(K, r_W, N * facts.lambda_H)
        beta = r_W * r_H
        value = np.log1p((K - 1) * np.exp(-beta * K / (K - 1)))
        value += 0.5 * K * float(facts.lambda_W[0]) * r_W**2 + 0.5 * N * facts.lambda_H * r_H**2
        return product_optimum(
            facts,
            beta * K / (K - 1) * (np.eye(K) - 1 / K),
            value=float(value),
            regime="simplex",
            source=self.source,
            loss="cross-entropy",
            # σ(W)² = r_W² K/(K − 1), σ of the product √(N/K) β K/(K − 1)
            ratio=float(r_W / r_H / np.sqrt(N / K)) if beta > 0 else 1.0,
        )


def _best_length(K: int, other: float | None, decay: float) -> float:
    """The length s that minimises log(1 + (K − 1) exp(−s r K/(K − 1))) + λ s²/2, r the length of
    the other factor."""
    assert other is not None
    rate = other * K / (K - 1)

    def slope(s: float) -> float:
        odds = (K - 1) * np.exp(-s * rate)
        return decay * s - rate * odds / (1 + odds)

    return root_between(slope, 0.0, past_root(slope, 0.0))


FORM = BoundedSimplex()
