"""Logits that are shifted by a number a class, as by the counts of a client: balanced softmax under
a fixed simplex ETF."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ufm.optima.facts import Facts
from ufm.optima.hypotheses import Hypothesis, equal_weights, no_anchor, positive_decay
from ufm.optima.statement import Statement
from ufm.optima.statements.mixed_labels import simplex_scale, under_simplex_etf
from ufm.optima.words import shown


def _shifts(facts: Facts) -> np.ndarray | None:
    """What cross-entropy adds to logits; None where it adds nothing, and for another loss."""
    shifts = facts.loss.shifts
    return None if shifts is None or not np.any(shifts) else np.asarray(shifts, np.float64)


def _balanced_softmax(facts: Facts) -> Iterator[Hypothesis]:
    words = "cross-entropy of logits with an offset a class"
    yield Hypothesis("loss", _shifts(facts) is not None, words, str(facts.loss), 10)
    yield under_simplex_etf(facts)
    yield no_anchor(facts)
    words = "features without a domain, or of one length"
    alike = facts.features == "real" or _of_one_length(facts)
    yield Hypothesis("features", alike, words, f"{facts.features} features", 3)
    yield Hypothesis("mixtures", facts.one_hot, "one-hot labels", "other targets", 2)
    yield Hypothesis("no bias", facts.bias is None, "bias=None", f"{facts.bias} bias")
    if facts.features == "real":
        yield from (equal_weights(facts), positive_decay(facts))


def _of_one_length(facts: Facts) -> bool:
    return facts.features == "sphere" and facts.feature_length is not None


def _says(facts: Facts) -> str:
    a, shifts = simplex_scale(facts), _shifts(facts)
    assert a is not None
    assert shifts is not None
    counts = np.unique(np.exp(shifts), axis=1)
    of = f"counts {shown(counts[:, 0])}" if counts.shape[1] == 1 else "counts exp of the offsets"
    if facts.features == "real":
        size = f"strength s = N λ_H/a = {facts.N * facts.lambda_H / a:.12g}"
    else:
        assert facts.feature_length is not None
        size = f"length L = r √a = {facts.feature_length * np.sqrt(a):.12g}"
    return f"logits of every class in closed form, with {of}, at {size}"


STATEMENTS = (
    Statement(
        kind="law",
        name="balanced softmax under a simplex ETF",
        source="derived here, for the loss of Li et al. 2023",
        call="ufm.laws.balanced_softmax_logits(class_counts, …)",
        accepts=_balanced_softmax,
        says=_says,
        offsets=True,
    ),
)
