r"""Strengths of decay at which optima of one-layer cross-entropy change.

Classes of one count n, k of them: by symmetry the contrasts between them enter the optimum as $a(I
- J/k)$, with the price $\mu\sqrt n$ a unit of a and, at a = 0, the slope $-(1-s)n/N$: they merge
exactly from $N\mu = (1-s)\sqrt n$ on, whatever the other classes and the bias are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ufm.optima.cross_entropy import best_constant
from ufm.optima.facts import Facts
from ufm.optima.forms import balanced_cross_entropy, clusters, mixture, nonnegative_cross_entropy
from ufm.optima.forms.zero_product import FORM as ZERO
from ufm.optima.forms.zero_product import threshold
from ufm.optima.hypotheses import Hypothesis
from ufm.optima.joint_mixup import zero_decay
from ufm.optima.statement import Threshold, ThresholdRule, whatever_decay
from ufm.optima.two_clusters import clusters_of, vanishing_strength
from ufm.optima.words import listed

_GROUPS = (
    "derived here: the slope along the contrasts of equal classes; Hong & Ling 2023 for two "
    "clusters"
)
# Counts that are equal to rounding are one group, and thresholds one threshold.
_SAME = 1e-12


def groups(facts: Facts) -> list[np.ndarray]:
    """Classes of equal counts, the largest count first."""
    masses = facts.classes.masses
    order = np.argsort(-masses, kind="stable")
    breaks = np.flatnonzero(np.diff(masses[order]) < -_SAME * masses.max()) + 1
    return np.split(order, breaks)


def _convex(facts: Facts) -> Iterator[Hypothesis]:
    # its last hypothesis is on decay, and is not there when the others fail
    yield from whatever_decay(ZERO.accepts(facts))


def _zero(facts: Facts) -> Iterator[Threshold]:
    least = facts.once(threshold)
    gradient = facts.once(_gradient_spectrum)
    drop = int(np.sum(gradient > gradient[0] * (1 - 1e-10)))
    yield Threshold(strength=least, change="zero product", source=ZERO.source, drop=drop, rank=0)


def _gradient_spectrum(facts: Facts) -> np.ndarray:
    _, probabilities = facts.once(best_constant)
    columns = facts.columns
    return np.linalg.svd(
        (probabilities[:, None] - columns.targets) * np.sqrt(columns.masses), compute_uv=False
    )


def _smoothed(facts: Facts) -> Iterator[Hypothesis]:
    yield from _convex(facts)
    words = "one target (1 − s) e_k + s/K for each class"
    yield Hypothesis("smoothing", facts.smoothing is not None, words, "other targets", 1.2)


def _merging(facts: Facts) -> Iterator[Threshold]:
    assert facts.smoothing is not None
    for group in facts.once(groups):
        n = float(facts.classes.masses[group[0]])
        strength = (1 - facts.smoothing) * float(np.sqrt(n))
        # at the threshold of zero there is nothing left to merge
        if len(group) > 1 and strength < facts.once(threshold) * (1 - _SAME):
            yield Threshold(
                strength=strength,
                change=f"{listed(group)} merge",
                source=_GROUPS,
                drop=len(group) - 1,
            )


def _vanishing(facts: Facts) -> Iterator[Threshold]:
    masses = facts.classes.masses
    found = clusters_of(masses)
    assert found is not None
    # with one majority class the minority vanishes with everything else
    if found.k_A > 1:
        minority = facts.once(groups)[-1]
        change = f"features of {listed(minority)} vanish"
        yield Threshold(
            strength=vanishing_strength(masses), change=change, source=clusters.FORM.source, drop=1
        )


def _nonnegative(facts: Facts) -> Iterator[Threshold]:
    K, left = facts.K, 0
    for group in facts.once(groups):
        n = float(facts.classes.masses[group[0]])
        rank, left = min(left, K - 1), left + len(group)
        change = f"features of {listed(group)} vanish"
        source = nonnegative_cross_entropy.FORM.source
        drop = min(left, K - 1) - rank
        yield Threshold(
            strength=float(np.sqrt(n * (K - 1) / K)),
            change=change,
            source=source,
            drop=drop,
            rank=rank,
        )


def _mixture(facts: Facts) -> Iterator[Threshold]:
    columns = facts.distinct
    moment = float(columns.masses @ np.sum(columns.targets**2, axis=0)) / facts.N
    strength = float(np.sqrt(facts.N * zero_decay(facts.K, moment)))
    yield Threshold(
        strength=strength,
        change="zero product",
        source=mixture.FORM.source,
        drop=facts.K - 1,
        rank=0,
    )


def _simplex(facts: Facts) -> int:
    return facts.K - 1


THRESHOLDS = (
    ThresholdRule(name="zero product", accepts=_convex, find=_zero),
    ThresholdRule(name="classes of equal counts", accepts=_smoothed, find=_merging),
    ThresholdRule(
        name="balanced classes",
        accepts=lambda facts: whatever_decay(balanced_cross_entropy.FORM.accepts(facts)),
        find=lambda facts: (),
        room=_simplex,
    ),
    ThresholdRule(
        name="two clusters",
        accepts=lambda facts: whatever_decay(clusters.FORM.accepts(facts)),
        find=_vanishing,
        room=_simplex,
    ),
    ThresholdRule(
        name="nonnegative features",
        accepts=lambda facts: whatever_decay(nonnegative_cross_entropy.FORM.accepts(facts)),
        find=_nonnegative,
        # (disjoint supports of all classes, whose logits have rank K − 1)
        room=lambda facts: facts.K,
    ),
    ThresholdRule(
        name="mixtures",
        accepts=lambda facts: (
            h for h in whatever_decay(mixture.FORM.accepts(facts)) if h.name != "size"
        ),
        find=_mixture,
        room=_simplex,
    ),
)
