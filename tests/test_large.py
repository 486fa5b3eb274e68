"""Large problems against their dense twins at small size, and the memory that they promise at
size."""

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
from ufm.large_scale import solve
from ufm.large_scale.certificate import LargeCertificate, bound_on_rest, certify_large
from ufm.large_scale.problem import LargeProblem, large_objective, value_and_gradient
from ufm.large_scale.solve import minimise_large
from ufm.large_scale.sparse import SparseLabels, sparse_one_hot, sparse_soft

RNG = np.random.default_rng(0)
# 40 contexts, each followed by up to three of 15 tokens, one of them named twice, some only by two
NEXT_TOKEN = dict(
    index=RNG.integers(0, 15, (3, 40)),
    entries=np.where(RNG.random(40) < 0.3, [[0.6], [0.4], [0.0]], [[0.5], [0.3], [0.2]]),
    masses=RNG.integers(1, 9, 40),
    num_classes=15,
)
LABELS = {
    "long-tail": lambda: sparse_one_hot(ufm.labels.exponential_counts(11, largest=60, ratio=20)),
    "smoothed": lambda: sparse_one_hot((7,) * 10, smoothing=0.1),
    "next-token": lambda: sparse_soft(**NEXT_TOKEN),
}
LOSSES = {
    "cross-entropy": ufm.CrossEntropy(),
    "adjusted": ufm.losses.AdjustedCrossEntropy(
        multiplicative=np.linspace(0.5, 1, 11), additive=np.linspace(0, 1, 11)
    ),
    "rescaled": ufm.losses.RescaledSquaredError(length=2.0, weight=3.0),
    "squared-error": ufm.MeanSquaredError(),
    "focal": ufm.losses.Focal(2.0),
}


def large(
    labels: str, loss: str = "cross-entropy", *, decay: float = 3e-3, d: int = 6, **options
) -> LargeProblem:
    return LargeProblem(
        LABELS[labels](),
        loss=LOSSES[loss],
        feature_dim=d,
        lambda_W=decay,
        lambda_H=2 * decay,
        **options,
    )


def random_point(problem: LargeProblem, key, scale: float = 1.0) -> ufm.Params:
    K, C, d = problem.labels.num_classes, problem.labels.num_columns, problem.feature_dim
    keys = jax.random.split(key, 3)
    shapes = ((K, d), (d, C), (K,))
    W, H, b = (
        scale * jax.random.normal(k, shape, problem.dtype)
        for k, shape in zip(keys, shapes, strict=True)
    )
    return ufm.Params((W,), H, b if problem.has_bias else None)


# Labels


