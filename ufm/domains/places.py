"""The random coordinates and vectors at which a domain is asked whether its methods agree."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ufm._classes.inspection import Wrong
from ufm.domains.base import AbstractDomain, Vectors, rounding_of_distance

# Sizes of coordinates, and of vectors: well inside a domain of size 1, and outside.
_SIZES = (0.1, 1.0, 5.0)
# Rounding errors of a sum of n C terms and of a few functions of them.
_ROUNDINGS = 1e3
# Decay and share of samples of the vectors, from which coordinates have their unit.
_DECAY = (0.1, 0.3)


@dataclass(frozen=True, eq=False)
class Places:
    """Where a domain is asked: coordinates, vectors anywhere and slopes, and what it is given with
    them. `random` draws more."""

    domain: AbstractDomain
    shape: tuple[int, int]
    masses: Array
    decay: Array
    unit: Array
    coordinates: tuple[Array, ...]
    vectors: tuple[Vectors, ...]
    random: np.random.Generator

    @classmethod
    def of(
        cls, domain: AbstractDomain, shape: tuple[int, int], masses: Array, random: Any
    ) -> Places:
        """Random ones.

        Parameters
        ----------
        domain
            Fitted to its vectors.
        shape
            (n, C) of the vectors.
        masses
            (C,), whose dtype is that of what is asked.
        random
            A `numpy.random.Generator`.

        Returns
        -------
        Places
            Coordinates >= 0 where the domain is nonnegative, as solvers have them.
        """
        drawn = functools.partial(_drawn, random, masses.dtype)
        decay = jnp.asarray(random.uniform(*_DECAY, shape[1]), masses.dtype)
        flat = tuple(size * drawn(domain.coordinate_shape(shape)) for size in _SIZES)
        return cls(
            domain,
            shape,
            masses,
            decay,
            domain.unit(decay, masses / jnp.sum(masses)),
            tuple(map(jnp.abs, flat)) if domain.nonnegative else flat,
            tuple(size * drawn(shape) for size in _SIZES),
            random,
        )

    @functools.cached_property
    def points(self) -> tuple[Vectors, ...]:
        """Those of the coordinates."""
        return tuple(self.domain.point(y, self.unit) for y in self.coordinates)

    @functools.cached_property
    def pairs(self) -> tuple[tuple[Array, Vectors], ...]:
        """Coordinates of the natural size, and their points."""
        natural = (self.domain.retract(y, self.unit) for y in self.coordinates)
        return tuple((y, self.domain.point(y, self.unit)) for y in natural)

    def drawn(self, shape: tuple[int, ...]) -> Array:
        """Gaussian numbers in the dtype of what is asked."""
        return _drawn(self.random, self.masses.dtype, shape)

    def require_inside(
        self, words: str, vectors: Array | np.ndarray, domain: AbstractDomain
    ) -> None:
        """Vectors lie in a domain, to rounding.

        Parameters
        ----------
        words
            What they are.
        vectors, domain
            (n, C), and where they should lie.

        Raises
        ------
        Wrong
            By how much they do not.
        """
        off = self.off(vectors, domain)
        if off:
            raise Wrong(f"{words} must {domain.wanted}; got vectors that are off by {off:.3g}")

    def off(self, vectors: Array | np.ndarray, domain: AbstractDomain) -> float:
        """How far vectors lie outside.

        Parameters
        ----------
        vectors, domain
            (n, C), and where they should lie.

        Returns
        -------
        float
            0 where it is rounding.
        """
        distance = domain.distance(np.asarray(vectors))
        room = rounding_of_distance(domain, self.shape[0], self.masses.dtype)
        return 0.0 if distance <= room else float(distance)

    def differences(self, words: str, found, wanted) -> Iterator[tuple[str, Any, Any]]:
        """What a question yields for pairs of arrays that should be equal.

        Parameters
        ----------
        words
            What it means if they are not.
        found, wanted
            As many arrays each.

        Yields
        ------
        tuple
            Words, deviation and size.
        """
        for one, other in zip(found, wanted, strict=True):
            yield words, one - other, other

    def at(self, errors: np.ndarray) -> str:
        """Nothing: any place is as good as another."""
        return ""

    @property
    def rounding(self) -> float:
        """What rounding explains, relative to the size of the terms."""
        return _ROUNDINGS * float(np.finfo(self.masses.dtype).eps)


def _drawn(random: np.random.Generator, dtype, shape: tuple[int, ...]) -> Array:
    return jnp.asarray(random.normal(size=shape), dtype)
