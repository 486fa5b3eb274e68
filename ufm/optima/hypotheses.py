"""What a theorem asks of a problem, as named questions with answers, and the ones that many
theorems share.

A hypothesis weighs what its failure says about how far a problem is from a theorem: another loss is
another theory, another number of classes in a cluster is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ufm._classes.module import Displayed
from ufm.optima.facts import Facts
from ufm.optima.optimum import NoClosedForm
from ufm.optima.words import shown

# what a theorem speaks about unless it says otherwise: the product of linear layers
LINEAR = ("linear",)


@dataclass(frozen=True)
class Hypothesis(Displayed):
    """One hypothesis: whether it `holds`, what a theorem `needs` and what it `got`, and how far off
    a failure is.

    `weight`: 10 for another loss, 8 for another map, 5 for another model, 3 for other parts of one,
    2 for other labels, 1 for other numbers; what lies between puts one of two near forms first.
    """

    name: str
    holds: bool
    needs: str
    got: str
    weight: float = 1.0

    def __str__(self) -> str:
        return f"needs {self.needs}; got {self.got}"


def of_map(theorem, facts: Facts) -> Iterator[Hypothesis]:
    """The hypotheses of a theorem, after those on the map and on offsets of the labels, without
    which none makes sense.

    `theorem`: a form, a statement or a rule, with the `maps` that it speaks about, whether it knows
    `offsets`, and `accepts`.
    """
    maps = (facts.map,) if theorem.maps is None else theorem.maps
    told = Hypothesis("map", facts.map in maps, f"{' or '.join(maps)} layers", facts.map, 8)
    yield told
    if facts.offsets and not theorem.offsets:
        yield Hypothesis("offsets", False, "labels without offsets", "labels with some", 5)
    elif told.holds:
        yield from theorem.accepts(facts)


def require_all(hypotheses: Iterable[Hypothesis]) -> None:
    """`NoClosedForm` with the first hypothesis that fails; those after it are not asked."""
    for hypothesis in hypotheses:
        if not hypothesis.holds:
            raise NoClosedForm(str(hypothesis))


def loss_named(facts: Facts, name: str) -> Hypothesis:
    """The loss, in its canonical form."""
    return Hypothesis("loss", facts.loss.name == name, name.replace("-", " "), str(facts.loss), 10)


def equal_weights(facts: Facts) -> Hypothesis:
    """All samples count alike in the loss.

    Every closed form ties the loss of a column to its decay by the mass.
    """
    weights = facts.masses if facts.weights is None else facts.weights
    got = f"`weights` from {weights.min():g} to {weights.max():g}"
    return Hypothesis(
        "equal loss weights", facts.equal_weights, "equal loss weights of all samples", got, 5
    )


def positive_decay(facts: Facts) -> Hypothesis:
    """λ > 0 on every factor that is free."""
    decays = facts.decays[-1:] if facts.frozen else facts.decays
    return Hypothesis("decay", bool((decays > 0).all()), "all λ > 0", f"λ = {shown(decays)}", 3)


def unconstrained(facts: Facts) -> Hypothesis:
    """Factors that may be anything."""
    return Hypothesis(
        "domain",
        facts.unconstrained,
        "features and classifier without a domain",
        facts.domain_words,
        5,
    )


def nonnegative(facts: Facts) -> Hypothesis:
    """Features >= 0, and no other constraint."""
    holds = facts.features == "nonnegative" and facts.classifier_domain == "real"
    return Hypothesis(
        "domain", holds, "nonnegative features alone", facts.domain_words or "no domain", 5
    )


def free_weights(facts: Facts, words: str = "free weights") -> Hypothesis:
    """Weights that are not fixed."""
    return Hypothesis("weights", not facts.frozen, words, "`fixed_weights`", 3)


def no_anchor(facts: Facts) -> Hypothesis:
    """Features that nothing but decay pulls."""
    words = "features that are pulled to 0 only"
    return Hypothesis("anchor", not facts.anchored, words, "an `anchor`", 3)


def plain_decay(facts: Facts) -> Iterator[Hypothesis]:
    """Free weights, no anchor, λ > 0, equal loss weights.

    The decay is a Schatten norm of the product.
    """
    yield equal_weights(facts)
    hint = "free weights (for fixed ones see ufm.solvers.fit_features and ufm.channels)"
    yield from (free_weights(facts, hint), no_anchor(facts), positive_decay(facts))


def one_layer(facts: Facts) -> Hypothesis:
    """M = 1."""
    return Hypothesis("depth", facts.M == 1, "M = 1 for this loss", f"M={facts.M}", 3)


def target_per_class(facts: Facts) -> Iterator[Hypothesis]:
    """A target for each class, one only, and a distribution."""
    missing = facts.classes.masses == 0
    got = f"none for class {int(missing.argmax())}"
    yield Hypothesis(
        "classes", not missing.any(), f"a target for each of the {facts.K} classes", got, 2
    )
    words = "equal targets for the samples of a class"
    got = "several distinct targets in one class"
    yield Hypothesis("one target per class", facts.one_target_per_class, words, got, 2)
    yield distributions(facts)


def distributions(facts: Facts) -> Hypothesis:
    """Targets that are distributions."""
    words = "targets that are distributions over the classes"
    got = "column sums or signs that are not"
    return Hypothesis("distributions", facts.distributions, words, got, 2)


def one_hot(facts: Facts, purpose: str = "") -> Hypothesis:
    """One-hot labels."""
    return Hypothesis(
        "labels", facts.smoothing == 0, f"one-hot labels{purpose}", "other targets", 1.2
    )


def smoothed(facts: Facts) -> Hypothesis:
    """One-hot labels, or ones that are smoothed."""
    words = "one target (1 − s) e_k + s/K for each class"
    return Hypothesis("smoothing", facts.smoothing is not None, words, "other targets", 1.2)


def balanced(facts: Facts, purpose: str = "") -> Hypothesis:
    """Equal masses of all classes."""
    got = f"class counts {shown(facts.classes.masses)}"
    return Hypothesis("balance", facts.balanced, f"balanced classes{purpose}", got)


def room(facts: Facts, rank: int, words: str | None = None) -> Hypothesis:
    """Widths that the optimum fits in.

    Parameters
    ----------
    facts
        Of the problem.
    rank
        Which every width must reach.
    words
        What it needs, instead of the usual sentence.

    Returns
    -------
    Hypothesis
        Whether it holds, and what the problem has.
    """
    holds, got = min(facts.widths) >= rank, f"d={facts.feature_dim}, K={facts.K}"
    return Hypothesis("width", holds, words or f"d >= {rank}, the rank of the convex optimum", got)


def without_bias(facts: Facts, purpose: str) -> Hypothesis:
    """No bias."""
    return Hypothesis(
        "bias", facts.bias is None, f"bias=None for {purpose}", f"{facts.bias} bias", 1.1
    )
