"""Cross-entropy for rows of logits under one classifier, and logits to start from."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm.losses.rows import AbstractRows, Here, Rows, sums

# Newton steps of the start, in single precision: after them four digits are right as a rule, and
# two steps of double precision are left.
_START_STEPS = 3


class EntropyRows(AbstractRows):
    r"""Those of cross-entropy.

    `scale` is a where $WW^\top = aP$, else the mean of $WW^\top$ over the contrasts.
    """

    softmax_residual: ClassVar[bool] = True
    scale: Float[Array, ""]

    def at(self, logits: Rows, targets: Rows) -> Here:
        """Value, q − p and p.

        Returns
        -------
        Here
            The residuals sum to what the targets exceed one by.
        """
        top = jnp.max(logits, axis=1, keepdims=True)
        exponentials = jnp.exp(logits - top)
        total = jnp.sum(exponentials, axis=1, keepdims=True)
        p = exponentials / total
        # a class that is dropped has no target, and a logit of −∞
        below = jnp.where(logits > -jnp.inf, logits - top, 0)
        mass, gain, defect = sums(targets, targets * below, targets - p)
        # targets that sum to one up to rounding do
        excess = jnp.where(jnp.abs(mass - 1) <= 8 * jnp.finfo(logits.dtype).eps, 0, mass - 1)
        # so the residuals sum to the excess; what q − p loses to rounding at p near 1 exceeds, at
        # small decay, the residual there
        residual = targets - p - p * (defect - excess)
        return Here((jnp.log(total) - gain - excess * top)[:, 0], residual, p)

    def curve(self, memory: Any, rows: Rows) -> Rows:
        r"""$(\mathrm{diag}\,p - pp^\top)$ times the rows.

        Returns
        -------
        Rows
            (B, K).
        """
        p = memory
        return p * (rows - jnp.sum(p * rows, axis=1, keepdims=True))

    def precondition(self, memory: Any, rows: Rows, gamma) -> Rows:
        r"""$(a(\mathrm{diag}\,p - pp^\top) + \gamma)^{-1}$ by Sherman & Morrison.

        Exact for a simplex ETF.

        Returns
        -------
        Rows
            (B, K).
        """
        diagonal = self.scale * memory + gamma
        share = memory / diagonal
        # 1 − a Σ p²/(a p + γ), without the cancellation
        along, shares = sums(share * rows, share)
        return rows / diagonal + share * (self.scale * along / (gamma * shares))

    def start(self, targets: Rows, gamma) -> Rows:
        """Logits close to the solution under a simplex ETF.

        Returns
        -------
        Rows
            (B, K), from `entropy_start`.
        """
        return entropy_start(targets, gamma / self.scale)


def entropy_start(targets: Rows, s) -> Rows:
    r"""Logits close to the solution, for every s.

    Found in single precision, where arithmetic is four times as cheap.

    The gaps u to a logit of −t solve $t(e^{u_k} - 1) + u_k = q_k/s$ and have mean t. Here t is
    first that of a target spread evenly over $1/\sum_k q_k^2$ classes, a scalar equation a row, and
    u a bound from above; then Newton's method on all these equations at once, in u and log t.
    """
    K, single = targets.shape[1], jnp.float32
    # far beyond these s the logits are no longer in doubt, or a few more steps away, and single
    # precision would overflow
    s = jnp.clip(jnp.broadcast_to(s, (len(targets), 1)), 1e-15, 1e15).astype(single)
    q = jnp.maximum(targets.astype(single), 0)
    number = 1 / jnp.sum(q**2, axis=1)
    share, load = number / K, 1 / (number * s[:, 0])
    # above the root of a convex function, so Newton's method descends
    u = jnp.minimum(load, jnp.maximum(1, jnp.log1p(load / share)))

    def newton(_, u):
        # t = (number/K) u moves with u
        t = share * u
        return u - (t * jnp.expm1(u) + u - load) / (share * jnp.expm1(u) + t * jnp.exp(u) + 1)

    t = (share * jax.lax.fori_loop(0, 3, newton, u))[:, None]
    loads = q / s

    def joint(_, pair):
        u, t = pair
        e = jnp.exp(u)
        inverse = 1 / (t * e + 1)
        alone = u - (t * (e - 1) + u - loads) * inverse
        slope = t * (e - 1) * inverse
        mean_off = jnp.sum(alone, axis=1, keepdims=True) - K * t
        turn = jnp.clip(mean_off / (K * t + jnp.sum(slope, axis=1, keepdims=True)), -2, 2)
        return jnp.maximum(alone - slope * turn, 0), t * jnp.exp(turn)

    u, _ = jax.lax.fori_loop(
        0, _START_STEPS, joint, (jnp.minimum(jnp.log1p(loads / t), loads / (1 + t)), t)
    )
    logits = u.astype(targets.dtype)
    return logits - jnp.mean(logits, axis=1, keepdims=True)
