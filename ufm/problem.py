r"""The one problem of the library, and the one place where its normalisation is stated.

$$\min\ \sum_c \omega_c\,\ell(z_c, q_c) + \sum_m \tfrac{\lambda_m}{2}\|W_m\|_F^2 + \tfrac{\lambda_H}{2}\sum_c m_c\|h_c\|^2
  \;[+ \tfrac{\beta}{2}\sum_c m_c\|h_c - h^0_c\|^2] + \tfrac{\lambda_b}{2}\|b\|^2,\qquad Z = W_M\cdots W_1 H + b\mathbf 1^\top,$$

with $\omega_c = m_c w_c/\sum m w$: the loss is a mean over samples, the decay of the features a sum over samples. The weights $w_c$ are 1
unless the labels say otherwise. Features may be constrained to be nonnegative, as after a ReLU.
"""

from __future__ import annotations

import functools
import operator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._validate import (
    Shown,
    concrete,
    require,
    require_choice,
    require_dtype,
    require_finite,
    require_instance,
    require_nonnegative,
    require_positive,
    require_real,
    require_whole,
)
from ufm.labels import Labels
from ufm.losses import AbstractLoss, loss_and_dual
from ufm.losses.base import require_loss, unit_roundoff

# What features may be: any numbers, or numbers >= 0.
FEATURES = ("free", "nonnegative")


class Params(eqx.Module):
    """Factors (W_M, …, W_1), outermost first; features H (d_1, C); bias (K,) or None."""

    weights: tuple[Float[Array, "_ _"], ...]
    features: Float[Array, "d C"]
    bias: Float[Array, " K"] | None = None

    @property
    def classifier(self) -> Float[Array, "K d"]:
        """The product W = W_M … W_1."""
        return functools.reduce(operator.matmul, self.weights)

    @property
    def logits(self) -> Float[Array, "K C"]:
        """Z = W_M … W_1 H + b 1ᵀ. The product of the weights comes first: K <= C makes that the cheap order."""
        logits = self.classifier @ self.features
        return logits if self.bias is None else logits + self.bias[:, None]


