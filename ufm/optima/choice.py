"""Which closed form a problem has, and where it has none.

What the nearest one misses, and what still works.
"""

from __future__ import annotations

from dataclasses import replace

from ufm._outside import on_the_host
from ufm._validate import require_instance
from ufm.labels.base import MOST_WRITTEN
from ufm.model import Problem, require_decay
from ufm.optima.facts import Facts
from ufm.optima.form import AbstractForm
from ufm.optima.forms import known
from ufm.optima.hypotheses import Hypothesis
from ufm.optima.optimum import NoClosedForm, Optimum

# Forms that are no further than this beyond the nearest are named too.
_AS_NEAR = 0.5
# A failure of this weight is another theory, of which no theorem here speaks.
_ANOTHER_THEORY = 10


@on_the_host("it is NumPy: call it once a problem")
def closed_form(problem: Problem) -> Optimum:
    """The global optimum of a problem in closed form, with its source and hypotheses.

    The optimum describes what is identified (value, class-level logits, Grams, singular values),
    for full and for collapsed columns alike.

    Raises `NoClosedForm` naming the hypothesis of the nearest form that fails and what still works,
    `ValueError` for λ <= 0.
    """
    require_instance("problem", problem, Problem)
    K, C = problem.labels.num_classes, problem.labels.num_columns
    if K * C > MOST_WRITTEN:
        raise NoClosedForm(
            f"predictions write down class-level logits of at most {MOST_WRITTEN} numbers; got {K} "
            f"classes and {C} columns; what still works: ufm.minimise, ufm.certify"
        )
    facts = Facts.of(problem)
    # λ = 0 is a mistake, other loss weights another theory
    if facts.equal_weights:
        require_decay(problem, "a closed form")
    for form in known():
        if form.holds(facts):
            return replace(form.optimum(facts), problem=problem)
    raise no_form(facts)


def no_form(facts: Facts) -> NoClosedForm:
    """Why there is none.

    The failing hypotheses of the nearest form, other forms as near, and what still works.
    """
    # (of another map each misses that alone, as nothing else was asked: what it would miss besides
    # puts one first)
    missed = sorted(
        (_distance(failing), _distance(_misses(form, facts)), form.name, failing)
        for form in known()
        if (failing := form.failing(facts))
    )
    ranked = [(distance, name, failing) for distance, _, name, failing in missed]
    distance, name, failing = ranked[0]
    still = f"; what still works: {', '.join(what_works(facts))}"
    if any(hypothesis.weight >= _ANOTHER_THEORY for hypothesis in failing):
        losses = sorted(
            {h.needs for form in known() for h in form.accepts(facts) if h.name == "loss"}
        )
        message = (
            f"needs a loss with a solved optimum ({', '.join(losses)}); got {facts.loss}{still}"
        )
        return NoClosedForm(message, form=None, failing=failing)
    near = [
        (f, n)
        for d, n, f in ranked[1:]
        if d <= distance + _AS_NEAR and _words(f) != _words(failing)
    ]
    ways = "; or ".join(f"{_words(f)} ({n})" for f, n in [(failing, name), *near])
    message = f"{ways}{still}"
    return NoClosedForm(message, form=name, failing=failing)


def what_works(facts: Facts) -> tuple[str, ...]:
    """What the library can do for a problem without a closed form."""
    frozen, free = facts.frozen, facts.features == "real"
    linear = facts.map == "linear"
    bounded = (facts.M == 1 or frozen) and facts.loss.convex and linear
    certified = bounded and facts.unconstrained and not frozen and not facts.anchored
    spheres = facts.features == facts.classifier_domain == "sphere" and facts.M == 1 and linear
    codes = spheres and facts.loss.name == "cross-entropy" and facts.feature_dim + 1 < facts.K
    deep = linear and facts.M > 1 and facts.loss.name == "cross-entropy" and facts.balanced and free
    given = (
        ("ufm.minimise", True),
        ("ufm.search", not certified and not frozen and free),
        ("ufm.certify and ufm.thresholds", certified),
        ("ufm.certify", bounded and not certified),
        (
            "ufm.certificates.code_bound of a sharp code in ufm.frames and "
            "ufm.certificates.linear_programming_bound of any K, d and β",
            codes,
        ),
        (
            "ufm.laws.etf_branch and ufm.laws.deep_candidates",
            deep and not frozen and not facts.anchored,
        ),
        ("ufm.solvers.fit_features", linear and frozen and facts.loss.convex and free),
        ("ufm.channels", linear and frozen and facts.loss.name == "cross-entropy" and free),
        ("ufm.perturbation", linear and facts.anchored and facts.loss.least_squares),
    )
    return tuple(name for name, works in given if works)


def _distance(failing: tuple[Hypothesis, ...]) -> float:
    return sum(hypothesis.weight for hypothesis in failing)


def _misses(form: AbstractForm, facts: Facts) -> tuple[Hypothesis, ...]:
    """What a form would miss of a problem of its map."""
    return tuple(h for h in form.accepts(facts) if not h.holds)


def _words(failing: tuple[Hypothesis, ...]) -> str:
    return " and ".join(map(str, failing))
