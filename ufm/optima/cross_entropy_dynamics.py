"""Gradient flows of cross-entropy with exact solutions, and where they lead.

`dynamics.py` has the normalisation of time and decay.
"""

from __future__ import annotations

import numpy as np

from ufm._validate import require_finite, require_positive, require_whole
from ufm.optima.dynamics import check_mode, checked_times
from ufm.optima.inversion import Floats, invert_increasing
from ufm.optima.modes import CrossEntropyDrive, relaxed


def cross_entropy_gap(ts, *, start, num_classes, samples_per_class, depth=1, decay=0.0) -> Floats:
    r"""The margin ξ between the logit of the class and the others, from a symmetric start.

    On the symmetric configuration $Z = \xi\,(P \otimes \mathbf 1_n^\top)$.

    Parameters
    ----------
    ts
        (T,), in sum time.
    start
        ξ_0 >= 0.
    num_classes
        K.
    samples_per_class
        n.
    depth
        M weight factors.
    decay
        λ >= 0 on all factors, in the sum normalisation.

    Returns
    -------
    Floats
        (T,).

    Raises
    ------
    ValueError
        For K < 2, a negative start or decay, n <= 0 and a depth below 1.

    Notes
    -----
    Balanced factors whose logits are $Z$, which has rank K − 1, stay on that manifold, and $u =
    \sqrt n\,\xi$ obeys $\dot u = (M+1)[u^{2M/(M+1)}\sqrt n K/(K-1+e^\xi) - \lambda u]$. For one
    layer without decay this is the exponential-integral law $(K-1)\ln\xi + \mathrm{Ei}(\xi) =
    2\sqrt n K t + \text{const}$; with decay λ it relaxes to $\xi^* = \ln(\sqrt n K/\lambda -
    (K-1))$.

    Source: derived; for one layer the symmetric case of Ji et al. 2021.
    """
    check_mode(0.0, start, decay)
    depth = require_whole("depth", depth)
    require_whole("num_classes", num_classes, least=2)
    require_positive("samples_per_class", samples_per_class, shape=())
    drive, root = (
        CrossEntropyDrive(num_classes, samples_per_class, depth),
        np.sqrt(samples_per_class),
    )
    ts = checked_times(ts)
    if start == 0:
        return np.zeros_like(ts)
    if decay == 0:
        return drive.free(ts, start)
    return relaxed(drive, ts, np.log(start) + np.log(root), decay) / root


def fixed_etf_gap(ts, *, num_classes, squared_scale, start=0.0) -> Floats:
    r"""The margin ξ of a feature under a fixed simplex ETF, cross-entropy, no decay.

    $\dot\xi = aK/(e^\xi + K - 1)$.

    Parameters
    ----------
    ts
        (T,), in the time of the sum loss.
    num_classes
        K.
    squared_scale
        a > 0: $WW^\top = aP$.
    start
        ξ_0, of a feature whose logits agree on all wrong classes.

    Returns
    -------
    Floats
        (T,).

    Raises
    ------
    ValueError
        For K < 2, a scale that is not positive and a start that is not finite.

    Notes
    -----
    $e^\xi + (K-1)\xi = aKt + \text{const}$, that is $\xi = \tfrac{c}{K-1} -
    W_0\!\big(\tfrac{e^{c/(K-1)}}{K-1}\big)$ with $c = aKt + e^{\xi_0} + (K-1)\xi_0$ and the Lambert
    function $W_0$. Source: derived.
    """
    require_whole("num_classes", num_classes, least=2)
    require_positive("squared_scale", squared_scale, shape=())
    require_finite("start", start, shape=())
    ts, others = checked_times(ts), float(num_classes - 1)
    # all in units of a K t, whose logarithm does not overflow
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        spent = np.log(ts) + np.log(squared_scale) + np.log(num_classes)
        lead, line = np.exp(start - spent), np.exp(np.log(others) - spent)

        def at(y):
            reached = np.exp(start - spent + y)
            gained = np.where(y < 1, lead * np.expm1(np.minimum(y, 1)), reached - lead)
            return gained + line * y, reached + line

        slowest, exponential = (
            np.exp(spent - np.logaddexp(np.log(others), start)),
            np.logaddexp(0, spent - start),
        )
        high = np.minimum(slowest, exponential) * (1 + 1e-12)
        grown = invert_increasing(at, np.ones_like(ts), np.zeros_like(ts), high)
    return start + grown


def max_margin(*, num_classes, samples_per_class) -> float:
    r"""The limit of margin $/\tfrac12(\|W\|^2 + \|H\|^2)$ under cross-entropy without decay.

    $1/((K-1)\sqrt n)$.

    It needs d >= K − 1, and is approached like 1/ln t only. On the symmetric configuration of
    `cross_entropy_gap` it holds at all times. Source: Ji et al. 2021 (cited by content); value
    derived.
    """
    require_whole("num_classes", num_classes, least=2)
    require_positive("samples_per_class", samples_per_class, shape=())
    return float(1 / ((num_classes - 1) * np.sqrt(samples_per_class)))