class Problem(eqx.Module):
    r"""A label matrix, a loss on the logits, and decay on the factors; see the top of `ufm/problem.py` for the objective.

    `labels`: `Labels` with targets (K, C). `loss`: a loss of one sample. `widths` (d_1, …, d_M): feature dimension first; the depth M
    is its length, W_1 has shape (d_2, d_1) and W_M has shape (K, d_M). `lambda_W`: one float for all factors or M of them,
    outermost (W_M) first like `Params.weights`. `lambda_H`: decay per sample. `bias`: None, "free" (not penalised) or the penalty λ_b > 0.
    `anchor` (d_1, C) and `beta` > 0 pull the features to given ones. `fixed_weights` (W_M, …, W_1) freezes the factors at these
    values, so that only features and bias are free. `features`: "free", or "nonnegative" for $H \ge 0$ entry by entry. λ, β,
    masses and targets may be traced: sweeping them does not recompile.

    λ = 0 is accepted here (gradient flows without decay are well posed); minimisers, closed forms and certificates require λ > 0.

    Raises `ValueError` for widths below 1, a kind of `features` that does not exist, negative or non-finite λ, a wrong number of λ_W,
    targets with which the loss has no minimum (`AbstractLoss.check_targets`),
    `beta` without `anchor` or the reverse,
    and arrays of the wrong shape or dtype.
    """

    labels: Labels
    loss: AbstractLoss
    lambda_W: Float[Array, " M"]
    lambda_H: Float[Array, ""]
    lambda_b: Float[Array, ""] | None
    anchor: Float[Array, "d C"] | None
    beta: Float[Array, ""] | None
    fixed_weights: tuple[Float[Array, "_ _"], ...] | None
    widths: tuple[int, ...] = eqx.field(static=True)
    bias: str | None = eqx.field(static=True)
    features: str = eqx.field(static=True)

    def __init__(
        self,
        labels: Labels,
        *,
        loss: AbstractLoss,
        widths,
        lambda_W,
        lambda_H,
        bias=None,
        anchor=None,
        beta=None,
        fixed_weights=None,
        features: str = "free",
    ):
        require_instance("labels", labels, Labels, "ufm.Labels; see ufm.one_hot and ufm.soft")
        require_loss(loss, labels.targets.shape, labels.targets.dtype)
        require_choice("features", features, FEATURES)
        targets = concrete(labels.targets)
        if targets is not None:
            loss.check_targets(targets)
        dtype = labels.targets.dtype
        self.features = features
        self.labels = labels
        self.loss = loss
        self.widths = _checked_widths(widths)
        M = len(self.widths)
        require_nonnegative("lambda_W", lambda_W)
        several = f"`lambda_W` must be a float or one float per factor (M = {M})"
        require(np.shape(lambda_W) in ((), (M,)), several, Shown(lambda_W))
        require_dtype("lambda_W", lambda_W, dtype)
        require_nonnegative("lambda_H", lambda_H, shape=())
        require_dtype("lambda_H", lambda_H, dtype)
        self.lambda_W = jnp.broadcast_to(jnp.asarray(lambda_W, dtype), (M,))
        self.lambda_H = jnp.asarray(lambda_H, dtype)
        if not isinstance(bias, int | float | np.generic | np.ndarray | jax.Array) or isinstance(bias, bool):
            free = isinstance(bias, str) and bias == "free"
            require(free or bias is None, '`bias` must be None, "free" or a penalty > 0', Shown(bias))
            self.bias, self.lambda_b = "free" if free else None, None
        else:
            require_positive("bias", bias, ' as a penalty (an unpenalised bias is "free")', shape=())
            require_dtype("bias", bias, dtype)
            self.bias, self.lambda_b = "penalised", jnp.asarray(bias, dtype)
        together = "`anchor` and `beta` must be given together"
        require((anchor is None) == (beta is None), together, f"only {'`anchor`' if beta is None else '`beta`'}")
        if anchor is None:
            self.anchor = self.beta = None
        else:
            assert beta is not None
            require_positive("beta", beta, shape=())
            require_dtype("beta", beta, dtype)
            self.anchor = _checked_array("anchor", anchor, (self.widths[0], labels.num_columns), dtype)
            self.beta = jnp.asarray(beta, dtype)
        self.fixed_weights = None
        if fixed_weights is not None:
            _require_factors("fixed_weights", fixed_weights, M)
            self.fixed_weights = tuple(
                _checked_array(f"fixed_weights[{i}]", W, shape, dtype)
                for i, (W, shape) in enumerate(zip(fixed_weights, self.weight_shapes, strict=True))
            )

    @property
    def depth(self) -> int:
        """M, the number of linear layers after the features."""
        return len(self.widths)

    @property
    def feature_dim(self) -> int:
        """d = d_1."""
        return self.widths[0]

    @property
    def weight_shapes(self) -> tuple[tuple[int, int], ...]:
        """Shapes of (W_M, …, W_1)."""
        outward = (*self.widths, self.labels.num_classes)
        return tuple((outward[m + 1], outward[m]) for m in reversed(range(self.depth)))

    @property
    def has_bias(self) -> bool:
        """Whether the logits carry a bias, free or penalised."""
        return self.bias is not None

    @property
    def dtype(self) -> np.dtype:
        """The float dtype of everything in the problem."""
        return self.labels.targets.dtype


def with_canonical_loss(problem):
    """The same problem with the simplest loss of the same values, whose bounds and structure are known."""
    # of the class, as equinox makes an object for a method of an object, which takes longer than the method
    simplest = type(problem.loss).canonical(problem.loss)
    return problem if simplest is problem.loss else eqx.tree_at(lambda p: p.loss, problem, simplest)


