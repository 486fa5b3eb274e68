r"""The perturbation model.

Features pulled to given ones, and how the pull answers to a small change near neural collapse.

**Normalisation.** Here, as in Tirer, Huang & Niles-Weed 2023 (Eq. 2), with n samples in each of K
classes, no bias and d >= K,

$$f = \tfrac1{2Kn}\|WH - Y\|_F^2 + \tfrac{\lambda_W}{2K}\|W\|_F^2 + \tfrac{\lambda_H}{2Kn}\|H\|_F^2
+ \tfrac{\beta}{2Kn}\|H - H_0\|_F^2;$$

the library's `Problem` takes $\lambda_W/K$, $\lambda_H/(Kn)$ and $\beta/(Kn)$ for the same value f
(`library_parameters`). Throughout $c = \sqrt{\lambda_W\lambda_H}$ and $r =
\sqrt{\lambda_H/\lambda_W}$; for c < 1 the minimisers without a pull have $\bar H^\top\bar H = \rho
I$, $\rho = (1-c)/r$ and $W = r\bar H^\top$.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm._validate import (
    require,
    require_finite,
    require_nonnegative,
    require_positive,
    require_whole,
)
from ufm.optima.inversion import Floats


def library_parameters(
    *, num_classes, samples_per_class, lambda_W, lambda_H, beta=None
) -> dict[str, float]:
    """The paper's λ_W, λ_H, β as arguments of the library's `Problem`.

    Parameters
    ----------
    num_classes, samples_per_class
        K and n.
    lambda_W, lambda_H, beta
        In the paper's normalisation; β may be left out.

    Returns
    -------
    dict[str, float]
        `lambda_W`, `lambda_H` and (where given) `beta`.

    Raises
    ------
    ValueError
        For K < 2, n <= 0, and strengths below 0.
    """
    N = _samples(num_classes, samples_per_class, lambda_W, lambda_H, beta)
    scaled = {"lambda_W": lambda_W / num_classes, "lambda_H": lambda_H / N}
    return scaled if beta is None else {**scaled, "beta": beta / N}


def paper_parameters(
    *, num_classes, samples_per_class, lambda_W, lambda_H, beta=None
) -> dict[str, float]:
    """Inverse of `library_parameters`.

    Parameters
    ----------
    num_classes, samples_per_class
        K and n.
    lambda_W, lambda_H, beta
        In the library's normalisation; β may be left out.

    Returns
    -------
    dict[str, float]
        `lambda_W`, `lambda_H` and (where given) `beta`, the paper's.

    Raises
    ------
    ValueError
        As `library_parameters` does.
    """
    N = _samples(num_classes, samples_per_class, lambda_W, lambda_H, beta)
    scaled = {"lambda_W": lambda_W * num_classes, "lambda_H": lambda_H * N}
    return scaled if beta is None else {**scaled, "beta": beta * N}


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
    c, r = _strengths(lambda_W, lambda_H)
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
    c, r = _strengths(lambda_W, lambda_H)
    K, n, d = _sizes(num_classes, samples_per_class, feature_dim)
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


def diagonal_block_gains(
    *, num_classes, samples_per_class, feature_dim, lambda_W, lambda_H, beta
) -> Gains:
    r"""Singular values of the block $F_{kk}$ (dn, dn): how class k answers to its own perturbation.

    Exact for every β.

    Parameters
    ----------
    num_classes, samples_per_class, feature_dim
        K, n and d.
    lambda_W, lambda_H, beta
        In the paper's normalisation, β > 0.

    Returns
    -------
    Gains
        The staircase: 1 (d − K times), (1 + g)/2 (K − 1), g (once), β/(β + λ_H) ((d − K)(n − 1)),
        β/(β + r) (K(n − 1)), with $g = \beta/(\beta + 4\lambda_H(1-c))$.

    Raises
    ------
    ValueError
        As `gains` does.

    Notes
    -----
    Source: derived; leading order in Theorem 4.2 of Tirer, Huang & Niles-Weed 2023.
    """
    K, n, d = _sizes(num_classes, samples_per_class, feature_dim)
    inside, outside, g, _, _ = gains(
        num_classes=K,
        samples_per_class=n,
        feature_dim=d,
        lambda_W=lambda_W,
        lambda_H=lambda_H,
        beta=beta,
    ).values
    return Gains(
        names=(
            PIECES[4],
            "mean, turned towards another class",
            "mean, stretched",
            PIECES[1],
            PIECES[0],
        ),
        values=np.array([1.0, (1 + g) / 2, g, outside, inside]),
        multiplicities=np.array([d - K, K - 1, 1, (d - K) * (n - 1), K * (n - 1)]),
    )


def cross_talk(*, lambda_W, lambda_H, beta) -> float:
    r"""The one nonzero singular value of a block $F_{kk'}$, k ≠ k'.

    $(1 - g)/2$ with $g = \beta/(\beta + 4\lambda_H(1-c))$, for every β.

    Parameters
    ----------
    lambda_W, lambda_H, beta
        In the paper's normalisation, β > 0.

    Returns
    -------
    float
        Increasing, then decreasing in λ_H, largest at c = 2/3.

    Raises
    ------
    ValueError
        As `gains` does.

    Notes
    -----
    Source: derived; leading order in Theorem 4.2 of Tirer, Huang & Niles-Weed 2023.
    """
    c, _ = _strengths(lambda_W, lambda_H)
    require_positive("beta", beta, shape=())
    bend = 4 * lambda_H * (1 - c)
    return float(0.5 * bend / (beta + bend))


def leading_order(*, lambda_W, lambda_H, beta) -> dict[str, float]:
    r"""Theorem 4.2 as printed, for $\beta \gg \max(1, \lambda_H)$.

    Extreme singular values of $F_{kk}$ and the largest of $F_{kk'}$.

    Parameters
    ----------
    lambda_W, lambda_H, beta
        In the paper's normalisation, β > 0.

    Returns
    -------
    dict[str, float]
        1, $1 - r/\beta$ and $2\lambda_H(1-c)/\beta$, each up to $O(\beta^{-2})$.

    Raises
    ------
    ValueError
        As `gains` does.

    Notes
    -----
    Source: Tirer, Huang & Niles-Weed 2023, Theorem 4.2. The smallest one needs r >= λ_H (λ_W <=
    1/λ_H, true for c <= 1) and r >= 4λ_H(1 − c), which is 4c(1 − c) <= 1 and always true.
    """
    c, r = _strengths(lambda_W, lambda_H)
    require_positive("beta", beta, shape=())
    return {
        "diagonal largest": 1.0,
        "diagonal smallest": 1 - r / beta,
        "off-diagonal": 2 * lambda_H * (1 - c) / beta,
    }


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
    K, _, d = _sizes(num_classes, 1, feature_dim)
    inside, outside = gains(
        num_classes=K,
        samples_per_class=2,
        feature_dim=d,
        lambda_W=lambda_W,
        lambda_H=lambda_H,
        beta=beta,
    ).values[:2]
    return float((K * inside**2 + (d - K) * outside**2) / d)


# any point
# ----------------------------------------------------------------------


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


def _strengths(lambda_W, lambda_H) -> tuple[float, float]:
    """c and r."""
    require_positive("lambda_W", lambda_W, shape=())
    require_positive("lambda_H", lambda_H, shape=())
    c = float(np.sqrt(lambda_W * lambda_H))
    require(
        c < 1,
        "`lambda_W` * `lambda_H` must be < 1: beyond that the features vanish",
        lambda_W * lambda_H,
    )
    return c, float(np.sqrt(lambda_H / lambda_W))


def _sizes(num_classes, samples_per_class, feature_dim) -> tuple[int, int, int]:
    K = require_whole("num_classes", num_classes, least=2)
    n = require_whole("samples_per_class", samples_per_class)
    return K, n, require_whole("feature_dim", feature_dim, least=K)


def _samples(num_classes, samples_per_class, lambda_W, lambda_H, beta) -> float:
    """N, a mass that need not be whole, once λ and β are known to be numbers >= 0."""
    K = require_whole("num_classes", num_classes, least=2)
    require_positive("samples_per_class", samples_per_class, shape=())
    for name, value in (("lambda_W", lambda_W), ("lambda_H", lambda_H), ("beta", beta)):
        if name != "beta" or value is not None:
            require_nonnegative(name, value)
    return K * samples_per_class
