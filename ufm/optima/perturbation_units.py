"""Strengths and sizes of the perturbation model: checked, and in either normalisation.

`ufm/optima/perturbation.py` states the paper's.
"""

from __future__ import annotations

import numpy as np

from ufm._validate import require, require_nonnegative, require_positive, require_whole


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


def _samples(num_classes, samples_per_class, lambda_W, lambda_H, beta) -> float:
    """N, a mass that need not be whole, once λ and β are known to be numbers >= 0."""
    K = require_whole("num_classes", num_classes, least=2)
    require_positive("samples_per_class", samples_per_class, shape=())
    for name, value in (("lambda_W", lambda_W), ("lambda_H", lambda_H), ("beta", beta)):
        if name != "beta" or value is not None:
            require_nonnegative(name, value)
    return K * samples_per_class


def strengths(lambda_W, lambda_H) -> tuple[float, float]:
    """c and r; `ValueError` for strengths that are not positive, and c >= 1."""
    require_positive("lambda_W", lambda_W, shape=())
    require_positive("lambda_H", lambda_H, shape=())
    c = float(np.sqrt(lambda_W * lambda_H))
    require(
        c < 1,
        "`lambda_W` * `lambda_H` must be < 1: beyond that the features vanish",
        lambda_W * lambda_H,
    )
    return c, float(np.sqrt(lambda_H / lambda_W))


def sizes(num_classes, samples_per_class, feature_dim) -> tuple[int, int, int]:
    """K, n and d.

    Parameters
    ----------
    num_classes, samples_per_class, feature_dim
        Whole numbers.

    Returns
    -------
    tuple[int, int, int]
        The same.

    Raises
    ------
    ValueError
        For K < 2, n < 1 and d < K.
    """
    K = require_whole("num_classes", num_classes, least=2)
    n = require_whole("samples_per_class", samples_per_class)
    return K, n, require_whole("feature_dim", feature_dim, least=K)
