"""An interval around the global minimum with every rounding accounted for.

Balls of flint against intervals of mpmath.
"""

from __future__ import annotations

import functools

import jax
import numpy as np

import ufm
from tests.benchmarks.cross_entropy import our_problem
from tests.benchmarks.harness import Row, time_turns
from tests.benchmarks.interval_rival import enclose
from tests.benchmarks.long_tail_rival import LongTailCrossEntropy

BITS = 106
# Relative widths that were promised, and those for which the rival's scaling onto the ball is good
# enough.
WIDTH, RIVAL_WIDTH = 1e-12, 1e-9
# The ratio below which balls are no reason for a dependency.
LEAST = 5.0


def rows(*, repeats: int, K: int = 10, d: int = 64, decay: float = 5e-4) -> list[Row]:
    """The same point, bound and precision on a long tail.

    The two must overlap and be narrow, else `RuntimeError`.
    """
    rival = LongTailCrossEntropy(ufm.labels.exponential_counts(K, largest=500, ratio=100), d, decay)
    problem = our_problem(rival)
    params = ufm.minimise(problem, key=jax.random.key(0), progress=False).params
    W, H = (np.asarray(factor) for factor in (params.weights[0], params.features))
    prove = functools.partial(ufm.prove, problem, params, bits=BITS)
    intervals = functools.partial(enclose, rival, W, H, BITS)
    ours, (lower, upper) = prove(), intervals()
    width = (upper - lower) / upper
    narrow = ours.relative_width <= WIDTH and 0 <= width <= RIVAL_WIDTH
    if not (narrow and lower <= ours.upper and ours.lower <= upper):
        raise RuntimeError(
            f"ours {ours} and the rival's [{lower!r}, {upper!r}] do not agree, or are too wide"
        )
    mine, other = time_turns([[prove], [intervals]], repeats=repeats)
    notes = {"relative width": ours.relative_width, "rival's": width, "bits": BITS}
    return [
        Row(f"proof, K={K}, d={d}", "mpmath intervals", mine, other, required=LEAST, notes=notes)
    ]
