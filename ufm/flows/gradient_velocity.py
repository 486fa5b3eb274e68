"""The gradient flow as a vector field: every factor at its own rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ufm._validate import require, require_instance, require_nonnegative, require_real
from ufm.domains import Real
from ufm.flows.velocity import AbstractVelocity, Wall
from ufm.model import Params, Problem
from ufm.solvers.first_order import sample_gradient


class GradientVelocity(AbstractVelocity):
    r"""Every factor at its own rate.

    $\dot W_m = -\eta_m\,\partial f/\partial W_m$ and $\dot h = -\eta_H\,\partial f/\partial h$; on
    the boundary of a domain without the part that leads out of it.

    `rates`: scalars, one for each of the free factors, in the shape of `Params`. None is rate 1 for
    all; rate 0 freezes. `held`: which pieces of each wall lie on it and are held there; None where
    there are no walls.
    """

    rates: Params | None = None
    held: tuple[Array, ...] | None = None

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
        # where the integrator has left a domain by its tolerance
        return problem.filled(problem.projected(_free(problem, self.placed(problem, state))))

    def placed(self, problem: Problem, state: tuple[Array, ...]) -> tuple[Array, ...]:
        """The state with the pieces that are held put onto their boundary.

        Parameters
        ----------
        problem, state
            What flows, and where it stands.

        Returns
        -------
        tuple[Array, ...]
            Itself where nothing is held.
        """
        for wall, pieces in zip(self.walls(problem), self.held or (), strict=False):
            state = wall.changed(state, wall.domain.onto(wall.vectors(state), pieces))
        return state

    def walls(self, problem: Problem) -> tuple[Wall, ...]:
        number = 0 if problem.frozen else problem.depth
        masses = problem.labels.masses
        all_walls = [Wall(number, problem.features, masses)]
        if number:
            ones = jnp.ones(problem.labels.num_classes, problem.dtype)
            all_walls.insert(0, Wall(0, problem.classifier, ones, by_rows=True))
        return tuple(wall for wall in all_walls if wall.domain.walled)

    def raw(self, problem: Problem, state: tuple[Array, ...]) -> tuple[Array, ...]:
        """The velocity as if there were no boundaries.

        Parameters
        ----------
        problem, state
            What flows, and where it stands.

        Returns
        -------
        tuple[Array, ...]
            Shaped like the state.
        """
        # (on a sphere that is the Riemannian gradient: the point is projected before it is valued)
        gradient = sample_gradient(problem, problem.filled(_free(problem, state)))
        if self.rates is None:
            return tuple(-leaf for leaf in jax.tree.leaves(gradient))
        rates = jax.tree.leaves(self.rates)
        return tuple(
            -rate * leaf for rate, leaf in zip(rates, jax.tree.leaves(gradient), strict=True)
        )

    def __call__(self, problem: Problem, state: tuple[Array, ...]) -> tuple[Array, ...]:
        state = self.placed(problem, state)
        velocity = self.raw(problem, state)
        for wall, pieces in zip(self.walls(problem), self.held or (), strict=False):
            there = wall.vectors(state), wall.vectors(velocity)
            velocity = wall.changed(velocity, wall.domain.sliding(*there, pieces, wall.masses))
        return velocity

    def mobility(self, problem: Problem, state: tuple[Array, ...]) -> tuple[Array, ...]:
        """The rate of each factor, over the mass of each column of the features.

        Returns
        -------
        tuple[Array, ...]
            Scalars, and (1, C).
        """
        rates: list[Any] = [1.0] * len(state) if self.rates is None else jax.tree.leaves(self.rates)
        place = 0 if problem.frozen else problem.depth
        rates[place] = rates[place] / problem.labels.masses[None, :]
        return tuple(rates)

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


def _free(problem: Problem, state: tuple[Array, ...]) -> Params:
    """The free factors in their places."""
    number = 0 if problem.frozen else problem.depth
    return Params(
        weights=state[:number],
        features=state[number],
        bias=state[number + 1] if problem.has_bias else None,
    )


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
    require(require_real(name, weights).shape in ((), (M,)), several, weights)
    weights = jnp.broadcast_to(jnp.asarray(weights, dtype), (M,))
    return Params(
        weights=() if problem.frozen else tuple(weights),
        features=jnp.asarray(rates.get("features", 1.0), dtype),
        bias=jnp.asarray(rates.get("bias", 1.0), dtype) if problem.has_bias else None,
    )
