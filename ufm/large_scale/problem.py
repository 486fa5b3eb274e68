r"""One linear layer with tens of thousands of classes and columns.

Value, gradient and products without ever holding the K × C logits.

Columns are taken a chunk at a time; a chunk's logits are made, used for value and gradient in one
pass, and dropped. Memory is $O((K + C)\,d)$ for the variables plus $O(K \cdot \text{chunk})$.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._validate import require_instance, require_whole
from ufm.domains import Real
from ufm.labels import one_hot
from ufm.large_scale.sparse import SparseLabels
from ufm.losses import AbstractLoss, MeanSquaredError, loss_and_dual
from ufm.losses.base import require_loss
from ufm.model import Block, Blocks, Params, Problem, decay, require_shapes

# Narrower chunks waste the matrix unit; from the feature dimension on, a chunk of logits is as
# large as the classifier.
_LEAST_CHUNK = 128


class LargeProblem(eqx.Module):
    r"""The problem of `Problem` for one linear layer, with labels that need no K × C matrix.

    The objective is the same.

    `labels`: `SparseLabels`. `loss`: any loss of one sample. `feature_dim`: d. `lambda_W`,
    `lambda_H`, `bias`: as for `Problem`. `chunk`: how many columns of logits exist at a time; the
    feature dimension unless given (at least 128, at most C).

    Raises `ValueError` as `Problem` does, and for a chunk that is not a whole number >= 1.
    """

    labels: SparseLabels
    loss: AbstractLoss
    lambda_W: Float[Array, " 1"]
    lambda_H: Float[Array, ""]
    lambda_b: Float[Array, ""] | None
    feature_dim: int = eqx.field(static=True)
    bias: str | None = eqx.field(static=True)
    chunk: int = eqx.field(static=True)

    def __init__(
        self,
        labels: SparseLabels,
        *,
        loss: AbstractLoss,
        feature_dim: int,
        lambda_W,
        lambda_H,
        bias=None,
        chunk: int | None = None,
    ):
        hint = "ufm.SparseLabels; see ufm.sparse_one_hot and ufm.sparse_soft"
        require_instance("labels", labels, SparseLabels, hint)
        feature_dim = require_whole("feature_dim", feature_dim)
        require_loss(loss, (labels.num_classes, labels.num_columns), labels.dtype)
        # the checks of λ and bias are those of `Problem`, on labels of two classes
        small = one_hot((1, 1), collapsed=True, dtype=labels.dtype)
        plain = Problem(
            small,
            loss=MeanSquaredError(),
            widths=(feature_dim,),
            lambda_W=lambda_W,
            lambda_H=lambda_H,
            bias=bias,
        )
        self.labels, self.loss, self.feature_dim = labels, loss, plain.feature_dim
        self.lambda_W, self.lambda_H, self.lambda_b, self.bias = (
            plain.lambda_W,
            plain.lambda_H,
            plain.lambda_b,
            plain.bias,
        )
        if chunk is None:
            chunk = max(self.feature_dim, _LEAST_CHUNK)
        self.chunk = min(require_whole("chunk", chunk), labels.num_columns)

    # What `ufm.model` asks of a problem, for its checks and its decay: one free factor, free
    # features, nothing to pull them.
    depth = 1
    features = classifier = Real()
    anchor = beta = fixed_weights = None
    frozen = bounded = logarithmic = False

    @property
    def domains(self) -> dict[str, Real]:
        """None that constrain anything."""
        return {"features": self.features, "classifier": self.classifier}

    @property
    def blocks(self) -> Blocks:
        """W, H and bias as solvers see them.

        The unit of the bias gives it the curvature of a factor.
        """
        (lam,) = self.lambda_W
        bias = None
        if self.has_bias:
            curvature = jnp.maximum(
                self.typical / (self.labels.num_samples * jnp.sqrt(lam * self.lambda_H)), 1
            )
            penalty = 1 if self.lambda_b is None else 1 + self.lambda_b
            bias = Block(self.features, jnp.sqrt(penalty / curvature), (self.labels.num_classes,))
        W = Block(self.classifier, jnp.sqrt(lam), self.weight_shapes[0])
        H = Block(
            self.features,
            jnp.sqrt(self.lambda_H * self.labels.masses),
            (self.feature_dim, self.labels.num_columns),
        )
        return Blocks(weights=(W,), features=H, bias=bias)

    @property
    def typical(self) -> Float[Array, ""]:
        """The root mean square singular value of the mass-weighted targets."""
        return jnp.sqrt(self.labels.energy / min(self.labels.num_classes, self.labels.num_columns))

    def free_part(self, params: Params) -> Params:
        """All of it."""
        return params

    def filled(self, free: Params) -> Params:
        """Nothing is frozen."""
        return free

    @property
    def widths(self) -> tuple[int, ...]:
        """(d,)."""
        return (self.feature_dim,)

    @property
    def weight_shapes(self) -> tuple[tuple[int, int], ...]:
        """The shape of W."""
        return ((self.labels.num_classes, self.feature_dim),)

    @property
    def has_bias(self) -> bool:
        """Whether the logits carry a bias, free or penalised."""
        return self.bias is not None

    @property
    def dtype(self) -> np.dtype:
        """The float dtype of everything in the problem."""
        return self.labels.dtype

    def dense(self) -> Problem:
        """The same problem with its label matrix written out, for sizes where that fits."""
        bias = self.lambda_b if self.bias == "penalised" else self.bias
        return Problem(
            self.labels.dense(),
            loss=self.loss,
            widths=self.widths,
            lambda_W=self.lambda_W,
            lambda_H=self.lambda_H,
            bias=bias,
        )


class Chunk(NamedTuple):
    """Some columns: where they start, features (d, S), logits and targets (K, S), weights ω (S,),
    and which are new (S,), 1 or 0."""

    start: Array
    features: Float[Array, "d S"]
    logits: Float[Array, "K S"]
    targets: Float[Array, "K S"]
    weights: Float[Array, " S"]
    new: Float[Array, " S"]


def over_chunks(problem: LargeProblem, params: Params, body, carry):
    """Fold `body(chunk, carry)` over all columns, `problem.chunk` at a time. Runs inside `jit`.

    The last chunk reaches back over columns that were met before rather than past the end; `new` is
    0 on those.
    """
    C, size = problem.labels.num_columns, problem.chunk
    (W,) = params.weights
    column_weights = problem.labels.column_weights

    def step(i, carry):
        first = i * size
        start = jnp.minimum(first, C - size)
        features = jax.lax.dynamic_slice_in_dim(params.features, start, size, axis=1)
        logits = product(W, features)
        if params.bias is not None:
            logits = logits + params.bias[:, None]
        new = (start + jnp.arange(size, dtype=start.dtype) >= first).astype(problem.dtype)
        weights = jax.lax.dynamic_slice_in_dim(column_weights, start, size)
        return body(
            Chunk(start, features, logits, problem.labels.columns(start, size), weights, new), carry
        )

    return jax.lax.fori_loop(jnp.int32(0), jnp.int32(math.ceil(C / size)), step, carry)


def product(a: Array, b: Array) -> Array:
    """A matrix product in full precision.

    Accelerators round float32 factors to ten bits unless told not to.
    """
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def value_and_gradient(problem: LargeProblem, params: Params) -> tuple[Float[Array, ""], Params]:
    """The objective and its gradient in one pass over the columns. Runs inside `jit`."""
    (W,) = params.weights

    def body(chunk: Chunk, carry):
        total, in_weights, in_features, in_bias = carry
        losses, dual = loss_and_dual(problem.loss, chunk.logits, chunk.targets)
        pulled = dual * chunk.weights[None, :]
        # columns met before get the same gradient again; sums must not count them again
        in_features = jax.lax.dynamic_update_slice_in_dim(
            in_features, product(W.T, pulled), chunk.start, axis=1
        )
        pulled = pulled * chunk.new[None, :]
        if in_bias is not None:
            in_bias = in_bias + jnp.sum(pulled, axis=1)
        total = total + jnp.dot(losses, chunk.weights * chunk.new)
        return total, in_weights + product(pulled, chunk.features.T), in_features, in_bias

    zero = jnp.zeros((), problem.dtype)
    start = (
        zero,
        jnp.zeros_like(W),
        jnp.zeros_like(params.features),
        None if params.bias is None else jnp.zeros_like(params.bias),
    )
    fit, in_weights, in_features, in_bias = over_chunks(problem, params, body, start)
    shrinkage, shrink = jax.value_and_grad(lambda params: decay(as_problem(problem), params))(
        params
    )
    gradient = Params(weights=(in_weights,), features=in_features, bias=in_bias)
    return fit + shrinkage, jax.tree.map(jnp.add, gradient, shrink)


def large_objective(problem: LargeProblem, params: Params) -> Float[Array, ""]:
    """Value of the objective, as `objective` for a `Problem`, and differentiable in `params`.

    Runs inside `jit`.

    Reverse-mode differentiation takes the gradient from the same pass over the columns and keeps
    nothing of size K × C.
    """
    require_instance("problem", problem, LargeProblem)
    require_shapes(as_problem(problem), params)

    @jax.custom_vjp
    def value(params: Params):
        return _value(problem, params)

    def forward(params: Params):
        return value_and_gradient(problem, params)

    def backward(gradient: Params, cotangent):
        return (jax.tree.map(lambda leaf: cotangent * leaf, gradient),)

    value.defvjp(forward, backward)
    return value(params)


def _value(problem: LargeProblem, params: Params) -> Float[Array, ""]:
    """The objective without its gradient."""

    def body(chunk: Chunk, total):
        return total + jnp.dot(problem.loss(chunk.logits, chunk.targets), chunk.weights * chunk.new)

    fit = over_chunks(problem, params, body, jnp.zeros((), problem.dtype))
    return fit + decay(as_problem(problem), params)


def as_problem(problem: LargeProblem) -> Any:
    """For functions of `ufm.model` that only ask what a `LargeProblem` can answer as well."""
    return problem
