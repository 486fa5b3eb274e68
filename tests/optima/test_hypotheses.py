"""How far a failing hypothesis puts a problem from a theorem, for every theorem there is."""

from __future__ import annotations

import numpy as np

import ufm
from tests.optima.test_theory import COMPLETE, SPEAKING, make
from ufm.optima.facts import Facts
from ufm.optima.forms import known
from ufm.optima.hypotheses import of_map
from ufm.optima.statements import statements, threshold_rules

# see `Hypothesis`; a name that weighs differently stands for different failures
WEIGHTS = {
    10: "loss, convex loss",
    8: "map",
    6: "mixtures",
    5: "domain, equal loss weights, kinks, offsets",
    4: "strong decay",
    3: "anchor, classifier, certificate, decay, depth, features, weights",
    2: "classes, columns, distributions, labels, mixtures, no decay, one target per class, spread, "
    "two values",
    1.5: "weak decay",
    1.2: "labels, smoothing",
    1.1: "bias",
    1: "all pairs, balance, bias, classes, classes for the triple, classifier, depth of the "
    "triple, features, lengths, no bias, one law, one rate, proved, room for collapse, room for "
    "the ETF, size, symmetry, weak decay, width",
    0.9: "two values",
}
ASKED = [case[1] for case in (*SPEAKING, *COMPLETE)] + [
    make(features=ufm.domains.Sphere(1.0), classifier=ufm.domains.Sphere(1.0), lam=0.0),
    make(labels=ufm.soft(np.array([[0.5, 0.2], [0.3, 0.3], [0.2, 0.5]]))),
    make(labels=ufm.labels.with_offsets(ufm.one_hot((4, 4, 4)), np.ones((3, 12)))),
]


def test_what_hypotheses_weigh():
    found = {}
    for problem in ASKED:
        facts = Facts.of(problem)
        for theorem in (*known(), *statements(), *threshold_rules()):
            for hypothesis in of_map(theorem, facts):
                found.setdefault(hypothesis.weight, set()).add(hypothesis.name)
    assert found == {weight: set(names.split(", ")) for weight, names in WEIGHTS.items()}
