"""Losses of samples, as functions of their logits, with their convex conjugates."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ufm._validate import concrete, float_dtype, require, require_nonnegative, require_positive


class AbstractLoss(eqx.Module):
    """A loss of the logits. A new loss gives its value, its conjugate and its best bias; everything else follows.

    `convex`: whether it is convex in the logits; one that is not has no conjugate that bounds anything, and no certificate.
    """

    convex: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]) -> Float[Array, ...]:
        """Loss of every sample: classes on the first axis, samples on any further ones."""

    @abstractmethod
    def conjugate(self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]) -> Float[Array, ...]:
        r"""$\ell^*(u; q) = \sup_z u^\top z - \ell(z; q)$, $+\infty$ outside its domain."""

    @abstractmethod
    def best_bias(
        self, logits: Float[Array, "K C"], targets: Float[Array, "K C"], column_weights: Float[Array, " C"]
    ) -> Float[Array, " K"]:
        r"""$\arg\min_b \sum_c \omega_c\,\ell(z_c + b; q_c)$; any one of them where a shift of all logits costs nothing."""

    def dual_scale(
        self,
        dual: Float[Array, "K C"],
        targets: Float[Array, "K C"],
        column_weights: Float[Array, " C"],
        *,
        limit: Float[Array, ""],
        quadratic: Float[Array, ""],
    ) -> Float[Array, ""]:
        r"""A good t in [0, `limit`] for $-\sum_c \omega_c \ell^*(t u_c; q_c) - \tfrac12 t^2\,$`quadratic`, with u = `dual` a gradient.

        $\min(1, t_{\max})$ serves every convex loss: t <= 1 stays inside the domain, and at a stationary point the slope of the bound
        at t = 1 is $\lambda_W\|W\|^2 \ge 0$, so that by concavity no smaller t is better there.
        """
        return jnp.minimum(1, limit)


class MeanSquaredError(AbstractLoss):
    r"""Squared error of one sample, $\tfrac12 \|z - q\|^2$ (no division by K)."""

    def __call__(self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]) -> Float[Array, ...]:
        """Loss of every sample."""
        return 0.5 * jnp.sum((logits - targets) ** 2, axis=0)

    def conjugate(self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]) -> Float[Array, ...]:
        r"""$\tfrac12\|u\|^2 + q^\top u$."""
        return jnp.sum(0.5 * dual**2 + targets * dual, axis=0)

    def best_bias(
        self, logits: Float[Array, "K C"], targets: Float[Array, "K C"], column_weights: Float[Array, " C"]
    ) -> Float[Array, " K"]:
        """The weighted mean of the residuals."""
        return (targets - logits) @ column_weights

    def dual_scale(
        self,
        dual: Float[Array, "K C"],
        targets: Float[Array, "K C"],
        column_weights: Float[Array, " C"],
        *,
        limit: Float[Array, ""],
        quadratic: Float[Array, ""],
    ) -> Float[Array, ""]:
        """The best t exactly: the bound is a parabola in t."""
        slope = -jnp.sum((targets * dual) @ column_weights)
        curvature = jnp.sum(dual**2 @ column_weights) + quadratic
        return jnp.clip(slope / jnp.where(curvature > 0, curvature, 1), 0, limit)


class RescaledSquaredError(AbstractLoss):
    r"""Squared error on rescaled targets, $\tfrac12\sum_j (1 + (k-1) q_j)(z_j - M q_j)^2$: weight k on the true class, target length M.

    `length` M > 0 and `weight` k > 0; with both 1 it is `MeanSquaredError`. Both may be traced. Targets are probabilities (q_j >= 0).

    Raises `ValueError` for a length or weight that is not positive. Source: the rescaled loss in the experiments of Zhou et al. 2022.
    """

    length: Float[Array, ""]
    weight: Float[Array, ""]

    def __init__(self, *, length=1.0, weight=1.0):
        self.length = _parameter("length", length, require_positive)
        self.weight = _parameter("weight", weight, require_positive)

    def __call__(self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]) -> Float[Array, ...]:
        """Loss of every sample."""
        weights, wanted = self._rescaled(targets)
        return 0.5 * jnp.sum(weights * (logits - wanted) ** 2, axis=0)

    def _rescaled(self, targets: Array) -> tuple[Array, Array]:
        """Weights 1 + (k − 1) q and targets M q."""
        weight, length = _number(self.weight, beside=targets), _number(self.length, beside=targets)
        return 1 + (weight - 1) * targets, length * targets

    def conjugate(self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]) -> Float[Array, ...]:
        r"""$\tfrac12\sum_j u_j^2/(1 + (k-1)q_j) + M q^\top u$."""
        weights, wanted = self._rescaled(targets)
        return jnp.sum(0.5 * dual**2 / weights + wanted * dual, axis=0)

    def best_bias(
        self, logits: Float[Array, "K C"], targets: Float[Array, "K C"], column_weights: Float[Array, " C"]
    ) -> Float[Array, " K"]:
        """The mean of the residuals, weighted row by row."""
        weights, wanted = self._rescaled(targets)
        return (weights * (wanted - logits)) @ column_weights / (weights @ column_weights)


class CrossEntropy(AbstractLoss):
    r"""Softmax cross-entropy of one sample, $-\sum_k q_k \log p_k$ with $p = \mathrm{softmax}(z)$.

    Written $\mathrm{logsumexp}(z) - q^\top z$, which is the same for targets that sum to one and convex for all.
    """

    def __call__(self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]) -> Float[Array, ...]:
        """Loss of every sample."""
        return jax.nn.logsumexp(logits, axis=0) - jnp.sum(targets * logits, axis=0)

    def conjugate(self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]) -> Float[Array, ...]:
        r"""$\sum_k (q+u)_k \log (q+u)_k$ where $q + u$ lies on the simplex, else $+\infty$."""
        point = targets + dual
        # rounding of a point that lies on the simplex exactly: K terms of size eps
        slack = 16 * len(targets) * jnp.finfo(point.dtype).eps
        inside = jnp.all(point >= -slack, axis=0) & (jnp.abs(jnp.sum(point, axis=0) - 1) <= slack)
        clipped = jnp.maximum(point, 0)
        return jnp.where(inside, jnp.sum(jax.scipy.special.xlogy(clipped, clipped), axis=0), jnp.inf)

    def best_bias(
        self, logits: Float[Array, "K C"], targets: Float[Array, "K C"], column_weights: Float[Array, " C"]
    ) -> Float[Array, " K"]:
        """Newton with backtracking from b = 0, in the K-dimensional bias, until rounding stops it."""
        K = logits.shape[0]
        eps = jnp.finfo(logits.dtype).eps
        wanted = targets @ column_weights

        def at(bias) -> _BiasPoint:
            shifted = logits + bias[:, None]
            log_sums = jax.nn.logsumexp(shifted, axis=0)
            probabilities = jnp.exp(shifted - log_sums[None, :])
            value = jnp.dot(column_weights, log_sums - jnp.sum(targets * shifted, axis=0))
            return _BiasPoint(bias, value, probabilities @ column_weights - wanted, probabilities)

        # logits of size s give log-sums, and so values, that are known to eps * s
        noise = 8 * eps * (1 + jnp.max(jnp.abs(logits)))

        def newton(state):
            here, steps, _ = state
            weighted = here.probabilities * column_weights[None, :]
            # ones/K fixes the gauge (a common shift); the ridge vanishes with the gradient, so the convergence stays quadratic
            ridge = 1e-3 * jnp.sqrt(jnp.sum(here.gradient**2)) + eps
            hessian = jnp.diag(jnp.sum(weighted, axis=1) + ridge) - weighted @ here.probabilities.T + 1 / K
            step = -jnp.linalg.solve(hessian, here.gradient)
            slope = jnp.dot(here.gradient, step)

            def good(length, there: _BiasPoint):
                descends = (here.value - there.value >= -1e-4 * length * slope) & (here.value - there.value > noise)
                # near the end values are noise and only the gradient can tell
                flattens = (jnp.sum(there.gradient**2) <= 0.25 * jnp.sum(here.gradient**2)) & (there.value <= here.value + noise)
                return descends | flattens

            def unfinished(trial):
                length, there = trial
                return ~good(length, there) & (-length * slope > eps * noise) & (length > eps)

            def halve(trial):
                length = trial[0] / 2
                return length, at(here.bias + length * step)

            length, there = jax.lax.while_loop(unfinished, halve, (jnp.ones_like(here.value), at(here.bias + step)))
            moved = good(length, there)
            return jax.tree.map(lambda new, old: jnp.where(moved, new, old), there, here), steps + 1, moved

        def running(state) -> Bool[Array, ""]:
            here, steps, moved = state
            return moved & (steps < 100) & (jnp.sum(here.gradient**2) > eps**2)

        start: tuple[_BiasPoint, Int[Array, ""], Bool[Array, ""]] = (at(jnp.zeros(K, logits.dtype)), jnp.asarray(0), jnp.asarray(True))
        return jax.lax.while_loop(running, newton, start)[0].bias


class _BiasPoint(NamedTuple):
    """A bias, and the mean cross-entropy, its gradient (K,) and the class probabilities (K, C) there."""

    bias: Float[Array, " K"]
    value: Float[Array, ""]
    gradient: Float[Array, " K"]
    probabilities: Float[Array, "K C"]


class AdjustedCrossEntropy(AbstractLoss):
    r"""Cross-entropy of logits scaled and shifted class by class, $\mathrm{CE}(\Delta\circ z + \iota)$: the losses made for long tails.

    `multiplicative` $\Delta$ (K,) > 0 and `additive` $\iota$ (K,); ones and zeros unless given. $\iota_k = \tau\log n_k$ is logit
    adjustment (Menon et al. 2021), $\Delta_k = (n_k/n_{\max})^\gamma$ is a class-dependent temperature (Ye et al. 2020), and both
    together are the vector-scaling loss (Kini et al. 2021). Both may be traced. Convex in the logits.

    Raises `ValueError` when neither is given, for entries of `multiplicative` that are not positive, entries of `additive` that are not
    finite, and shapes other than (K,).
    """

    multiplicative: Float[Array, " K"]
    additive: Float[Array, " K"]

    def __init__(self, *, multiplicative=None, additive=None):
        given = additive if multiplicative is None else multiplicative
        shape = () if given is None else np.shape(given)
        require(len(shape) == 1, "`multiplicative` or `additive` must be given, one number per class", given)
        self.multiplicative = _parameter(
            "multiplicative", np.ones(shape) if multiplicative is None else multiplicative, require_positive, shape
        )
        self.additive = _parameter("additive", np.zeros(shape) if additive is None else additive, _require_finite, shape)

    def _at(self, logits: Array) -> tuple[Array, Array]:
        """Δ and ι in the dtype of the logits (K, …), with as many axes."""
        K = len(logits)
        require(len(self.additive) == K, f"`multiplicative` and `additive` must have shape ({K},)", self.additive.shape)
        return _numbers(self.multiplicative, beside=logits), _numbers(self.additive, beside=logits)

    def __call__(self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]) -> Float[Array, ...]:
        """Loss of every sample."""
        scale, shift = self._at(logits)
        return CrossEntropy()(scale * logits + shift, targets)

    def conjugate(self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]) -> Float[Array, ...]:
        r"""That of cross-entropy at $u/\Delta$, less $\iota^\top u/\Delta$."""
        scale, shift = self._at(dual)
        return CrossEntropy().conjugate(dual / scale, targets) - jnp.sum(shift * dual / scale, axis=0)

    def best_bias(
        self, logits: Float[Array, "K C"], targets: Float[Array, "K C"], column_weights: Float[Array, " C"]
    ) -> Float[Array, " K"]:
        """That of cross-entropy for the adjusted logits, over Δ."""
        scale, shift = self._at(logits)
        return CrossEntropy().best_bias(scale * logits + shift, targets, column_weights) / scale[:, 0]


class Focal(AbstractLoss):
    r"""Focal loss of one sample, $-\sum_k q_k (1-p_k)^\gamma\log p_k$ with $p = \mathrm{softmax}(z)$.

    `gamma` >= 0, which may be traced; 0 is cross-entropy. It is not convex in the logits for $\gamma > 0$, so there is no certificate.

    Raises `ValueError` for a negative `gamma`. Source: Lin et al. 2017.
    """

    convex: ClassVar[bool] = False
    gamma: Float[Array, ""]

    def __init__(self, gamma):
        self.gamma = _parameter("gamma", gamma, require_nonnegative)

    def __call__(self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]) -> Float[Array, ...]:
        """Loss of every sample."""
        log_p = jax.nn.log_softmax(logits, axis=0)
        # at 1 − p = 0 a power below 2 has no second derivative; the floor is far below the rounding of 1 − p
        missing = jnp.maximum(-jnp.expm1(log_p), float(jnp.finfo(log_p.dtype).eps) ** 2)
        return -jnp.sum(targets * missing ** _number(self.gamma, beside=log_p) * log_p, axis=0)

    def conjugate(self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]) -> Float[Array, ...]:
        """Not given: raises `ValueError`."""
        raise ValueError("`loss` must be convex in the logits for a conjugate; got Focal")

    def best_bias(
        self, logits: Float[Array, "K C"], targets: Float[Array, "K C"], column_weights: Float[Array, " C"]
    ) -> Float[Array, " K"]:
        """Not given: raises `ValueError`."""
        raise ValueError("`loss` must be convex in the logits for its best bias; got Focal")


def loss_and_dual(
    loss: AbstractLoss, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
) -> tuple[Float[Array, ...], Float[Array, "K ..."]]:
    """Loss of every sample, and its gradient in the logits. Runs inside `jit`."""
    losses, pull = jax.vjp(lambda logits: loss(logits, targets), logits)
    return losses, pull(jnp.ones_like(losses))[0]


def _number(parameter: Array, *, beside: Array) -> Array:
    """A parameter () with as many axes as the array `beside`, in its dtype; (B,) for the last axis of that, one number for each lane."""
    return parameter.astype(beside.dtype).reshape((1,) * (beside.ndim - parameter.ndim) + parameter.shape)


def _numbers(parameter: Array, *, beside: Array) -> Array:
    """A parameter (K,), or (K, B), likewise beside (K, …)."""
    missing = (1,) * (beside.ndim - parameter.ndim)
    return parameter.astype(beside.dtype).reshape(parameter.shape[:1] + missing + parameter.shape[1:])


def _parameter(name: str, value, check, shape: tuple[int, ...] = ()) -> Array:
    """A (possibly traced) parameter of a loss as a float array."""
    require(np.shape(value) == shape, f"`{name}` must have shape {shape}", np.shape(value))
    check(name, value)
    return jnp.asarray(value, float_dtype())


def _require_finite(name: str, value) -> None:
    array = concrete(value)
    require(array is None or np.all(np.isfinite(array)), f"`{name}` must be finite", value)
