"""A factor as solvers see it.

A matrix with a decay, whose vectors lie in a domain, and its coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ufm._classes.module import Module
from ufm.domains import AbstractDomain
from ufm.domains.base import times
from ufm.model.params import Params


class Block(Module):
    r"""A free factor: its shape, its domain, and the coordinates in which solvers move it.

    `unit`: what coordinates are multiplied by; of a real factor the root of its decay, so that the
    decay is half the squared length of the coordinates: unequal λ and long tails cost nothing, and
    every factor of a stationary point has the same length (balance). `by_rows`: whether its vectors
    are rows, as those of a classifier, and not columns.
    """

    domain: AbstractDomain
    unit: Array
    shape: tuple[int, ...] = eqx.field(static=True)
    by_rows: bool = eqx.field(static=True, default=False)

    @property
    def coordinate_shape(self) -> tuple[int, ...]:
        """The shape of its coordinates."""
        if len(self.shape) == 1:
            return self.shape
        rows, columns = self.shape
        shape = self.domain.coordinate_shape((columns, rows) if self.by_rows else (rows, columns))
        return shape[::-1] if self.by_rows else shape

    @property
    def size(self) -> int:
        """How many coordinates it has."""
        return math.prod(self.coordinate_shape)

    @property
    def redundant(self) -> int:
        """How many directions of the coordinates move nothing."""
        return self.domain.redundant(self.shape[0] if self.by_rows else self.shape[-1])

    def chart(self, value: Array) -> Array:
        """Coordinates of a value."""
        return self._turned(self.domain.chart(self._turned(value), self.unit))

    def point(self, coordinates: Array) -> Array:
        """The value at coordinates."""
        return self._turned(self.domain.point(self._turned(coordinates), self.unit))

    def retract(self, coordinates: Array) -> Array:
        """The coordinates of the same value that have the natural size."""
        return self._turned(self.domain.retract(self._turned(coordinates), self.unit))

    def departing(self, coordinates: Array) -> Array:
        """Those of a start from which a descent may go anywhere, see `AbstractDomain`."""
        return self._turned(self.domain.departing(self._turned(coordinates)))

    def shadow(self, coordinates: Array) -> Array:
        """The value at coordinates of the natural size, a linear function of them."""
        return self._turned(self.domain.shadow(self._turned(coordinates), self.unit))

    def lifted(self, slope: Array) -> Array:
        """A slope in the value as one in the coordinates: the transpose of `shadow`."""
        return self._turned(self.domain.lifted(self._turned(slope), self.unit))

    def tangent(self, coordinates: Array, direction: Array) -> Array:
        """A direction without its part along coordinates of the natural size.

        Parameters
        ----------
        coordinates, direction
            Both of the shape of the coordinates.

        Returns
        -------
        Array
            Of that shape.
        """
        turned = self._turned(coordinates), self.unit, self._turned(direction)
        return self._turned(self.domain.tangent(*turned)[0])

    def bent(
        self, coordinates: Array, slope: Array, direction: Array, level: Array, turned: Array
    ) -> Array:
        """Tangential part of a Hessian product, with the curvature of the spheres on which
        coordinates lie.

        Parameters
        ----------
        coordinates
            Of the natural size.
        slope
            The gradient there, all of it.
        direction
            Tangential but for rounding, which is given a curvature of that size: of none it would
            grow without bounds in conjugate gradients.
        level
            Its tangential part.
        turned
            The Hessian times that, as if there were no spheres.

        Returns
        -------
        Array
            Of the shape of the coordinates.
        """
        place, beside = (self._turned(coordinates), self.unit), self._turned(direction - level)
        _, along = self.domain.tangent(*place, self._turned(slope))
        curved = self._turned(turned) - times(self._turned(level), along)
        flat, _ = self.domain.tangent(*place, curved)
        return self._turned(flat + times(beside, jnp.abs(along)))

    def stiffness(self, coordinates: Array, slope: Array, decay: Array) -> Array | None:
        """Roughly how much what is minimised curves in the coordinates of each vector.

        Parameters
        ----------
        coordinates, slope
            A place of the natural size, and the gradient there, all of it.
        decay
            Of the vectors, in what is minimised.

        Returns
        -------
        Array | None
            One for each vector; None where these have to be measured in `unit`.
        """
        turned = self._turned(coordinates), self.unit, self._turned(slope)
        return self.domain.stiffness(self.domain.tangent(*turned)[1], self.unit, decay)

    def repeated(self, numbers: Array) -> Array:
        """A number for each vector, at each of its coordinates."""
        rows, columns = self.coordinate_shape
        shape = (columns, rows) if self.by_rows else (rows, columns)
        return self._turned(jnp.broadcast_to(numbers, shape))

    def measured(self, units: Array) -> Block:
        """The block whose coordinates are those of this one over units, which `repeated` gives, or
        are 1."""
        unit = self.unit / self._turned(units)[0]
        return Block(self.domain, unit, self.shape, self.by_rows)

    def bounds(self) -> Array:
        """Whether each coordinate must stay >= 0."""
        return jnp.full(self.size, self.domain.nonnegative)

    def start(self, value: Array) -> Array:
        """A value in the domain from a random one of the scale of the problem."""
        return self._turned(self.domain.start(self._turned(value)))

    def project(self, value: Array) -> Array:
        """The nearest value in the domain."""
        return self._turned(self.domain.project(self._turned(value)))

    def _turned(self, matrix: Array) -> Array:
        return matrix.T if self.by_rows and matrix.ndim == 2 else matrix


class Blocks(Module):
    """The free factors, in the places that their values have in `Params`.

    No weights where these are frozen.
    """

    weights: tuple[Block, ...]
    features: Block
    bias: Block | None

    def __iter__(self) -> Iterator[Block]:
        yield from self.weights
        yield self.features
        if self.bias is not None:
            yield self.bias

    @property
    def size(self) -> int:
        """How many coordinates all of them have."""
        return sum(block.size for block in self)

    def apply(self, function: Callable[..., Array], *values: Params) -> Params:
        """A function of every block and its value, its coordinates, or several such.

        Parameters
        ----------
        function
            From a block and an array of each of the values to an array.
        values
            One array for each block, in the places of `Params`.

        Returns
        -------
        Params
            What the function gives, in the same places.
        """
        biases = [each.bias for each in values if each.bias is not None]
        bias = None if self.bias is None or not biases else function(self.bias, *biases)
        of_weights = zip(self.weights, *(each.weights for each in values), strict=True)
        weights = (function(block, *arrays) for block, *arrays in of_weights)
        features = function(self.features, *(each.features for each in values))
        return Params(tuple(weights), features, bias)

    def measured(self, units: Params) -> Blocks:
        """The blocks whose coordinates are those of these over units, see `Block`."""
        pairs = zip(self.weights, units.weights, strict=True)
        weights = tuple(block.measured(part) for block, part in pairs)
        # (a bias has none of its own)
        return Blocks(weights, self.features.measured(units.features), self.bias)

    def split(self, flat: Array) -> Params:
        """A flat vector cut into the coordinates of the blocks."""
        pieces, at = [], 0
        for block in self:
            pieces.append(flat[at : at + block.size].reshape(block.coordinate_shape))
            at += block.size
        bias = None if self.bias is None else pieces.pop()
        *weights, features = pieces
        return Params(tuple(weights), features, bias)
