"""What Newton's method minimises: value, gradient, and the Hessian from what is known there."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._classes.module import Module
from ufm.model import Params, Problem
from ufm.model.blocks import Blocks
from ufm.solvers import spherical
from ufm.solvers.coordinates import Flat, factors_sq, flat_objective, joined, merit_size, retract
from ufm.solvers.one_layer import OneLayer, Point, evaluate, hessian, is_plain, join, split
from ufm.solvers.spherical import Known


class Evaluated(NamedTuple):
    """At a point: value, gradient, squared length of its factors, and what its Hessian needs."""

    value: Float[Array, ""]
    gradient: Flat
    size_sq: Float[Array, ""]
    known: Any


class AbstractMerit(Module):
    """A function of flat vectors, with all that is the same at every point prepared.

    `rounds`: whether its Hessian means something in single precision, of parts that are rounded.
    """

    rounds: ClassVar[bool] = False

    @abstractmethod
    def unknown(self) -> Any:
        """What is known where nothing was evaluated."""

    @abstractmethod
    def evaluate(self, flat: Flat) -> Evaluated:
        """What the method needs to know at a point."""

    @abstractmethod
    def hessian(self, flat: Flat, known: Any) -> Callable[[Any], Any]:
        """The Hessian at a point as a function of a direction.

        Parameters
        ----------
        flat
            The point (n,).
        known
            What was learnt when the value was evaluated there.

        Returns
        -------
        Callable[[Any], Any]
            From a direction as `split` has it to the Hessian times it, in parts too.
        """

    def split(self, flat: Flat) -> Any:
        """A vector (n,) as products with the Hessian take it: as a whole unless overridden."""
        return flat

    def join(self, parts: Any) -> Flat:
        """Inverse of `split`."""
        return parts

    @property
    def one_layer(self) -> OneLayer | None:
        """The problem, if it is a plain one with one layer."""
        return None

    def units(self, flat: Flat, known: Any) -> Flat | None:
        """Units in which conjugate gradients see the coordinates.

        Parameters
        ----------
        flat
            The point (n,).
        known
            What was learnt there.

        Returns
        -------
        Flat | None
            (n,), None for coordinates as they are.
        """
        return None

    def scaled_hessian(self, flat: Flat, known: Any, units: Flat) -> Callable[[Any], Any]:
        """The Hessian in coordinates over units, as a function of directions over them.

        Parameters
        ----------
        flat
            The point (n,), as it is.
        known
            What was learnt there.
        units
            (n,), from `units`, or 1.

        Returns
        -------
        Callable[[Any], Any]
            As `hessian` returns it.
        """
        times, of_parts = self.hessian(flat, known), self.split(units)

        def scaled(direction):
            given = jax.tree.map(jnp.multiply, of_parts, direction)
            return jax.tree.map(jnp.multiply, of_parts, times(given))

        return scaled

    def settled(self, flat: Flat) -> Flat:
        """Where a trial step ends: the same point in coordinates of the natural size."""
        return flat

    def size(self, value: Float[Array, ""]) -> Float[Array, ""]:
        """The size of a value, as far as its rounding goes."""
        return jnp.abs(value)


class PlainMerit(AbstractMerit):
    """Of a plain one-layer problem, by a chain rule that is written out."""

    rounds = True
    scaled: OneLayer

    def unknown(self) -> Float[Array, "K C"]:
        return jnp.zeros_like(self.scaled.targets)

    def evaluate(self, flat: Flat) -> Evaluated:
        value, size_sq, gradient, logits = evaluate(self.scaled, flat)
        return Evaluated(value, gradient, size_sq, logits)

    def hessian(self, flat: Flat, known: Float[Array, "K C"]) -> Callable[[Point], Point]:
        """The Hessian at a point whose logits (K, C) are `known`, as a function of a direction.

        Returns
        -------
        Callable[[Point], Point]
            From a direction to the Hessian times it.
        """
        return hessian(self.scaled, flat, known)

    def split(self, flat: Flat) -> Point:
        return split(self.scaled, flat)

    def join(self, parts: Point) -> Flat:
        return join(parts)

    @property
    def one_layer(self) -> OneLayer:
        return self.scaled


class SphericalMerit(AbstractMerit):
    """Of a one-layer problem whose coordinates lie on spheres, by a chain rule that is written
    out. Its points have the natural size."""

    rounds = True
    problem: Problem

    def unknown(self) -> Known:
        return spherical.unknown(self.problem)

    def evaluate(self, flat: Flat) -> Evaluated:
        value, gradient, known = spherical.evaluate(self.problem, flat)
        return Evaluated(value, gradient, factors_sq(self.problem.blocks, flat), known)

    def hessian(self, flat: Flat, known: Known) -> Callable[[Params], Params]:
        """The Riemannian Hessian at a point, as a function of tangential directions.

        Returns
        -------
        Callable[[Params], Params]
            From a direction to the Hessian times it, which is tangential too.
        """
        return spherical.hessian(self.problem, flat, known)

    def units(self, flat: Flat, known: Known) -> Flat | None:
        """Those of vectors that matter little, where lengths are bounded.

        Returns
        -------
        Flat | None
            None where no vectors have units of their own.
        """
        return spherical.units(self.problem, flat, known)

    def scaled_hessian(self, flat: Flat, known: Known, units: Flat) -> Callable[[Params], Params]:
        """That of coordinates on other spheres.

        Returns
        -------
        Callable[[Params], Params]
            From a tangential direction to a tangential one.
        """
        return spherical.hessian(self.problem, flat, known, units)

    def split(self, flat: Flat) -> Params:
        return self.problem.blocks.split(flat)

    def join(self, parts: Params) -> Flat:
        return joined(parts)

    def settled(self, flat: Flat) -> Flat:
        return retract(self.problem, flat)

    def size(self, value: Float[Array, ""]) -> Float[Array, ""]:
        return merit_size(self.problem, value)


class DifferentiatedMerit(AbstractMerit):
    """Of a value alone, by the chain rule that JAX finds."""

    @property
    @abstractmethod
    def factors(self) -> Blocks:
        """Those that its points are made of."""

    @abstractmethod
    def value(self, flat: Flat) -> Float[Array, ""]:
        """What is minimised, at a point (n,)."""

    def unknown(self) -> tuple[()]:
        return ()

    def evaluate(self, flat: Flat) -> Evaluated:
        value, gradient = jax.value_and_grad(self.value)(flat)
        return Evaluated(value, gradient, factors_sq(self.factors, flat), ())

    def hessian(self, flat: Flat, known: tuple[()]) -> Callable[[Flat], Flat]:
        """The Hessian at a point as a function of a direction; nothing is `known`.

        Returns
        -------
        Callable[[Flat], Flat]
            From a direction (n,) to the Hessian times it.
        """
        return jax.linearize(jax.grad(self.value), flat)[1]


class AnyMerit(DifferentiatedMerit):
    """Of any problem."""

    problem: Problem

    @property
    def factors(self) -> Blocks:
        return self.problem.blocks

    def value(self, flat: Flat) -> Float[Array, ""]:
        return flat_objective(self.problem, flat)

    def settled(self, flat: Flat) -> Flat:
        return retract(self.problem, flat)

    def size(self, value: Float[Array, ""]) -> Float[Array, ""]:
        return merit_size(self.problem, value)


def merit_of(minimised: Problem | AbstractMerit) -> AbstractMerit:
    """The merit that suits a problem, or the one that was given in its place."""
    if isinstance(minimised, AbstractMerit):
        return minimised
    if is_plain(minimised):
        return PlainMerit(OneLayer.of(minimised))
    return SphericalMerit(minimised) if spherical.is_spherical(minimised) else AnyMerit(minimised)
