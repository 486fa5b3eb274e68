"""The random points at which `check_loss` asks a loss."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ufm._validate import float_dtype, require
from ufm.losses.base import AbstractLoss
from ufm.losses.derivative import loss_and_dual

# Samples of each size of logits. A loss that is not convex, such as the focal one, shows it at size
# 5.
_SAMPLES, _SIZES = 8, (0.0, 0.3, 1.0, 5.0)
# Rounding errors of a sum of K terms and of a few functions of them.
_ROUNDINGS = 1e3


@dataclass(frozen=True)
class Points:
    """Where the loss is asked.

    Logits, others, directions and targets, all (K, S), and weights (S,) that sum to one.
    """

    loss: AbstractLoss
    logits: Array
    others: Array
    directions: Array
    targets: Array
    weights: Array

    @classmethod
    def random(cls, loss: AbstractLoss, K: int, key, targets) -> Points:
        """Random points of many sizes, at which a loss is asked.

        Parameters
        ----------
        loss
            What is asked.
        K
            Number of classes.
        key
            A `jax.random.key`.
        targets
            (K, T) of the user's, used in turn; None mixes vertices, points inside the simplex, and
            both.

        Returns
        -------
        Points
            Of the default float dtype.

        Raises
        ------
        ValueError
            For targets of another shape.
        """
        keys, number = jax.random.split(key, 5), _SAMPLES * len(_SIZES)
        dtype = float_dtype()
        size = jnp.repeat(jnp.asarray(_SIZES, dtype), _SAMPLES)[None, :]
        logits, others, directions = (jax.random.normal(k, (K, number), dtype) for k in keys[:3])
        if targets is None:
            spread = jax.random.dirichlet(keys[3], jnp.ones(K, dtype), (number,)).T
            certain = jax.nn.one_hot(jnp.arange(number) % K, K, axis=0, dtype=dtype)
            # vertices, points inside, and both mixed
            mixture = jnp.asarray([0.0, 1.0, 0.2], dtype)[jnp.arange(number) % 3][None, :]
            targets = mixture * spread + (1 - mixture) * certain
        else:
            require(
                np.ndim(targets) == 2 and len(targets) == K,
                f"`targets` must have shape ({K}, T)",
                np.shape(targets),
            )
            targets = jnp.asarray(targets, dtype)[:, jnp.arange(number) % targets.shape[1]]
        weights = jax.random.uniform(keys[4], (number,), dtype, 0.5, 1.5)
        return cls(loss, size * logits, 3 * others, directions, targets, weights / weights.sum())

    @functools.cached_property
    def values(self) -> Array:
        return self.loss(self.logits, self.targets)

    @functools.cached_property
    def duals(self) -> Array:
        return loss_and_dual(self.loss, self.logits, self.targets)[1]

    @property
    def rounding(self) -> float:
        return _ROUNDINGS * float(jnp.finfo(self.logits.dtype).eps)
