r"""Spectra of the response of pulled features near neural collapse, exact for every pull.

With the objective of `ufm/optima/perturbation.py`, $c = \sqrt{\lambda_W\lambda_H}$ and $r =
\sqrt{\lambda_H/\lambda_W}$; for c < 1 the minimisers without a pull have $\bar H^\top\bar H = \rho
I$, $\rho = (1-c)/r$ and $W = r\bar H^\top$.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm._validate import require, require_finite, require_positive
from ufm.optima.inversion import Floats
from ufm.optima.perturbation_units import sizes, strengths


def collapsed_minimiser(frame, *, lambda_W, lambda_H) -> tuple[Floats, Floats]:
    """A minimiser without a pull.

    Parameters
    ----------
    frame
        (d, K), with orthonormal columns.
    lambda_W, lambda_H
        In the paper's normalisation.

    Returns
    -------
    tuple[Floats, Floats]
        The classifier (K, d) and the class means (d, K).

    Raises
    ------
    ValueError
        For c >= 1, where all minimisers are zero, and for columns that are not orthonormal.
    """
    c, r = strengths(lambda_W, lambda_H)
    require_finite("frame", frame, ndim=2)
    frame = np.asarray(frame, dtype=float)
    require(
        np.allclose(frame.T @ frame, np.eye(frame.shape[1]), rtol=0, atol=1e-12),
        "`frame` must have orthonormal columns",
        frame.shape,
    )
    means = np.sqrt((1 - c) / r) * frame
    return r * means.T, means


@dataclass(frozen=True, kw_only=True, eq=False)
class Gains:
    """A spectrum piece by piece: `names`, `values` and `multiplicities`, in the same order."""

    names: tuple[str, ...]
    values: Floats
    multiplicities: np.ndarray

    @property
    def spectrum(self) -> Floats:
        """Every value as often as it occurs, largest first."""
        return np.sort(np.repeat(self.values, self.multiplicities))[::-1]


PIECES = (
    "within class, in the span of the means",
    "within class, off the span",
    "means, stretched",
    "means, rotated within the span",
    "means, rotated out of the span",
)


def curvatures(*, num_classes, samples_per_class, feature_dim, lambda_W, lambda_H) -> Gains:
    r"""Eigenvalues of the Hessian of $Kn\,\mathcal L(H)$ at collapse.

    With $\mathcal L(H) = \min_W f$ without a pull: r, λ_H, 4λ_H(1 − c), 0, 0.

    Parameters
    ----------
    num_classes, samples_per_class, feature_dim
        K, n and d.
    lambda_W, lambda_H
        In the paper's normalisation.

    Returns
    -------
    Gains
        Over the pieces `PIECES`. They are the local rates at which the flow $\dot H = -Kn\nabla
        \mathcal L$ on the central path collapses; in the library's time, that of f itself, divide
        by Kn.

    Raises
    ------
    ValueError
        For c >= 1 or d < K.

    Notes
    -----
    Source: derived; the first two pieces underlie Theorem 4.2 of Tirer, Huang & Niles-Weed 2023.
    """
    c, r = strengths(lambda_W, lambda_H)
    K, n, d = sizes(num_classes, samples_per_class, feature_dim)
    return Gains(
        names=PIECES,
        values=np.array([r, lambda_H, 4 * lambda_H * (1 - c), 0.0, 0.0]),
        multiplicities=np.array(
            [
                K * K * (n - 1),
                (d - K) * K * (n - 1),
                K * (K + 1) // 2,
                K * (K - 1) // 2,
                (d - K) * K,
            ]
        ),
    )


def gains(*, num_classes, samples_per_class, feature_dim, lambda_W, lambda_H, beta) -> Gains:
    r"""Spectrum of the first-order map $dH = F\,dH_0$ at collapse, exact for every β.

    $\beta/(\beta + \text{curvature})$ on each piece.

    Parameters
    ----------
    num_classes, samples_per_class, feature_dim
        K, n and d.
    lambda_W, lambda_H, beta
        In the paper's normalisation, β > 0.

    Returns
    -------
    Gains
        Over `PIECES`; the multiplicities add up to dKn.

    Raises
    ------
    ValueError
        For c >= 1, d < K, β <= 0.

    Notes
    -----
    Source: derived; Theorem 4.2 of Tirer, Huang & Niles-Weed 2023 to leading order in 1/β.
    """
    require_positive("beta", beta, shape=())
    bent = curvatures(
        num_classes=num_classes,
        samples_per_class=samples_per_class,
        feature_dim=feature_dim,
        lambda_W=lambda_W,
        lambda_H=lambda_H,
    )
    return Gains(
        names=bent.names, values=beta / (beta + bent.values), multiplicities=bent.multiplicities
    )


def scatter_attenuation(*, num_classes, feature_dim, lambda_W, lambda_H, beta) -> float:
    r"""Tr Σ_W of dH over that of isotropic noise dH_0.

    $\tfrac Kd g_{in}^2 + (1 - \tfrac Kd)\,g_{out}^2$.

    Parameters
    ----------
    num_classes, feature_dim
        K and d.
    lambda_W, lambda_H, beta
        In the paper's normalisation, β > 0.

    Returns
    -------
    float
        In (0, 1).

    Raises
    ------
    ValueError
        As `gains` does.
    """
    K, _, d = sizes(num_classes, 1, feature_dim)
    inside, outside = gains(
        num_classes=K,
        samples_per_class=2,
        feature_dim=d,
        lambda_W=lambda_W,
        lambda_H=lambda_H,
        beta=beta,
    ).values[:2]
    return float((K * inside**2 + (d - K) * outside**2) / d)
