"""The columns of a problem whose classifier is fixed: what they share, and a block of them solved.

`fit_features` runs the blocks.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ufm.losses.rows import AbstractRows, sums
from ufm.maps.base import product_of
from ufm.model import Params, Problem, decay
from ufm.solvers.column_newton import newton
from ufm.solvers.coordinates import relative_size
from ufm.solvers.frame_newton import frame_newton


class Shared(NamedTuple):
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


class Solved(NamedTuple):
    """Columns, each with its loss, length and gradient, and whether it is done; steps, products."""

    features: Float[Array, "d B"]
    losses: Float[Array, " B"]
    lengths: Float[Array, " B"]
    gradients: Float[Array, " B"]
    done: Bool[Array, " B"]
    steps: Int[Array, ""]
    products: Int[Array, ""]


@jax.jit
def prepare(problem: Problem, bias) -> tuple[Shared, Float[Array, "C 1"]]:
    """What the columns share, and the decay γ of each over its weight in the loss."""
    W = product_of(problem.fixed_weights or ())
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
    shared = Shared(
        model=problem.bare_loss.rows(root, scale, gamma),
        root=root,
        inverse_root=(left * inverses[None, :]) @ left.T,
        lift=right.T @ (left * kept.astype(W.dtype)[None, :]).T,
        classifier=W,
        scale=scale,
        bias=jnp.zeros(K, W.dtype) if bias is None else bias,
        share=jnp.zeros_like(gamma) if problem.beta is None else problem.beta / decay_of_features,
    )
    return shared, gammas[:, None]


def in_a_frame(problem: Problem, shared: Shared, targets: np.ndarray) -> bool:
    """Whether a label is one equation p + s z = q.

    Cross-entropy of distributions under a simplex ETF, nothing added to the logits.

    Parameters
    ----------
    problem
        As it was posed.
    shared
        From `prepare`.
    targets
        (K, C).

    Returns
    -------
    bool
        Whether `frame_newton` solves it.
    """
    added = problem.has_bias or problem.anchor is not None or problem.labels.offsets is not None
    if not shared.model.softmax_residual or added:
        return False
    K, eps = len(targets), float(np.finfo(problem.dtype).eps)
    W = np.asarray(shared.classifier)
    a = float(shared.scale)
    etf = a > 0 and np.max(np.abs(W @ W.T - a * (np.eye(K) - 1 / K))) <= 8 * K * eps * a
    return bool(etf and np.max(np.abs(targets.sum(axis=0) - 1)) <= 8 * eps)


@functools.partial(jax.jit, static_argnames="frame")
def solve_columns(
    shared: Shared,
    gammas: Float[Array, "B 1"],
    targets: Float[Array, "K B"],
    anchor: Float[Array, "d B"] | None,
    shifts: Float[Array, "K B"] | None,
    *,
    max_steps: Int[Array, ""] | int,
    frame: bool,
) -> Solved:
    """A block of columns by Newton's method.

    Parameters
    ----------
    shared
        From `prepare`.
    gammas
        (B, 1), decays, from there too.
    targets
        (K, B).
    anchor, shifts
        Of the block, (d, B) and (K, B), where the problem has an anchor and offsets.
    max_steps
        Newton steps at most.
    frame
        From `in_a_frame`.

    Returns
    -------
    Solved
        One entry a column, and what the slowest one took.
    """
    if frame:
        end = frame_newton(targets.T, gammas / shared.scale, max_steps=max_steps)
        z = end.logits
        square, gap = sums(z**2, end.defect**2)
        return Solved(
            (shared.classifier.T @ z.T) / shared.scale,
            end.losses,
            jnp.sqrt(square[:, 0] / shared.scale),
            jnp.sqrt(shared.scale * gap[:, 0]),
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
    lengths = jnp.sqrt(jnp.sum(features**2, axis=0))
    gradients = jnp.sqrt(jnp.sum(gradient**2, axis=1))
    return Solved(
        features, point.here.value, lengths, gradients, point.done, point.steps, point.products
    )


@jax.jit
def measured(
    problem: Problem, params: Params, losses: Array, lengths: Array, gradients: Array
) -> tuple[Array, Array]:
    """The value of a fit and its error.

    Parameters
    ----------
    problem, params
        What was fitted.
    losses, lengths, gradients
        (C,), of all columns, as in `Solved`.

    Returns
    -------
    tuple[Array, Array]
        The objective, and the relative gradient norm of `minimise` in its coordinates.
    """
    if problem.anchor is None:
        # decay sees lengths only, and another pass over all features would cost a tenth of the
        # solution
        params = Params(params.weights, lengths[None, :], params.bias)
    value = jnp.dot(problem.labels.column_weights, losses) + decay(problem, params)
    scale = jnp.sqrt(problem.feature_decay * problem.labels.masses)
    slopes = gradients * problem.labels.column_weights / scale
    return value, relative_size(jnp.sum(slopes**2), jnp.sum((lengths * scale) ** 2), value)
