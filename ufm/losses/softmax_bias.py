"""The best bias of a softmax cross-entropy, at fixed logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ufm.losses.stable import cross_entropy, softmax, softmax_less


class _BiasPoint(NamedTuple):
    """A bias, the mean cross-entropy, its gradient, the class probabilities there.

    Σ ω |u|, and what rounding the value carries.
    """

    bias: Float[Array, " K"]
    value: Float[Array, ""]
    gradient: Float[Array, " K"]
    probabilities: Float[Array, "K C"]
    pull: Float[Array, ""]
    noise: Float[Array, ""]


def _bias_hessian(probabilities, column_weights) -> Float[Array, "K K"]:
    """diag(Σ ω p) − Σ ω p pᵀ as the Laplacian that it is, plus a multiple of 1 1ᵀ for the common
    shift."""
    mixed = (probabilities * column_weights[None, :]) @ probabilities.T
    K = len(mixed)
    mixed = mixed * (1 - jnp.eye(K, dtype=mixed.dtype))
    degrees = jnp.sum(mixed, axis=1)
    return jnp.diag(degrees) - mixed + (jnp.mean(degrees) + jnp.finfo(mixed.dtype).tiny) / K


def softmax_bias(
    logits: Float[Array, "K C"], targets: Float[Array, "K C"], column_weights: Float[Array, " C"]
) -> Float[Array, " K"]:
    r"""Newton with backtracking from b = 0, in the K-dimensional bias, until rounding stops it.

    Parameters
    ----------
    logits, targets
        (K, C), without the bias; targets are distributions.
    column_weights
        $\omega$ (C,), of the columns.

    Returns
    -------
    Float[Array, " K"]
        A minimiser, of all that differ by a common shift.
    """
    eps = jnp.finfo(logits.dtype).eps

    def at(bias) -> _BiasPoint:
        shifted = logits + bias[:, None]
        dual = softmax_less(shifted, targets)
        value = jnp.dot(column_weights, cross_entropy(shifted, targets))
        # logits of size s are known to eps * s, so the value to that times the dual
        pull = jnp.sum(jnp.abs(dual), axis=0) @ column_weights
        noise = 8 * eps * (value + pull * jnp.max(jnp.abs(shifted)))
        probabilities = softmax(shifted)
        return _BiasPoint(bias, value, dual @ column_weights, probabilities, pull, noise)

    def newton(state):
        here, steps, _ = state
        kept, moved = _stepped(at, here, column_weights, eps)
        return kept, steps + 1, moved

    def running(state) -> Bool[Array, ""]:
        here, steps, moved = state
        return moved & (steps < 100) & (jnp.sum(here.gradient**2) > (eps * here.pull) ** 2)

    zero = at(jnp.zeros(logits.shape[0], logits.dtype))
    start: tuple[_BiasPoint, Int[Array, ""], Bool[Array, ""]]
    start = (zero, jnp.asarray(0), jnp.asarray(True))
    return jax.lax.while_loop(running, newton, start)[0].bias


def _stepped(
    at: Callable[[Array], _BiasPoint], here: _BiasPoint, column_weights: Array, eps
) -> tuple[_BiasPoint, Bool[Array, ""]]:
    """The point after a damped Newton step, or the same one, and whether it moved."""
    hessian = _bias_hessian(here.probabilities, column_weights)
    # a ridge that vanishes with the gradient, so the convergence stays quadratic
    ridge = 1e-3 * jnp.sqrt(jnp.sum(here.gradient**2)) + eps * here.pull
    eye = jnp.eye(len(hessian), dtype=hessian.dtype)
    step = -jnp.linalg.solve(hessian + ridge * eye, here.gradient)
    slope = jnp.dot(here.gradient, step)

    def good(length, there: _BiasPoint):
        gained = here.value - there.value
        descends = (gained >= -1e-4 * length * slope) & (gained > here.noise)
        # near the end values are noise and only the gradient can tell
        flattens = jnp.sum(there.gradient**2) <= 0.25 * jnp.sum(here.gradient**2)
        return descends | (flattens & (-gained <= here.noise))

    def unfinished(trial):
        length, there = trial
        return ~good(length, there) & (-length * slope > eps * here.noise) & (length > eps)

    def halve(trial):
        length = trial[0] / 2
        return length, at(here.bias + length * step)

    first = jnp.ones_like(here.value), at(here.bias + step)
    length, there = jax.lax.while_loop(unfinished, halve, first)
    moved = good(length, there)
    return jax.tree.map(lambda new, old: jnp.where(moved, new, old), there, here), moved