def objective(problem: Problem, params: Params) -> Float[Array, ""]:
    """Value of the objective at `params`: mean loss plus decay (and anchor), in the library's normalisation. Runs inside `jit`."""
    require_instance("problem", problem, Problem)
    require_shapes(problem, params)
    return fit(problem, params.logits) + decay(problem, params)


def fit(problem: Problem, logits: Float[Array, "K C"]) -> Float[Array, ""]:
    r"""The loss part $\sum_c \omega_c\,\ell(z_c, q_c)$."""
    return jnp.dot(problem.labels.column_weights, problem.loss(logits, problem.labels.targets))


def decay(problem: Problem, params: Params) -> Float[Array, ""]:
    """The ridge on factors, features and bias, and the pull to the anchor."""
    masses = problem.labels.masses
    total = 0.5 * problem.lambda_H * jnp.dot(masses, jnp.sum(params.features**2, axis=0))
    for lam, W in zip(problem.lambda_W, params.weights, strict=True):
        total += 0.5 * lam * jnp.sum(W**2)
    if problem.anchor is not None and problem.beta is not None:
        total += 0.5 * problem.beta * jnp.dot(masses, jnp.sum((params.features - problem.anchor) ** 2, axis=0))
    if problem.lambda_b is not None and params.bias is not None:
        total += 0.5 * problem.lambda_b * jnp.sum(params.bias**2)
    return total


def objective_error(problem: Problem, params: Params) -> Float[Array, ""]:
    r"""What rounding can amount to in `objective` at `params`, to first order. Runs inside `jit`.

    $\sum_c\omega_c(|u_c|^\top\delta z_c + \ldots)$: the error of the logits, from the lengths of the rows and columns that are multiplied,
    times the gradient of the loss; the error of the loss itself; that of the sums.
    """
    labels, unit = problem.labels, unit_roundoff(problem.dtype)
    logits = params.logits
    losses, dual = loss_and_dual(problem.loss, logits, labels.targets)
    sizes = jnp.abs(dual)
    outer, *inner = params.weights
    rows = jnp.sqrt(jnp.sum(outer**2, axis=1))
    for W in inner:
        rows = rows * jnp.sqrt(jnp.sum(W**2))
    columns = jnp.sqrt(jnp.sum(params.features**2, axis=0))
    terms = terms_of_sum(sum(problem.widths) + 2 * problem.depth + 4)
    # by so many roundings of rows_k columns_c, and of |b_k|, is z_kc off: no array of its own
    of_product, of_bias = (terms + 2) * unit * columns, jnp.zeros_like(rows)
    if params.bias is not None:
        of_bias = 2 * unit * jnp.abs(params.bias)
    pulled = (rows @ sizes) * of_product + of_bias @ sizes
    curved = 2 * (jnp.sum(rows**2) * of_product**2 + jnp.sum(of_bias**2))
    of_loss = pulled + curved + problem.loss.value_error(logits, labels.targets)
    number = labels.num_columns
    summed = unit * terms_of_sum(2 * number + 4) * jnp.abs(losses)
    size = max(W.size for W in (*params.weights, params.features))
    of_decay = unit * terms_of_sum(size + 2 * number + 8) * decay(problem, params)
    return jnp.dot(labels.column_weights, of_loss + summed) + of_decay


def terms_of_sum(number: int) -> float:
    """By how many roundings a sum of so many terms can be off, relative to the sum of their sizes.

    Each term, for short sums. A long one is off by that only if all errors have one sign: 8 √n is passed with
    probability below 1e-13 if they are as good as independent (Higham & Mary 2019).
    """
    return min(number, 64 + 8 * number**0.5)


