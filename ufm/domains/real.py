"""All real vectors: no constraint."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm.domains.base import AbstractDomain, Vectors


class Real(AbstractDomain):
    """Vectors of any entries; what holds them is their decay."""

    name: ClassVar[str] = "real"
    constrained: ClassVar[bool] = False
    smooth: ClassVar[bool] = True

    def distance(self, vectors: Vectors) -> Float[Array, ""]:
        return jnp.zeros((), vectors.dtype)

    @property
    def wanted(self) -> str:
        return "be finite"
