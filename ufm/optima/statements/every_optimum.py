"""What holds at every optimum or stationary point of a wide class of problems.

Collapse, balance, bounds, landscapes.
"""

from __future__ import annotations

from collections.abc import Iterator

from ufm.optima.facts import Facts
from ufm.optima.hypotheses import (
    Hypothesis,
    equal_weights,
    no_anchor,
    one_layer,
    plain_decay,
    positive_decay,
    unconstrained,
)
from ufm.optima.statement import Statement
from ufm.optima.words import shown

_HAEFFELE = (
    "Haeffele & Vidal 2015 (arXiv 1506.07540); Zhu et al. 2021 for cross-entropy with a bias"
)


def convex(facts: Facts) -> Hypothesis:
    """A loss convex in the logits."""
    return Hypothesis(
        "convex loss", facts.loss.convex, "a loss convex in the logits", str(facts.loss), 10
    )


def _collapse(facts: Facts) -> Iterator[Hypothesis]:
    yield from (convex(facts), equal_weights(facts), positive_decay(facts))
    yield no_anchor(facts)
    words = "a convex domain of the features that treats all samples alike"
    yield Hypothesis("features", facts.feature_means, words, f"{facts.features} features", 3)
    distinct = len(facts.distinct.masses)
    got = f"{facts.targets.shape[1]} columns, {distinct} of them distinct"
    yield Hypothesis(
        "columns", distinct < facts.targets.shape[1], "columns with equal targets", got, 2
    )


def _balance(facts: Facts) -> Iterator[Hypothesis]:
    yield unconstrained(facts)
    yield from (h for h in plain_decay(facts) if h.name != "equal loss weights")


def _bound(facts: Facts) -> Iterator[Hypothesis]:
    yield convex(facts)
    holds, got = facts.M == 1 or facts.frozen, f"M={facts.M}"
    yield Hypothesis("depth", holds, "M = 1, or fixed weights", got, 3)
    words = "decay on every factor, or a domain that bounds it"
    yield Hypothesis("decay", facts.held, words, f"λ = {shown(facts.decays)}", 3)
    if facts.loss.convex and holds and facts.held:
        words, reason = "what `ufm.certify` asks of a problem", facts.uncertified
        yield Hypothesis("certificate", reason is None, words, f"its refusal: {reason}", 3)


def _closes(facts: Facts) -> str:
    """Where the bound is the minimum."""
    if facts.loose:
        return (
            f"which need not close at an optimum, as multipliers of {' and '.join(facts.loose)} "
            "may be missing (the domain is not `tight`)"
        )
    if facts.lift == "columns":
        return "which closes at the optimum"
    if facts.lift == "nonnegative Gram":
        return (
            f"which closes at an optimum when the lifted Gram matrix is that of vectors of d = "
            f"{facts.feature_dim}, with nonnegative features"
        )
    rank = "the convex one" if facts.lift == "product" else "the lifted one"
    return f"which closes at an optimum when d = {facts.feature_dim} is at least the rank of {rank}"


def _landscape(facts: Facts) -> Iterator[Hypothesis]:
    yield from (convex(facts), unconstrained(facts), one_layer(facts))
    yield from (h for h in plain_decay(facts) if h.name != "equal loss weights")
    wide = min(facts.K, facts.targets.shape[1])
    yield Hypothesis(
        "width", facts.feature_dim > wide, f"d > min(K, C) = {wide}", f"d={facts.feature_dim}"
    )


def _columns(facts: Facts) -> Iterator[Hypothesis]:
    yield from (convex(facts), unconstrained(facts))
    yield Hypothesis("weights", facts.frozen, "fixed weights", "free ones", 3)
    yield Hypothesis(
        "no bias", facts.bias is None, "bias=None, or a bias that is held", f"{facts.bias} bias"
    )
    yield positive_decay(facts)


def _origin(facts: Facts) -> Iterator[Hypothesis]:
    yield unconstrained(facts)
    yield from (h for h in plain_decay(facts) if h.name != "equal loss weights")
    yield Hypothesis("depth", facts.M >= 2, "M >= 2", f"M={facts.M}", 3)


STATEMENTS = (
    Statement(
        kind="bound",
        name="duality gap",
        source="Fenchel duality: for the nuclear norm that ridge on both factors amounts to, and "
        "with domains, fixed weights or an anchor for the Gram matrix of all vectors (ours)",
        call="ufm.certify(problem, params)",
        accepts=_bound,
        says=lambda facts: f"any point gives a lower bound on the global minimum, {_closes(facts)}",
        maps=None,
        offsets=True,
    ),
    Statement(
        kind="landscape",
        name="no spurious minima",
        source=_HAEFFELE,
        call="ufm.classify(problem, params)",
        accepts=_landscape,
        says=lambda facts: (
            "every local minimum is global, every other stationary point a strict saddle"
        ),
    ),
    Statement(
        kind="landscape",
        name="origin of a deep product",
        source="the loss depends on M + 1 >= 3 factors and is flat to second order at zero",
        call="ufm.classify(problem, params)",
        accepts=_origin,
        says=lambda facts: (
            "all factors zero is a strict local minimum (up to a bias), global or not"
        ),
    ),
    Statement(
        kind="landscape",
        name="columns of a fixed classifier",
        source="strict convexity in each feature",
        call="ufm.solvers.fit_features(problem)",
        accepts=_columns,
        says=lambda facts: "one minimum, a strictly convex problem a column",
    ),
    Statement(
        kind="law",
        name="within-class collapse",
        source="derived here: Jensen's inequality, strict because of the decay",
        call="ufm.measure(solution)",
        accepts=_collapse,
        says=lambda facts: "columns with equal targets have equal features at every global minimum",
    ),
    Statement(
        kind="law",
        name="balance of factors",
        source="the gradients of neighbouring factors, multiplied by the factors",
        call="ufm.compare(solution, optimum)",
        accepts=_balance,
        says=lambda facts: (
            "λ_{m+1} W_{m+1}ᵀ W_{m+1} = λ_m W_m W_mᵀ, and likewise with H diag(m) Hᵀ, at every "
            "stationary point"
        ),
    ),
)
