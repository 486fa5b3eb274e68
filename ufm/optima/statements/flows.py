"""Gradient flows with conservation laws or exact solutions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from ufm.optima.facts import Facts
from ufm.optima.hypotheses import (
    Hypothesis,
    balanced,
    equal_weights,
    free_weights,
    loss_named,
    no_anchor,
    one_layer,
    room,
    target_per_class,
    unconstrained,
)
from ufm.optima.statement import Statement
from ufm.optima.statements.mixed_labels import under_simplex_etf
from ufm.optima.words import shown

_SAXE = "Saxe, McClelland & Ganguli 2014"
_MIXON = "Mixon, Parshall & Pi 2020"


def _free(facts: Facts) -> Iterator[Hypothesis]:
    yield from (unconstrained(facts), free_weights(facts), no_anchor(facts))


def _one_rate(facts: Facts) -> Hypothesis:
    decays = facts.decays
    alike = bool(np.ptp(decays) <= facts.rounding * decays.max())
    words = "equal λ of all factors (or learning rates that make η λ equal)"
    return Hypothesis("one rate", alike, words, f"λ = {shown(decays)}")


def _no_decay(facts: Facts) -> Hypothesis:
    return Hypothesis(
        "no decay", not facts.decays.any(), "no decay", f"λ = {shown(facts.decays)}", 2
    )


def _bias(facts: Facts, kind: str | None) -> Hypothesis:
    return Hypothesis("bias", facts.bias == kind, f"bias={kind!r}", f"{facts.bias} bias")


def _one_hot(facts: Facts) -> Hypothesis:
    return Hypothesis("labels", facts.one_hot, "one-hot labels", "other targets", 2)


def _modes(facts: Facts) -> Iterator[Hypothesis]:
    yield from (
        loss_named(facts, "squared-error"),
        *_free(facts),
        equal_weights(facts),
        _bias(facts, None),
        _one_rate(facts),
    )


def _unbalanced(facts: Facts) -> Iterator[Hypothesis]:
    yield from (
        loss_named(facts, "squared-error"),
        *_free(facts),
        equal_weights(facts),
        _bias(facts, None),
    )
    yield from (one_layer(facts), _no_decay(facts))


def _balanced(facts: Facts, loss: str) -> Iterator[Hypothesis]:
    yield from (loss_named(facts, loss), *_free(facts), equal_weights(facts), _one_hot(facts))
    yield from (*target_per_class(facts), balanced(facts))


def _mixon(facts: Facts) -> Iterator[Hypothesis]:
    yield from (*_balanced(facts, "squared-error"), one_layer(facts), _no_decay(facts))


def _renormalised(facts: Facts) -> Iterator[Hypothesis]:
    yield from (*_mixon(facts), _bias(facts, "free"), room(facts, facts.K - 1, "d >= K - 1"))
    columns = facts.targets.shape[1]
    full = columns >= facts.K + facts.feature_dim
    yield Hypothesis(
        "spread",
        full,
        "samples for a within-class covariance of full rank",
        f"{columns} columns",
        2,
    )


def _symmetric(facts: Facts) -> Iterator[Hypothesis]:
    words = "every width >= K - 1, the rank of the symmetric logits"
    yield from (*_balanced(facts, "cross-entropy"), _one_rate(facts))
    yield room(facts, facts.K - 1, words)


def _margin(facts: Facts) -> Iterator[Hypothesis]:
    yield from (*_symmetric(facts), one_layer(facts), _no_decay(facts))


def _fixed(facts: Facts) -> Iterator[Hypothesis]:
    yield from (
        loss_named(facts, "cross-entropy"),
        unconstrained(facts),
        equal_weights(facts),
        _one_hot(facts),
        _bias(facts, None),
    )
    yield under_simplex_etf(facts)
    yield Hypothesis(
        "no decay",
        facts.lambda_H == 0 and not facts.anchored,
        "features without decay",
        f"λ_H = {facts.lambda_H:g}",
        2,
    )


def _law(
    name: str, says: str, source: str, call: str, accepts: Callable[[Facts], Iterable[Hypothesis]]
) -> Statement:
    return Statement(
        kind="law",
        name=name,
        source=source,
        call=f"ufm.laws.{call}",
        accepts=accepts,
        says=lambda facts: says,
    )


STATEMENTS = (
    _law(
        "imbalance under the flow",
        "W_{m+1}ᵀW_{m+1} − W_m W_mᵀ decays as e^{−2λt}, whatever the loss",
        "well known without decay; with decay derived here",
        "imbalance(initial, ts, decay=λ)",
        lambda facts: (*_free(facts), _one_rate(facts)),
    ),
    _law(
        "modes of squared error",
        "balanced factors with the singular vectors of the target keep them, and each singular "
        "value obeys a scalar equation, logistic for M = 1",
        f"{_SAXE}; depth with decay derived here",
        "deep_mode(ts, target=…, start=…, depth=M, decay=…)",
        _modes,
    ),
    _law(
        "modes of unbalanced factors",
        "factors with the singular vectors of the target keep them, and a mode with a ≠ b has a "
        "closed form: a² − b² is conserved",
        f"{_SAXE}, in explicit form",
        "saxe_mode_unbalanced(ts, target=…, start=…, imbalance=…)",
        _unbalanced,
    ),
    _law(
        "flow from a small start",
        "contrasts of W ± √n H̄ᵀ grow and decay as e^{±√n t}; 1ᵀW and the mean feature stand still "
        "at b = 1/K, as `small_start` has them, and move without a bias",
        _MIXON,
        "small_start(W, H, ts, samples_per_class=n)",
        _mixon,
    ),
    _law(
        "flow of the balanced Gram",
        "from features at their class means with W = √n H̄ᵀ (and, with a bias, 1ᵀW = 0 and b = "
        "1/K), eigenvalues of W Wᵀ are logistic and its eigenvectors stand still",
        _MIXON,
        "balanced_gram(initial, ts, samples_per_class=n)",
        _mixon,
    ),
    _law(
        "renormalised flow",
        "singular values of whitened class means on the central path",
        "Han, Papyan & Donoho 2022; constants derived here",
        "renormalised_spectrum(start, ts, samples_per_class=n)",
        _renormalised,
    ),
    _law(
        "margin on the symmetric configuration",
        "balanced factors with logits ξ(I − J/K) keep that form, and the gap ξ obeys one scalar "
        "equation, an exponential integral without decay",
        "Ji et al. 2021, symmetric case; derived here",
        "cross_entropy_gap(ts, start=…, num_classes=K, samples_per_class=n, depth=M, decay=…)",
        _symmetric,
    ),
    _law(
        "maximal margin",
        "margin over ½(‖W‖² + ‖H‖²) tends to 1/((K − 1)√n), like 1/ln t",
        "Ji et al. 2021; value derived here",
        "max_margin(num_classes=K, samples_per_class=n)",
        _margin,
    ),
    _law(
        "features under a fixed simplex ETF",
        "the gap ξ of a feature whose wrong logits agree: e^ξ + (K − 1)ξ grows linearly in t",
        "derived here",
        "fixed_etf_gap(ts, num_classes=K, squared_scale=a)",
        _fixed,
    ),
)
