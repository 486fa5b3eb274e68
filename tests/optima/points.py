"""Points with prescribed fractions, in a random gauge.

What a solver would return at each stationary point.
"""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import numpy as np

from ufm.model import Params, Problem
from ufm.optima import Optimum


def balanced_params(
    problem: Problem, optimum: Optimum, fractions, *, left=None, right=None, seed: int = 0
) -> Params:
    """Balanced factors whose product reaches each direction of `optimum.spectrum` up to its
    fraction, in randomly rotated hidden bases."""
    spectrum = optimum.spectrum
    left = spectrum.left if left is None else left
    right = spectrum.right if right is None else right
    rng = np.random.default_rng(seed)
    fractions = np.asarray(fractions, dtype=float)
    active = np.flatnonzero(fractions)
    root = (np.sqrt(spectrum.mu) * fractions)[active] ** (1 / (problem.depth + 1))
    gain = np.exp(np.mean(np.log(spectrum.decays))) / spectrum.decays
    frames = [left[:, active]]
    frames += [
        np.linalg.qr(rng.normal(size=(d, d)))[0][:, : len(active)] for d in reversed(problem.widths)
    ]
    pairs = enumerate(itertools.pairwise(frames))
    weights = tuple(
        jnp.asarray((outer * (np.sqrt(gain[i]) * root)) @ inner.T) for i, (outer, inner) in pairs
    )
    means = (frames[-1] * (np.sqrt(gain[-1]) * root)) @ (
        right[:, active] / np.sqrt(spectrum.masses)[:, None]
    ).T
    bias = spectrum.bias_at_zero
    if bias is not None and spectrum.mean_direction is not None:
        bias = (1 - fractions[spectrum.mean_direction]) * bias
    return Params(
        weights=weights,
        features=jnp.asarray(means[:, optimum.column_index]),
        bias=None if bias is None else jnp.asarray(bias),
    )
