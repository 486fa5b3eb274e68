"""What is said of results in float32, which verify nothing."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import ufm
from ufm.tolerances import in_words

COUNTS = (4, 2)
PROBLEM = ufm.Problem(
    ufm.one_hot(COUNTS, dtype="float32"),
    loss=ufm.MeanSquaredError(),
    widths=(2,),
    lambda_W=5e-3,
    lambda_H=5e-3,
)
START = ufm.solvers.random_start(PROBLEM, key=jax.random.key(0))


RESULTS = {
    "flow": lambda: ufm.flow(PROBLEM, ts=[1.0], start=START),
    "search": lambda: ufm.search(PROBLEM, key=jax.random.key(0), starts=4),
    "measure": lambda: ufm.metrics.measure_params(PROBLEM, START),
    "classify": lambda: ufm.classify(PROBLEM, START),
    "fit_decay": lambda: ufm.fit_decay(
        START.features, np.repeat([0, 1], COUNTS), *START.weights, loss=ufm.MeanSquaredError()
    ),
    "closed_form": lambda: ufm.closed_form(PROBLEM),
    "theory": lambda: ufm.theory(PROBLEM),
    "thresholds": lambda: ufm.thresholds(PROBLEM),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_in_float32_say_that_they_verify_nothing(name):
    assert in_words("float32") in str(RESULTS[name]())


def test_rounding_in_float32_is_neither_an_optimum_nor_a_zero():
    found = ufm.search(PROBLEM, key=jax.random.key(0), starts=4)
    gaps = np.diff([float(solution.value) for solution in found.solutions]) / found.value
    assert np.all(gaps > ufm.tolerances.for_dtype("float32").value)
    # the stiffest direction is a hundred times the softest, which is 1 as none of the loss is in it
    unequal = PROBLEM.replace(labels=ufm.one_hot((20, 10, 5, 5), dtype="float32"), widths=(6,))
    solution = ufm.minimise(unequal, key=jax.random.key(0))
    assert ufm.classify(unequal, solution.params).kind == "minimum"
