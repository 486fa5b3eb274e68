"""Losses of one sample, as functions of its logits, with their convex conjugates. The objective does the `vmap`."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class AbstractLoss(eqx.Module):
    """A loss convex in the logits. A new loss gives its value, its conjugate and its best bias; everything else follows."""

    @abstractmethod
    def __call__(self, logits: Float[Array, " K"], target: Float[Array, " K"]) -> Float[Array, ""]:
        """Loss of one sample."""

    @abstractmethod
    def conjugate(self, dual: Float[Array, " K"], target: Float[Array, " K"]) -> Float[Array, ""]:
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

    def __call__(self, logits: Float[Array, " K"], target: Float[Array, " K"]) -> Float[Array, ""]:
        """Loss of one sample."""
        return 0.5 * jnp.sum((logits - target) ** 2)

    def conjugate(self, dual: Float[Array, " K"], target: Float[Array, " K"]) -> Float[Array, ""]:
        r"""$\tfrac12\|u\|^2 + q^\top u$."""
        return 0.5 * jnp.sum(dual**2) + jnp.dot(target, dual)

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


class CrossEntropy(AbstractLoss):
    r"""Softmax cross-entropy of one sample, $-\sum_k q_k \log p_k$ with $p = \mathrm{softmax}(z)$.

    Written $\mathrm{logsumexp}(z) - q^\top z$, which is the same for targets that sum to one and convex for all.
    """

    def __call__(self, logits: Float[Array, " K"], target: Float[Array, " K"]) -> Float[Array, ""]:
        """Loss of one sample."""
        return jax.nn.logsumexp(logits) - jnp.dot(target, logits)

    def conjugate(self, dual: Float[Array, " K"], target: Float[Array, " K"]) -> Float[Array, ""]:
        r"""$\sum_k (q+u)_k \log (q+u)_k$ where $q + u$ lies on the simplex, else $+\infty$."""
        point = target + dual
        # rounding of a point that lies on the simplex exactly: K terms of size eps
        slack = 16 * len(target) * jnp.finfo(point.dtype).eps
        inside = jnp.all(point >= -slack) & (jnp.abs(jnp.sum(point) - 1) <= slack)
        clipped = jnp.maximum(point, 0)
        return jnp.where(inside, jnp.sum(jax.scipy.special.xlogy(clipped, clipped)), jnp.inf)

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
