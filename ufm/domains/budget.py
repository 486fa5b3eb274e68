"""One budget for all vectors of a factor, as in layer-peeled models.

Coordinates as those of a ball.
"""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._exact.fractions import fractions
from ufm._validate import require, require_dtype
from ufm.domains.ball import INSIDE, just_below_one, off_the_equator, rest_of
from ufm.domains.base import AbstractDomain, PerVector, Vectors, least_multiplier, lengths, times
from ufm.domains.radius import positive, resized


class Budget(AbstractDomain):
    r"""One budget for all vectors of a factor, $\sum_c v_c\|x_c\|^2 \le E$.

    Parameters
    ----------
    energy
        E > 0. May be traced.
    weights
        $v_c > 0$ (C,). Unless given, the masses $m_c$ for features, so that collapsed and full
        columns agree, and 1 for the rows of a classifier.

    Raises
    ------
    ValueError
        For an energy or weights that are not finite and > 0; from `ufm.Problem`, for weights of the
        wrong shape.

    References
    ----------
    The layer-peeled model of Fang, He, Long & Su 2021, whose weights are 1/K and 1/(K n_k).
    """

    name: ClassVar[str] = "budget"
    compact: ClassVar[bool] = True
    walled: ClassVar[bool] = True
    spherical: ClassVar[bool] = True
    movable: ClassVar[bool] = True
    spare: ClassVar[int | None] = 0
    tight: ClassVar[bool] = True

    energy: Float[Array, ""]
    weights: Float[Array, " C"] | None
    by_mass: bool = eqx.field(static=True)

    def __init__(self, energy, weights=None):
        self.energy = positive("energy", energy, shape=())
        self.weights = None if weights is None else positive("weights", weights, ndim=1)
        self.by_mass = weights is None

    def _shown_fields(self) -> dict[str, Any]:
        return {"energy": self.energy} | ({} if self.by_mass else {"weights": self.weights})

    def made_from(self) -> dict[str, Any]:
        return self._shown_fields()

    def fitted(self, name: str, shape: tuple[int, int], masses: PerVector) -> AbstractDomain:
        """With weights for these vectors, the masses where it goes by them.

        Returns
        -------
        AbstractDomain
            Energy and weights in the dtype of the masses.

        Raises
        ------
        ValueError
            For weights of another shape or parameters of another dtype.
        """
        require_dtype(f"{name}.energy", self.energy, masses.dtype)
        # those of the labels that it is fitted to now, whatever it was fitted to before
        weights = masses if self.by_mass or self.weights is None else self.weights
        require(
            weights.shape == (shape[1],),
            f"`{name}.weights` must have shape ({shape[1]},)",
            weights.shape,
        )
        parts = (self.energy.astype(masses.dtype), weights.astype(masses.dtype))
        return eqx.tree_at(
            lambda domain: (domain.energy, domain.weights),
            self,
            parts,
            is_leaf=lambda leaf: leaf is None,
        )

    def _roots(self) -> PerVector:
        """What makes a vector's share of the budget its squared length."""
        assert self.weights is not None
        return jnp.sqrt(self.weights / self.energy)

    def distance(self, vectors: np.ndarray) -> float:
        roots = np.sqrt(np.asarray(self.weights) / np.asarray(self.energy))
        return max(float(np.linalg.norm(lengths(vectors) * roots)) - 1, 0.0)

    @property
    def wanted(self) -> str:
        return "keep within `energy`"

    def unit(self, decay: PerVector, share: PerVector) -> Array:
        """One: the energy is the only scale.

        Returns
        -------
        Array
            A number.
        """
        return jnp.ones((), share.dtype)

    def coordinate_shape(self, shape: tuple[int, int]) -> tuple[int, ...]:
        return (shape[0] * shape[1] + 1,)

    def chart(self, vectors: Vectors, unit: Array) -> Array:
        """A point of the unit sphere above all vectors together, weighted and over the budget.

        Returns
        -------
        Array
            (n C + 1,).
        """
        scaled = times(vectors, self._roots()).ravel()
        return jnp.append(scaled, rest_of(jnp.sum(scaled**2), len(scaled)))

    def point(self, coordinates: Array, unit: Array) -> Vectors:
        """The shadow of that point as vectors.

        Returns
        -------
        Vectors
            (n, C), within the budget for all coordinates but 0.
        """
        assert self.weights is not None
        vectors = coordinates[:-1].reshape(-1, len(self.weights))
        return times(vectors, 1 / (self._roots() * jnp.sqrt(jnp.sum(coordinates**2))))

    def retract(self, coordinates: Array, unit: Array) -> Array:
        """The coordinates over their length.

        Returns
        -------
        Array
            (n C + 1,), of length 1.
        """
        return coordinates / jnp.sqrt(jnp.sum(coordinates**2))

    def departing(self, coordinates: Array) -> Array:
        return off_the_equator(coordinates)

    def shadow(self, coordinates: Array, unit: Array) -> Vectors:
        """All but the last of the coordinates as vectors, over the roots of their shares.

        Returns
        -------
        Vectors
            (n, C).
        """
        assert self.weights is not None
        return times(coordinates[:-1].reshape(-1, len(self.weights)), 1 / self._roots())

    def lifted(self, slope: Vectors, unit: Array) -> Array:
        """The slope over the roots of their shares, and 0 in the last coordinate.

        Returns
        -------
        Array
            (n C + 1,).
        """
        return jnp.pad(times(slope, 1 / self._roots()).ravel(), (0, 1))

    def tangent(self, coordinates: Array, unit: Array, direction: Array) -> tuple[Array, PerVector]:
        """The direction without its part along the coordinates.

        Returns
        -------
        tuple[Array, PerVector]
            What is left, and how many times the coordinates, of length 1, were subtracted.
        """
        along = jnp.sum(coordinates * direction)
        return direction - along * coordinates, along

    def of_groups(self, first, sizes) -> AbstractDomain:
        """With the weights of whole groups.

        Returns
        -------
        AbstractDomain
            A budget of the same energy.
        """
        assert self.weights is not None
        return Budget(self.energy, sizes * self.weights[first])

    def redundant(self, number: int) -> int:
        return 1

    def project(self, vectors: Vectors) -> Vectors:
        # not the nearest for unequal weights, but along the ray
        longer = jnp.sqrt(jnp.sum(times(vectors, self._roots()) ** 2))
        return vectors / jnp.maximum(longer, 1)

    def room(self, vectors: Vectors) -> PerVector:
        """What is left of the budget, over all of it.

        Returns
        -------
        PerVector
            One number.
        """
        return 1 - jnp.sum(times(vectors, self._roots()) ** 2)

    def leaving(self, vectors: Vectors, velocity: Vectors) -> PerVector:
        """Half the rate at which the budget is used up, over all of it.

        Returns
        -------
        PerVector
            One number.
        """
        return jnp.sum(times(vectors * velocity, self._roots() ** 2))

    def sliding(self, vectors: Vectors, velocity: Vectors, held: Array, masses: Array) -> Vectors:
        """The velocity without its part across the boundary.

        It is orthogonal where every vector counts by its mass, as its samples do.

        Returns
        -------
        Vectors
            (n, C).
        """
        across = times(vectors, self._roots() ** 2 / masses)
        square = jnp.where(held, self.leaving(vectors, across), 1)
        share = jnp.where(held, self.leaving(vectors, velocity) / square, 0)
        return velocity - share * across

    def onto(self, vectors: Vectors, held: Array) -> Vectors:
        """The vectors that are held, at the length at which they use up the budget.

        Returns
        -------
        Vectors
            The others as they are.
        """
        used = jnp.where(held, 1 - self.room(vectors), 1)
        return vectors / jnp.sqrt(used)

    def inside(self, vectors: Vectors) -> Vectors:
        out = self.room(vectors) <= 0
        return self.onto(vectors, out) * jnp.where(out, just_below_one(vectors.ravel()), 1)

    def start(self, vectors: Vectors) -> Vectors:
        return vectors * (INSIDE / jnp.sqrt(jnp.sum(times(vectors, self._roots()) ** 2)))

    def scaled(self, factor: float) -> AbstractDomain:
        return eqx.tree_at(lambda domain: domain.energy, self, self.energy * factor**2)

    def canonical(self) -> AbstractDomain:
        return Budget(self.energy, self.weights) if self.by_mass else self

    def common_length(self, masses) -> float | None:
        # only where longer vectors pay for all their samples do equal ones have the budget in equal
        # parts
        weights = np.asarray(masses if self.weights is None else self.weights, np.float64)
        shares = weights / np.asarray(masses, np.float64)
        alike = np.ptp(shares) <= 8 * np.finfo(np.float64).eps * np.max(shares)
        return float(np.sqrt(float(self.energy) / weights.sum())) if alike else None

    def holds_means(self, masses) -> bool:
        return self.common_length(masses) is not None

    def curvature(self, wanted: PerVector, decay: PerVector) -> PerVector:
        r"""$\lambda + \mu v$, with one multiplier $\mu > 0$ for all.

        Returns
        -------
        PerVector
            (C,), >= `wanted`.
        """
        assert self.weights is not None
        # one multiplier μ >= 0 for all: b = λ + μ v
        multiplier = jnp.max((wanted - decay) / self.weights)
        return decay + jnp.maximum(multiplier, least_multiplier(wanted.dtype)) * self.weights

    def allowance(self, curvature: PerVector, decay: PerVector) -> Float[Array, ""]:
        r"""$\mu E/2$.

        Returns
        -------
        Float[Array, ""]
            What the budget allows the multiplier to cost.
        """
        assert self.weights is not None
        return 0.5 * self.energy * jnp.max((curvature - decay) / self.weights)

    def exact_curvature(self, wanted, decay):
        r"""$\lambda + \mu v$ with an exact $\mu$.

        Returns
        -------
        list
            C fractions.
        """
        weights = fractions(self.weights)
        multiplier = self._exact_multiplier(wanted, decay)
        return [lam + multiplier * v for lam, v in zip(decay, weights, strict=True)]

    def exact_allowance(self, curvature, decay):
        r"""$\mu E/2$, exactly.

        Returns
        -------
        Any
            A fraction.
        """
        return fractions(self.energy) * self._exact_multiplier(curvature, decay) / 2

    def _exact_multiplier(self, curvature, decay) -> Any:
        terms = zip(curvature, decay, fractions(self.weights), strict=True)
        return max(0, *((b - lam) / v for b, lam, v in terms))

    def enclose(self, vectors):
        energy, weights = fractions(self.energy), fractions(self.weights)
        used = sum(
            v * sum(x * x for x in vector) for v, vector in zip(weights, vectors, strict=True)
        )
        return [resized(vector, energy / max(used, energy)) for vector in vectors]
