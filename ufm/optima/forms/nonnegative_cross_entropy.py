r"""Nonnegative features, as after a ReLU: cross-entropy of one linear layer without a bias.

Class means become orthogonal, which for nonnegative vectors means disjoint supports, and
cross-entropy decouples into one scalar problem a class: with margin $M_k$ the logits of class k are
$M_k(e_k - \mathbf 1/K)$.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from ufm._validate import require_positive
from ufm.labels.base import host_counts
from ufm.optima.facts import Facts
from ufm.optima.form import AbstractForm
from ufm.optima.hypotheses import (
    Hypothesis,
    loss_named,
    nonnegative,
    one_hot,
    one_layer,
    plain_decay,
    room,
    target_per_class,
    without_bias,
)
from ufm.optima.one_layer import sizes_of
from ufm.optima.optimum import Optimum
from ufm.optima.words import shown


def _margins(facts: Facts) -> np.ndarray:
    return nonnegative_margins(
        facts.classes.masses, lambda_W=float(facts.lambda_W[0]), lambda_H=facts.lambda_H
    )


class NonnegativeCrossEntropy(AbstractForm):
    """Orthogonal class means in the orthant: `nonnegative_margins` decides everything."""

    name: ClassVar[str] = "nonnegative features under cross-entropy"
    source: ClassVar[str] = (
        "Dang, Tran, Nguyen & Ho 2024, cross-entropy with nonnegative features, imbalanced "
        "classes, bias-free"
    )

    def accepts(self, facts: Facts) -> Iterator[Hypothesis]:
        """Cross-entropy, features >= 0, M = 1, one-hot, no bias, and d at least the number of
        classes that do not vanish."""
        plain = [
            loss_named(facts, "cross-entropy"),
            nonnegative(facts),
            *plain_decay(facts),
            one_layer(facts),
        ]
        plain += [*target_per_class(facts), one_hot(facts, " for nonnegative features")]
        plain += [without_bias(facts, "nonnegative features")]
        yield from plain
        if all(hypothesis.holds for hypothesis in plain):
            reached = int(np.sum(facts.once(_margins) > 0))
            yield room(facts, reached, f"d >= {reached}, the classes that do not vanish")

    def optimum(self, facts: Facts) -> Optimum:
        """Logits M_k (e_k − 1/K)."""
        K, masses, margins = facts.K, facts.classes.masses, facts.once(_margins)
        reached = int(np.sum(margins > 0))
        losses = masses / facts.N * np.log1p((K - 1) * np.exp(-margins))
        value = np.sum(losses + np.sqrt((K - 1) * masses / K) * facts.mu * margins)
        quantities = _quantities(facts, margins)
        # margins of one are the yardstick where a prediction is zero
        yardstick = _quantities(facts, np.ones(K))
        sizes = sizes_of(
            yardstick, logits=float(np.linalg.norm(yardstick["logits"])), lambda_H=facts.lambda_H
        )
        counts = f"one-hot labels, class counts {shown(masses)}"
        width = f"d = {facts.feature_dim} >= {reached}"
        return Optimum(
            value=float(value),
            bias=None,
            regime="nonnegative features" if reached else "trivial",
            source=self.source,
            hypotheses=(
                "cross-entropy",
                counts,
                "M = 1",
                width,
                "features >= 0",
                "no bias",
                "all λ > 0",
            ),
            unique=True,
            column_index=facts.classes.index,
            masses=masses,
            sizes=sizes,
            **quantities,
        )


def nonnegative_margins(class_counts, *, lambda_W: float, lambda_H: float) -> np.ndarray:
    r"""Own logit of class k less the others.

    $M_k = \log\big((K-1)(\sqrt{Kn_k/(K-1)}/(N\sqrt{\lambda_W\lambda_H}) - 1)\big)_+$.

    Parameters
    ----------
    class_counts
        (K,), n_k.
    lambda_W, lambda_H
        λ > 0, as in the objective.

    Returns
    -------
    np.ndarray
        (K,). Zero, that is a class whose features vanish, iff $n_k \le N^2\lambda_W\lambda_H
        K/(K-1)$: a factor K/(K − 1) more than for free features.

    Raises
    ------
    ValueError
        For counts or λ that are not positive.

    Notes
    -----
    Source: Dang et al. 2024, for nonnegative features, no bias and d >= K.
    """
    counts = host_counts(class_counts)
    require_positive("lambda_W", lambda_W, shape=())
    require_positive("lambda_H", lambda_H, shape=())
    K = len(counts)
    # the argument less one: it keeps its digits near the threshold
    excess = (
        np.sqrt(K * (K - 1) * counts) / (counts.sum() * np.sqrt(lambda_W) * np.sqrt(lambda_H)) - K
    )
    return np.log1p(np.maximum(excess, 0.0))


def _quantities(facts: Facts, margins: np.ndarray) -> dict:
    """Every gauge-free quantity of the point with these margins."""
    K, root = facts.K, np.sqrt(facts.classes.masses)
    lambda_W, lambda_H = float(facts.lambda_W[0]), facts.lambda_H
    centred = np.eye(K) - 1 / K
    logits = centred * margins
    norms = np.sqrt((K - 1) / K * lambda_W / lambda_H) / root * margins
    # M²/‖h‖² is margin times a constant: no division by zero for a class that vanishes
    gains = np.sqrt(K / (K - 1) * lambda_H / lambda_W) * root * margins
    classifier_gram = (centred * gains) @ centred
    class_gram = np.diag(norms)
    weights = np.sqrt(np.maximum(np.linalg.eigvalsh(classifier_gram)[::-1], 0.0))
    # the rank is that of the classes, at most K − 1; what eigenvalues leave beyond it is rounding,
    # whose root would not be
    weights[min(int(np.sum(margins > 0)), K - 1) :] = 0.0
    features = np.sort(np.sqrt(norms) * root)[::-1]
    return {
        "logits": logits,
        "singular_values": np.linalg.svd(logits * root, compute_uv=False),
        "class_gram": class_gram,
        "classifier_gram": classifier_gram,
        "factor_singular_values": np.stack([weights, features]),
        "layer_grams": (class_gram,),
        "partial_classifier_grams": (classifier_gram,),
    }


FORM = NonnegativeCrossEntropy()
