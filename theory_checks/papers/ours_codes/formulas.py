r"""The conditions of theorem A in plain floats, by another way than `ufm.certificates.code_bound`
goes."""

from __future__ import annotations

import numpy as np
from numpy.polynomial import Polynomial

import ufm


def sphere_mean(polynomial: Polynomial, dim: int) -> float:
    """Over $S^{d-1}$ of a polynomial of one coordinate: $t^{2j}$ has
    $\\prod_{i<j}(2i+1)/(d+2i)$."""
    moments = np.zeros(len(polynomial.coef))
    moments[0] = 1
    for n in range(2, len(moments), 2):
        moments[n] = moments[n - 2] * (n - 1) / (dim + n - 2)
    return float(moments @ np.asarray(polynomial.coef, dtype=np.float64))


def touching(code: ufm.frames.Code, beta: float) -> Polynomial:
    r"""h: below $e^{\beta(t-1)}$, with its values and slopes at the inner products, but for the
    slope at −1."""
    t = code.inner_products
    inner = t[t > -1 + 1e-9]
    powers = np.arange(len(t) + len(inner))
    slopes = powers * inner[:, None] ** np.maximum(powers - 1, 0)
    f, slope = np.exp(beta * (t - 1)), beta * np.exp(beta * (inner - 1))
    return Polynomial(
        np.linalg.solve(np.concatenate([t[:, None] ** powers, slopes]), np.append(f, slope))
    )


def energy(code: ufm.frames.Code, beta: float) -> float:
    r"""$E = \sum_{j\ne k}e^{\beta(x_j\cdot x_k-1)}$ at the code."""
    return float(code.multiplicities @ np.exp(beta * (code.inner_products - 1)))


def condition_A(code: ufm.frames.Code, beta: float) -> float:
    r"""$\kappa K(h(1)-h_0)/(2(1+E))$, at most 1 where theorem A speaks."""
    E, h = energy(code, beta), touching(code, beta)
    y = E / (1 + E)
    kappa = 2 * (-y - np.log1p(-y)) / y**2 if y > 1e-5 else 1 + 2 * y / 3
    return kappa * code.num_vectors * (h(1.0) - sphere_mean(h, code.dim)) / (2 * (1 + E))


def orthoplex_B(dim: int, beta: float) -> float:
    r"""The largest of the numbers that theorem B wants to be at most 1, at the orthoplex of d
    dimensions.

    $\varphi = e^{-\beta}(1+ct)$, $c = 1-e^{-\beta}$; $h = h_0+h_1C_1+h_2C_2$, written out.
    """
    K, u = 2 * dim, np.exp(-beta)
    c = 1 - u
    # h = u (1 + β t + (β − c) t²): the value at −1 is u²
    top = u * (beta - c)
    h1, h2 = u * beta, top * (dim - 1) / dim
    phi1 = u * c
    # χ = φ (1 − t) = u (1 − (1 − c) t − c t²), η = u (t + c t²/2)
    chi1, chi2 = -u * (1 - c), -u * c * (dim - 1) / dim
    eta1, eta2 = u, u * c / 2 * (dim - 1) / dim
    v = K * u * (1 - c / dim)
    s2 = beta / (2 * v)
    block = np.array(
        [[phi1**2 / h1, np.sqrt(s2) * phi1 * chi1 / h1], [0, s2 * (chi1**2 / h1 + chi2**2 / h2)]]
    )
    block[1, 0] = block[0, 1]
    # C_1'(1) = 1, C_2'(1) = 2 d/(d − 1)
    gradient = s2 * (eta1**2 / h1 + eta2**2 * 2 * dim / (dim - 1) / h2)
    return float(K * max(np.linalg.eigvalsh(block)[-1], gradient, phi1))
