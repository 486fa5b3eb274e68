"""Dot regression, and the problems in which it is tried."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import ufm


class DotRegression(ufm.losses.AbstractLoss):
    r"""$\tfrac1{2c}(q\cdot z-c)^2$ for one-hot q: nothing but the own logit is seen."""

    name: ClassVar[str] = "dot-regression"
    wanted: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def __call__(self, logits, targets):
        """Loss of every sample."""
        return (jnp.sum(targets * logits, axis=0) - self.wanted) ** 2 / (2 * self.wanted)

    def conjugate(self, dual, targets):
        """c v²/2 + c v with the own dual logit v, +∞ unless the others are zero."""
        own = jnp.sum(targets * dual, axis=0)
        seen = jnp.all((targets != 0) | (dual == 0), axis=0)
        return jnp.where(seen, self.wanted * (own**2 / 2 + own), jnp.inf)

    def enclose(self, logits: list, target: list) -> Any:
        """Loss of one column in balls."""
        own = sum(q * z for q, z in zip(target, logits, strict=True))
        return (own - float(self.wanted)) ** 2 / (2 * float(self.wanted))

    def enclose_conjugate(self, dual: list, target: list) -> Any:
        """Conjugate of one column as a ball."""
        from flint import arb

        if any(q == 0 and u != 0 for q, u in zip(target, dual, strict=True)):
            return arb("inf")
        own = arb(sum(q * u for q, u in zip(target, dual, strict=True)))
        return float(self.wanted) * (own**2 / 2 + own)


def fixed_rows(K: int, kind: str, length: float) -> np.ndarray:
    """Rows of one length: a simplex ETF, or any."""
    W = np.asarray(ufm.simplex_etf(K).T)
    if kind == "random":
        W = np.random.default_rng(3).normal(size=(K, K))
    elif kind == "skewed":
        W = W + 0.3 * np.roll(W, 1, axis=0)
    return length * W / np.linalg.norm(W, axis=1, keepdims=True)


def fixed_problem(*, counts, rows="etf", loss="dot", length=1.5, wanted=2.0, decay=0.1):
    """Features of a fixed classifier; with `rows` of several lengths the first is doubled."""
    K = len(counts)
    W = fixed_rows(K, "random" if rows == "lengths" else rows, length)
    if rows == "lengths":
        W[0] *= 2
    return ufm.Problem(
        ufm.one_hot(counts, collapsed=True),
        loss=DotRegression(wanted) if loss == "dot" else ufm.CrossEntropy(),
        widths=(K,),
        lambda_W=0.0,
        lambda_H=decay / float(np.sum(counts)),
        fixed_weights=(W,),
    )


def learned_problem(*, K, n, loss="dot", wanted=2.0, lam=0.02, dim=None):
    """Balanced classes, both factors free."""
    return ufm.Problem(
        ufm.one_hot((float(n),) * K, collapsed=True),
        loss=DotRegression(wanted) if loss == "dot" else ufm.CrossEntropy(),
        widths=(K if dim is None else dim,),
        lambda_W=lam,
        lambda_H=lam / n,
    )


def with_logits(problem: ufm.Problem, Z: np.ndarray) -> ufm.Params:
    """The cheapest factors of logits: halves of a singular value decomposition."""
    root = np.sqrt(np.asarray(problem.labels.masses))
    left, sigma, right = np.linalg.svd(Z * root, full_matrices=False)
    tilt = float(problem.lambda_H / problem.lambda_W[0]) ** 0.25
    W, H = left * np.sqrt(sigma) * tilt, (right.T * np.sqrt(sigma)).T / tilt / root
    return ufm.Params((jnp.asarray(W),), jnp.asarray(H), None)
