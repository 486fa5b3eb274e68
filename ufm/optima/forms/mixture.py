r"""Cross-entropy with mixup-type labels, one linear layer, balanced.

Recognising the problem, and the optimum column by column.

$WW^\top = aP$ with $a = N\lambda_H/s$, s from `solve_mixture`; logits from `channel` and
`same_class_gap`, one column per distinct label; zero beyond the threshold. A bias is 0 (a free one
up to a common shift).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ufm.labels.mixed_pairs import MixedPairs, pairs_of
from ufm.optima.channels import channel, same_class_gap
from ufm.optima.facts import Facts
from ufm.optima.form import AbstractForm
from ufm.optima.hypotheses import Hypothesis, loss_named, plain_decay, room, unconstrained
from ufm.optima.inversion import Floats
from ufm.optima.joint_mixup import MixupOptimum, solve_mixture
from ufm.optima.one_layer import sizes_of
from ufm.optima.optimum import Optimum
from ufm.optima.words import shown

# The Gram matrix of the distinct columns is part of an optimum; one of 4096 columns takes 128 MiB.
_MOST_COLUMNS = 4096


def of_two_classes(facts: Facts) -> bool:
    """Whether every label is a class or a mixture of two."""
    number = np.sum(facts.distinct.targets != 0, axis=0)
    return bool(number.min() >= 1 and number.max() <= 2)


def mixes_pairs(facts: Facts) -> bool:
    """Whether that is so, some labels are mixtures, and they are not one target for each class."""
    targets = facts.distinct.targets
    main, (K, number) = np.unique(np.argmax(targets, axis=0)), targets.shape
    pure = np.all(np.sum(targets != 0, axis=0) == 1)
    return of_two_classes(facts) and not pure and not len(main) == number == K


@dataclass(frozen=True, kw_only=True, eq=False)
class _Law:
    """What all pairs of classes share.

    Λ and mass over all pairs (R,), the mass of pure classes, and which classes each label mixes.
    """

    lam: Floats
    weights: Floats
    same: float
    pairs: MixedPairs


class Mixtures(AbstractForm):
    """The simplex ETF of mixup, and channels of logits between its classes."""

    name: ClassVar[str] = "mixtures of two classes under cross-entropy"
    source: ClassVar[str] = (
        "derived here: the simplex ETF that Fisher, Meng & Papyan 2024 assume for mixup is the "
        "optimum; multiplier and threshold derived here"
    )

    def accepts(self, facts: Facts) -> Iterator[Hypothesis]:
        """Cross-entropy, M = 1, mixtures of all pairs and both orders alike, d >= K − 1 unless the
        optimum is zero."""
        plain = [loss_named(facts, "cross-entropy"), unconstrained(facts), *plain_decay(facts)]
        plain += [
            Hypothesis(
                "depth", facts.M == 1, "M = 1 for labels that mix classes", f"M={facts.M}", 3
            )
        ]
        words = "labels of which some mix two classes and none more"
        plain += [Hypothesis("mixtures", mixes_pairs(facts), words, "other targets", 6)]
        yield from plain
        if not plain[-1].holds:
            return
        hypotheses, law = facts.once(_common_law)
        yield from hypotheses
        if law is None or not all(hypothesis.holds for hypothesis in plain):
            return
        trivial = facts.once(_solved).trivial
        yield room(
            facts, 0 if trivial else facts.K - 1, "d >= K - 1, the rank of the convex optimum"
        )
        most, number = _MOST_COLUMNS, len(facts.distinct.masses)
        words = (
            f"at most {most} distinct labels, whose Gram matrix the optimum holds "
            f"(ufm.laws.mixup_optimum needs none)"
        )
        yield Hypothesis("size", number <= most, words, str(number))

    def optimum(self, facts: Facts) -> Optimum:
        """Logits label by label."""
        K, columns = facts.K, facts.distinct
        _, law = facts.once(_common_law)
        assert law is not None
        solved = facts.once(_solved)
        logits = (
            np.zeros_like(columns.targets)
            if solved.trivial
            else _logits(K, law.pairs, solved.strength)
        )
        lambda_W, lambda_H = float(facts.lambda_W[0]), facts.lambda_H
        yardstick = _quantities(columns.targets - 1 / K, columns.masses, lambda_W, lambda_H)
        words = "mixtures of two classes, all pairs and both orders alike"
        return Optimum(
            value=solved.value,
            logits=logits,
            bias=facts.zero_bias,
            regime="trivial"
            if solved.trivial
            else "simplex ETF classifier, channels between classes",
            source=self.source,
            hypotheses=(
                "cross-entropy",
                words,
                "M = 1",
                f"d = {facts.feature_dim}",
                facts.bias_words,
                "all λ > 0",
            ),
            unique=True,
            column_index=columns.index,
            masses=columns.masses,
            sizes=sizes_of(
                yardstick, logits=float(np.linalg.norm(columns.targets - 1 / K)), lambda_H=lambda_H
            ),
            **_quantities(logits, columns.masses, lambda_W, lambda_H),
        )


def _solved(facts: Facts) -> MixupOptimum:
    _, law = facts.once(_common_law)
    assert law is not None
    settings = {"lambda_W": float(facts.lambda_W[0]), "decay": facts.N * facts.lambda_H}
    return solve_mixture(
        facts.K, law.lam, law.weights / facts.N, same_weight=law.same / facts.N, **settings
    )


def _common_law(facts: Facts) -> tuple[list[Hypothesis], _Law | None]:
    """The hypotheses on the labels, up to the first that fails, and the law that all pairs share
    where they hold."""
    K, rounding, columns = facts.K, facts.rounding, facts.distinct
    try:
        pairs = pairs_of(columns.targets, rounding=8 * facts.eps)
    except ValueError as error:
        words = "labels that are mixtures of two classes"
        return [Hypothesis("distributions", False, words, str(error))], None
    masses = columns.masses
    pure = np.bincount(pairs.first[pairs.same], weights=masses[pairs.same], minlength=K)
    slack = rounding * masses.mean()
    alike = bool(np.ptp(pure) <= rounding * pure.max() + slack)
    words = "balanced classes: equal masses of the pure labels"
    asked = [Hypothesis("balance", alike, words, shown(pure))]
    if not alike:
        return asked, None
    mixed = ~pairs.same
    number = (pairs.first * K + pairs.second)[mixed]
    order = np.lexsort((pairs.lam[mixed], number))
    names, counts = np.unique(number, return_counts=True)
    every = bool(len(names) == K * (K - 1) // 2 and np.ptp(counts) == 0)
    words = f"mixtures of all {K * (K - 1) // 2} pairs of classes, equally many"
    got = f"{len(names)} with {shown(counts)}"
    asked.append(Hypothesis("all pairs", every, words, got))
    if not every:
        return asked, None
    lam = pairs.lam[mixed][order].reshape(len(names), -1)
    weights = masses[mixed][order].reshape(len(names), -1)
    spread = np.ptp(weights, axis=0) <= rounding * weights.max(axis=0) + slack
    one = bool(np.all(np.ptp(lam, axis=0) <= rounding) and np.all(spread))
    words = "balanced classes: the same λ with the same masses for every pair of classes"
    asked.append(Hypothesis("one law", one, words, "pairs that differ"))
    if not one:
        return asked, None
    lam, weights = lam[0], weights[0]
    uneven = np.max(np.abs(weights - weights[::-1]))
    even = np.max(np.abs(lam + lam[::-1] - 1)) <= rounding
    even = bool(even and uneven <= rounding * weights.max() + slack)
    words = "a law of λ that is symmetric under λ ↔ 1 − λ"
    asked.append(Hypothesis("symmetry", even, words, "one that is not"))
    if not even:
        return asked, None
    return asked, _Law(lam=lam, weights=weights * len(names), same=float(pure.sum()), pairs=pairs)


def _logits(K: int, pairs: MixedPairs, strength: float) -> Floats:
    """Optimal logits (K, C')."""
    logits = np.zeros((K, len(pairs.lam)))
    same, columns = pairs.same, np.arange(len(pairs.lam))
    gap = float(same_class_gap(K, strength)) if same.any() else 0.0
    logits[:, same] = -gap / K
    logits[pairs.first[same], columns[same]] = gap - gap / K
    mixed = channel(K, pairs.lam[~same], strength=strength)
    own, other, rest = mixed.logits
    logits[:, ~same] = rest
    logits[pairs.first[~same], columns[~same]] = own
    logits[pairs.second[~same], columns[~same]] = other
    return logits


def _quantities(logits: Floats, masses: Floats, lambda_W: float, lambda_H: float) -> dict:
    """What an `Optimum` holds of logits Z with $Z D Z^T$ proportional to P, D the masses.

    K − 1 equal singular values.
    """
    K = len(logits)
    size = min(logits.shape)
    values = np.zeros(size)
    sigma = float(np.sqrt(masses @ np.sum(logits**2, axis=0) / (K - 1)))
    values[: K - 1] = sigma
    scale = np.sqrt(lambda_H / lambda_W) * sigma
    classifier_gram = scale * (np.eye(K) - 1 / K)
    class_gram = logits.T @ logits / (scale or 1.0)
    return {
        "singular_values": values,
        "class_gram": class_gram,
        "classifier_gram": classifier_gram,
        "factor_singular_values": np.sqrt(
            np.stack([scale * values / (sigma or 1.0), np.sqrt(lambda_W / lambda_H) * values])
        ),
        "layer_grams": (class_gram,),
        "partial_classifier_grams": (classifier_gram,),
    }


FORM = Mixtures()