@pytest.mark.parametrize(
    ("sparse", "dense"),
    [
        pytest.param(
            sparse_one_hot((5, 3, 2)), ufm.one_hot((5, 3, 2), collapsed=True), id="one-hot"
        ),
        pytest.param(
            sparse_one_hot((5, 3), smoothing=0.2),
            ufm.labels.smoothed((5, 3), smoothing=0.2, collapsed=True),
            id="smoothed",
        ),
        pytest.param(
            sparse_soft(
                [[0, 2], [0, 1]],
                [[0.5, 0.8], [0.3, 0.0]],
                [2, 3],
                num_classes=3,
                background=[0.0, 0.1],
            ),
            ufm.soft([[0.8, 0.1], [0.0, 0.1], [0.0, 0.9]], [2, 3]),
            id="a-class-named-twice-and-a-background",
        ),
    ],
)
def test_sparse_labels_by_hand(sparse, dense):
    np.testing.assert_allclose(sparse.dense().targets, dense.targets, rtol=1e-15)
    np.testing.assert_array_equal(sparse.dense().masses, dense.masses)
    np.testing.assert_allclose(sparse.column_weights, dense.column_weights, rtol=1e-15)
    np.testing.assert_allclose(
        sparse.energy, jnp.dot(dense.masses, jnp.sum(dense.targets**2, axis=0)), rtol=1e-14
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(
            lambda: sparse_one_hot((5,)), "`class_counts` must hold K >= 2", id="one-class"
        ),
        pytest.param(
            lambda: sparse_one_hot((5, 0)),
            "`class_counts` must be finite and > 0",
            id="an-empty-class",
        ),
        pytest.param(
            lambda: sparse_one_hot((5, 1), smoothing=1.0),
            r"`smoothing` must be in \[0, 1\); got 1.0",
            id="all-smoothed-away",
        ),
        pytest.param(
            lambda: sparse_soft([[0, 3]], [[1.0, 1.0]], num_classes=3),
            r"`index` must lie in 0 … 2; got \[\[0, 3\]\]",
            id="no-such-class",
        ),
        pytest.param(
            lambda: sparse_soft([[0.0, 1.0]], [[1.0, 1.0]], num_classes=3),
            "`index` must hold integers",
            id="not-an-index",
        ),
        pytest.param(
            lambda: sparse_soft([[0, 1]], [[1.0]], num_classes=3),
            "`entries` must have the shape",
            id="entries-of-another-shape",
        ),
        pytest.param(
            lambda: sparse_soft([[0, 1]], [[1.0, np.inf]], num_classes=3),
            "`entries` must be finite",
            id="infinite-entry",
        ),
        pytest.param(
            lambda: sparse_soft([[0, 1]], [[1.0, 1.0]], [1, 0], num_classes=3),
            "`masses` must be finite and > 0",
            id="no-mass",
        ),
        pytest.param(
            lambda: large("long-tail", chunk=0),
            "`chunk` must be a whole number >= 1; got 0",
            id="no-chunk",
        ),
        pytest.param(
            lambda: large("long-tail", decay=-1.0),
            "`lambda_W` must be finite and >= 0",
            id="negative-decay",
        ),
        pytest.param(
            lambda: large("long-tail", bias="some"), "`bias` must be None", id="no-such-bias"
        ),
        pytest.param(
            lambda: LargeProblem(
                ufm.one_hot((1, 1)), loss=ufm.CrossEntropy(), feature_dim=1, lambda_W=1, lambda_H=1
            ),
            "`labels` must be ufm.SparseLabels; see .*; got Labels",
            id="dense-labels",
        ),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Value and gradient


@pytest.mark.parametrize(
    ("labels", "loss", "bias", "chunk"),
    [
        pytest.param("long-tail", "cross-entropy", None, 4, id="the-last-chunk-reaches-back"),
        pytest.param("next-token", "cross-entropy", 0.3, 7, id="penalised-bias"),
        pytest.param("next-token", "squared-error", "free", 1, id="single-columns"),
        pytest.param("long-tail", "squared-error", 0.3, 99, id="all-at-once"),
        pytest.param("smoothed", "focal", "free", 5, id="chunks-divide-the-columns"),
    ],
)
def test_value_and_gradient_are_those_of_the_dense_problem(labels, loss, bias, chunk, key):
    problem = large(labels, loss, bias=bias, chunk=chunk)
    point = random_point(problem, key)
    expected, slopes = jax.jit(jax.value_and_grad(ufm.model.objective, argnums=1))(
        problem.dense(), point
    )
    value, gradient = jax.jit(jax.value_and_grad(large_objective, argnums=1))(problem, point)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(large_objective)(problem, point), expected, rtol=1e-12)
    for ours, theirs in zip(jax.tree.leaves(gradient), jax.tree.leaves(slopes), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12 * float(jnp.abs(theirs).max()))


def test_objective_under_vmap_and_without_recompiling(key):
    traces = 0

    def counted(problem, point):
        nonlocal traces
        traces += 1
        return large_objective(problem, point)

    function = jax.jit(counted)
    problems = [large("long-tail", decay=decay, chunk=4) for decay in (1e-3, 1e-2)]
    point = random_point(problems[0], key)
    values = [function(problem, point) for problem in problems]
    assert traces == 1
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)
    np.testing.assert_allclose(
        jax.vmap(large_objective, in_axes=(0, None))(stacked, point), jnp.stack(values), rtol=1e-14
    )


# Solving


def solvable(**options) -> LargeProblem:
    """One shape for all tests of the solver, which compile it once.

    The optimum has rank 6 of d = 9 here.
    """
    return large("long-tail", **{"decay": 1e-2, "d": 9, "chunk": 4, **options})


