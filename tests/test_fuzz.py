"""A sample of the random problems of `tests.fuzz`, and what it once found.

The full run is `python -m tests.fuzz`.
"""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests import fuzz
from tests.random_problems import draw, exact_value
from ufm.model import objective, objective_error

SHAPES = tuple(fuzz.SHAPES[i] for i in fuzz.SAMPLE)
NUMBER = 25
# those that there were when the ties were found
FIRST = [
    (loss, bias, *size)
    for loss in ("squared", "rescaled", "entropy", "adjusted")
    for bias in fuzz.BIASES
    for size in fuzz.SIZES
]


@pytest.mark.lean(
    "entropy-penalised-4",
    "dropped-free-4",
    "entropy-penalised-4-budget+real-anchored",
)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nothing_false_is_printed(shape):
    found, ended = fuzz.run(1, range(NUMBER), shapes=(shape,))
    assert not found
    assert sum(ended.values()) == NUMBER


# found by the first runs: a class whose logit passes the largest, or whose probability passes 1/2,
# in the last bit, where the compiler had computed it twice
@pytest.mark.parametrize("index", [710, 786])
def test_ties_in_the_last_bit(index):
    drawn = draw(0, index, FIRST)
    found, _ = fuzz.faults(drawn, jax.random.key(index))
    assert not found


@pytest.mark.parametrize("shape", [s for s in SHAPES if not s.constrained], ids=str)
def test_the_rounding_of_a_value_is_what_is_said(shape):
    """Extended precision knows the rounding itself.

    It stays below the estimate, which is not absurd.
    """
    compute = jax.jit(
        lambda problem, params: (objective(problem, params), objective_error(problem, params))
    )
    ratios = []
    for index in range(30):
        drawn = draw(2, index, (shape,))
        problem = drawn.problem()
        rng = np.random.default_rng(index)
        start = fuzz.ufm.solvers.random_start(problem, key=jax.random.key(index))
        params = jax.tree.map(lambda x, rng=rng: x * 10 ** rng.uniform(-2, 2), start)
        value, error = compute(problem, params)
        exact = exact_value(drawn, params)
        assert abs(np.longdouble(float(value)) - exact) <= float(error)
        ratios.append(float(error) / float(exact))
    assert np.median(ratios) < 1e-11
