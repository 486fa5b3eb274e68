r"""Losses for rows of logits under one classifier.

Value, residual and Hessian of a whole batch, a row per label.

The problem of a row is $\ell(o + Sy, q) + \tfrac\gamma2\|y\|^2$ with $S = (WW^\top)^{1/2}$.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._classes.module import Module
from ufm.losses.derivative import Loss, loss_and_dual

Rows = Float[Array, "B K"]


class Here(NamedTuple):
    """Losses (B,) at some logits, their negative gradients $r = -\\nabla\\ell$ (B, K), and what the
    second derivative needs."""

    value: Float[Array, " B"]
    residual: Rows
    memory: Any


class AbstractRows(Module):
    """A loss with its derivatives, for rows of logits.

    `softmax_residual`: whether the residual is q − softmax(z), so that under a simplex ETF, with
    nothing added to the logits, a row is the one equation softmax(z) + s z = q.
    """

    softmax_residual: ClassVar[bool] = False

    @abstractmethod
    def at(self, logits: Rows, targets: Rows) -> Here:
        """Value, negative gradient and memory.

        Parameters
        ----------
        logits, targets
            One sample a row (B, K).

        Returns
        -------
        Here
            Values (B,), residuals (B, K), and what `curve` and `precondition` are given.
        """

    @abstractmethod
    def curve(self, memory: Any, rows: Rows) -> Rows:
        """The Hessian in the logits times `rows`.

        Parameters
        ----------
        memory
            From `at`.
        rows
            (B, K).

        Returns
        -------
        Rows
            (B, K).
        """

    @abstractmethod
    def precondition(self, memory: Any, rows: Rows, gamma) -> Rows:
        r"""A symmetric positive approximation of $(S\,\nabla^2\ell\,S + \gamma)^{-1}$ times `rows`.

        Parameters
        ----------
        memory
            From `at`.
        rows
            (B, K).
        gamma
            Decay of the feature of each row (B, 1).

        Returns
        -------
        Rows
            (B, K).
        """

    @abstractmethod
    def start(self, targets: Rows, gamma) -> Rows:
        """Logits to start from.

        Parameters
        ----------
        targets
            (B, K).
        gamma
            Decay of the feature of each row (B, 1).

        Returns
        -------
        Rows
            (B, K).
        """


class DifferentiatedRows(AbstractRows):
    """Any convex loss, by differentiation."""

    loss: Loss

    def at(self, logits: Rows, targets: Rows) -> Here:
        """The loss at rows of logits, and its residual by differentiation.

        Returns
        -------
        Here
            Values (B,), residual (B, K), and as memory the logits and targets.
        """
        losses, dual = loss_and_dual(self.loss, logits.T, targets.T)
        return Here(losses, -dual.T, (logits, targets))

    def curve(self, memory: Any, rows: Rows) -> Rows:
        """The Hessian of the loss times rows, as a forward derivative of its residual.

        Returns
        -------
        Rows
            (B, K).
        """
        logits, targets = memory
        return jax.jvp(lambda z: loss_and_dual(self.loss, z.T, targets.T)[1].T, (logits,), (rows,))[
            1
        ]

    def precondition(self, memory: Any, rows: Rows, gamma) -> Rows:
        """Rows through the inverse of the decay alone, for nothing is known of the loss.

        Returns
        -------
        Rows
            (B, K).
        """
        return rows / gamma

    def start(self, targets: Rows, gamma) -> Rows:
        """No guess: rows of zeros.

        Returns
        -------
        Rows
            (B, K).
        """
        return jnp.zeros_like(targets)


class SquaredRows(AbstractRows):
    """Squared error: the Hessian is the identity.

    `inverse` (K, K): of $WW^\\top + \\gamma$, so the first step is exact where rows share one γ.
    """

    inverse: Float[Array, "K K"]

    def at(self, logits: Rows, targets: Rows) -> Here:
        """Value and q − z, with nothing to remember.

        Returns
        -------
        Here
            Values (B,) and residuals (B, K).
        """
        residual = targets - logits
        return Here(0.5 * jnp.sum(residual**2, axis=1), residual, ())

    def curve(self, memory: Any, rows: Rows) -> Rows:
        """The rows themselves.

        Returns
        -------
        Rows
            (B, K).
        """
        return rows

    def precondition(self, memory: Any, rows: Rows, gamma) -> Rows:
        """The exact inverse times the rows.

        Returns
        -------
        Rows
            (B, K).
        """
        return rows @ self.inverse

    def start(self, targets: Rows, gamma) -> Rows:
        """Zeros.

        Returns
        -------
        Rows
            (B, K): the first step is exact.
        """
        return jnp.zeros_like(targets)


def sums(*terms: Rows) -> tuple[Float[Array, "B 1"], ...]:
    """Row sums of several arrays in one pass.

    A sum by itself costs as much as a quarter of an exponential.
    """
    zeros = tuple(jnp.zeros((), term.dtype) for term in terms)
    totals = jax.lax.reduce(
        terms, zeros, lambda a, b: tuple(x + y for x, y in zip(a, b, strict=True)), (1,)
    )
    return tuple(total[:, None] for total in totals)
