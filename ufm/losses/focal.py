"""The focal loss, which is not convex in the logits."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._validate import concrete, require_nonnegative
from ufm.losses.base import AbstractLoss
from ufm.losses.parameters import one_number, parameter
from ufm.losses.softmax import CrossEntropy
from ufm.losses.stable import log_probabilities


class Focal(AbstractLoss):
    r"""Focal loss of one sample, $-\sum_k q_k (1-p_k)^\gamma\log p_k$ with $p =
    \mathrm{softmax}(z)$.

    `gamma` >= 0, which may be traced; 0 is cross-entropy (`canonical`). It is not convex in the
    logits for $\gamma > 0$, so there is no certificate.

    Raises `ValueError` for a negative `gamma`. Source: Lin et al. 2017.
    """

    name: ClassVar[str] = "focal"
    needs_every_class: ClassVar[bool] = True
    exponential: ClassVar[bool] = True
    convex: ClassVar[bool] = False
    shift_invariant: ClassVar[bool] = True
    drops_classes: ClassVar[bool] = True
    gamma: Float[Array, ""]

    def __init__(self, gamma):
        self.gamma = parameter("gamma", gamma, require_nonnegative)

    def __call__(
        self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """Loss of every sample."""
        log_p = log_probabilities(logits)
        # at 1 − p = 0 a power below 2 has no second derivative; the floor is far below the rounding
        # of 1 − p
        missing = jnp.maximum(-jnp.expm1(log_p), float(jnp.finfo(log_p.dtype).eps) ** 2)
        return -jnp.sum(targets * missing ** one_number(self.gamma, beside=log_p) * log_p, axis=0)

    def canonical(self) -> AbstractLoss:
        """Cross-entropy for γ = 0."""
        gamma = concrete(self.gamma)
        return self if gamma is None or gamma.any() else CrossEntropy()
