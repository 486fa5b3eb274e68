"""Plain one-layer problems in the coordinates of the solvers: value, gradient and Hessian.

Written out, because a chain rule that JAX finds is a third more kernels to compile: scales are
prepared once, and a Hessian needs the logits and the gradient of the loss of its point alone.

Of one problem, or of many at once with the lanes in the last axis. Batched products of 10 × 10
matrices are slow on a CPU; written as a sum of elementwise products over the contracted index they
vectorise over the lanes.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._classes.module import Module
from ufm._numerics import laid_out, turned
from ufm.losses import AbstractLoss, loss_and_dual
from ufm.model import Problem


def is_plain(problem: Problem) -> bool:
    """Whether it is the unconstrained one-layer model with decay alone, of labels with room for all
    logits."""
    return problem.depth == 1 and problem.plain and problem.chunk is None


class OneLayer(Module):
    """A problem, or several, lanes last (first in the queue).

    Logits are `logit_scale` times the product of the scaled factors, plus the bias.
    """

    targets: Float[Array, "K C *B"]
    column_weights: Float[Array, " C *B"]
    logit_scale: Float[Array, " C *B"]
    bias_scale: Float[Array, "*B"] | None
    lambda_b: Float[Array, "*B"] | None
    loss: AbstractLoss

    @classmethod
    def of(cls, problem: Problem) -> OneLayer:
        """What the method needs of a problem."""
        blocks = problem.blocks
        return cls(
            targets=problem.labels.targets,
            column_weights=problem.labels.column_weights,
            logit_scale=1 / (blocks.weights[0].unit * blocks.features.unit),
            bias_scale=None if blocks.bias is None else 1 / blocks.bias.unit,
            lambda_b=problem.lambda_b,
            loss=problem.loss,
        )


class Point(NamedTuple):
    """Classifier, features and bias, scaled as in `coordinates`: the vectors of the method."""

    classifier: Float[Array, "K d *B"]
    features: Float[Array, "d C *B"]
    bias: Float[Array, " K *B"] | None


class Evaluation(NamedTuple):
    """At a point: value, squared length of its factors, gradient, and the logits, which the Hessian
    needs."""

    value: Float[Array, "*B"]
    size_sq: Float[Array, "*B"]
    gradient: Float[Array, " n *B"]
    logits: Float[Array, "K C *B"]


def _product(A, B, axes: str):
    """A B, A Bᵀ ("nt") or Aᵀ B ("tn") of every lane, as a sum over the contracted index."""
    if A.ndim == 2:
        return (turned(A) if axes == "tn" else A) @ (turned(B) if axes == "nt" else B)
    if axes == "nn":
        terms = (A[:, j, None, :] * B[None, j, :, :] for j in range(A.shape[1]))
    elif axes == "nt":
        terms = (A[:, None, j, :] * B[None, :, j, :] for j in range(A.shape[1]))
    else:
        terms = (A[j, :, None, :] * B[j, None, :, :] for j in range(A.shape[0]))
    return functools.reduce(jnp.add, terms)


class _Held(NamedTuple):
    """A matrix M of every lane that is a factor of many products."""

    matrix: Float[Array, "m n *B"]
    # of one problem
    turned: Float[Array, "n m"] | None


def _held(matrix) -> _Held:
    return _Held(matrix, turned(matrix) if matrix.ndim == 2 else None)


def _before(held: _Held, B, axes: str):
    """Mᵀ B ("tn") or M Bᵀ ("nt")."""
    if held.turned is None:
        return _product(held.matrix, B, axes)
    return held.turned @ B if axes == "tn" else laid_out(B @ held.turned).T


def _after(A, held: _Held, axes: str):
    """A Mᵀ ("nt") or Aᵀ M ("tn")."""
    if held.turned is None:
        return _product(A, held.matrix, axes)
    return A @ held.turned if axes == "nt" else laid_out(held.turned @ A).T


def dot(a, b):
    """Inner products, one a lane."""
    return jnp.sum(a * b, axis=0)


def select(flag, new, old):
    """Lane by lane, `new` where the flag holds.

    Parameters
    ----------
    flag
        (L,).
    new, old
        Trees of one structure, lanes last.

    Returns
    -------
    tree
        Of that structure.
    """
    return jax.tree.map(
        lambda a, b: jnp.where(flag.reshape((1,) * (a.ndim - 1) + flag.shape), a, b), new, old
    )


def split(lanes: OneLayer, flat) -> Point:
    """The parts of flat vectors, as in `coordinates`."""
    (K, C, *B), bias = lanes.targets.shape, lanes.bias_scale is not None
    d = (flat.shape[0] - bias * K) // (K + C)
    ends = K * d, K * d + d * C
    return Point(
        flat[: ends[0]].reshape(K, d, *B),
        flat[ends[0] : ends[1]].reshape(d, C, *B),
        flat[ends[1] :] if bias else None,
    )


def join(x: Point):
    """The inverse of `split`."""
    B = x.classifier.shape[2:]
    return jnp.concatenate([leaf.reshape(-1, *B) for leaf in jax.tree.leaves(x)])


def bias_free_logits(lanes: OneLayer, flat) -> Float[Array, "K C *B"]:
    """The logits of every lane at flat vectors (n, L), without the bias."""
    x = split(lanes, flat)
    return _product(x.classifier, x.features, "nn") * lanes.logit_scale[None]


def _logits(lanes: OneLayer, x: Point):
    logits = _product(x.classifier, x.features, "nn") * lanes.logit_scale[None]
    if x.bias is None or lanes.bias_scale is None:
        return logits
    return logits + (x.bias * lanes.bias_scale[None])[:, None]


def _bias_gradient(lanes: OneLayer, bias, dual):
    """Gradient in the scaled bias, for the loss gradients `dual` (K, C, B).

    Or the Hessian times a direction, for the direction of the bias and the change of the gradients.
    """
    assert lanes.bias_scale is not None
    gradient = jnp.sum(dual * lanes.column_weights[None], axis=1) * lanes.bias_scale[None]
    return (
        gradient
        if lanes.lambda_b is None
        else gradient + (lanes.lambda_b * lanes.bias_scale**2)[None] * bias
    )


def evaluate(lanes: OneLayer, flat) -> Evaluation:
    """What the method needs to know of every lane."""
    x = split(lanes, flat)
    logits = _logits(lanes, x)
    losses, dual = loss_and_dual(lanes.loss, logits, lanes.targets)
    number = flat.shape[0] - (0 if x.bias is None else x.bias.shape[0])
    size_sq = dot(flat[:number], flat[:number])
    value = jnp.sum(losses * lanes.column_weights, axis=0) + 0.5 * size_sq
    if x.bias is not None and lanes.lambda_b is not None and lanes.bias_scale is not None:
        value = value + 0.5 * lanes.lambda_b * lanes.bias_scale**2 * jnp.sum(x.bias**2, axis=0)

    scaled_dual = dual * (lanes.column_weights * lanes.logit_scale)[None]
    gradient = Point(
        _product(scaled_dual, x.features, "nt") + x.classifier,
        _product(x.classifier, scaled_dual, "tn") + x.features,
        None if x.bias is None else _bias_gradient(lanes, x.bias, dual),
    )
    return Evaluation(value, size_sq, join(gradient), logits)


def hessian(lanes: OneLayer, flat, logits):
    """The Hessian at a point of known logits as a function of a direction, of every lane.

    Parameters
    ----------
    lanes
        The problems, lanes last.
    flat
        The points (n, L).
    logits
        (K, C, L), those of the points.

    Returns
    -------
    Callable
        From directions, split, to the Hessian times each.
    """
    x = split(lanes, flat)
    dual, curved = jax.linearize(
        lambda logits: loss_and_dual(lanes.loss, logits, lanes.targets)[1], logits
    )
    outer = lanes.column_weights * lanes.logit_scale
    scaled_dual = dual * outer[None]
    classifier, features, outer_dual = map(_held, (x.classifier, x.features, scaled_dual))

    def times(v: Point) -> Point:
        moved = (
            _product(v.classifier, x.features, "nn") + _product(x.classifier, v.features, "nn")
        ) * lanes.logit_scale[None]
        if v.bias is not None and lanes.bias_scale is not None:
            moved = moved + (v.bias * lanes.bias_scale[None])[:, None]
        bent = curved(moved)
        scaled = bent * outer[None]
        return Point(
            _after(scaled, features, "nt") + _before(outer_dual, v.features, "nt") + v.classifier,
            _after(v.classifier, outer_dual, "tn") + _before(classifier, scaled, "tn") + v.features,
            None if v.bias is None else _bias_gradient(lanes, v.bias, bent),
        )

    return times


def queue_of(problems: Problem) -> OneLayer:
    """What the method needs of stacked problems."""
    return jax.vmap(OneLayer.of)(problems)
