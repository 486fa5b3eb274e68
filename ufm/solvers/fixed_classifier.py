r"""Features for a given classifier.

Every column is a strictly convex problem of its own, solved to rounding in batches.

With the weights fixed, and no bias to learn, the objective is a sum over columns of
$\omega_c\,[\ell(Wh_c + b, q_c) + \tfrac{m_c\lambda_H}{2\omega_c}\|h_c\|^2 +
\tfrac{m_c\beta}{2\omega_c}\|h_c - h^0_c\|^2]$. Where all samples count alike $m_c/\omega_c$ is
their number, and masses do not matter to the minimisers; a loss weight is a decay of its column.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._outside import SWEEP, on_the_host
from ufm._progress import Progress
from ufm._validate import (
    require,
    require_dtype,
    require_finite,
    require_flag,
    require_instance,
    require_whole,
)
from ufm.batch.executor import run_blocks, worker_count
from ufm.losses.rows import AbstractRows, sums
from ufm.model import (
    Params,
    Problem,
    decay,
    require_decay,
    require_product,
    require_unconstrained,
    with_canonical_loss,
)
from ufm.solution import Result, Solution
from ufm.solvers.column_newton import newton, rows_of
from ufm.solvers.coordinates import relative_norm
from ufm.solvers.frame_newton import frame_newton

# Entries of one array of a block: larger ones leave a core's cache, smaller ones are mostly calls,
# and a device wants few.
_BLOCK_ON_CPU = 100_000
_BLOCK_ELSEWHERE = 20_000_000

# Block sizes and losses that have been compiled; what has not is run once alone, lest every thread
# compile it.
_compiled: set = set()


@on_the_host(SWEEP)
def fit_features(
    problem: Problem,
    *,
    bias=None,
    max_steps: int = 200,
    threads: int | None = None,
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
    threads
        On a CPU, that many blocks run at a time; as many as there are cores unless given.
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
    K, C = problem.labels.num_classes, problem.labels.num_columns
    wanted = (
        "given, (K,): it is held fixed (ufm.minimise learns it)"
        if problem.has_bias
        else "None for a problem without one"
    )
    require((bias is not None) == problem.has_bias, f"`bias` must be {wanted}", bias)
    if bias is not None:
        require_finite("bias", bias, shape=(K,))
        require_dtype("bias", bias, problem.dtype)
        bias = jnp.asarray(bias, problem.dtype)
    max_steps = require_whole("max_steps", max_steps)
    workers = worker_count(threads)
    require_flag("progress", progress, optional=True)

    on_cpu = jax.default_backend() == "cpu"
    shared, gammas = _prepare(simplest, bias)
    gammas = np.asarray(gammas)
    block = min(
        C, max(1, (_BLOCK_ON_CPU if on_cpu else _BLOCK_ELSEWHERE) // max(K, problem.feature_dim))
    )
    # the last block overlaps the one before it: all blocks share one compilation
    blocks = [range(at, at + block) for at in (*range(0, C - block, block), C - block)]
    targets = np.asarray(problem.labels.targets)
    offsets = None if problem.labels.offsets is None else np.asarray(problem.labels.offsets)
    anchor = None if problem.anchor is None else np.asarray(problem.anchor)
    frame = _frame(problem, shared, targets)
    features = _aligned((problem.feature_dim, C), problem.dtype)
    (losses, lengths, gradients), done = np.empty((3, C), problem.dtype), np.empty(C, bool)

    def run(columns: range) -> tuple[int, int]:
        here = slice(columns.start, columns.stop)
        pulled, shifts = (
            None if array is None else jnp.asarray(array[:, here]) for array in (anchor, offsets)
        )
        wanted = jnp.asarray(targets[:, here])
        *arrays, steps, products = _solve(
            shared, gammas[here], wanted, pulled, shifts, max_steps=max_steps, frame=frame
        )
        features[:, here], losses[here], lengths[here], gradients[here], done[here] = map(
            np.asarray, arrays
        )
        return int(steps), int(products)

    signature = (
        K,
        problem.feature_dim,
        block,
        problem.dtype,
        jax.tree.structure((shared, anchor, offsets)),
        max_steps,
        frame,
    )
    bar = Progress("fit_features", total=C, show=progress)
    counts = run_blocks(run, blocks, workers if on_cpu else 1, bar, compiled=signature in _compiled)
    if len(counts) < len(blocks):
        raise KeyboardInterrupt
    _compiled.add(signature)
    params = Params(problem.fixed_weights or (), jax.device_put(features), bias)
    value, grad_norm = _measure(
        problem, params, jnp.asarray(losses), jnp.asarray(lengths), jnp.asarray(gradients)
    )
    finite = bool(np.isfinite(value)) and bool(np.isfinite(grad_norm))
    code = Result.DIVERGED if not finite else Result.CONVERGED if done.all() else Result.MAX_STEPS
    return Solution(
        problem=problem,
        params=params,
        value=value,
        grad_norm=grad_norm,
        code=jnp.asarray(int(code)),
        num_steps=jnp.asarray(max(steps for steps, _ in counts)),
        num_evaluations=jnp.asarray(max(products for _, products in counts)),
        values=value[None],
        codes=jnp.asarray([int(code)]),
        state=None,
    )


def _aligned(shape: tuple[int, int], dtype) -> np.ndarray:
    """Like `np.empty`, at a multiple of 64 bytes.

    `jax.device_put` on a CPU then takes it over without a copy.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)


