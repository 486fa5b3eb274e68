r"""ReLU layers under squared error: the scalar problem of an output $xI_K$ of complexity κ,
and its network."""

from __future__ import annotations

import jax.numpy as jnp

import ufm
from theory_checks.formulas.roots import bisect


def value(kappa: float, Lam: float, L: int) -> float:
    """V(κ), by halving the interval of the slope's larger root."""

    def slope(x):
        return Lam * kappa - (1 - x) * x ** ((L - 1) / (L + 1))

    x = float(bisect(slope, (L - 1) / L, 1.0))
    inside = 0.5 * (x - 1) ** 2 + (L + 1) / 2 * Lam * kappa * x ** (2 / (L + 1))
    return min(0.5, inside)


def threshold(kappa: float, L: int) -> float:
    """The Λ from which on zero is best."""
    return ((L - 1) ** (L - 1) / L ** (2 * L)) ** (1 / (L + 1)) / kappa


def network(structure: ufm.laws.RectifiedStructure, Lam: float) -> tuple[ufm.Problem, ufm.Params]:
    """A problem with equal decays and every width K, and the structure's point of it."""
    K, L = structure.num_classes, structure.depth
    weights, features = ufm.laws.rectified_point(structure, lambda_W=Lam, lambda_H=Lam, width=K)
    problem = ufm.Problem(
        ufm.one_hot((1,) * K),
        loss=ufm.MeanSquaredError(),
        widths=(K,) * L,
        lambda_W=Lam,
        lambda_H=Lam,
        activation="relu",
    )
    return problem, ufm.Params(tuple(jnp.asarray(W) for W in weights), jnp.asarray(features))
