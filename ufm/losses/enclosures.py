r"""The losses in balls: values and conjugates of one column with every rounding accounted for.

A ball (`flint.arb`) is a number with a bound on its error. Logits come as balls; targets and dual
logits come as exact fractions (`flint.fmpq`), so that whether a conjugate is finite is decided and
not rounded. flint is imported by the call, because only a proof needs it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ufm._exact.fractions import fractions

# balls and exact fractions of flint, which is not installed everywhere
Ball = Any
Exactly = Sequence[Any]


def exact(parameter) -> list[Any]:
    """The entries of a parameter, scalar or (K,), as exact fractions."""
    return fractions(np.atleast_1d(np.asarray(parameter)))


def cross_entropy(logits: Sequence[Ball], target: Exactly) -> Ball:
    r"""$-\sum_k q_k\log p_k$, whatever the targets sum to, from differences to the largest
    logit."""
    from flint import arb

    top = max(range(len(logits)), key=lambda k: float(logits[k].mid()))
    below = [logits[top] - z for z in logits]
    rest = sum(((-gap).exp() for k, gap in enumerate(below) if k != top), arb(0))
    linear = sum(q * gap for q, gap in zip(target, below, strict=True) if q != 0)
    return sum(target) * rest.log1p() + linear


def cross_entropy_conjugate(dual: Exactly, target: Exactly) -> Ball:
    r"""$\sum_k a_k\log a_k - s\log s$ for $a = q + u \ge 0$ with the sum s of q, else $+\infty$."""
    from flint import arb

    point = [q + u for q, u in zip(target, dual, strict=True)]
    if min(point) < 0 or sum(dual) != 0:
        return arb(math.inf)
    return sum(map(_times_log, point)) - _times_log(sum(target))


def _times_log(share) -> Ball:
    """r log r; near one the logarithm is tiny, and taken of the exact difference."""
    from flint import arb

    if share == 0:
        return arb(0)
    return share * (arb(share - 1).log1p() if 2 * share > 1 else arb(share).log())


def squared_error(logits: Sequence[Ball], wanted: Exactly, weights: Exactly) -> Ball:
    r"""$\tfrac12\sum_k w_k (z_k - q_k)^2$.

    Parameters
    ----------
    logits
        z, K balls.
    wanted, weights
        q and w, K exact numbers each.

    Returns
    -------
    Ball
        Holds the value.
    """
    # (flint squares a ball by `** 2` to NaN where its centre is 0 and its radius is not)
    off = [z - q for z, q in zip(logits, wanted, strict=True)]
    return sum(w * each * each for w, each in zip(weights, off, strict=True)) / 2


def squared_error_conjugate(dual: Exactly, wanted: Exactly, weights: Exactly) -> Ball:
    r"""$\sum_k u_k^2/(2 w_k) + q_k u_k$.

    Parameters
    ----------
    dual, wanted, weights
        u, q and w, K exact numbers each.

    Returns
    -------
    Ball
        Holds the value; $+\infty$ unless all weights are positive.
    """
    from flint import arb

    if min(weights) <= 0:
        return arb(math.inf)
    terms = zip(dual, wanted, weights, strict=True)
    return sum((arb(u) * arb(u / (2 * w) + q) for u, q, w in terms), arb(0))
