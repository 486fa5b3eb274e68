r"""What the logits of next tokens diverge along as the decay vanishes: a max-margin problem.

$$\min_L\|L D_m^{1/2}\|_*\quad\text{s.t.}\quad l_{vc} = l_{v'c},\ l_{vc}-l_{uc}\ge1\qquad
(v,v'\in S_c,\ u\notin S_c)$$

It has no closed form but for symmetric supports, so it is solved: by splitting, in float64, until a
point inside the constraints and a dual bound meet. The answer brings its own certificate, and needs
no trust in the steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm._validate import (
    require,
    require_each,
    require_nonnegative,
    require_positive,
    require_whole,
)

# Steps between two looks at the bound, and at the step length.
_LOOK = 25


@dataclass(frozen=True, kw_only=True, eq=False)
class NextTokenSVM:
    r"""`logits` L (V, C), inside the constraints to rounding, with `value` $\|L D_m^{1/2}\|_*$; no
    other point has a value below `value` times 1 − `gap`, whether or not it is the only one."""

    logits: np.ndarray
    value: float
    gap: float


def next_token_svm(
    supports, masses=None, *, tolerance: float = 1e-9, max_steps: int = 100_000
) -> NextTokenSVM:
    r"""The max-margin logits of any supports.

    Parameters
    ----------
    supports
        (V, C), True or nonzero where word v follows context c, at least once in each column: the
        support matrix, or the targets themselves.
    masses
        (C,) > 0: how many features share a column; ones unless given.
    tolerance
        On the relative gap; hundreds to thousands of steps reach 1e-9 for V and C in the tens.
    max_steps
        The answer comes after so many at the latest, with whatever gap it has.

    Returns
    -------
    NextTokenSVM
        With its gap.

    Raises
    ------
    ValueError
        For supports that are no matrix or have an empty column, and masses that are not C positive
        numbers.

    Notes
    -----
    The direction depends on supports and masses alone, and is approached like $1/\log(1/\lambda)$:
    compare it with finite decay as a trend.

    References
    ----------
    Zhao, Behnia, Vakilian & Thrampoulidis 2024 (recalled); the dual bound is derived here.
    """
    if isinstance(supports, np.ndarray) and supports.dtype == bool:
        supports = supports.astype(np.float64)
    given = require_each("supports", supports, np.isfinite, "be finite", ndim=2)
    assert given is not None
    S = given != 0
    empty = np.flatnonzero(~S.any(axis=0))
    require(not len(empty), "`supports` must have a word in each column; without one", empty[:10])
    C = S.shape[1]
    if masses is not None:
        require_positive("masses", masses, shape=(C,))
    roots = np.sqrt(np.ones(C) if masses is None else np.asarray(masses, np.float64))
    require_nonnegative("tolerance", tolerance, shape=())
    max_steps = require_whole("max_steps", max_steps)
    if S.all():
        return NextTokenSVM(logits=np.zeros(S.shape), value=0.0, gap=0.0)
    # units in which the margins are near 1
    size = float(roots.max())
    inside, gap = _solve(S, roots / size, tolerance, max_steps)
    logits = inside / (roots / size)
    value = float(np.linalg.norm(logits * roots, "nuc"))
    return NextTokenSVM(logits=logits - logits.mean(axis=0), value=value, gap=gap)


def _solve(S, roots, tolerance: float, max_steps: int) -> tuple[np.ndarray, float]:
    """min ‖Y‖_* over Y = L D^{1/2}, whose margins are the roots of the masses, and its gap."""
    rho = 1.0
    inside = _projected(np.zeros(S.shape), S, roots)
    dual = np.zeros(S.shape)
    best, least, bound = inside, np.inf, 0.0
    for step in range(max_steps):
        left, s, right = np.linalg.svd(inside - dual, full_matrices=False)
        low = (left * np.maximum(s - 1 / rho, 0)) @ right
        # over-relaxed, as is usual
        mixed = 1.7 * low - 0.7 * inside
        before = inside
        inside = _projected(mixed + dual, S, roots)
        dual = dual + mixed - inside
        if step % _LOOK:
            continue
        value = float(np.linalg.norm(_centred(inside), "nuc"))
        if value < least:
            best, least = inside, value
        bound = max(bound, _bound(-rho * dual, S, roots))
        if least - bound <= tolerance * least:
            break
        apart, moved = np.linalg.norm(low - inside), rho * np.linalg.norm(inside - before)
        factor = 2.0 if apart > 10 * moved else 0.5 if moved > 10 * apart else 1.0
        rho, dual = rho * factor, dual / factor
    return _centred(best), max(least - bound, 0.0) / least


def _centred(Y: np.ndarray) -> np.ndarray:
    """A shift of each column is free, and the mean is what costs."""
    return Y - Y.mean(axis=0)


def _projected(X, S, roots) -> np.ndarray:
    """The nearest point of {y = t on S, y <= t − r off it}, a column at a time.

    Here t is the mean of the entries on S and of those off it that push, x + r > t; they are the
    largest, and of all such means theirs is the largest.
    """
    push = np.sort(np.where(S, -np.inf, X + roots), axis=0)[::-1]
    sums = np.cumsum(np.where(np.isfinite(push), push, 0), axis=0)
    size, total = S.sum(axis=0), np.sum(X, axis=0, where=S)
    numbers = np.arange(1, len(X) + 1)[:, None]
    means = np.where(np.isfinite(push), (total + sums) / (size + numbers), -np.inf)
    t = np.maximum(total / size, means.max(axis=0))
    return np.where(S, t, np.minimum(X, t - roots))


def _bound(G, S, roots) -> float:
    """A lower bound on every ‖Y‖_*: ⟨G, Y⟩ with ‖G‖ <= 1, columns that sum to zero, and no positive
    entry off S is least where the margins are tight."""
    off = np.where(S, 0, np.minimum(G, 0))
    inside = np.where(S, G, 0)
    spread = (off.sum(axis=0) + inside.sum(axis=0)) / S.sum(axis=0)
    G = np.where(S, inside - spread, off)
    norm = float(np.linalg.norm(G, 2))
    return float(roots @ -off.sum(axis=0)) / max(norm, 1.0)
