"""Problems whose logits are taken a chunk at a time against their twins, and the memory that they
promise at size."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from tests.model.large import large, random_point, solvable, twin
from ufm.certificates import Randomised
from ufm.model import objective, objective_error
from ufm.solvers import LBFGS, loop, pieces
from ufm.solvers.solver import State

# Value and gradient


@pytest.mark.lean("the-last-chunk-reaches-back", "single-columns", "loss-weights")
@pytest.mark.parametrize(
    ("labels", "loss", "bias", "chunk"),
    [
        pytest.param("long-tail", "cross-entropy", None, 4, id="the-last-chunk-reaches-back"),
        pytest.param("next-token", "cross-entropy", 0.3, 7, id="penalised-bias"),
        pytest.param("next-token", "squared-error", "free", 1, id="single-columns"),
        pytest.param("long-tail", "squared-error", 0.3, 99, id="all-at-once"),
        pytest.param("smoothed", "focal", "free", 5, id="chunks-divide-the-columns"),
        pytest.param("weighted", "cross-entropy", "free", 3, id="loss-weights"),
    ],
)
def test_value_and_gradient_are_those_of_the_dense_problem(labels, loss, bias, chunk, key):
    problem = large(labels, loss, bias=bias, chunk=chunk)
    point = random_point(problem, key)
    expected, slopes = jax.jit(jax.value_and_grad(objective, argnums=1))(twin(problem), point)
    value, gradient = jax.jit(jax.value_and_grad(objective, argnums=1))(problem, point)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(objective)(problem, point), expected, rtol=1e-12)
    # the rounding of the value is that of the twin, whose sums have another order
    off, expected = jax.jit(objective_error)(problem, point), objective_error(twin(problem), point)
    np.testing.assert_allclose(off, expected, rtol=1e-10)
    for ours, theirs in zip(jax.tree.leaves(gradient), jax.tree.leaves(slopes), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12 * float(jnp.abs(theirs).max()))


def test_objective_under_vmap_and_without_recompiling(key):
    traces = 0

    def counted(problem, point):
        nonlocal traces
        traces += 1
        return objective(problem, point)

    function = jax.jit(counted)
    problems = [large("long-tail", decay=decay, chunk=4) for decay in (1e-3, 1e-2)]
    point = random_point(problems[0], key)
    values = [function(problem, point) for problem in problems]
    assert traces == 1
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)
    np.testing.assert_allclose(
        jax.vmap(objective, in_axes=(0, None))(stacked, point), jnp.stack(values), rtol=1e-14
    )


# Solving


def test_resume_goes_on_where_it_stopped(key):
    problem = solvable()
    first = ufm.minimise(problem, key=key, solver=LBFGS(7, 10))
    assert (first.result, int(first.num_steps)) == (ufm.Result.MAX_STEPS, 7)
    whole = ufm.minimise(problem, key=key)
    rest = ufm.minimise(problem, resume=first, solver=LBFGS(20_000, 10))
    assert rest.result is ufm.Result.CONVERGED
    assert int(rest.num_steps) == int(whole.num_steps)
    np.testing.assert_allclose(rest.value, whole.value, rtol=1e-14)
    again = ufm.minimise(problem, start=rest.params, tolerance=1e-10)
    assert again.result is ufm.Result.CONVERGED
    assert int(again.num_steps) == 0
    with pytest.raises(ValueError, match="same problem"):
        ufm.minimise(solvable(decay=2e-2), resume=first)
    with pytest.raises(ValueError, match="`resume` must be a solution of the same solver"):
        ufm.minimise(problem, resume=first, solver=LBFGS(memory_size=3))
    with pytest.raises(ufm.SolveFailed, match="MAX_STEPS"):
        ufm.minimise(problem, key=key, solver=LBFGS(3, 10), throw=True)


def test_interrupt_returns_the_point_reached(key, monkeypatch):
    problem = solvable()
    go_on, calls = pieces.go_on, []

    def interrupted(problem, solver, tolerance, limit, held):
        calls.append(limit)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return go_on(problem, solver, tolerance, int(held.num_steps[0]) + 2, held)

    monkeypatch.setattr(pieces, "go_on", interrupted)
    monkeypatch.setattr(loop, "_ONE_PIECE", 1)
    monkeypatch.setattr(loop, "first_piece", lambda problem: 1)
    solution = ufm.minimise(problem, key=key)
    assert (solution.result, int(solution.num_steps)) == (ufm.Result.INTERRUPTED, 3)
    monkeypatch.undo()
    assert ufm.minimise(problem, resume=solution).result is ufm.Result.CONVERGED


def test_unfit_calls_are_refused(key):
    problem = large("long-tail")
    point = random_point(problem, key)
    with pytest.raises(ValueError, match="exactly one of `key`, `start` and `resume`"):
        ufm.minimise(problem)
    with pytest.raises(ValueError, match=r"`solver` must take first derivatives .*; got Newton"):
        ufm.minimise(problem, key=key, solver=ufm.solvers.Newton())
    with pytest.raises(ValueError, match=r"`problem.features` must be unconstrained where"):
        ufm.minimise(problem.replace(features=ufm.domains.Nonnegative()), key=key)
    with pytest.raises(
        ValueError, match="`problem` must have logits that fit as a whole for a Hessian"
    ):
        ufm.classify(problem, point)
    with pytest.raises(ValueError, match=r"`start\.features` must have shape"):
        ufm.minimise(problem, start=ufm.Params(point.weights, point.features[:, :2]))
    with pytest.raises(ValueError, match="convex in the logits for a certificate; got Focal"):
        ufm.certify(large("long-tail", "focal"), point)
    with pytest.raises(ValueError, match="`failure_probability` must lie between 0 and 1; got 0"):
        Randomised(key, failure_probability=0)
    with pytest.raises(ValueError, match="`problem` must have no feature anchor for a randomised"):
        ufm.certify(problem.replace(anchor=point.features, beta=1.0), point)
    with pytest.raises(ValueError, match="`lambda_W` must be finite and > 0 for a minimiser"):
        ufm.minimise(large("long-tail", decay=0.0), key=key)


def test_single_precision_stays_single(key):
    """Traced only: the loops refuse a step that changes the dtype."""
    labels = ufm.one_hot((9, 5, 2), collapsed=True, sparse=True, dtype="float32").in_chunks(2)
    problem = ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=(2,), lambda_W=1e-3, lambda_H=1e-3, bias="free"
    )
    solver, tolerance = LBFGS(9, 10), jnp.asarray(1e-6, jnp.float32)
    point = ufm.solvers.random_start(problem, key=key)
    after: State = jax.eval_shape(
        lambda: pieces.launch_from.plain(problem, solver, tolerance, 9, point).held.states
    )
    assert {after.flat.dtype, after.value.dtype, after.gradient.dtype} == {np.dtype("float32")}


# Memory


def memory_of(compiled) -> int:
    stats = compiled.memory_analysis()
    return stats.temp_size_in_bytes + stats.output_size_in_bytes


@pytest.mark.parametrize("d", [64, 512])
def test_memory_of_a_gradient_is_that_of_the_variables_and_a_few_chunks(d):
    """K = C = 4000: gradient and temporaries in 2 (K + C) d + 4 K chunk numbers, far below what the
    dense problem takes."""
    K, chunk = 4000, max(d, 128)
    labels = ufm.one_hot(np.linspace(100, 1, K), collapsed=True, sparse=True).in_chunks(chunk)
    problem = ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=(d,), lambda_W=1e-4, lambda_H=1e-4, bias="free"
    )
    W, H, b = (jax.ShapeDtypeStruct(shape, problem.dtype) for shape in ((K, d), (d, K), (K,)))
    shapes: Any = ufm.Params((W,), H, b)
    used = memory_of(
        jax.jit(jax.value_and_grad(objective, argnums=1)).lower(problem, shapes).compile()
    )
    # the XLA of older versions keeps one chunk more
    chunks = 4 if jax.__version_info__ >= (0, 10) else 5
    assert used <= 8 * (2 * 2 * K * d + chunks * K * chunk)


def test_a_piece_of_a_solve_takes_over_the_memory_of_the_one_before():
    """K = C = 4000: what goes in, what comes out and all between in 2 m + 13 vectors."""
    K, d, pairs = 4000, 256, 5
    labels = ufm.one_hot(np.linspace(100, 1, K), collapsed=True, sparse=True).in_chunks(128)
    problem = ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=(d,), lambda_W=1e-4, lambda_H=1e-4
    )
    solver = LBFGS(memory_size=pairs)
    points = jax.ShapeDtypeStruct((1, 2 * K * d), problem.dtype)
    held = jax.eval_shape(pieces.fresh, problem, solver, points)
    stats = pieces.go_on.lower(problem, solver, 1e-8, 9, held).compile().memory_analysis()
    shared = stats.argument_size_in_bytes - stats.alias_size_in_bytes
    used = shared + stats.output_size_in_bytes + stats.temp_size_in_bytes
    assert used <= 8 * ((2 * pairs + 13) * 2 * K * d + 4 * K * 128)


SCRIPT = """
import resource, sys
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
import ufm
K, d = 4000, 64
labels = ufm.one_hot(np.full(K, 5), collapsed=True, sparse=True).in_chunks(128)
decay = {"lambda_W": 1e-4, "lambda_H": 1e-4}
problem = ufm.Problem(labels, loss=ufm.CrossEntropy(), widths=(d,), **decay)
rng = np.random.default_rng(0)
W, H = (jax.numpy.asarray(rng.standard_normal(shape)) for shape in ((K, d), (d, K)))
point = ufm.Params((W,), H)
function = jax.jit(jax.value_and_grad(ufm.model.objective, argnums=1))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
value, gradient = jax.block_until_ready(function(problem, point))
assert np.isfinite(float(value))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
def test_resident_memory_of_a_step_stays_below_one_matrix_of_logits():
    """Compilation included; one K × C matrix is 128 MB, and the dense gradient holds several."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=200, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 4000 * 4000 * 8
