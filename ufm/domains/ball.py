r"""Vectors of bounded length.

In coordinates a ball is a sphere: one more takes up what is left of the length, $x =
r\,y_{1..n}/\|y\|$. At the boundary that coordinate is 0 and stationary, and its curvature is the
multiplier of the constraint.
"""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ufm.domains.base import PerVector, Vectors, least_multiplier, lengths, lengths_sq, times
from ufm.domains.radius import AbstractRadius, resized

# On the boundary the further coordinate is 0 and stays 0, so a start lies inside.
INSIDE = 0.9


def rest_of(used: Array, terms: int) -> Array:
    """What is left of a length 1 whose square is used up to this.

    Nothing where that is rounding, whose root is far from it.
    """
    rest = 1 - used
    return jnp.where(rest > 4 * (terms + 8) * jnp.finfo(used.dtype).eps, jnp.sqrt(jnp.abs(rest)), 0)


def off_the_equator(coordinates: Array) -> Array:
    """Coordinates above each point of a ball, off its boundary by half a millionth of the radius.

    There the slope in the last one, whose sign means nothing, is 0: a descent along the boundary
    would never see that inside is lower, and end at a saddle.
    """
    least = 1e-3 * jnp.sqrt(jnp.sum(coordinates**2, axis=0))
    return coordinates.at[-1].set(jnp.maximum(coordinates[-1], least))


def just_below_one(vectors: Array) -> float:
    """A factor that takes vectors of the largest length inside, whatever the rounding of that."""
    return 1 - 2 * (len(vectors) + 8) * float(jnp.finfo(vectors.dtype).eps)


class Ball(AbstractRadius):
    r"""Vectors of bounded length, $\|x\| \le r$.

    Parameters
    ----------
    radius
        r > 0: one number, or one for each vector (C,). May be traced.

    Raises
    ------
    ValueError
        For a radius that is not finite and > 0; from `ufm.Problem`, for one of the wrong shape.
    """

    name: ClassVar[str] = "ball"
    walled: ClassVar[bool] = True
    spare: ClassVar[int | None] = 0

    def distance(self, vectors: np.ndarray) -> float:
        return max(float(np.max(lengths(vectors) / np.asarray(self.radius))) - 1, 0.0)

    @property
    def wanted(self) -> str:
        return "have vectors of length <= `radius`"

    def coordinate_shape(self, shape: tuple[int, int]) -> tuple[int, ...]:
        return shape[0] + 1, shape[1]

    def chart(self, vectors: Vectors, unit: Array) -> Array:
        """A point of the unit sphere in one more dimension, above each vector over its radius.

        Returns
        -------
        Array
            (n + 1, C), in units.
        """
        scaled = times(vectors, 1 / self.radius)
        return times(
            jnp.concatenate([scaled, rest_of(lengths_sq(scaled), len(vectors))[None, :]]), unit
        )

    def point(self, coordinates: Array, unit: Array) -> Vectors:
        """The shadow of that point, times the radius.

        Returns
        -------
        Vectors
            (n, C), in the ball for all coordinates but 0.
        """
        return times(coordinates[:-1], self.radius / jnp.sqrt(lengths_sq(coordinates)))

    def departing(self, coordinates: Array) -> Array:
        return off_the_equator(coordinates)

    def shadow(self, coordinates: Array, unit: Array) -> Vectors:
        """All but the last of the coordinates, in units of the radius.

        Returns
        -------
        Vectors
            (n, C).
        """
        return super().shadow(coordinates[:-1], unit)

    def lifted(self, slope: Vectors, unit: Array) -> Array:
        """The slope in units of the radius, and 0 in the last coordinate.

        Returns
        -------
        Array
            (n + 1, C).
        """
        return jnp.pad(super().lifted(slope, unit), ((0, 1), (0, 0)))

    def stiffness(self, along: PerVector, unit: Array, decay: PerVector) -> PerVector:
        """That of the decay, and of what presses against the boundary.

        Returns
        -------
        PerVector
            (C,), >= 0.
        """
        return jnp.abs(along) + decay * (self.radius / unit) ** 2

    def project(self, vectors: Vectors) -> Vectors:
        longer = jnp.sqrt(lengths_sq(vectors)) / self.radius
        return times(vectors, 1 / jnp.maximum(longer, 1))

    def room(self, vectors: Vectors) -> PerVector:
        """One minus the squared length over the radius, of each vector.

        Returns
        -------
        PerVector
            (C,).
        """
        return 1 - lengths_sq(times(vectors, 1 / self.radius))

    def leaving(self, vectors: Vectors, velocity: Vectors) -> PerVector:
        """The rate at which each vector grows, in units of the square of its radius.

        Returns
        -------
        PerVector
            (C,).
        """
        return jnp.sum(vectors * velocity, axis=0) / self.radius**2

    def sliding(self, vectors: Vectors, velocity: Vectors, held: Array, masses: Array) -> Vectors:
        """The velocity without its part along each vector that is held.

        Returns
        -------
        Vectors
            (n, C).
        """
        square = jnp.where(held, lengths_sq(vectors), 1)
        across = jnp.where(held, jnp.sum(vectors * velocity, axis=0) / square, 0)
        return velocity - times(vectors, across)

    def onto(self, vectors: Vectors, held: Array) -> Vectors:
        """The vectors that are held, at the length of the radius.

        Returns
        -------
        Vectors
            The others as they are.
        """
        length = jnp.sqrt(jnp.where(held, lengths_sq(vectors), 1))
        return times(vectors, jnp.where(held, self.radius / length, 1))

    def inside(self, vectors: Vectors) -> Vectors:
        out = self.room(vectors) <= 0
        return times(self.onto(vectors, out), jnp.where(out, just_below_one(vectors), 1))

    def start(self, vectors: Vectors) -> Vectors:
        return times(vectors, INSIDE * self.radius / jnp.sqrt(lengths_sq(vectors)))

    def holds_means(self, masses) -> bool:
        return self.common_length(masses) is not None

    def curvature(self, wanted: PerVector, decay: PerVector) -> PerVector:
        """The larger of what is wanted and the decay: a ball pushes inwards only.

        Returns
        -------
        PerVector
            (C,), > 0.
        """
        return jnp.maximum(jnp.maximum(wanted, decay), least_multiplier(wanted.dtype))

    def exact_curvature(self, wanted, decay):
        """The larger of what is wanted and the decay.

        Returns
        -------
        list
            C fractions.
        """
        return list(map(max, wanted, decay))

    def enclose(self, vectors):
        radii = self._exact_radii(len(vectors))
        # one that is longer by rounding only is shortened
        return [
            resized(vector, radius**2 / max(sum(x * x for x in vector), radius**2))
            for vector, radius in zip(vectors, radii, strict=True)
        ]
