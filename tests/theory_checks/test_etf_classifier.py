"""The least value of a classifier that is an ETF, and what is proved of it."""

import jax
import numpy as np
import pytest

import ufm
from theory_checks.engine.counterexamples import Refutation
from theory_checks.engine.proofs import value_above
from theory_checks.formulas.etf_classifier import EtfClassifier

LABELS = {
    "balanced": ufm.one_hot((3, 3, 3), collapsed=True),
    "unbalanced": ufm.one_hot((8, 2, 1), collapsed=True),
    "pairs": ufm.labels.pick_all(
        [(0,), (1,), (2,), (0, 1)], (4, 4, 4, 9), num_classes=3, collapsed=True
    ),
}


def problem_of(name, loss):
    return ufm.Problem(LABELS[name], loss=loss, widths=(3,), lambda_W=0.02, lambda_H=0.005)


LOSSES = {
    "plain": ufm.CrossEntropy(),
    "tempered": ufm.losses.AdjustedCrossEntropy(multiplicative=(1.0, 0.6, 0.3)),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", LABELS)
def test_it_is_least_at_its_scale_and_proved(name, loss):
    problem = problem_of(name, LOSSES[loss])
    etf = EtfClassifier.of(problem)
    value, (S, _) = etf.value(), etf.best
    # rows of length 1 have the Gram K/(K − 1) P
    rows = ufm.simplex_etf(3, multiplier=np.sqrt(S * 2 / 3), dim=3, key=jax.random.key(1))
    frozen = problem.replace(fixed_weights=(rows.T,))
    fixed = ufm.minimise(frozen, key=jax.random.key(0))
    assert float(fixed.value) == pytest.approx(value, rel=1e-12)
    lower = etf.least().value
    assert lower <= value
    assert lower == pytest.approx(value, rel=1e-10)


def test_the_global_minimum_is_below_unless_balanced(key):
    for name, below in (("balanced", False), ("unbalanced", True), ("pairs", True)):
        problem = problem_of(name, LOSSES["plain"])
        best, claimed = (
            float(ufm.minimise(problem, key=key).value),
            EtfClassifier.of(problem).least().value,
        )
        assert (best < claimed * (1 - 1e-6)) is below, name


def test_weights_and_temperatures_are_kept_in_a_file(key):
    problem = problem_of("pairs", LOSSES["tempered"])
    params = ufm.solvers.random_start(problem, key=key)
    found = Refutation.at("a point", 1.0, problem, params)
    value = float(ufm.model.objective(problem, params))
    assert found.value == pytest.approx(value, rel=1e-14)
    assert found.value == pytest.approx(value_above(found.arrays), rel=1e-13)
    assert {"weights", "multiplicative"} < set(found.arrays)
