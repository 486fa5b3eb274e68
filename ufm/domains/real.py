"""All real vectors: no constraint."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from jaxtyping import Array

from ufm._exact.fractions import flint
from ufm.domains.base import AbstractDomain, Vectors


class Real(AbstractDomain):
    """Vectors of any entries; what holds them is their decay."""

    name: ClassVar[str] = "real"
    constrained: ClassVar[bool] = False
    smooth: ClassVar[bool] = True
    spherical: ClassVar[bool] = True
    spare: ClassVar[int | None] = 0
    tight: ClassVar[bool] = True

    def holds_means(self, masses) -> bool:
        return True

    def distance(self, vectors: np.ndarray) -> float:
        return 0.0

    @property
    def wanted(self) -> str:
        return "be finite"

    def point(self, coordinates: Array, unit: Array) -> Vectors:
        """The coordinates in their unit.

        Returns
        -------
        Vectors
            (n, C).
        """
        return super().point(coordinates, unit)

    def of_groups(self, first, sizes) -> AbstractDomain:
        """Itself.

        Returns
        -------
        AbstractDomain
            As anything stands for anything.
        """
        return self

    def project(self, vectors: Vectors) -> Vectors:
        return super().project(vectors)

    def enclose(self, vectors):
        return [[flint().arb(x) for x in vector] for vector in vectors]
