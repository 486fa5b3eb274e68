"""Vectors without negative entries, as after a ReLU."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._exact.fractions import flint
from ufm.domains.base import AbstractDomain, Vectors


class Nonnegative(AbstractDomain):
    """Vectors with entries >= 0; their decay holds them."""

    name: ClassVar[str] = "nonnegative"
    nonnegative: ClassVar[bool] = True
    walled: ClassVar[bool] = True
    isotropic: ClassVar[bool] = False
    tight: ClassVar[bool] = True

    def distance(self, vectors: np.ndarray) -> float:
        return max(-float(np.min(vectors)), 0.0)

    @property
    def wanted(self) -> str:
        return "be >= 0"

    def point(self, coordinates: Array, unit: Array) -> Vectors:
        """The coordinates, which solvers keep >= 0, in their unit.

        Returns
        -------
        Vectors
            (n, C).
        """
        return super().point(coordinates, unit)

    def holds_means(self, masses) -> bool:
        return True

    def project(self, vectors: Vectors) -> Vectors:
        return jnp.maximum(vectors, 0)

    def room(self, vectors: Vectors) -> Vectors:
        """Each entry, in units of half their root mean square.

        Returns
        -------
        Vectors
            (n, C).
        """
        return 2 * vectors / _typical(vectors)

    def leaving(self, vectors: Vectors, velocity: Vectors) -> Vectors:
        """The rate at which each entry falls, in these units.

        Returns
        -------
        Vectors
            (n, C).
        """
        return -velocity / _typical(vectors)

    def fastest(self, vectors: Vectors, velocity: Vectors) -> Vectors:
        """The root mean square of the velocity, in these units.

        Returns
        -------
        Vectors
            (n, C).
        """
        return jnp.full_like(velocity, _typical(velocity) / _typical(vectors))

    def sliding(self, vectors: Vectors, velocity: Vectors, held: Array, masses: Array) -> Vectors:
        """The velocity of the entries that are not held.

        Returns
        -------
        Vectors
            (n, C).
        """
        return jnp.where(held, 0, velocity)

    def onto(self, vectors: Vectors, held: Array) -> Vectors:
        """Zeros for the entries that are held.

        Returns
        -------
        Vectors
            The others as they are.
        """
        return jnp.where(held, 0, vectors)

    def inside(self, vectors: Vectors) -> Vectors:
        return self.project(vectors)

    def start(self, vectors: Vectors) -> Vectors:
        return jnp.abs(vectors)

    def facing(self, slope: Vectors) -> Vectors:
        # an entry of x that is >= 0 loses nothing on a slope that goes up
        return jnp.minimum(slope, 0)

    def gram(self, gram: Float[Array, "C C"]) -> Float[Array, "C C"]:
        # inner products of nonnegative vectors are >= 0, so negative entries may be dropped
        diagonal = jnp.eye(len(gram), dtype=bool)
        return jnp.where(diagonal, gram, jnp.maximum(gram, 0))

    def enclose(self, vectors):
        return [[flint().arb(max(x, 0)) for x in vector] for vector in vectors]


def _typical(vectors: Vectors) -> Array:
    """The root mean square of the entries, > 0."""
    return jnp.sqrt(jnp.maximum(jnp.mean(vectors**2), jnp.finfo(vectors.dtype).tiny))
