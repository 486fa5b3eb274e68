"""Vector fields that `flow` integrates: which part of a point moves, and how fast."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._classes.module import Module
from ufm.domains import AbstractDomain
from ufm.model import Params, Problem


class Wall(Module):
    """The boundary of a factor's domain: the place of the factor in the state, and how its vectors
    lie in it."""

    place: int = eqx.field(static=True)
    domain: AbstractDomain
    masses: Float[Array, " C"]
    by_rows: bool = eqx.field(static=True, default=False)

    def vectors(self, state: tuple[Array, ...]) -> Array:
        """Its vectors as columns."""
        return state[self.place].T if self.by_rows else state[self.place]

    def changed(self, state: tuple[Array, ...], vectors: Array) -> tuple[Array, ...]:
        """A state with other vectors in the place of its own.

        Parameters
        ----------
        state
            The free factors.
        vectors
            As columns.

        Returns
        -------
        tuple[Array, ...]
            Another one.
        """
        own = vectors.T if self.by_rows else vectors
        return (*state[: self.place], own, *state[self.place + 1 :])


class AbstractVelocity(Module):
    """A vector field on a state, any pytree of arrays that stands for a point of the problem."""

    @abstractmethod
    def state_of(self, problem: Problem, params: Params) -> Any:
        """The state that a start has.

        Parameters
        ----------
        problem
            What flows.
        params
            The start.

        Returns
        -------
        Any
            A tree of arrays.
        """

    @abstractmethod
    def params_of(self, problem: Problem, state: Any) -> Params:
        """The point that a state stands for.

        Parameters
        ----------
        problem
            What flows.
        state
            Of the structure that `state_of` gives.

        Returns
        -------
        Params
            A point of the problem.
        """

    @abstractmethod
    def __call__(self, problem: Problem, state: Any) -> Any:
        """The velocity at a state, shaped like it."""

    @abstractmethod
    def mobility(self, problem: Problem, state: Any) -> Any:
        r"""$\mu$ of every entry in $\dot x = -\mu\,\partial F/\partial x$: its rate, over its mass.

        Parameters
        ----------
        problem, state
            What flows, and where it stands.

        Returns
        -------
        Any
            A tree of arrays that broadcast to those of the state.
        """

    def placed(self, problem: Problem, state: Any) -> Any:
        """The state with what is held put onto its boundary.

        Parameters
        ----------
        problem, state
            What flows, and where it stands.

        Returns
        -------
        Any
            Itself where nothing is held.
        """
        return state

    def walls(self, problem: Problem) -> tuple[Wall, ...]:
        """The boundaries that a state may come to lie on; none unless it says so."""
        return ()

    @abstractmethod
    def polishable(self, problem: Problem, params: Params) -> Problem:
        """The problem whose minimisation a point is led to by the velocity.

        Parameters
        ----------
        problem
            What flows.
        params
            The point.

        Returns
        -------
        Problem
            Itself, or the same with more of it frozen.

        Raises
        ------
        ValueError
            Where there is none.
        """


def speed(velocity: Any) -> Float[Array, ""]:
    """The Euclidean norm of a velocity, over all its parts."""
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(velocity)))
