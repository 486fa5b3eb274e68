"""Vectors of a given length."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ufm.domains.base import PerVector, Vectors, least_multiplier, lengths, lengths_sq, times
from ufm.domains.radius import AbstractRadius, resized


class Sphere(AbstractRadius):
    r"""Vectors of a given length, $\|x\| = r$.

    Parameters
    ----------
    radius
        r > 0: one number, or one for each vector (C,). May be traced.

    Raises
    ------
    ValueError
        For a radius that is not finite and > 0; from `ufm.Problem`, for one of the wrong shape.
    """

    name: ClassVar[str] = "sphere"
    smooth: ClassVar[bool] = True
    spare: ClassVar[int | None] = 1

    def distance(self, vectors: np.ndarray) -> float:
        return float(np.max(np.abs(lengths(vectors) / np.asarray(self.radius) - 1)))

    @property
    def wanted(self) -> str:
        return "have vectors of length `radius`"

    def chart(self, vectors: Vectors, unit: Array) -> Array:
        """The vectors themselves, at the length of their unit.

        Returns
        -------
        Array
            (n, C).
        """
        return self.retract(vectors, unit)

    def point(self, coordinates: Array, unit: Array) -> Vectors:
        """Each column scaled to the radius.

        Returns
        -------
        Vectors
            (n, C), on the sphere for all coordinates but 0.
        """
        return times(coordinates, self.radius / jnp.sqrt(lengths_sq(coordinates)))

    def stiffness(self, along: PerVector, unit: Array, decay: PerVector) -> PerVector:
        """The multiplier of the sphere, without its decay, which is the same everywhere.

        Returns
        -------
        PerVector
            (C,), >= 0.
        """
        return jnp.abs(along - decay * (self.radius / unit) ** 2)

    def project(self, vectors: Vectors) -> Vectors:
        return times(vectors, self.radius / jnp.sqrt(lengths_sq(vectors)))

    def curvature(self, wanted: PerVector, decay: PerVector) -> PerVector:
        """What is wanted: a sphere pushes either way.

        Returns
        -------
        PerVector
            (C,), > 0.
        """
        return jnp.maximum(wanted, least_multiplier(wanted.dtype))

    def exact_curvature(self, wanted, decay):
        """What is wanted.

        Returns
        -------
        list
            C fractions.
        """
        return list(wanted)

    def enclose(self, vectors):
        radii = self._exact_radii(len(vectors))
        return [
            resized(vector, radius**2 / sum(x * x for x in vector))
            for vector, radius in zip(vectors, radii, strict=True)
        ]
