r"""The vector fields that `flow` integrates: which part of a point moves, and how fast."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._validate import require, require_instance, require_nonnegative
from ufm.domains import Real
from ufm.model import Params, Problem
from ufm.solvers.first_order import sample_gradient


class AbstractVelocity(eqx.Module):
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


class GradientVelocity(AbstractVelocity):
    r"""Every factor at its own rate.

    $\dot W_m = -\eta_m\,\partial f/\partial W_m$ and $\dot h = -\eta_H\,\partial f/\partial h$.

    `rates`: scalars, one for each of the free factors, in the shape of `Params`. None is rate 1 for
    all; rate 0 freezes.
    """

    rates: Params | None = None

    # the state is the tuple of free factors: diffrax refuses a pytree with an empty part, the
    # weights where they are frozen
    def state_of(self, problem: Problem, params: Params) -> tuple[Array, ...]:
        """The free factors of a start.

        Returns
        -------
        tuple[Array, ...]
            Weights, features, bias.
        """
        return tuple(jax.tree.leaves(problem.free_part(params)))

    def params_of(self, problem: Problem, state: tuple[Array, ...]) -> Params:
        """The point of these free factors, moved back where the integrator has left a domain.

        Returns
        -------
        Params
            With frozen factors as they are.
        """
        number = 0 if problem.frozen else problem.depth
        free = Params(
            weights=state[:number],
            features=state[number],
            bias=state[number + 1] if problem.has_bias else None,
        )
        # where the integrator has left a domain by its tolerance
        return problem.filled(problem.projected(free))

    def __call__(self, problem: Problem, state: tuple[Array, ...]) -> tuple[Array, ...]:
        # on a domain that is the Riemannian gradient: the point is projected before it is valued
        gradient = sample_gradient(problem, self.params_of(problem, state))
        if self.rates is None:
            return tuple(-leaf for leaf in jax.tree.leaves(gradient))
        rates = jax.tree.leaves(self.rates)
        return tuple(
            -rate * leaf for rate, leaf in zip(rates, jax.tree.leaves(gradient), strict=True)
        )

    def polishable(self, problem: Problem, params: Params) -> Problem:
        """The problem, with its weights frozen where their rates are zero.

        Returns
        -------
        Problem
            Itself where no rate is zero.

        Raises
        ------
        ValueError
            For rates that freeze some weights only, features or a bias.
        """
        if self.rates is None:
            return problem
        frozen = [float(rate) == 0 for rate in self.rates.weights]
        rest = [
            float(rate) == 0 for rate in jax.tree.leaves((self.rates.features, self.rates.bias))
        ]
        require(
            not any(rest) and (all(frozen) or not any(frozen)),
            "`Integration.polish` needs `Path.rates` that freeze nothing, or all of the weights "
            "and nothing else",
            {"weights frozen": frozen, "features and bias frozen": rest},
        )
        if not frozen or not all(frozen):
            return problem
        return problem.replace(fixed_weights=params.weights, classifier=Real())


def checked_rates(problem: Problem, rates: Mapping | None, *, name: str = "rates") -> Params | None:
    """The rates that a user gave by part, one for each free factor.

    Parameters
    ----------
    problem
        Says which parts are free.
    rates
        Part → rate, or None.
    name
        Of the argument, for messages.

    Returns
    -------
    Params or None
        Scalars.

    Raises
    ------
    ValueError
        For unknown parts, wrong numbers of them or rates < 0.
    """
    if rates is None:
        return None
    parts = {"weights", "features", "bias"}
    if problem.frozen:
        parts -= {"weights"}
    if not problem.has_bias:
        parts -= {"bias"}
    require_instance(name, rates, Mapping, "a dict from part to learning rate")
    known = f"`{name}` may name the free parts of this problem, {', '.join(sorted(parts))}"
    require(set(rates) <= parts, known, list(rates))
    M, dtype = problem.depth, problem.dtype
    weights = rates.get("weights", 1.0)
    for part, rate in rates.items():
        require_nonnegative(f"{name}['{part}']", rate, shape=None if part == "weights" else ())
    several = f"`{name}['weights']` must be a float or one per factor (W_M, …, W_1), M = {M}"
    require(np.shape(weights) in ((), (M,)), several, weights)
    weights = jnp.broadcast_to(jnp.asarray(weights, dtype), (M,))
    return Params(
        weights=() if problem.frozen else tuple(weights),
        features=jnp.asarray(rates.get("features", 1.0), dtype),
        bias=jnp.asarray(rates.get("bias", 1.0), dtype) if problem.has_bias else None,
    )


def speed(velocity: Any) -> Float[Array, ""]:
    """The Euclidean norm of a velocity, over all its parts."""
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(velocity)))
