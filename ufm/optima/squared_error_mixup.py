r"""Mixup with squared error: the spectrum of the optimal classifier."""

from __future__ import annotations

import numpy as np

from ufm._validate import require_positive, require_whole
from ufm.labels.beta_law import mixing_moment


def squared_error_mixup_spectrum(
    num_classes: int, alpha: float, *, lambda_W: float, lambda_H: float
) -> tuple[float, float]:
    r"""Eigenvalues of $WW^\top$ at the optimum of balanced mixup with squared error.

    No bias, d >= K: $\sqrt{\mu/\lambda_W}\,(\sqrt{e} - \sqrt{\lambda_W\mu})_+$ with $e = \rho/K$ (K
    − 1 times) and $e = 1/K$ (once), the eigenvalues of $\mathbb E[qq^\top]$.

    Parameters
    ----------
    num_classes, alpha
        As for `ufm.mixup`.
    lambda_W, lambda_H
        λ > 0; the masses sum to one, so that μ is `lambda_H`.

    Returns
    -------
    tuple[float, float]
        On the contrasts, and on **1**.

    Raises
    ------
    ValueError
        For λ that are not positive.

    Notes
    -----
    So the classifier is no simplex ETF, and mixup shrinks the contrasts only. Features are linear
    in the label: $h = \lambda h_i + (1-\lambda) h_j$ exactly, for any W. Source: derived here.
    """
    num_classes = require_whole("num_classes", num_classes, least=2)
    require_positive("lambda_W", lambda_W, shape=())
    require_positive("lambda_H", lambda_H, shape=())
    moments = np.array([mixing_moment(alpha), 1.0]) / num_classes
    contrast, mean = np.sqrt(lambda_H / lambda_W) * np.maximum(
        np.sqrt(moments) - np.sqrt(lambda_W * lambda_H), 0.0
    )
    return float(contrast), float(mean)
