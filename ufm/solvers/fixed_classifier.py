r"""Features for a given classifier.

Every column is a strictly convex problem of its own, solved to rounding in batches.

With the weights fixed, and no bias to learn, the objective is a sum over columns of
$\omega_c\,[\ell(Wh_c + b, q_c) + \tfrac{m_c\lambda_H}{2\omega_c}\|h_c\|^2 +
\tfrac{m_c\beta}{2\omega_c}\|h_c - h^0_c\|^2]$. Where all samples count alike $m_c/\omega_c$ is
their number, and masses do not matter to the minimisers; a loss weight is a decay of its column.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ufm._programs.outside import SWEEP, on_the_host
from ufm._system.progress import Progress
from ufm._validate import (
    options_of,
    require,
    require_dtype,
    require_finite,
    require_flag,
    require_instance,
    require_whole,
)
from ufm.batch.execution import Execution
from ufm.batch.executor import Programs, devices_of, run_blocks
from ufm.model import (
    Params,
    Problem,
    require_decay,
    require_product,
    require_unconstrained,
    with_canonical_loss,
)
from ufm.solution import Result, Solution
from ufm.solvers.fixed_columns import Solved, in_a_frame, measured, prepare, solve_columns

# Entries of one array of a block: larger ones leave a core's cache, smaller ones are mostly calls,
# and a device wants few.
_BLOCK_ON_CPU = 100_000
_BLOCK_ELSEWHERE = 20_000_000

_PROGRAMS = Programs()


@on_the_host(SWEEP)
def fit_features(
    problem: Problem,
    *,
    bias=None,
    max_steps: int = 200,
    execution: Execution | None = None,
    progress: bool | None = None,
) -> Solution:
    """The optimal features for fixed weights.

    One strictly convex problem a column, all solved at once to rounding.

    Parameters
    ----------
    problem
        With `fixed_weights` (any depth; only the product $W$ matters), free features and a convex
        loss; any W, simplex ETF or not, and d of any size.
    bias
        (K,), the values of the bias where the problem has one: it is held fixed, because a bias to
        be learned couples the columns (`minimise` learns it).
    max_steps
        Newton steps of a block of columns.
    execution
        An `Execution`: its threads work on blocks of columns, on a CPU, or its devices do, in turn;
        its `memory` is for their targets and features.
    progress
        As for `minimise`.

    Returns
    -------
    Solution
        Like that of `minimise`: `params.features` (d, C), `value`, `grad_norm`; CONVERGED when the
        last full Newton step of every column was shorter than the square root of rounding, so that
        errors are of the order of rounding (the gradient alone is blind where the decay is tiny).
        `num_steps`: of the slowest block. `num_evaluations`: matrix products of the batch with a
        K × K matrix, of the slowest block. It cannot be resumed.

    Raises
    ------
    ValueError
        For weights that are not fixed, a bias without values or the reverse, nonnegative features,
        a loss that is not convex, and features without decay.
    KeyboardInterrupt
        On Ctrl-C.

    Notes
    -----
    Damped Newton's method; under a simplex ETF a step is explicit (`frame_newton.py`), else it is
    found by conjugate gradients, preconditioned with the ETF's inverse (`column_newton.py`).
    """
    simplest = _checked(problem)
    bias = _checked_bias(problem, bias)
    max_steps = require_whole("max_steps", max_steps)
    execution = options_of(Execution, execution, name="execution")
    require_flag("progress", progress, optional=True)

    K, d, C = problem.labels.num_classes, problem.feature_dim, problem.labels.num_columns
    devices, on_cpu = devices_of(execution.devices)
    workers = execution.workers if on_cpu else len(devices)
    best = (_BLOCK_ON_CPU if on_cpu else _BLOCK_ELSEWHERE) // max(K, d)
    block = min(C, execution.together(best, workers * (K + d) * problem.dtype.itemsize))
    # the last block overlaps the one before it: all blocks share one compilation
    starts = (*range(0, C - block, block), C - block)
    blocks = list(zip(starts, itertools.cycle(devices)))
    given = (problem.labels.targets, problem.anchor, problem.labels.offsets)
    targets, *others = (None if array is None else np.asarray(array) for array in given)
    assert targets is not None
    shared, gammas = prepare(simplest, bias)
    gammas, frame = np.asarray(gammas), in_a_frame(problem, shared, targets)
    whole = _columns(d, C, problem.dtype)
    shapes = (K, d, block, problem.dtype, jax.tree.structure((shared, others)), frame)
    bar = Progress("fit_features", total=C, show=progress)

    def run(part: tuple[int, Any]) -> tuple[int, int]:
        start, device = part
        here = slice(start, start + block)
        with _PROGRAMS.alone_at_first((shapes, device)), jax.default_device(device):
            wanted, pulled, shifts = (
                None if array is None else jnp.asarray(array[:, here])
                for array in (targets, *others)
            )
            solved = solve_columns(
                shared, gammas[here], wanted, pulled, shifts, max_steps=max_steps, frame=frame
            )
            return _filled(whole, here, solved)

    counts: list[tuple[int, int]] = []

    def keep(_, count: tuple[int, int]) -> None:
        counts.append(count)
        bar.update(min(len(counts) * block, C))

    try:
        run_blocks(run, blocks, workers, keep)
    finally:
        bar.close()
    return _solution(problem, bias, whole, counts)


class _Columns(NamedTuple):
    """What is found of all columns, on the host; blocks fill it from any thread."""

    features: Float[np.ndarray, "d C"]
    losses: Float[np.ndarray, " C"]
    lengths: Float[np.ndarray, " C"]
    gradients: Float[np.ndarray, " C"]
    done: Bool[np.ndarray, " C"]


def _columns(dim: int, number: int, dtype) -> _Columns:
    """Places for d × C features and what goes with them."""
    losses, lengths, gradients = np.empty((3, number), dtype)
    features, done = _aligned((dim, number), dtype), np.empty(number, bool)
    return _Columns(features, losses, lengths, gradients, done)


def _filled(whole: _Columns, here: slice, solved: Solved) -> tuple[int, int]:
    """Put a block in its place; its steps and products."""
    *arrays, steps, products = solved
    for place, array in zip(whole, arrays, strict=True):
        place[..., here] = np.asarray(array)
    return int(steps), int(products)


def _solution(
    problem: Problem, bias: Array | None, found: _Columns, counts: list[tuple[int, int]]
) -> Solution:
    params = Params(problem.fixed_weights or (), jax.device_put(found.features), bias)
    value, grad_norm = measured(
        problem, params, *map(jnp.asarray, (found.losses, found.lengths, found.gradients))
    )
    finite = bool(np.isfinite(value)) and bool(np.isfinite(grad_norm))
    done = Result.CONVERGED if found.done.all() else Result.MAX_STEPS
    code = np.int64(done if finite else Result.DIVERGED)
    steps, products = (np.int64(max(each)) for each in zip(*counts, strict=True))
    return Solution(
        problem=problem,
        params=params,
        value=value,
        grad_norm=grad_norm,
        code=code,
        num_steps=steps,
        num_evaluations=products,
        values=value[None],
        codes=np.asarray([code]),
        state=None,
    )


def _checked(problem) -> Problem:
    """The problem with the canonical form of its loss; `ValueError` where columns hang together."""
    require_instance("problem", problem, Problem)
    require_product(problem, "a fit of features")
    require(
        problem.fixed_weights is not None,
        "`problem.fixed_weights` must be given: only features are fitted",
        problem.fixed_weights,
    )
    require_unconstrained(problem, "features of a fixed classifier")
    simplest = with_canonical_loss(problem)
    require(
        simplest.loss.convex,
        "`problem.loss` must be convex in the logits to fit features",
        problem.loss,
    )
    require_decay(problem, "fitting features")
    return simplest


def _checked_bias(problem: Problem, bias) -> Float[Array, " K"] | None:
    wanted = (
        "given, (K,): it is held fixed (ufm.minimise learns it)"
        if problem.has_bias
        else "None for a problem without one"
    )
    require((bias is not None) == problem.has_bias, f"`bias` must be {wanted}", bias)
    if bias is None:
        return None
    require_finite("bias", bias, shape=(problem.labels.num_classes,))
    require_dtype("bias", bias, problem.dtype)
    return jnp.asarray(bias, problem.dtype)


def _aligned(shape: tuple[int, int], dtype) -> np.ndarray:
    """Like `np.empty`, at a multiple of 64 bytes.

    `jax.device_put` on a CPU then takes it over without a copy.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)
