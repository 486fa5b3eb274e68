"""Gradient flows of squared error of whole factors, with exact solutions.

`dynamics.py` has the normalisation of time and decay.
"""

from __future__ import annotations

import numpy as np

from ufm._validate import require, require_finite, require_positive
from ufm.optima.dynamics import checked_times
from ufm.optima.inversion import Floats, invert_increasing
from ufm.optima.squared_error_modes import saxe_mode


def small_start(classifier, class_means, ts, *, samples_per_class) -> tuple[Floats, Floats]:
    r"""The flow while the logits are still negligible.

    Squared error, balanced classes, bias at 1/K, no decay.

    Parameters
    ----------
    classifier, class_means
        (K, d) and (d, K), at time 0.
    ts
        (T,), in sum time.
    samples_per_class
        n.

    Returns
    -------
    tuple[Floats, Floats]
        W (T, K, d) and the class means (T, d, K).

    Raises
    ------
    ValueError
        For shapes that are not transposed, and numbers that are not finite.

    Notes
    -----
    $PW \pm \sqrt n\,P\bar H^\top$ grow and decay as $e^{\pm\sqrt n t}$ with $P = I - \mathbf
    1\mathbf 1^\top/K$; $\mathbf 1^\top W$ and the mean of all features stand still (without a bias,
    or with one elsewhere, they do not: then only the contrasts are right).

    First order in the size ε of the start: the relative error is $O(\varepsilon^2 e^{2\sqrt n t})$.
    Source: Mixon, Parshall & Pi 2020 (cited by content).
    """
    require_positive("samples_per_class", samples_per_class, shape=())
    require_finite("classifier", classifier, ndim=2)
    require_finite("class_means", class_means, ndim=2)
    W, H = np.asarray(classifier, dtype=float), np.asarray(class_means, dtype=float)
    require(
        W.ndim == 2 and H.shape == W.T.shape,
        "`classifier` (K, d) and `class_means` (d, K) must have transposed shapes",
        (W.shape, H.shape),
    )
    root = np.sqrt(samples_per_class)
    grown, lag = (f(root * checked_times(ts))[:, None, None] for f in (np.cosh, np.sinh))
    centred_W, centred_H = W - W.mean(axis=0, keepdims=True), H - H.mean(axis=1, keepdims=True)
    return (
        (W - centred_W) + grown * centred_W + lag * root * centred_H.T,
        (H - centred_H) + grown * centred_H + lag / root * centred_W.T,
    )


def balanced_gram(initial, ts, *, samples_per_class) -> Floats:
    r"""W Wᵀ on the manifold $W = \sqrt n\bar H^\top$, $\mathbf 1^\top W = 0$, b = 1/K.

    Squared error, balanced classes, no decay.

    Parameters
    ----------
    initial
        (K, K), W Wᵀ at time 0.
    ts
        (T,), in sum time.
    samples_per_class
        n.

    Returns
    -------
    Floats
        (T, K, K); the limit is $\sqrt n$ times the projector on the range of S(0).

    Raises
    ------
    ValueError
        For a matrix that is not symmetric, or has an eigenvalue below 0, as W Wᵀ has none.

    Notes
    -----
    $\dot S = 2\sqrt n\,S - 2S^2$: the eigenvectors of S stand still and the eigenvalues are
    logistic, $\sqrt n/(1 + (\sqrt n/s_0 - 1)e^{-2\sqrt n t})$.

    Features stand at their class means. Without a bias $\mathbf 1^\top W$ may be anything.

    Source: Mixon, Parshall & Pi 2020 (cited by content).
    """
    require_positive("samples_per_class", samples_per_class, shape=())
    require_finite("initial", initial, ndim=2)
    initial = np.asarray(initial, dtype=float)
    square = initial.shape == initial.T.shape and np.allclose(initial, initial.T)
    require(square, "`initial` must be a symmetric matrix (K, K)", initial.shape)
    values, vectors = np.linalg.eigh(initial)
    # (1e-12 is the rounding of the products)
    require(
        values[0] >= -1e-12 * abs(values[-1]),
        "`initial` must have no eigenvalue below 0, as W Wᵀ has none",
        values[0],
    )
    # an eigenvalue 0 stays 0; its rounding would grow
    values = np.where(values > len(values) * np.finfo(float).eps * values[-1], values, 0.0)
    modes = [saxe_mode(ts, target=np.sqrt(samples_per_class), start=value) for value in values]
    return (vectors * np.stack(modes, axis=1)[:, None, :]) @ vectors.T


def renormalised_spectrum(start, ts, *, samples_per_class) -> Floats:
    r"""Singular values of $\Sigma_W^{-1/2}\bar M$ in the renormalised flow on the central path.

    Squared error, no decay: $\dot\omega = \omega/(n(C+\omega^2)^2)$, that is $n[C^2\ln\omega +
    C\omega^2 + \omega^4/4] = t + \text{const}$.

    Parameters
    ----------
    start
        (C − 1,), positive: all singular values of the centred class means after whitening, their
        number fixing C.
    ts
        (T,), the time of the *mean* loss, the library's.
    samples_per_class
        n.

    Returns
    -------
    Floats
        (T, C − 1).

    Raises
    ------
    ValueError
        For a start or n that is not positive.

    Notes
    -----
    Needs a within-class covariance of full rank and d >= C − 1. Source: Han, Papyan & Donoho 2022;
    the constants are derived.
    """
    require_positive("start", start)
    require_positive("samples_per_class", samples_per_class, shape=())
    start, ts = np.atleast_1d(np.asarray(start, dtype=float)), checked_times(ts)
    require(start.ndim == 1, "`start` must be the C - 1 singular values", start.shape)
    C, n = len(start) + 1, samples_per_class
    spent = np.broadcast_to(ts[:, None] / n, (len(ts), len(start)))
    # (one that overflows stands still: its speed is below the smallest number)
    with np.errstate(over="ignore"):
        squares = np.broadcast_to(start[None, :] ** 2, spent.shape)

    def time(y):
        # ω² at start e^y, and by how much it has grown, also where the square of the start is 0
        reached = np.exp(2 * (y + np.log(start)))
        gained = np.where(y < 1, squares * np.expm1(2 * np.minimum(y, 1)), reached - squares)
        return C**2 * y + gained * (C + gained / 4 + squares / 2), (C + reached) ** 2

    with np.errstate(over="ignore"):
        grown = invert_increasing(
            time, spent, np.zeros_like(spent), spent / (C + squares) ** 2 * (1 + 1e-12)
        )
    # in two factors: ω may be finite where ω/start is not
    root = np.exp(0.5 * grown)
    return start[None, :] * root * root