def check_params(problem: Problem, params: Params, *, name: str = "params") -> Params:
    """`params` as arrays of the problem's dtype; `ValueError` naming the first part whose shape, dtype, values or signs do not fit."""
    given, dtype = _parts(problem, params, name), problem.dtype
    parts = [_checked_array(part, value, shape, dtype) for part, value, shape in given]
    same = all(part is value for part, (_, value, _) in zip(parts, given, strict=True))
    bias = parts.pop() if problem.has_bias else None
    *weights, features = parts
    if problem.features == "nonnegative" and (values := concrete(features)) is not None:
        wanted = f'`{name}.features` must be >= 0 for features="nonnegative"'
        require(np.all(values >= 0), wanted, np.min(values))
    if same and isinstance(params.weights, tuple):
        return params
    return Params(weights=tuple(weights), features=features, bias=bias)


def require_shapes(problem: Problem, params: Params) -> None:
    """`ValueError` unless `params` has the shapes of a point of the problem. Reads no values, so it runs inside `jit`."""
    for part, value, shape in _parts(problem, params, "params"):
        require_real(part, value, shape=shape)


def _parts(problem: Problem, params: Params, name: str) -> list[tuple[str, Any, tuple[int, ...]]]:
    """Factors, features and bias, each with its name and the shape that it must have."""
    require_instance(name, params, Params)
    _require_factors(f"{name}.weights", params.weights, problem.depth)
    K, C = problem.labels.num_classes, problem.labels.num_columns
    parts: list[tuple[str, Any, tuple[int, ...]]] = [
        (f"{name}.weights[{i}]", W, shape) for i, (W, shape) in enumerate(zip(params.weights, problem.weight_shapes, strict=True))
    ]
    parts.append((f"{name}.features", params.features, (problem.feature_dim, C)))
    wanted = f"`{name}.bias` must be {'an array' if problem.has_bias else 'None'}"
    require((params.bias is not None) == problem.has_bias, wanted, Shown(params.bias))
    return [*parts, (f"{name}.bias", params.bias, (K,))] if problem.has_bias else parts


def require_decay(problem: Problem, purpose: str) -> None:
    """`ValueError` unless every λ that acts on a free factor is positive, which `purpose` needs."""
    if problem.fixed_weights is None:
        require_positive("lambda_W", problem.lambda_W, f" for {purpose}")
    if problem.beta is None:
        require_positive("lambda_H", problem.lambda_H, f" for {purpose}")


def require_minimum(problem: Problem, purpose: str) -> None:
    """`ValueError` unless the infimum is attained: λ > 0 on free factors, and no bias that is best at −∞."""
    require_decay(problem, purpose)
    if problem.bias == "free" and problem.loss.needs_every_class:
        absent = problem.labels.absent_classes
        words = (
            f"`labels` must give every class some target for {purpose} with a free bias: the infimum is not attained, "
            "as the bias of an absent class is best at -inf (leave the class out, or give the bias a penalty)"
        )
        require(len(absent) == 0, words, f"no target for class {', '.join(map(str, absent[:5]))}")


def require_free_features(problem: Problem, purpose: str) -> None:
    """`ValueError` for nonnegative features, which `purpose` does not cover."""
    require(problem.features == "free", f'`problem.features` must be "free" for {purpose}', problem.features)


def _checked_widths(widths) -> tuple[int, ...]:
    several = isinstance(widths, tuple | list) and len(widths) >= 1
    require(several, "`widths` must be a tuple (d_1, …, d_M) with M >= 1", Shown(widths))
    return tuple(require_whole(f"widths[{i}]", d) for i, d in enumerate(widths))


def _require_factors(name: str, weights, depth: int) -> None:
    several = isinstance(weights, tuple | list)
    wanted = f"`{name}` must hold the M = {depth} factors (W_M, …, W_1)"
    require(several, wanted, Shown(weights))
    require(len(weights) == depth, wanted, len(weights))


def _checked_array(name: str, value, shape: tuple[int, ...], dtype) -> Array:
    require_finite(name, value, shape=shape)
    require_dtype(name, value, dtype)
    made = isinstance(value, jax.Array) and value.dtype == dtype and not value.weak_type
    return value if made else jnp.asarray(value, dtype)
