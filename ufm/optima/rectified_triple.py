r"""Three classes on two nonnegative directions behind ReLU layers. Derived here."""

from __future__ import annotations

import functools
import math

from ufm._host.roots import root_between
from ufm._validate import require_whole


def triple_complexity(depth: int) -> float:
    r"""The complexity of three classes on two nonnegative directions, behind L >= 3 matrices.

    $\kappa = 2(C/4)^{2/(L+1)}$ with $C = \min_\theta(1+\sin\theta)\,(1 +
    2\sqrt{1+\cos^2\theta}/\sin\theta)/\cos\theta = 10.5302\ldots$

    Parameters
    ----------
    depth
        L >= 3, weight matrices.

    Returns
    -------
    float
        κ, below 3 (collapse) from L = 4 on, and 2 in the limit.

    Notes
    -----
    Derived here. Inner features are rows (a, b, 0) and (0, b, a); the last layer before its ReLU
    is (c, e, c), (f, 0, −f), (−f, 0, f), of rank 2, and of rank 3 behind it.
    """
    L = require_whole("depth", depth, least=3)
    return 2 * (math.exp(_log_triple(triple_angle())) / 4) ** (2 / (L + 1))


@functools.cache
def triple_angle() -> float:
    """θ at which the triple is cheapest, whatever the depth."""

    def slope(theta):
        s, c = math.sin(theta), math.cos(theta)
        g = 2 * math.sqrt(1 + c * c) / s
        return c / (1 + s) - g / (1 + g) * (s * c / (1 + c * c) + c / s) + s / c

    return root_between(slope, 0.3, 1.2)


def _log_triple(theta: float) -> float:
    s, c = math.sin(theta), math.cos(theta)
    return math.log((1 + s) * (1 + 2 * math.sqrt(1 + c * c) / s) / c)
