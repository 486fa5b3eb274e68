"""All real vectors: no constraint."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._exact import flint
from ufm.domains.base import AbstractDomain, Vectors


class Real(AbstractDomain):
    """Vectors of any entries; what holds them is their decay."""

    name: ClassVar[str] = "real"
    constrained: ClassVar[bool] = False
    smooth: ClassVar[bool] = True
    spherical: ClassVar[bool] = True

    def distance(self, vectors: Vectors) -> Float[Array, ""]:
        return jnp.zeros((), vectors.dtype)

    @property
    def wanted(self) -> str:
        return "be finite"

    def enclose(self, vectors):
        return [[flint().arb(x) for x in vector] for vector in vectors]