@pytest.mark.parametrize(
    "problem",
    [
        pytest.param(solvable, id="long-tail"),
        pytest.param(
            lambda: large("next-token", decay=1e-2, d=9, chunk=4, bias=0.3),
            id="next-token-penalised-bias",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_minimiser_certificate_and_dense_twin_agree(problem, key):
    """Decay so strong that the optimum has a rank of at most d: the gap closes."""
    problem = problem()
    solution = minimise_large(problem, key=key)
    assert solution.result is ufm.Result.CONVERGED
    dense = ufm.minimise(problem.dense(), key=key)
    assert dense.result is ufm.Result.CONVERGED
    np.testing.assert_allclose(solution.value, dense.value, rtol=1e-12)

    whole = ufm.certify(problem.dense(), solution.params)
    certificate = certify_large(problem, solution.params, key=key)
    # the gap is first order in the gradient, whose relative norm is 1e-12: `test_certificate` asks
    # the same of the dense one
    assert whole.gap < 1e-10
    assert certificate.gap < 1e-10
    assert certificate.closes()
    np.testing.assert_allclose(certificate.value, whole.value, rtol=1e-12)
    np.testing.assert_allclose(certificate.spectral_ratio, whole.spectral_ratio, rtol=1e-9)


@pytest.mark.parametrize(
    ("labels", "loss", "bias"),
    [
        pytest.param("long-tail", "cross-entropy", None, id="long-tail"),
        pytest.param("smoothed", "cross-entropy", "free", id="probabilities-moved"),
        pytest.param("long-tail", "squared-error", "free", id="mean-subtracted"),
        pytest.param("next-token", "squared-error", 0.3, id="penalised-bias"),
    ],
)
def test_bound_holds_at_any_point_and_the_norm_lies_between(labels, loss, bias, key):
    """From the origin, where nothing is known of the range of W, to points far out.

    The dense certificate knows the norm exactly.
    """
    problem = large(labels, loss, bias=bias, chunk=16)
    # with a free bias the dense certificate judges another point, the one with the best bias: there
    # the closed form is the witness
    best = (
        ufm.closed_form(large(labels, loss, bias=bias, d=problem.labels.num_classes).dense()).value
        if bias == "free"
        else np.inf
    )
    for scale in (0.0, 0.1, 1.0, 5.0):
        point = random_point(problem, key, scale)
        certificate = certify_large(problem, point, key=key)
        assert certificate.spectral_ratio <= certificate.spectral_bound
        assert float(certificate.lower_bound) <= best * (1 + 1e-12)
        if bias == "free":
            continue
        whole = ufm.certify(problem.dense(), point)
        # rounding of the products, as between any two ways to the same norm
        exact = float(whole.spectral_ratio)
        assert (
            float(certificate.spectral_ratio) * (1 - 1e-12)
            <= exact
            <= float(certificate.spectral_bound) * (1 + 1e-12)
        )
        # (log(K/δ^(2/s))/4k)² of the squared norm is below a per cent for 40 steps of 16 vectors
        assert certificate.spectral_bound <= 1.01 * exact
        # a dual point scaled by less is no better, and squared error has a better scale where all
        # is at hand
        assert float(certificate.lower_bound) <= float(whole.lower_bound) + 1e-12 * float(
            whole.value
        )
        np.testing.assert_allclose(certificate.value, whole.value, rtol=1e-12)


@pytest.mark.parametrize("loss", ["adjusted", "rescaled"])
def test_any_convex_loss_with_a_free_bias_is_certified(loss, key):
    problem = large("long-tail", loss, bias="free", decay=1e-3, d=11)
    solution = minimise_large(problem, key=key)
    assert solution.result is ufm.Result.CONVERGED
    assert certify_large(problem, solution.params, key=key).gap < 1e-10
    # away from the optimum the bound still holds, and does not close
    moved = jax.tree.map(lambda leaf: 1.1 * leaf, solution.params)
    certificate = certify_large(problem, moved, key=key)
    assert -jnp.inf < certificate.lower_bound <= solution.value * (1 + 1e-12)
    assert certificate.gap > 1e-6


def test_too_few_dimensions_leave_the_gap_open_and_say_so(key):
    problem = solvable(decay=1e-4)
    solution = minimise_large(problem, key=key)
    assert solution.result is ufm.Result.CONVERGED
    certificate = certify_large(problem, solution.params, key=key)
    assert certificate.gap > 0.05
    assert not certificate.closes()
    assert certificate.spectral_ratio > 1.1
    assert "except with probability 1e-12" in str(certificate)


def test_more_steps_and_vectors_sharpen_the_bound(key):
    problem = solvable()
    point = random_point(problem, key, 0.1)
    exact = float(ufm.certify(problem.dense(), point).spectral_ratio)
    excess = [
        float(certify_large(problem, point, key=key, steps=steps, block=block).spectral_bound)
        / exact
        - 1
        for steps, block in ((4, 1), (4, 16), (40, 16))
    ]
    assert excess[0] > 3 * excess[1] > 9 * excess[2] > 0


def test_a_norm_that_is_no_number_bounds_nothing(key, monkeypatch):
    problem = LargeProblem(
        sparse_one_hot([9, 3, 1]),
        loss=ufm.CrossEntropy(),
        feature_dim=2,
        lambda_W=1e-2,
        lambda_H=1e-2,
    )
    point = ufm.solvers.random_start(problem.dense(), key=key)
    monkeypatch.setattr("ufm.large_scale.certificate._largest", lambda *numbers: np.nan)
    certificate = certify_large(problem, point, key=key, steps=2, block=2)
    assert certificate.lower_bound == -jnp.inf
    assert certificate.gap == jnp.inf


def test_probability_of_a_false_bound_is_as_stated(key):
    """One step on one vector, θ far too low, failures allowed in half of the cases.

    Some bounds must fail, and fewer than half.
    """
    K, top, theta = 12, 1.0, 0.05
    spectrum = np.linspace(0, 0.05, K)
    spectrum[-1] = top
    vectors = np.random.default_rng(1).standard_normal((4000, K))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    applied = (2 * spectrum / theta - 1) * vectors
    failures = np.mean([bound_on_rest(x[:, None], theta, K, 1, 0.5) < top for x in applied])
    assert 0.1 < failures < 0.5


def test_resume_goes_on_where_it_stopped(key):
    problem = solvable()
    first = minimise_large(problem, key=key, max_steps=7)
    assert (first.result, int(first.num_steps)) == (ufm.Result.MAX_STEPS, 7)
    whole = minimise_large(problem, key=key)
    rest = minimise_large(problem, resume=first)
    assert rest.result is ufm.Result.CONVERGED
    assert int(rest.num_steps) == int(whole.num_steps)
    np.testing.assert_allclose(rest.value, whole.value, rtol=1e-14)
    again = minimise_large(problem, start=rest.params, tolerance=1e-10)
    assert again.result is ufm.Result.CONVERGED
    assert int(again.num_steps) == 0
    with pytest.raises(ValueError, match="same problem"):
        minimise_large(solvable(decay=2e-2), resume=first)
    with pytest.raises(ValueError, match="`memory_size` must be that of `resume`; got 3"):
        minimise_large(problem, resume=first, memory_size=3)
    with pytest.raises(ufm.SolveFailed, match="MAX_STEPS"):
        minimise_large(problem, key=key, max_steps=3, throw=True)


def test_interrupt_returns_the_point_reached(key, monkeypatch):
    problem = solvable()
    advance, calls = solve._advance, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        problem, state, tolerance, _, memory_size = arguments
        return advance(problem, state, tolerance, state.num_steps + 2, memory_size)

    monkeypatch.setattr(solve, "_advance", interrupted)
    solution = minimise_large(problem, key=key)
    assert (solution.result, int(solution.num_steps)) == (ufm.Result.INTERRUPTED, 2)
    monkeypatch.undo()
    assert minimise_large(problem, resume=solution).result is ufm.Result.CONVERGED


def test_unfit_calls_are_refused(key):
    problem = large("long-tail")
    point = random_point(problem, key)
    with pytest.raises(ValueError, match="exactly one of `key`, `start` and `resume`"):
        minimise_large(problem)
    with pytest.raises(ValueError, match=r"`problem` must be ufm.LargeProblem; .*; got Problem"):
        minimise_large(problem.dense(), key=key)
    with pytest.raises(ValueError, match=r"`start\.features` must have shape"):
        minimise_large(problem, start=ufm.Params(point.weights, point.features[:, :2]))
    with pytest.raises(ValueError, match="convex in the logits for a certificate; got Focal"):
        certify_large(large("long-tail", "focal"), point, key=key)
    with pytest.raises(ValueError, match="`failure_probability` must lie between 0 and 1; got 0"):
        certify_large(problem, point, key=key, failure_probability=0)
    with pytest.raises(ValueError, match="`lambda_W` must be finite and > 0 for a minimiser"):
        minimise_large(large("long-tail", decay=0.0), key=key)


def test_single_precision_stays_single(key):
    """Traced only: the loops refuse a step that changes the dtype."""
    problem = LargeProblem(
        sparse_one_hot((9, 5, 2), dtype="float32"),
        loss=ufm.CrossEntropy(),
        feature_dim=2,
        lambda_W=1e-3,
        lambda_H=1e-3,
        bias="free",
    )
    state = jax.eval_shape(lambda: solve._begin(problem, solve._start(problem, key), 10))
    tolerance = jnp.asarray(1e-6, jnp.float32)
    after = jax.eval_shape(
        lambda state: solve._advance(problem, state, tolerance, jnp.asarray(9), 10), state
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
    problem = LargeProblem(
        sparse_one_hot(np.linspace(100, 1, K)),
        loss=ufm.CrossEntropy(),
        feature_dim=d,
        lambda_W=1e-4,
        lambda_H=1e-4,
        bias="free",
    )
    W, H, b = (jax.ShapeDtypeStruct(shape, problem.dtype) for shape in ((K, d), (d, K), (K,)))
    shapes: Any = ufm.Params((W,), H, b)
    used = memory_of(jax.jit(value_and_gradient).lower(problem, shapes).compile())
    # the XLA of older versions keeps one chunk more
    chunks = 4 if jax.__version_info__ >= (0, 10) else 5
    assert used <= 8 * (2 * 2 * K * d + chunks * K * chunk)


SCRIPT = """
import resource, sys
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
import ufm
from ufm.large_scale.problem import LargeProblem, value_and_gradient
from ufm.large_scale.sparse import sparse_one_hot
K, d = 4000, 64
labels, decay = sparse_one_hot(np.full(K, 5)), {"lambda_W": 1e-4, "lambda_H": 1e-4}
problem = LargeProblem(labels, loss=ufm.CrossEntropy(), feature_dim=d, **decay)
rng = np.random.default_rng(0)
W, H = (jax.numpy.asarray(rng.standard_normal(shape)) for shape in ((K, d), (d, K)))
point = ufm.Params((W,), H)
function = jax.jit(value_and_gradient)
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


def test_labels_are_a_pytree_of_arrays():
    labels = sparse_one_hot((3, 2))
    assert isinstance(jax.tree.map(lambda leaf: leaf, labels), SparseLabels)
    assert len(jax.tree.leaves(labels)) == 4


def test_closing_means_both_sides_and_a_billionth():
    def certificate(value, lower, rounding=0.0):
        gap = max(value - lower, 0) / value
        names = (
            "value",
            "lower_bound",
            "gap",
            "spectral_ratio",
            "spectral_bound",
            "bias_residual",
            "rounding",
        )
        numbers = (value, lower, gap, 1.0, 1.0, 0.0, rounding)
        arrays = dict(zip(names, map(jnp.asarray, numbers), strict=True))
        return LargeCertificate(**arrays, failure_probability=1e-12, loss="X")

    # 2 ** -30 is 9.3e-10, and a value of a power of two leaves no rounding
    assert certificate(1.0, 1 - 2.0**-30).closes()
    assert not certificate(1.0, 1 - 1.005e-9).closes()
    assert certificate(1.0, 1 - 2e-9).closes(1e-8)
    # relative to the value
    assert certificate(8.0, 8 - 2.0**-28).closes()
    assert not certificate(0.125, 0.125 - 2.0**-31).closes()
    # a tolerance that is met exactly is met
    assert certificate(1.0, 0.75).closes(0.25)
    assert not certificate(1.0, 0.75).closes(0.249)
    # a bound above the value is a defect, not a proof; unless rounding of the value explains it
    assert not certificate(1.0, 1 + 1e-12).closes()
    assert not certificate(1.0, 1 + 1e-12).valid
    assert certificate(1.0, 1 + 1e-12, rounding=2e-12).closes()
    # what is not known of the value is not known of the gap
    assert not certificate(1.0, 1.0, rounding=2e-9).closes()
    assert not certificate(1.0, 1 - 6e-10, rounding=6e-10).closes()
