"""Softmax cross-entropy, plain and adjusted class by class."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ufm._validate import concrete, require, require_positive
from ufm.losses.base import AbstractLoss, parameter, per_class, require_finite
from ufm.losses.rows import AbstractRows, EntropyRows


class CrossEntropy(AbstractLoss):
    r"""Softmax cross-entropy of one sample, $-\sum_k q_k \log p_k$ with $p = \mathrm{softmax}(z)$.

    Written $\mathrm{logsumexp}(z) - q^\top z$, which is the same for targets that sum to one and convex for all.
    """

    name: ClassVar[str] = "cross-entropy"
    shift_invariant: ClassVar[bool] = True

    def rows(self, root: Float[Array, "K K"], scale: Float[Array, ""], gamma: Float[Array, ""]) -> AbstractRows:
        """The Hessian is that of the softmax, explicit under a simplex ETF."""
        return EntropyRows(scale)

    def centring(self, mean_dual: Float[Array, " K"], mean_target: Float[Array, " K"]) -> Any:
        """The share that each class loses of its probability, and how what was lost is given out."""
        predicted, short = mean_target + mean_dual, jnp.maximum(-mean_dual, 0)
        missing = jnp.sum(short)
        share = short / jnp.where(missing > 0, missing, 1)
        given = jnp.where(missing > 0, share, 1 / len(mean_dual))
        return jnp.maximum(mean_dual, 0) / jnp.where(predicted > 0, predicted, 1), given

    def centred(self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."], centring: Any) -> Float[Array, "K ..."]:
        """Probability moved from classes predicted too often to those predicted too rarely."""
        taken, given = (per_class(part, beside=dual) for part in centring)
        moved = taken * (targets + dual)
        return dual - moved + given * jnp.sum(moved, axis=0, keepdims=True)

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

    name: ClassVar[str] = "adjusted-cross-entropy"
    multiplicative: Float[Array, " K"]
    additive: Float[Array, " K"]

    def __init__(self, *, multiplicative=None, additive=None):
        given = additive if multiplicative is None else multiplicative
        shape = () if given is None else np.shape(given)
        require(len(shape) == 1, "`multiplicative` or `additive` must be given, one number per class", given)
        self.multiplicative = parameter(
            "multiplicative", np.ones(shape) if multiplicative is None else multiplicative, require_positive, shape
        )
        self.additive = parameter("additive", np.zeros(shape) if additive is None else additive, require_finite, shape)

    @property
    def shift_invariant(self) -> bool:
        """Whether Δ is known to be the same for all classes; else it is the adjusted logits that may be shifted."""
        scale = concrete(self.multiplicative)
        return scale is not None and bool(np.all(scale == scale[:1]))

    def flat_direction(self, num_classes: int) -> Float[Array, " K"] | None:
        """1/Δ, which shifts all adjusted logits alike."""
        return 1 / self.multiplicative

    def canonical(self) -> AbstractLoss:
        """Cross-entropy where Δ is 1 and all shifts are equal."""
        given = concrete((self.multiplicative, self.additive))
        if given is None:
            return self
        scale, shift = given
        # lanes of parameters, on any axis, are not looked into
        plain = scale.ndim == 1 and np.all(scale == 1) and np.all(shift == shift[0])
        return CrossEntropy() if plain else self

    def centring(self, mean_dual: Float[Array, " K"], mean_target: Float[Array, " K"]) -> Any:
        """That of cross-entropy, whose dual columns are u/Δ."""
        scale, _ = self._at(mean_dual)
        return CrossEntropy().centring(mean_dual / scale, mean_target)

    def centred(self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."], centring: Any) -> Float[Array, "K ..."]:
        """That of cross-entropy, at u/Δ."""
        scale, _ = self._at(dual)
        return scale * CrossEntropy().centred(dual / scale, targets, centring)

    def _at(self, logits: Array) -> tuple[Array, Array]:
        """Δ and ι in the dtype of the logits (K, …), with as many axes."""
        K = len(logits)
        require(len(self.additive) == K, f"`multiplicative` and `additive` must have shape ({K},)", self.additive.shape)
        return per_class(self.multiplicative, beside=logits), per_class(self.additive, beside=logits)

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
