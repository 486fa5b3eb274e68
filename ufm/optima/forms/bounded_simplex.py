r"""Cross-entropy, one linear layer, balanced classes, factors of bounded length: the simplex again.

With rows of length $r_W$ and features of length $r_H$, $\beta = r_W r_H$ and labels smoothed by s,
none for s = 0,

$$Z = a\big(I - \tfrac1K\mathbf 1\mathbf 1^\top\big),\quad a = \tfrac{\beta K}{K-1},\qquad
\log\big(1 + (K-1)e^{-a}\big) + \tfrac{s(K-1)}{K}a,$$

on spheres, in balls and within budgets, for every β and W ≠ H allowed: the dual point $V =
-\kappa(I - \tfrac1K\mathbf 1\mathbf 1^\top)$ with constant multipliers makes the bound of
`ufm/certificates/lift.py` tight. Where one factor has decay in place of a bound its length is what
minimises the sum. Where a is above $\log(1 + K(1-s)/s)$ shorter logits reach the entropy of
smoothed targets, and κ < 0: no optimum has the whole of its lengths in the simplex.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from ufm._host.roots import past_root, root_between
from ufm.optima.cross_entropy import etf_scale, etf_value
from ufm.optima.facts import Facts
from ufm.optima.form import AbstractForm
from ufm.optima.hypotheses import (
    Hypothesis,
    balanced,
    equal_weights,
    free_weights,
    loss_named,
    no_anchor,
    one_layer,
    room,
    smoothed,
    target_per_class,
)
from ufm.optima.one_layer import product_optimum
from ufm.optima.optimum import Optimum

_YARAS = "Yaras et al. 2022 (arXiv 2209.09211), spheres"
_LU = "Lu & Steinerberger 2022 (arXiv 2012.08465), spheres"
_OURS = "ours for balls, budgets, one factor with decay and smoothed labels, by a dual point"


class BoundedSimplex(AbstractForm):
    """The simplex of factors whose lengths are bounded."""

    name: ClassVar[str] = "simplex of bounded lengths"
    source: ClassVar[str] = f"{_YARAS}; {_LU}; {_OURS}"

    def accepts(self, facts: Facts) -> Iterator[Hypothesis]:
        """Cross-entropy, M = 1, balanced, targets (1 − s) e_k + s/K, lengths bounded alike or decay
        alone on one factor, not too long for s, d >= K − 1."""
        yield loss_named(facts, "cross-entropy")
        yield Hypothesis(
            "domain", not facts.unconstrained, "a factor of bounded length", "decay alone", 5
        )
        yield from (one_layer(facts), equal_weights(facts), free_weights(facts), no_anchor(facts))
        yield from (*target_per_class(facts), smoothed(facts), balanced(facts))
        yield from (self._held(facts, *side) for side in self._sides(facts))
        yield _not_too_long(facts)
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
        K, N, smoothing = facts.K, facts.N, facts.smoothing
        r_W, r_H = facts.classifier_length, facts.feature_length
        assert smoothing is not None
        if r_W is None:
            r_W = _best_length(K, r_H, K * float(facts.lambda_W[0]), smoothing)
        if r_H is None:
            r_H = _best_length(K, r_W, N * facts.lambda_H, smoothing)
        beta = r_W * r_H
        value = etf_value(beta * K / (K - 1), K, 0.0, smoothing=smoothing)
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


def _not_too_long(facts: Facts) -> Hypothesis:
    """Smoothed targets, and longer logits than are best for them, leave lengths that are of no
    use."""
    r_W, r_H, K = facts.classifier_length, facts.feature_length, facts.K
    best, beta = np.inf, 0.0
    if facts.smoothing and r_W is not None and r_H is not None:
        best, beta = etf_scale(K, 0.0, smoothing=facts.smoothing) * (K - 1) / K, r_W * r_H
    words = f"lengths with r_W r_H <= {best:.6g}, beyond which smoothed labels ask for shorter ones"
    return Hypothesis("lengths", beta <= best, words, f"{beta:.6g}", 1)


def _best_length(K: int, other: float | None, decay: float, smoothing: float) -> float:
    """The length s that minimises the loss at r s K/(K − 1), r the length of the other factor, and
    λ s²/2."""
    assert other is not None
    rate = other * K / (K - 1)

    def slope(s: float) -> float:
        odds = (K - 1) * np.exp(-s * rate)
        return decay * s - rate * (odds / (1 + odds) - smoothing * (K - 1) / K)

    return root_between(slope, 0.0, past_root(slope, 0.0))


FORM = BoundedSimplex()
