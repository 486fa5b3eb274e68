r"""What a domain is: where the vectors of a factor may lie (columns of H, rows of W).

A domain answers four questions, and nothing outside this room asks which one it is.

*Solvers* move in coordinates y without constraints: `chart` and `point` go there and back,
`retract` picks one of the coordinates of a point. A norm constraint becomes the function
$f(y/\|y\|)$ of degree 0, whose gradient and Hessian at $\|y\| = 1$ are the Riemannian ones; a ball
is a sphere with one coordinate more.

*Certificates* ask for multipliers: $\tfrac12\lambda\|x\|^2 \ge \tfrac12 b\|x\|^2 -
\tfrac12(b-\lambda)r^2$ on the whole domain, for every b that `curvature` gives; `allowance` is the
sum of what is subtracted. *Proofs* ask the same of exact fractions (`exact_curvature`,
`exact_allowance`), and for a point that lies in the domain exactly, not to rounding (`enclose`).

*Users* give points: `distance` says how far one lies outside.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._classes.named import AbstractNamed

# exact fractions and balls of flint, which is not installed everywhere, one list a vector
Exactly = Sequence[Any]
# columns; a bias is one
Vectors = Float[Array, "n C"] | Float[Array, " n"]
# a number for each vector, or one for all
PerVector = Float[Array, " C"] | Float[Array, ""]


class AbstractDomain(AbstractNamed):
    r"""A set for the vectors of a factor: C columns of length n.

    `name`: what options, messages and tables call it. `constrained`: whether it leaves anything
    out. `compact`: whether it bounds the vectors, so that no decay is needed for a minimum to
    exist. `nonnegative`: whether the solver keeps every entry >= 0. `smooth`: whether `project` is
    smooth near the domain, which has no boundary then, so that there is a gradient flow on it.
    `walled`: whether it has an inside and a boundary in smooth pieces, which a flow lies on and
    leaves again; `room`, `leaving`, `sliding`, `onto` and `inside` then say how, for each piece,
    and `fastest` where `leaving` is no scalar product.
    `isotropic`: whether it treats all directions alike, so that hidden bases are free and symmetric
    zeros can be counted. `movable`: whether a certificate may raise its multipliers. `spherical`:
    whether coordinates of the natural size lie on spheres, or anywhere, and the point is a linear
    function of them, which `shadow`, `lifted` and `tangent` then describe. `spare`: how many
    dimensions its vectors may need beside those in which the other factor sees them: none where it
    holds the orthogonal projections of its vectors, one where it gives their lengths (multipliers
    may then be below the decay, and its least points need not be those of a convex problem), None
    where that is not known. `tight`: whether a certificate has a multiplier for each of its
    constraints, from `curvature`, `linear`, `facing` and `gram`, so that nothing but a dimension
    too few keeps the bound from closing at an optimum.
    """

    constrained: ClassVar[bool] = True
    compact: ClassVar[bool] = False
    nonnegative: ClassVar[bool] = False
    smooth: ClassVar[bool] = False
    isotropic: ClassVar[bool] = True
    movable: ClassVar[bool] = False
    spherical: ClassVar[bool] = False
    walled: ClassVar[bool] = False
    spare: ClassVar[int | None] = None
    tight: ClassVar[bool] = False

    def fitted(self, name: str, shape: tuple[int, int], masses: PerVector) -> AbstractDomain:
        """The domain for vectors of this shape, parameters in their dtype.

        Parameters
        ----------
        name
            Of the factor, for messages.
        shape
            (n, C), of the vectors as columns.
        masses
            (C,), of the vectors.

        Returns
        -------
        AbstractDomain
            With its parameters checked.

        Raises
        ------
        ValueError
            Where its parameters do not fit the vectors.
        """
        return self

    # what users ask

    @abstractmethod
    def distance(self, vectors: np.ndarray) -> float:
        """How far the vectors (n, C) lie outside, relative to the size of the domain; 0 inside.

        In NumPy: for a small problem a program takes longer than this. `wanted` says what was
        broken.
        """

    @property
    @abstractmethod
    def wanted(self) -> str:
        """What vectors must do to lie inside, for a message: "be >= 0"."""

    # what solvers ask

    def unit(self, decay: PerVector, share: PerVector) -> Array:
        """What coordinates are measured in.

        Parameters
        ----------
        decay, share
            Of the vectors (C,): decay, and share of the samples.

        Returns
        -------
        Array
            A number, or one for each vector.
        """
        return jnp.sqrt(decay)

    def coordinate_shape(self, shape: tuple[int, int]) -> tuple[int, ...]:
        """The shape of the coordinates of vectors of this shape."""
        return shape

    def chart(self, vectors: Vectors, unit: Array) -> Array:
        """Coordinates of a point.

        Parameters
        ----------
        vectors
            (n, C), in the domain.
        unit
            From `unit`.

        Returns
        -------
        Array
            Of whatever shape `point` takes.
        """
        return times(vectors, unit)

    @abstractmethod
    def point(self, coordinates: Array, unit: Array) -> Array:
        """The point of coordinates; smooth, and defined for all coordinates but 0.

        Solvers move in coordinates alone, and nothing else keeps them in the domain. By `super()`:
        the coordinates themselves, scaled.

        Parameters
        ----------
        coordinates
            Of the shape that `chart` gives.
        unit
            From `unit`.

        Returns
        -------
        Vectors
            (n, C), in the domain.
        """
        return times(coordinates, 1 / unit)

    def retract(self, coordinates: Array, unit: Array) -> Array:
        """The coordinates that stand for the same point and have the natural size.

        Parameters
        ----------
        coordinates
            Of the shape that `chart` gives.
        unit
            From `unit`.

        Returns
        -------
        Array
            Of that shape.
        """
        return coordinates

    def departing(self, coordinates: Array) -> Array:
        """Coordinates of nearly the same point from which a descent may go to either side of what
        they lie on by symmetry, such as the boundary of a ball.

        Parameters
        ----------
        coordinates
            Of a start, of the shape that `chart` gives.

        Returns
        -------
        Array
            Of that shape; the same where there is no such symmetry.
        """
        return coordinates

    def shadow(self, coordinates: Array, unit: Array) -> Array:
        """The point of coordinates of the natural size, a linear function, where it is `spherical`.

        Parameters
        ----------
        coordinates
            Of the shape that `chart` gives; or a direction of them.
        unit
            From `unit`.

        Returns
        -------
        Vectors
            (n, C).
        """
        return times(coordinates, 1 / unit)

    def lifted(self, slope: Vectors, unit: Array) -> Array:
        """The transpose of `shadow`: a slope in the vectors as one in the coordinates.

        Parameters
        ----------
        slope
            (n, C).
        unit
            From `unit`.

        Returns
        -------
        Array
            Of the shape that `chart` gives.
        """
        return times(slope, 1 / unit)

    def tangent(self, coordinates: Array, unit: Array, direction: Array) -> tuple[Array, PerVector]:
        """A direction without its part along the coordinates, where these lie on spheres.

        Parameters
        ----------
        coordinates
            Of the natural size.
        unit
            From `unit`.
        direction
            Of the shape of the coordinates.

        Returns
        -------
        tuple[Array, PerVector]
            What is left, and how many times the coordinates were subtracted.
        """
        return direction, jnp.zeros((), direction.dtype)

    def stiffness(self, along: PerVector, unit: Array, decay: PerVector) -> PerVector | None:
        """Roughly how much the objective curves in the coordinates of each vector.

        Parameters
        ----------
        along
            How many times the coordinates are in the slope, from `tangent`.
        unit
            From `unit`.
        decay
            Of the vectors.

        Returns
        -------
        PerVector | None
            >= 0. None where coordinates have to be measured in `unit` and no other.
        """
        return None

    def redundant(self, number: int) -> int:
        """How many directions of the coordinates of so many vectors move no point."""
        return 0

    def of_groups(self, first, sizes) -> AbstractDomain | None:
        """The domain of vectors of which each stands for a group of as long ones.

        Parameters
        ----------
        first, sizes
            (G,): one vector of each group, and how many it has.

        Returns
        -------
        AbstractDomain | None
            For G vectors. None where that is not known.
        """
        return None

    def start(self, vectors: Vectors) -> Vectors:
        """A point from a random factor of the scale of the problem.

        Its nearest unless another is better to start from.
        """
        return self.project(vectors)

    @abstractmethod
    def project(self, vectors: Vectors) -> Vectors:
        """A point of the domain near the vectors: themselves where they lie in it.

        The gradient of f(project(x)) at a point of a `smooth` domain is the Riemannian one.
        """
        return vectors

    # what flows ask

    def room(self, vectors: Vectors) -> Array:
        """How far each piece is inside: of order 1 far from the boundary, 0 on it, < 0 outside.

        Parameters
        ----------
        vectors
            (n, C).

        Returns
        -------
        Array
            A number for each vector (C,), one for all () where they share one boundary, or one for
            each entry (n, C).
        """
        raise NotImplementedError

    def leaving(self, vectors: Vectors, velocity: Vectors) -> Array:
        """Half the rate at which a velocity uses up the room of each piece.

        Parameters
        ----------
        vectors, velocity
            (n, C).

        Returns
        -------
        Array
            As of `room`; > 0 outwards.
        """
        raise NotImplementedError

    def fastest(self, vectors: Vectors, velocity: Vectors) -> Array:
        """The largest `leaving` that a velocity of this size could have.

        By Cauchy and Schwarz where that is a scalar product in which the boundary has length 1.

        Parameters
        ----------
        vectors, velocity
            (n, C).

        Returns
        -------
        Array
            As of `room`, >= 0.
        """
        return jnp.sqrt(self.leaving(velocity, velocity))

    def sliding(self, vectors: Vectors, velocity: Vectors, held: Array, masses: Array) -> Vectors:
        """A velocity without its part across the boundary.

        Parameters
        ----------
        vectors, velocity
            (n, C).
        held
            Which pieces lie on the boundary and are held there.
        masses
            (C,): what is orthogonal to the boundary, where every vector counts by its mass.

        Returns
        -------
        Vectors
            The velocity where a piece is not held.
        """
        raise NotImplementedError

    def onto(self, vectors: Vectors, held: Array) -> Vectors:
        """The vectors with the pieces that are held put onto the boundary.

        Parameters
        ----------
        vectors
            (n, C).
        held
            Shaped as `room`.

        Returns
        -------
        Vectors
            The others as they are.
        """
        raise NotImplementedError

    def inside(self, vectors: Vectors) -> Vectors:
        """The vectors with what is not inside put there, as near the boundary as rounding
        allows."""
        raise NotImplementedError

    def scaled(self, factor: float) -> AbstractDomain:
        """The domain of this one's vectors times a factor; itself where that is the same."""
        return self

    # what closed forms ask

    def canonical(self) -> AbstractDomain:
        """The domain that holds the same vectors, however it was given; itself where it is that."""
        return self

    def common_length(self, masses) -> float | None:
        """The largest length of vectors, if all have one, each counted by its mass.

        None where there is none. Reads values.
        """
        return None

    def holds_means(self, masses) -> bool:
        """Whether any of its vectors may be replaced by their mean, each counted by its mass.

        False where that is not known. Reads values.
        """
        return False

    # what certificates ask

    def curvature(self, wanted: PerVector, decay: PerVector) -> PerVector:
        """Multipliers that the domain allows.

        Parameters
        ----------
        wanted
            (C,), those that a certificate would like.
        decay
            Of the vectors.

        Returns
        -------
        PerVector
            (C,). Those of a `movable` domain are >= `wanted` and as near as may be.
        """
        return jnp.broadcast_to(decay, wanted.shape)

    def allowance(self, curvature: PerVector, decay: PerVector) -> Float[Array, ""]:
        r"""The least c with $\tfrac12\sum\lambda\|x\|^2 \ge \tfrac12\sum b\|x\|^2 - c$ there.

        Parameters
        ----------
        curvature
            b (C,), from `curvature`.
        decay
            λ, of the vectors.

        Returns
        -------
        Float[Array, ""]
            c, the least for all points of the domain; not always >= 0.
        """
        return jnp.zeros((), curvature.dtype)

    def facing(self, slope: Vectors) -> Vectors:
        r"""A slope g' with $\langle g, x\rangle \ge \langle g', x\rangle$ on the domain, as short
        as may be."""
        return slope

    def gram(self, gram: Float[Array, "C C"]) -> Float[Array, "C C"]:
        r"""A matrix whose products with $X^\top X$ are at least those of `gram`, for X in the
        domain, as small as may be."""
        return gram

    def linear(self, vectors: Vectors, slope: Vectors) -> tuple[Vectors, Float[Array, ""]] | None:
        r"""L and c with $\langle L, x\rangle = c$ on the domain.

        For the multiplier of a linear constraint at a point.

        Parameters
        ----------
        vectors
            The point (n, C).
        slope
            The gradient of the objective there (n, C).

        Returns
        -------
        tuple[Vectors, Float[Array, ""]] | None
            None without linear constraints.
        """
        return None

    # what proofs ask

    def exact_curvature(self, wanted: Exactly, decay: Exactly) -> list[Any]:
        """Multipliers that the domain allows, near those wanted, in exact fractions.

        Parameters
        ----------
        wanted, decay
            C fractions each.

        Returns
        -------
        list[Any]
            C fractions.
        """
        return list(decay)

    def exact_allowance(self, curvature: Exactly, decay: Exactly) -> Any:
        """`allowance` of these multipliers, exactly.

        Parameters
        ----------
        curvature, decay
            C fractions each.

        Returns
        -------
        Any
            A fraction.
        """
        return 0

    def enclose(self, vectors: Sequence[Exactly]) -> list[list[Any]]:
        """Balls around the entries of vectors that lie in the domain, near those of exact fractions
        that are given.

        A domain that leaves out more than its parent needs its own.
        """
        raise ValueError(f"a domain must have an interval form, `enclose`, for a proof; got {self}")


def times(vectors: Array, unit: Array) -> Array:
    """Vectors times one number, or one each.

    Written out because implicit rank promotion is an error here.
    """
    return vectors * (unit[None, :] if unit.ndim else unit)


def lengths(vectors: np.ndarray) -> np.ndarray:
    """Norm of every vector (C,), on the host and without another array of all entries."""
    return np.sqrt(np.vecdot(vectors.T, vectors.T))


def lengths_sq(vectors: Array) -> Array:
    """Squared norm of every vector."""
    return jnp.sum(vectors**2, axis=0)


def rounding_of_distance(domain: AbstractDomain, n: int, dtype) -> float:
    """How far vectors may lie outside for the rounding of their lengths.

    Parameters
    ----------
    domain
        Entries that are >= 0 have no rounding.
    n, dtype
        Length of the vectors, and what they are rounded to.

    Returns
    -------
    float
        To be compared with `distance`.
    """
    return 0.0 if domain.nonnegative else 8 * (n + 8) * float(np.finfo(dtype).eps)


def least_multiplier(dtype) -> float:
    """A multiplier that costs nothing, and that factors and reciprocals leave a number > 0."""
    return float(jnp.finfo(dtype).tiny) ** 0.5
