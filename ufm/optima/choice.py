"""Which closed form a problem has, and where it has none.

What the nearest one misses, and what still works.
"""

from __future__ import annotations

from dataclasses import replace

from ufm._programs.outside import on_the_host
from ufm._validate import require_instance
from ufm.labels.base import MOST_WRITTEN
from ufm.model import Problem, require_decay
from ufm.optima.facts import Facts
from ufm.optima.form import AbstractForm
from ufm.optima.forms import known
from ufm.optima.hypotheses import Hypothesis
from ufm.optima.optimum import NoClosedForm, Optimum
from ufm.optima.statements import deep_structures, mixed_labels, pulled_features, sphere_codes

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
    works = what_works(facts)
    still = f"; what still works: {', '.join(works)}" if works else ""
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
    linear, certified = facts.map == "linear", facts.uncertified is None
    plain = linear and facts.unconstrained and not facts.frozen and not facts.anchored
    fitted = linear and facts.frozen and facts.loss.convex and facts.unconstrained and facts.held
    given = (
        ("ufm.minimise", facts.unsolved is None),
        ("ufm.search", facts.unsearched is None and not (certified and plain)),
        ("ufm.certify and ufm.thresholds", certified and plain),
        ("ufm.certify", certified and not plain),
        (
            "ufm.certificates.code_bound of a sharp code in ufm.frames and "
            "ufm.certificates.linear_programming_bound of any K, d and β",
            sphere_codes.CODES.holds(facts),
        ),
        ("ufm.laws.etf_branch", deep_structures.ETF.holds(facts)),
        ("ufm.laws.deep_candidates", deep_structures.CANDIDATES.holds(facts)),
        ("ufm.solvers.fit_features", fitted),
        ("ufm.channels", mixed_labels.CHANNELS.holds(facts)),
        ("ufm.perturbation", pulled_features.NEAR_COLLAPSE.holds(facts)),
    )
    return tuple(name for name, works in given if works)


def _distance(failing: tuple[Hypothesis, ...]) -> float:
    return sum(hypothesis.weight for hypothesis in failing)


def _misses(form: AbstractForm, facts: Facts) -> tuple[Hypothesis, ...]:
    """What a form would miss of a problem of its map, without offsets."""
    return tuple(h for h in form.accepts(facts.without_offsets) if not h.holds)


def _words(failing: tuple[Hypothesis, ...]) -> str:
    return " and ".join(map(str, failing))
