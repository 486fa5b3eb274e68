r"""Focal loss, balanced classes, one linear layer.

A scalar problem with a discontinuous transition.

Whatever the logits, each sample loses at least $\psi(a) = (1-p)^\gamma(-\log p)$, $p =
1/(1+(K-1)e^{-a})$, with a its mean margin, and the decay costs at least $c(K-1)$ times the mean of
the margins, $c = \sqrt{n\lambda_W\lambda_H}$. Hence $Z = a(I - \tfrac1K\mathbf 1\mathbf 1^\top)$
with a the minimiser of $\psi(a) + c(K-1)a$ over $a \ge 0$. Nonzero stationary points solve $g(p) :=
(1-p)^\gamma[(1-p) - \gamma p\log p] = (K-1)c$. g has one peak, so there are at most two: a local
maximum of the objective below the peak, a local minimum above it, whose value is to be compared
with that of a = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm._host.roots import past_root, root_between
from ufm._validate import require_nonnegative, require_positive, require_whole

# The transition is met when the two values agree to rounding.
_TIE = 1e-14


@dataclass(frozen=True, kw_only=True)
class FocalScale:
    """Scales of the logits at which the scalar problem is stationary.

    `scale`: of the global minimum. `large`: the local minimum a > 0, `small`: the local maximum
    between it and 0; None where they do not exist. `value`: the minimum. `tie`: 0 and `large` are
    equally good.
    """

    scale: float
    value: float
    large: float | None
    small: float | None
    tie: bool


@dataclass(frozen=True, kw_only=True)
class FocalThresholds:
    r"""Values of $K\sqrt{n\lambda_W\lambda_H}$ where something changes.

    All equal where the transition is continuous.

    `stability`: below it a = 0 is not even a local minimum. `transition`: above it a = 0 is the
    global minimum. `existence`: above it a = 0 is the only stationary point.
    """

    stability: float
    transition: float
    existence: float


def focal_scale(num_classes: int, strength: float, *, gamma: float) -> FocalScale:
    r"""Every stationary scale, to rounding.

    Parameters
    ----------
    num_classes
        K >= 2.
    strength
        $\sqrt{n\lambda_W\lambda_H}$ > 0.
    gamma
        γ >= 0, of the focal loss.

    Returns
    -------
    FocalScale
        The optimal scale and its value, both nonzero stationary scales where there are any, and
        whether zero ties with the larger.

    Raises
    ------
    ValueError
        For K < 2, a strength that is not positive or a negative γ.
    """
    _require(num_classes, gamma)
    require_positive("strength", strength, shape=())
    level = np.log(num_classes - 1) + np.log(strength)
    peak = _peak(num_classes, gamma)
    zero = _objective(0.0, num_classes, strength, gamma)
    if level >= _log_slope(peak, num_classes, gamma):
        return FocalScale(scale=0.0, value=zero, large=None, small=None, tie=False)

    def excess(a: float) -> float:
        return level - _log_slope(a, num_classes, gamma)

    large = root_between(excess, peak, past_root(excess, peak))
    small = root_between(lambda a: -excess(a), 0.0, peak) if peak > 0 and excess(0.0) > 0 else None
    value = _objective(large, num_classes, strength, gamma)
    tie = small is not None and abs(value - zero) <= _TIE * zero
    if value < zero or tie:
        return FocalScale(scale=large, value=value, large=large, small=small, tie=tie)
    return FocalScale(scale=0.0, value=zero, large=large, small=small, tie=False)


def focal_thresholds(num_classes: int, *, gamma: float) -> FocalThresholds:
    """Where a = 0 loses stability, where the global minimum jumps, and where the nonzero branch
    ends. Raises as `focal_scale`."""
    _require(num_classes, gamma)
    K = num_classes

    def strength(a: float) -> float:
        return float(np.exp(_log_slope(a, K, gamma)) / (K - 1))

    peak = _peak(K, gamma)
    at = peak
    if peak > 0:
        # on the branch of local minima the objective minus its value at 0 falls with a
        def gain(a: float) -> float:
            return _objective(0.0, K, strength(a), gamma) - _objective(a, K, strength(a), gamma)

        at = root_between(gain, peak, past_root(gain, peak))
    return FocalThresholds(
        stability=K * strength(0.0), transition=K * strength(at), existence=K * strength(peak)
    )


def _objective(a: float, K: int, strength: float, gamma: float) -> float:
    log_p, log_missing = _logs(a, K)
    return float(-np.exp(gamma * log_missing) * log_p + (K - 1) * strength * a)


def _logs(a: float, K: int) -> tuple[float, float]:
    """log p and log(1 − p) at margin a, each with its own relative precision."""
    wrong = np.log(K - 1) - a
    return -float(np.log1p(np.exp(wrong))), float(wrong - np.log1p(np.exp(wrong)))


def _log_slope(a: float, K: int, gamma: float) -> float:
    """The logarithm of g, which is −ψ'(a)."""
    log_p, log_missing = _logs(a, K)
    return gamma * log_missing + float(np.log(np.exp(log_missing) - gamma * np.exp(log_p) * log_p))


def _peak(K: int, gamma: float) -> float:
    """The margin a >= 0 where g is largest.

    Its derivative has the sign of h, convex in p with h(1) = 0 and h'(1) > 0, so of one change.
    """

    def falling(a: float) -> float:
        log_p, log_missing = _logs(a, K)
        p, missing = np.exp(log_p), np.exp(log_missing)
        # (over γ, whose square may overflow)
        inverse, share = 1 / max(gamma, 1.0), min(gamma, 1.0)
        return float(
            share * (missing - gamma * p * log_p) + missing * (inverse + share * (1 + log_p))
        )

    return 0.0 if falling(0.0) >= 0 else root_between(falling, 0.0, past_root(falling, 0.0))


def _require(num_classes: int, gamma: float) -> None:
    require_whole("num_classes", num_classes, least=2)
    require_nonnegative("gamma", gamma, shape=())
