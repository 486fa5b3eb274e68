r"""ReLU layers under squared error: the scalar problem of an output $xI_K$ of complexity κ,
its network, and both against collapse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

import ufm
from theory_checks.engine.claims import Claim
from theory_checks.engine.measure import GEOMETRY, VALUE, value_at
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


def rectified_problem(K: int, L: int, Lam: float, *, width: int) -> ufm.Problem:
    """K classes of one sample behind L matrices of one width, with equal decays."""
    return ufm.Problem(
        ufm.one_hot((1,) * K),
        loss=ufm.MeanSquaredError(),
        widths=(width,) * L,
        lambda_W=Lam,
        lambda_H=Lam,
        activation="relu",
    )


def network(structure: ufm.laws.RectifiedStructure, Lam: float) -> tuple[ufm.Problem, ufm.Params]:
    """A problem with equal decays and every width K, and the structure's point of it."""
    K, L = structure.num_classes, structure.depth
    weights, features = ufm.laws.rectified_point(structure, lambda_W=Lam, lambda_H=Lam, width=K)
    point = ufm.Params(tuple(jnp.asarray(W) for W in weights), jnp.asarray(features))
    return rectified_problem(K, L, Lam, width=K), point


def below_collapse(
    structure: ufm.laws.RectifiedStructure, kappa: float, shares: Iterable[float]
) -> Iterator[Claim]:
    """That a structure's point has the value of the scalar problem for `kappa`, and that it is
    lower than collapse, at shares of the strength at which zero is as good as collapse."""
    K, L = structure.num_classes, structure.depth
    lower = []
    for share in shares:
        Lam = share * threshold(K, L)
        measured = value_at(*network(structure, Lam))
        predicted = value(kappa, Lam, L)
        name = f"value at {share:g} of the threshold"
        yield Claim(name, measured, predicted, VALUE, witness=True)
        lower.append(float(measured < value(K, Lam, L) * (1 - 1e-9)))
    yield Claim("lower than collapse", lower, [1.0] * len(lower), VALUE)


def collapse_claims(
    problem: ufm.Problem, Lam: float, *, key: jax.Array, starts: int
) -> Iterator[Claim]:
    """That random starts end at collapse and none below, and that class means behind every ReLU are
    orthogonal and equally long.

    Features and what enters the first ReLU are not determined.
    """
    found = ufm.solvers.minimise_rectified(problem, key=key, starts=starts, progress=False)
    collapsed = value(problem.labels.num_classes, Lam, problem.depth)
    yield Claim("least value of the starts", float(found.value), collapsed, VALUE, scale=collapsed)
    yield Claim("gradient and multipliers", found.kinks.residual, 0.0, GEOMETRY, witness=True)
    entering = np.asarray(found.params.features)
    for layer, W in enumerate(reversed(found.params.weights[1:]), start=1):
        entering = np.maximum(np.asarray(W) @ entering, 0)
        gram = entering.T @ entering
        length = float(np.trace(gram)) / len(gram)
        # (of zero the Gram is a multiple of I too)
        size = max(length, 1e-12)
        multiple = length / size * np.eye(len(gram))
        yield Claim(f"Gram behind ReLU {layer}", gram / size, multiple, GEOMETRY)
