r"""Gradient flows with exact solutions, as functions of time.

**Time.** The laws are written, as in the literature, for the *sum* of the sample losses, $\dot W =
-\partial L/\partial W - \lambda W$ with $L = \sum_i \ell_i$, and one feature a sample. The
objective of the library is the *mean*, so its flow is the same flow slowed down N times:
$t_{\text{sum}} = t/N$ and $\lambda_{\text{sum}} = N\lambda$ (`sum_time`, `sum_decay`); $\lambda t$
is the same in both.

**Modes.** Balanced factors whose singular vectors are those of the target (for cross-entropy, of
the symmetric configuration) keep them, and then every singular value $v$ of every factor of a
direction of the logits obeys $\tfrac{d}{dt}\ln v = v^{M-1} q(u) - \lambda$, with $u = v^{M+1}$ the
singular value of the logits $W_M\cdots W_1 H$ and $q$ minus the slope of the loss along the
direction: $q = s - u$ for squared error with target singular value s (Saxe et al.), and $q =
\sqrt n K/(K-1+e^{u/\sqrt n})$ for cross-entropy on the symmetric configuration. Source of the
one-layer laws: see each function.
"""

from __future__ import annotations

import numpy as np

from ufm._validate import require_finite, require_nonnegative, require_positive
from ufm.optima.inversion import Floats


def sum_time(ts, *, num_samples) -> Floats:
    """The time $t/N$ of the sum-loss laws at the library's time t.

    `ts` of any shape, `num_samples` N > 0.
    """
    require_finite("ts", ts)
    require_positive("num_samples", num_samples, shape=())
    return np.asarray(ts, dtype=float) / num_samples


def sum_decay(decay, *, num_samples):
    r"""The decay $N\lambda$ of the sum-loss laws for the library's λ; `num_samples` N > 0."""
    require_nonnegative("decay", decay)
    require_positive("num_samples", num_samples, shape=())
    return num_samples * np.asarray(decay, dtype=float)


def library_time(ts, *, num_samples) -> Floats:
    """The library's time $N t$ at the time t of a sum-loss law: inverse of `sum_time`."""
    require_finite("ts", ts)
    require_positive("num_samples", num_samples, shape=())
    return np.asarray(ts, dtype=float) * num_samples


def imbalance(initial, ts, *, decay) -> Floats:
    r"""The imbalance of two neighbouring factors, $\Delta(t) = e^{-2\lambda t}\Delta(0)$.

    Any loss of the logits, any depth, any bias.

    Parameters
    ----------
    initial
        (d, d), at time 0: $\Delta = W_{m+1}^\top W_{m+1} - W_m W_m^\top$, or $W_1^\top W_1 -
        H\,\mathrm{diag}(m) H^\top$.
    ts
        (T,), in the normalisation of `decay`, whichever that is.
    decay
        λ >= 0.

    Returns
    -------
    Floats
        (T, d, d).

    Raises
    ------
    ValueError
        For a negative decay, and for numbers that are not finite.

    Notes
    -----
    With learning rates $\eta$ per factor the law holds for $W^\top W/\eta_W - HH^\top/\eta_H$ and
    $\lambda = \eta_W\lambda_W = \eta_H\lambda_H$.

    Holds when both factors decay at the same rate; not for $\eta_W\lambda_W \ne \eta_H\lambda_H$,
    nor with an anchor, nor for discrete gradient descent.
    """
    require_nonnegative("decay", decay, shape=())
    require_finite("initial", initial, ndim=2)
    initial = np.asarray(initial, dtype=float)
    return initial * np.exp(-2 * decay * checked_times(ts))[:, None, None]


def checked_times(ts) -> Floats:
    """Times (T,) >= 0, as floats."""
    require_nonnegative("ts", ts, ndim=1)
    return np.asarray(ts, dtype=float)


def check_mode(target, start, decay) -> None:
    """`ValueError` unless the numbers of a mode are >= 0.

    Parameters
    ----------
    target, start
        Of the singular value.
    decay
        λ of the sum-loss laws.
    """
    for name, value in (("target", target), ("start", start), ("decay", decay)):
        require_nonnegative(name, value, shape=())
