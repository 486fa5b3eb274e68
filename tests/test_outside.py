"""What a verb says inside `jit`, `grad` and `vmap`, and what is to be done instead."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm._programs.outside import on_the_host

LABELS = ufm.one_hot([3, 2])
KEY = jax.random.key(0)


def problem_of(decay, **parts) -> ufm.Problem:
    given = {"widths": (2,), "lambda_W": 0.01, "lambda_H": decay, **parts}
    return ufm.Problem(LABELS, loss=ufm.MeanSquaredError(), **given)


def params() -> ufm.Params:
    return ufm.solvers.random_start(problem_of(0.01), key=KEY)


CALLS = {
    "minimise": lambda p: ufm.minimise(p, key=KEY).value,
    "search": lambda p: ufm.search(p, key=KEY).value,
    "flow": lambda p: ufm.flow(p, start=PARAMS, ts=np.linspace(0, 1, 3)).value[-1],
    "descend": lambda p: ufm.solvers.descend(
        p, ufm.solvers.GradientDescent(step_size=0.1), start=PARAMS, steps=[1, 2]
    ).value[-1],
    "random_start": lambda p: jnp.sum(ufm.solvers.random_start(p, key=KEY).features),
    "closed_form": lambda p: ufm.closed_form(p).value,
    "theory": lambda p: len(str(ufm.theory(p))),
    "thresholds": lambda p: len(str(ufm.thresholds(p))),
}
PARAMS = params()
TRANSFORMATIONS = {"jit": jax.jit, "grad": jax.grad, "vmap": jax.vmap}


@pytest.mark.parametrize(
    ("name", "transformation"),
    [
        (name, transformation)
        for name in CALLS
        for transformation in TRANSFORMATIONS
        # draws on the host and scales by decay in JAX: a traced decay is no obstacle
        if name != "random_start" or transformation == "jit"
        # has slopes of its own (tests/solvers/test_implicit.py)
        if (name, transformation) != ("minimise", "grad")
    ],
)
def test_a_verb_of_the_host_says_so_where_it_is_traced(name, transformation):
    decay = jnp.full(2, 0.01) if transformation == "vmap" else jnp.asarray(0.01)
    slope = TRANSFORMATIONS[transformation](lambda decay: CALLS[name](problem_of(decay)))
    with pytest.raises(ValueError, match=r"must be called outside jax.jit.*; got a tracer") as told:
        slope(decay)
    advice = {"closed_form": "NumPy", "theory": "NumPy", "random_start": "draw the start"}
    assert advice.get(name, "ufm.sweep solves for many") in str(told.value)


def test_minimise_inside_jit_of_nothing_traced_says_so_too():
    with pytest.raises(ValueError, match="`minimise` must be called outside"):
        jax.jit(lambda: ufm.minimise(problem_of(0.01), key=KEY).value)()


def test_an_error_in_a_function_of_the_user_stays_its_own():
    @on_the_host("nothing")
    def solve(number):
        return jax.jit(lambda number: number * float(number))(number)

    with pytest.raises(jax.errors.ConcretizationTypeError):
        solve(1.0)
