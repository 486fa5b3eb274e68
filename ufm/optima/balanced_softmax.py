r"""Balanced softmax with a classifier that is a simplex ETF, in closed form.

The loss of a sample of class y is $\mathrm{CE}(z + \log n, e_y)$ with the counts n of its client, a
class without samples dropped, and $z = Wh$ with $WW^\top = aP$. At the optimum of either form there
is one number $\tau_y > 0$ a class with

$$z_k = -W_0(n_k\tau_y)\quad(k\ne y),\qquad z_y = S(\tau_y) = \sum_{k\ne y}W_0(n_k\tau_y),$$

Lambert's $W_0$. With decay μ and $s = \mu/a$: $s\,(S + n_y\tau e^S) = 1$. With features of one
length, $\|z\| = L$: $S^2 + \sum_{k\ne y}W_0(n_k\tau)^2 = L^2$, in which $n_y$ does not occur. Both
left sides increase in τ. Everything is solved for in $\log\tau$, where $x = W_0(e^c)$ is the root
of $x + \log x = c$ and nothing overflows.

Derived here: stationarity is $p + sz = q$ for $p = \mathrm{softmax}(z + \log n)$, so that
$-z_ke^{-z_k}/n_k$ is the same for all $k\ne y$.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ufm._validate import require, require_each, require_one_of, require_positive, require_real
from ufm.optima.inversion import Floats, invert_increasing


def balanced_softmax_logits(class_counts, *, strength=None, length=None) -> Floats:
    r"""Optimal logits of every class under balanced softmax and a simplex ETF.

    Parameters
    ----------
    class_counts
        $n_k \ge 0$ (..., K), of one client or of many at once; need not be whole.
    strength
        $s = \mu/a > 0$ of the form with decay, one number or (...): see
        `ufm.optima.channels.strength`.
    length
        In place of it, $L = \|z\| > 0$ of the form with features of one length:
        $\beta\sqrt{K/(K-1)}$ for unit features, unit rows and inverse temperature β.

    Returns
    -------
    numpy.ndarray
        z (..., K, K), float64: the logits of class y are `[..., :, y]`, of zero sum; the feature is
        $h = W^\top z/a$. NaN for a class that the client does not have.

    Raises
    ------
    ValueError
        Unless one of `strength` and `length` is given; for counts that are negative or of fewer
        than two classes, and for a given length where a client has one class only: its loss is 0
        for every feature.

    Notes
    -----
    z is along $e_y - \tfrac1K\mathbf 1$, that is h along $w_y$, if and only if all *other* classes
    have the same count. A missing class has $z_k = 0$. Not for a classifier that is no simplex ETF.
    Derived here, for the loss of Li et al. 2023.
    """
    counts = require_real("class_counts", class_counts)
    require(
        counts.ndim >= 1 and counts.shape[-1] >= 2,
        "`class_counts` must hold K >= 2 classes",
        counts.shape,
    )
    require_each("class_counts", class_counts, lambda n: np.isfinite(n) & (n >= 0), "be >= 0")
    require_one_of(strength=strength, length=length)
    given: Any = length if strength is None else strength
    name = "length" if strength is None else "strength"
    require_positive(name, given)
    words = f"`{name}` must be one number, or one for each of the clients {counts.shape[:-1]}"
    require(np.shape(given) in ((), counts.shape[:-1]), words, np.shape(given))
    shape, K = counts.shape, counts.shape[-1]
    size = np.broadcast_to(np.asarray(given, dtype=np.float64), shape[:-1]).ravel()
    counts = np.asarray(counts, dtype=np.float64).reshape(-1, K)
    with np.errstate(divide="ignore"):
        logs = np.log(counts)
    present = counts > 0
    if strength is None:
        words = "`class_counts` must have two classes or more for features of a given length"
        require(bool((present.sum(axis=-1) >= 2).all()), words, counts)
    # of every class y that is there: the logarithms of the other counts
    client, label = np.nonzero(present)
    others = np.where(np.arange(K) == label[:, None], -np.inf, logs[client])
    own, number = logs[client, label], size[client]
    solve = _with_length if strength is None else _with_decay
    gaps = _lambert(others + solve(others, own, number)[:, None])
    columns = -gaps
    columns[np.arange(len(columns)), label] = gaps.sum(axis=1)
    logits = np.full((len(counts), K, K), np.nan)
    logits[client, :, label] = columns
    return logits.reshape(*shape, K)


def _with_decay(others: Floats, own: Floats, s: Floats) -> Floats:
    """log τ where s (S + n_y τ e^S) = 1."""

    def at(u):
        x = _lambert(others + u[:, None])
        S, moved = x.sum(axis=1), (x / (1 + x)).sum(axis=1)
        with np.errstate(divide="ignore"):
            value = np.logaddexp(np.log(S), own + u + S)
        return value, np.exp(-value) * moved + np.exp(own + u + S - value) * (1 + moved)

    # S <= τ N, so that τ N = x/2 with x e^x = 1/s is too small; S <= 1/s and n_y τ <= 1/s
    total = np.logaddexp(own, np.logaddexp.reduce(others, axis=1))
    low = np.log(_lambert(-np.log(s)) / 2) - total
    return invert_increasing(at, -np.log(s), low, -np.log(s) - own)


def _with_length(others: Floats, own: Floats, length: Floats) -> Floats:
    """log τ where S² + Σ W0² = L²."""

    def at(u):
        x = _lambert(others + u[:, None])
        S, moved = x.sum(axis=1), x / (1 + x)
        square = S**2 + (x**2).sum(axis=1)
        return 0.5 * np.log(square), (S * moved.sum(axis=1) + (x * moved).sum(axis=1)) / square

    # the norm is at most √2 S <= √2 τ N', and at least the gap of the largest other class
    low = np.log(length) - 0.5 * np.log(2) - np.logaddexp.reduce(others, axis=1)
    high = np.log(length) + length - others.max(axis=1)
    return invert_increasing(at, np.log(length), low, high)


def _lambert(c: Floats) -> Floats:
    """W0(e^c): the root of x + log x = c, 0 where c = −∞."""
    # below the root of a concave function, so Newton's method ascends; e^c is right where it is
    # small
    small = np.exp(np.minimum(c, 1))
    x = np.where(c < 1, small / (1 + small), c - np.log(np.maximum(c, 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(6):
            x = x + x * (c - x - np.log(x)) / (1 + x)
    return np.where(c > -700, x, small)
