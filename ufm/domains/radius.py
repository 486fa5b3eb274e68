"""What spheres and balls share.

a radius for every vector, and coordinates whose direction alone counts.
"""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._validate import require, require_dtype, require_positive
from ufm.domains.base import AbstractDomain, PerVector, lengths_sq, times


class AbstractRadius(AbstractDomain):
    """A domain of vectors whose length has a bound, each its own."""

    compact: ClassVar[bool] = True
    movable: ClassVar[bool] = True

    radius: Float[Array, "*C"] = eqx.field(converter=lambda radius: positive("radius", radius))

    def fitted(self, name: str, shape: tuple[int, int], masses: PerVector) -> AbstractDomain:
        radius, wanted = (
            self.radius,
            f"`{name}.radius` must be a number, or have shape ({shape[1]},), one for each vector",
        )
        require(radius.shape in ((), shape[1:]), wanted, radius.shape)
        require_dtype(f"{name}.radius", radius, masses.dtype)
        return eqx.tree_at(lambda domain: domain.radius, self, radius.astype(masses.dtype))

    def unit(self, decay: PerVector, share: PerVector) -> Array:
        return jnp.sqrt(share)

    def retract(self, coordinates: Array, unit: Array) -> Array:
        return times(coordinates, unit / jnp.sqrt(lengths_sq(coordinates)))

    def redundant(self, number: int) -> int:
        return number

    def common_length(self, masses) -> float | None:
        radius = np.broadcast_to(np.asarray(self.radius, np.float64), np.shape(masses))
        return float(radius[0]) if np.ptp(radius) == 0 else None

    def allowance(self, curvature: PerVector, decay: PerVector) -> Float[Array, ""]:
        return 0.5 * jnp.sum((curvature - decay) * self.radius**2)


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