class _Shared(NamedTuple):
    """What all columns have in common.

    S and its pseudo-inverse, the isometry from y to features (d, K), the classifier W, its mean
    square a over the contrasts, the bias, and the part of the pull on the features that goes to the
    anchor.
    """

    model: AbstractRows
    root: Float[Array, "K K"]
    inverse_root: Float[Array, "K K"]
    lift: Float[Array, "d K"]
    classifier: Float[Array, "K d"]
    scale: Float[Array, ""]
    bias: Float[Array, " K"]
    share: Float[Array, ""]


@jax.jit
def _prepare(problem: Problem, bias) -> tuple[_Shared, Float[Array, "C 1"]]:
    """What the columns share, and the decay γ of each over its weight in the loss."""
    W = functools.reduce(jnp.matmul, problem.fixed_weights or ())
    K = len(W)
    left, values, right = jnp.linalg.svd(W, full_matrices=False)
    # directions that are rounding of the SVD carry no feature
    kept = values > 8 * max(W.shape) * float(jnp.finfo(W.dtype).eps) * jnp.max(values)
    inverses = jnp.where(kept, 1 / jnp.where(kept, values, 1), 0)
    values = jnp.where(kept, values, 0)
    root = (left * values[None, :]) @ left.T
    scale = jnp.sum((W - jnp.mean(W, axis=0, keepdims=True)) ** 2) / (K - 1)
    labels, decay_of_features = problem.labels, problem.feature_decay
    gamma = labels.num_samples * decay_of_features
    gammas = jnp.broadcast_to(gamma, labels.masses.shape)
    if labels.weights is not None:
        gammas = decay_of_features * labels.masses / labels.column_weights
    shared = _Shared(
        model=rows_of(problem.bare_loss, root, scale, gamma),
        root=root,
        inverse_root=(left * inverses[None, :]) @ left.T,
        lift=right.T @ (left * kept.astype(W.dtype)[None, :]).T,
        classifier=W,
        scale=scale,
        bias=jnp.zeros(K, W.dtype) if bias is None else bias,
        share=jnp.zeros_like(gamma) if problem.beta is None else problem.beta / decay_of_features,
    )
    return shared, gammas[:, None]


def _frame(problem: Problem, shared: _Shared, targets: np.ndarray) -> bool:
    """Whether a label is one equation p + s z = q.

    Cross-entropy of distributions under a simplex ETF, nothing added to the logits.
    """
    added = problem.has_bias or problem.anchor is not None or problem.labels.offsets is not None
    if not shared.model.softmax_residual or added:
        return False
    K, eps = len(targets), float(np.finfo(problem.dtype).eps)
    W = np.asarray(shared.classifier)
    a = float(shared.scale)
    etf = a > 0 and np.max(np.abs(W @ W.T - a * (np.eye(K) - 1 / K))) <= 8 * K * eps * a
    return bool(etf and np.max(np.abs(targets.sum(axis=0) - 1)) <= 8 * eps)


@functools.partial(jax.jit, static_argnames=("max_steps", "frame"))
def _solve(
    shared: _Shared,
    gammas: Float[Array, "B 1"],
    targets: Float[Array, "K B"],
    anchor: Float[Array, "d B"] | None,
    shifts: Float[Array, "K B"] | None,
    *,
    max_steps: int,
    frame: bool,
):
    """Features (d, B); losses, lengths of features and of gradients (B,); which columns are done.

    Steps and matrix products.
    """
    if frame:
        end = frame_newton(targets.T, gammas / shared.scale, max_steps=max_steps)
        z = end.logits
        square, gap = sums(z**2, end.defect**2)
        features = (shared.classifier.T @ z.T) / shared.scale
        lengths, gradients = (
            jnp.sqrt(square[:, 0] / shared.scale),
            jnp.sqrt(shared.scale * gap[:, 0]),
        )
        return (
            features,
            end.losses,
            lengths,
            gradients,
            end.done,
            end.steps,
            jnp.zeros_like(end.steps),
        )
    offset = jnp.broadcast_to(shared.bias[None, :], targets.T.shape)
    if shifts is not None:
        offset = offset + shifts.T
    if anchor is not None:
        # completing the square: decay to 0 and pull to the anchor are a pull to share times the
        # anchor
        offset = offset + shared.share * (shared.classifier @ anchor).T
    point, gradient = newton(
        shared.model,
        shared.root,
        shared.inverse_root,
        gammas,
        targets.T,
        offset,
        max_steps=max_steps,
    )
    features = shared.lift @ point.y.T
    if anchor is not None:
        features = features + shared.share * anchor
    lengths, gradients = (
        jnp.sqrt(jnp.sum(features**2, axis=0)),
        jnp.sqrt(jnp.sum(gradient**2, axis=1)),
    )
    return features, point.here.value, lengths, gradients, point.done, point.steps, point.products


@jax.jit
def _measure(
    problem: Problem, params: Params, losses: Array, lengths: Array, gradients: Array
) -> tuple[Array, Array]:
    """The objective, and the relative gradient norm of `minimise` in its coordinates.

    Losses and lengths of columns (C,).
    """
    if problem.anchor is None:
        # decay sees lengths only, and another pass over all features would cost a tenth of the
        # solution
        params = Params(params.weights, lengths[None, :], params.bias)
    value = jnp.dot(problem.labels.column_weights, losses) + decay(problem, params)
    scale = jnp.sqrt(problem.feature_decay * problem.labels.masses)
    return value, relative_norm(
        gradients * problem.labels.column_weights / scale, lengths * scale, value
    )
