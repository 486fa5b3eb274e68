"""The random points at which `check_loss` asks a loss."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ufm._validate import float_dtype, require
from ufm.losses import answers
from ufm.losses.base import AbstractLoss

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
    logits: np.ndarray
    others: np.ndarray
    directions: np.ndarray
    targets: np.ndarray
    weights: np.ndarray

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
        number = _SAMPLES * len(_SIZES)
        if targets is not None:
            require(
                np.ndim(targets) == 2 and len(targets) == K,
                f"`targets` must have shape ({K}, T)",
                np.shape(targets),
            )
            targets = np.asarray(targets)[:, np.arange(number) % np.shape(targets)[1]]
        logits, others, directions, drawn, weights = map(np.asarray, _drawn(key, K, float_dtype()))
        targets = drawn if targets is None else targets.astype(drawn.dtype)
        return cls(loss, logits, others, directions, targets, weights / weights.sum())

    def value(self, logits: np.ndarray, targets: np.ndarray | None = None) -> np.ndarray:
        """The loss, of these targets unless given.

        Parameters
        ----------
        logits, targets
            (K, S).

        Returns
        -------
        np.ndarray
            (S,).
        """
        targets = self.targets if targets is None else targets
        return np.asarray(answers.value(self.loss, logits, targets))

    def value_and_dual(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The loss and its gradient.

        Parameters
        ----------
        logits
            (K, S).

        Returns
        -------
        tuple[np.ndarray, np.ndarray]
            (S,) and (K, S).
        """
        value, dual = answers.value_and_dual(self.loss, logits, self.targets)
        return np.asarray(value), np.asarray(dual)

    def conjugate(self, dual: np.ndarray) -> np.ndarray:
        """The conjugate.

        Parameters
        ----------
        dual
            (K, S).

        Returns
        -------
        np.ndarray
            (S,).
        """
        return np.asarray(answers.conjugate(self.loss, dual, self.targets))

    def at(self, errors: np.ndarray) -> str:
        """In words, the target at which an error is largest, and whether one-hot ones show none.

        Parameters
        ----------
        errors
            (..., S); of another shape nothing is said. What is not finite is the largest.

        Returns
        -------
        str
            To be appended, empty for errors that are of no column.
        """
        if errors.shape[-1:] != self.weights.shape:
            return ""
        each = np.where(np.isfinite(errors), errors, np.inf).reshape(-1, len(self.weights)).max(0)
        target = ", ".join(f"{entry:.3g}" for entry in self.targets[:, np.argmax(each)])
        certain = np.all((self.targets == 0) | (self.targets == 1), axis=0)
        fine = np.any(certain) and not np.any(each[certain] > self.rounding)
        hint = "; at one-hot targets nothing is seen, and `targets=` asks there alone" * bool(fine)
        return f", at the target ({target}){hint}"

    @functools.cached_property
    def values(self) -> np.ndarray:
        return self.value(self.logits)

    @functools.cached_property
    def duals(self) -> np.ndarray:
        return self.value_and_dual(self.logits)[1]

    @property
    def rounding(self) -> float:
        return _ROUNDINGS * float(np.finfo(self.logits.dtype).eps)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _drawn(key: Array, K: int, dtype) -> tuple[Array, ...]:
    """Logits, others, directions and targets, all (K, S), and weights (S,)."""
    keys, number = jax.random.split(key, 5), _SAMPLES * len(_SIZES)
    size = jnp.repeat(jnp.asarray(_SIZES, dtype), _SAMPLES)[None, :]
    logits, others, directions = (jax.random.normal(k, (K, number), dtype) for k in keys[:3])
    # of the uniform law on the simplex, over their sum
    spread = jax.random.exponential(keys[3], (K, number), dtype)
    spread = spread / jnp.sum(spread, axis=0)[None, :]
    certain = jax.nn.one_hot(jnp.arange(number) % K, K, axis=0, dtype=dtype)
    # vertices, points inside, and both mixed
    mixture = jnp.asarray([0.0, 1.0, 0.2], dtype)[jnp.arange(number) % 3][None, :]
    targets = mixture * spread + (1 - mixture) * certain
    weights = jax.random.uniform(keys[4], (number,), dtype, 0.5, 1.5)
    return size * logits, 3 * others, directions, targets, weights
