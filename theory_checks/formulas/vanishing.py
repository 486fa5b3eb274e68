"""Where all vanishes: the strength of decay from which on zero is certified to be optimal."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp

import ufm
from theory_checks.formulas.roots import bisect


def vanishing(problem_at: Callable[[float], ufm.Problem], low: float, high: float) -> float:
    """By bisection of the spectral ratio of the certificate at the origin, which is 1 there.

    `problem_at`: the problem of a strength, one layer without a bias; no minimiser is asked.
    """

    def slack(strength: float) -> float:
        problem = problem_at(float(strength))
        K, (d,), C = problem.labels.num_classes, problem.widths, problem.labels.num_columns
        zero = ufm.Params((jnp.zeros((K, d)),), jnp.zeros((d, C)), None)
        return 1 - float(ufm.certify(problem, zero).spectral_ratio)

    return float(bisect(slack, low, high, steps=44))
