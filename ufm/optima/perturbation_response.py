r"""The response of pulled features at any minimiser, as matrices.

What the spectra at collapse (`perturbation_gains.py`) are the exact values of. The objective is
that of `ufm/optima/perturbation.py`.
"""

from __future__ import annotations

import numpy as np

from ufm._validate import require, require_finite, require_nonnegative, require_positive
from ufm.optima.inversion import Floats


def response(classifier, features, targets, *, lambda_W, lambda_H, beta) -> Floats:
    r"""The matrix F of $\mathrm{vec}(dH) = F\,\mathrm{vec}(dH_0)$ at a nondegenerate minimiser.

    $F = \tfrac{\beta}{Kn}(\nabla_{HH} - \nabla_{HW}\nabla_{WW}^{-1}\nabla_{WH})^{-1}$, columns of H
    stacked.

    Parameters
    ----------
    classifier, features
        W (K, d) and H (d, N), the minimiser.
    targets
        (K, N), balanced.
    lambda_W, lambda_H, beta
        In the paper's normalisation; λ_W and β > 0.

    Returns
    -------
    Floats
        (dN, dN). For small problems: it inverts a matrix of that size.

    Raises
    ------
    ValueError
        For shapes that disagree, and strengths that are not positive (λ_H: negative).

    Notes
    -----
    Source: Tirer, Huang & Niles-Weed 2023, Theorem 4.1.
    """
    for name, value in (("classifier", classifier), ("features", features), ("targets", targets)):
        require_finite(name, value, ndim=2)
    require_positive("lambda_W", lambda_W, shape=())
    require_nonnegative("lambda_H", lambda_H, shape=())
    W, H, Y = (np.asarray(array, dtype=float) for array in (classifier, features, targets))
    K, d = W.shape
    N = H.shape[1]
    require(
        H.shape == (d, N) and Y.shape == (K, N),
        "`classifier`, `features`, `targets` must be (K, d), (d, N), (K, N)",
        (W.shape, H.shape, Y.shape),
    )
    require_positive("beta", beta, shape=())
    residual = W @ H - Y
    # everything times Kn; vec stacks columns, so vec(A X B) = (Bᵀ ⊗ A) vec(X)
    curvature_H = np.kron(np.eye(N), W.T @ W + (lambda_H + beta) * np.eye(d))
    curvature_W = np.kron(H @ H.T + N / K * lambda_W * np.eye(d), np.eye(K))
    transpose = np.eye(K * d).reshape(K, d, K, d).transpose(1, 0, 2, 3).reshape(K * d, K * d)
    # rows and columns of the transposition are column-stacked as well: vec(dWᵀ) = transpose @
    # vec(dW)
    coupling = np.kron(H.T, W.T) + np.kron(residual.T, np.eye(d)) @ transpose.T
    return beta * np.linalg.inv(curvature_H - coupling @ np.linalg.solve(curvature_W, coupling.T))


def reduced_loss(features, targets, *, lambda_W, lambda_H) -> float:
    r"""Kn times the loss with W optimal for H.

    $Kn\,\mathcal L(H) = \tfrac{n\lambda_W}{2}\mathrm{Tr}(YGY^\top) + \tfrac{\lambda_H}{2}\|H\|^2$
    with $G = (H^\top H + n\lambda_W I)^{-1}$.

    Parameters
    ----------
    features
        H (d, N).
    targets
        Y (K, N), balanced one-hot.
    lambda_W, lambda_H
        In the paper's normalisation.

    Returns
    -------
    float
        $Kn\,\mathcal L(H)$.

    Raises
    ------
    ValueError
        For shapes that disagree, and strengths out of range.

    Notes
    -----
    Source: derived from Eq. 4 of Tirer, Huang & Niles-Weed 2023.
    """
    H, Y = _matrices(features, targets, lambda_W, lambda_H)
    ridge, G = _resolvent(H, Y, lambda_W)
    return float(0.5 * ridge * np.trace(Y @ G @ Y.T) + 0.5 * lambda_H * np.sum(H**2))


def reduced_velocity(features, targets, *, lambda_W, lambda_H) -> Floats:
    r"""The flow on the central path, $-Kn\nabla\mathcal L = n\lambda_W HGY^\top YG - \lambda_H H$.

    Parameters
    ----------
    features, targets, lambda_W, lambda_H
        As for `reduced_loss`.

    Returns
    -------
    Floats
        (d, N).

    Raises
    ------
    ValueError
        As `reduced_loss` does.
    """
    H, Y = _matrices(features, targets, lambda_W, lambda_H)
    ridge, G = _resolvent(H, Y, lambda_W)
    return ridge * H @ G @ Y.T @ Y @ G - lambda_H * H


def _matrices(features, targets, lambda_W, lambda_H) -> tuple[Floats, Floats]:
    """Features (d, N) and targets (K, N), checked along with the decay."""
    require_positive("lambda_W", lambda_W, shape=())
    require_nonnegative("lambda_H", lambda_H, shape=())
    require_finite("features", features, ndim=2)
    require_finite("targets", targets, ndim=2)
    H, Y = np.asarray(features, dtype=float), np.asarray(targets, dtype=float)
    require(
        H.shape[1] == Y.shape[1],
        f"`targets` must have {H.shape[1]} columns, like `features`",
        Y.shape,
    )
    return H, Y


def _resolvent(H: Floats, Y: Floats, lambda_W) -> tuple[float, Floats]:
    ridge = H.shape[1] / Y.shape[0] * lambda_W
    return ridge, np.linalg.inv(H.T @ H + ridge * np.eye(H.shape[1]))
