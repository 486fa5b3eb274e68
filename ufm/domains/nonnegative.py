"""Vectors without negative entries, as after a ReLU."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._exact import flint
from ufm.domains.base import AbstractDomain, Vectors


class Nonnegative(AbstractDomain):
    """Vectors with entries >= 0; their decay holds them."""

    name: ClassVar[str] = "nonnegative"
    nonnegative: ClassVar[bool] = True
    isotropic: ClassVar[bool] = False

    def distance(self, vectors: Vectors) -> Float[Array, ""]:
        return jnp.maximum(-jnp.min(vectors), 0)

    @property
    def wanted(self) -> str:
        return "be >= 0"

    def project(self, vectors: Vectors) -> Vectors:
        return jnp.maximum(vectors, 0)

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
