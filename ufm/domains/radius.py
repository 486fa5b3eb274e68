"""What spheres and balls share.

A radius for every vector, and coordinates whose direction alone counts.
"""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._exact.fractions import flint, fractions
from ufm._validate import require, require_dtype, require_positive
from ufm.domains.base import AbstractDomain, Exactly, PerVector, Vectors, lengths_sq, times


class AbstractRadius(AbstractDomain):
    """A domain of vectors whose length has a bound, each its own."""

    compact: ClassVar[bool] = True
    movable: ClassVar[bool] = True
    spherical: ClassVar[bool] = True
    tight: ClassVar[bool] = True

    radius: Float[Array, "*C"] = eqx.field(converter=lambda radius: positive("radius", radius))

    def fitted(self, name: str, shape: tuple[int, int], masses: PerVector) -> AbstractDomain:
        """With its radius in the dtype of the masses.

        Returns
        -------
        AbstractDomain
            Of the same kind.

        Raises
        ------
        ValueError
            For a radius that is neither a number nor one for each vector, or of another dtype.
        """
        radius, wanted = (
            self.radius,
            f"`{name}.radius` must be a number, or have shape ({shape[1]},), one for each vector",
        )
        require(radius.shape in ((), shape[1:]), wanted, radius.shape)
        require_dtype(f"{name}.radius", radius, masses.dtype)
        return eqx.tree_at(lambda domain: domain.radius, self, radius.astype(masses.dtype))

    def unit(self, decay: PerVector, share: PerVector) -> Array:
        """The root of each vector's share of the samples.

        Returns
        -------
        Array
            (C,).
        """
        return jnp.sqrt(share)

    def retract(self, coordinates: Array, unit: Array) -> Array:
        """Each column scaled to the length of its unit.

        Returns
        -------
        Array
            Of the same shape.
        """
        return times(coordinates, unit / jnp.sqrt(lengths_sq(coordinates)))

    def shadow(self, coordinates: Array, unit: Array) -> Vectors:
        """The coordinates in units of the radius.

        Returns
        -------
        Vectors
            (n, C).
        """
        return times(coordinates, self.radius / unit)

    def lifted(self, slope: Vectors, unit: Array) -> Array:
        """The slope in units of the radius.

        Returns
        -------
        Array
            Of the shape of the coordinates.
        """
        return times(slope, self.radius / unit)

    def tangent(self, coordinates: Array, unit: Array, direction: Array) -> tuple[Array, PerVector]:
        """Each column without its part along that of the coordinates.

        Returns
        -------
        tuple[Array, PerVector]
            What is left, and how many times each column was subtracted (C,).
        """
        along = jnp.sum(coordinates * direction, axis=0) / unit**2
        return direction - times(coordinates, along), along

    def of_groups(self, first, sizes) -> AbstractDomain:
        """With the radius of each group's first vector.

        Returns
        -------
        AbstractDomain
            Of the same kind.
        """
        radius = self.radius[first] if self.radius.ndim else self.radius
        return eqx.tree_at(lambda domain: domain.radius, self, radius)

    def redundant(self, number: int) -> int:
        return number

    def scaled(self, factor: float) -> AbstractDomain:
        return eqx.tree_at(lambda domain: domain.radius, self, self.radius * factor)

    def common_length(self, masses) -> float | None:
        radius = np.broadcast_to(np.asarray(self.radius, np.float64), np.shape(masses))
        return float(radius[0]) if np.ptp(radius) == 0 else None

    def allowance(self, curvature: PerVector, decay: PerVector) -> Float[Array, ""]:
        r"""$\tfrac12\sum (b - \lambda) r^2$.

        Returns
        -------
        Float[Array, ""]
            >= 0 on a ball, of either sign on a sphere.
        """
        return 0.5 * jnp.sum((curvature - decay) * self.radius**2)

    def exact_allowance(self, curvature, decay):
        r"""$\tfrac12\sum (b - \lambda) r^2$, exactly.

        Returns
        -------
        Any
            A fraction.
        """
        terms = zip(curvature, decay, self._exact_radii(len(curvature)), strict=True)
        return sum((b - lam) * radius**2 for b, lam, radius in terms) / 2

    def _exact_radii(self, number: int) -> list[Any]:
        return fractions(np.broadcast_to(self.radius, number))


def resized(vector: Exactly, square: Any) -> list[Any]:
    """Balls around the entries of a vector of exact fractions, times the root of an exact
    number."""
    size = flint().arb(square).sqrt()
    return [x * size for x in vector]


def positive(name: str, value, **form) -> Array:
    """A (possibly traced) parameter as a float array.

    One number or one for each vector, unless `form` says otherwise.
    """
    require_positive(name, value, **form)
    if not form:
        require(
            np.ndim(value) <= 1,
            f"`{name}` must be a number, or one for each vector",
            f"shape {np.shape(value)}",
        )
    return (
        value
        if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating)
        else jnp.asarray(value, float)
    )
