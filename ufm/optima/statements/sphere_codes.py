"""Cross-entropy on spheres with more classes than a simplex has room for: bounds that speak of
codes, where the bound of `ufm.certify` stays open."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ufm.optima.facts import Facts
from ufm.optima.hypotheses import (
    Hypothesis,
    balanced,
    equal_weights,
    free_weights,
    loss_named,
    no_anchor,
    one_hot,
    one_layer,
    target_per_class,
    without_bias,
)
from ufm.optima.statement import Statement


def _codes(facts: Facts) -> Iterator[Hypothesis]:
    yield loss_named(facts, "cross-entropy")
    spheres = facts.features == facts.classifier_domain == "sphere"
    alike = facts.feature_length is not None and facts.classifier_length is not None
    words = "features on one sphere, and the classifier too"
    yield Hypothesis("domain", spheres and alike, words, facts.domain_words or "no domain", 5)
    yield from (one_layer(facts), equal_weights(facts), free_weights(facts), no_anchor(facts))
    yield without_bias(facts, "codes")
    yield from (*target_per_class(facts), one_hot(facts), balanced(facts))
    d = facts.feature_dim
    yield Hypothesis("width", 2 <= d < facts.K - 1, "2 <= d < K − 1", f"d={d}, K={facts.K}")


def _at(words: str) -> Callable[[Facts], str]:
    """Words on the loss, with the inverse temperature of the problem."""

    def says(facts: Facts) -> str:
        assert facts.feature_length is not None
        assert facts.classifier_length is not None
        beta = facts.feature_length * facts.classifier_length
        return f"β = {beta:.12g}: {words} of K = {facts.K} vectors in d = {facts.feature_dim}"

    return says


CODES = Statement(
    kind="bound",
    name="sharp codes",
    source="theorem B (ours)",
    call='ufm.certificates.code_bound(code, β, theorem="B"), code of ufm.frames',
    accepts=_codes,
    says=_at("a lower bound on the loss, attained by a code that it proves,"),
)

STATEMENTS = (
    CODES,
    Statement(
        kind="bound",
        name="linear programming",
        source="theorem A (ours)",
        call="ufm.certificates.linear_programming_bound(K, d, β)",
        accepts=_codes,
        says=_at("a lower bound on the loss among W = H, for any codes"),
    ),
)
