"""The papers' own recipes.

Full-batch gradient descent, momentum and Adam on the raw parameters, step by step as the scripts
run them.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._validate import (
    require_each,
    require_positive,
)
from ufm.domains import AbstractDomain
from ufm.model import Params, Problem, objective
from ufm.solvers.coordinates import Flat, flat_objective, to_flat, to_params
from ufm.solvers.solver import AbstractSolver, State

# Optax is imported where it is used: it takes as long as all the rest.
if TYPE_CHECKING:
    import optax


def sample_gradient(problem: Problem, params: Params) -> Params:
    r"""The gradient of the objective for the free factors, that of a column taken per sample.

    $\partial f/\partial h_c$ divided by $m_c$.

    A collapsed column stands for $m_c$ equal samples, and each of those moves by its own gradient;
    so collapsed and full runs agree. Of a factor on a sphere it is the Riemannian gradient, of one
    in a ball the plain one.
    """

    def value(free: Params):
        # (the nearest point of a domain with a boundary is not smooth)
        seen = problem.blocks.apply(
            lambda block, value: block.project(value) if block.domain.smooth else value, free
        )
        return objective(problem, problem.filled(seen))

    gradient = jax.grad(value)(problem.free_part(params))
    return Params(
        gradient.weights, gradient.features / problem.labels.masses[None, :], gradient.bias
    )


def downhill(problem: Problem, params: Params) -> Params:
    """Minus the velocity of the flow at rate 1: `sample_gradient`, of a point on the boundary of a
    domain without what pushes it outwards."""
    gradient = sample_gradient(problem, params)
    weights, features = list(gradient.weights), gradient.features
    if problem.features.walled:
        features = _within(problem.features, params.features, features, problem.labels.masses)
    if weights and problem.classifier.walled:
        ones = jnp.ones(problem.labels.num_classes, problem.dtype)
        turned = params.weights[0].T, weights[0].T
        weights[0] = _within(problem.classifier, *turned, ones).T
    return Params(tuple(weights), features, gradient.bias)


def _within(domain: AbstractDomain, vectors: Array, slope: Array, masses: Array) -> Array:
    rounding = 8 * (vectors.size + 8) * jnp.finfo(vectors.dtype).eps
    held = (domain.room(vectors) <= rounding) & (domain.leaving(vectors, -slope) > 0)
    return -domain.sliding(vectors, -slope, held, masses)


def _checked_step_size(step_size) -> Float[Array, ""]:
    require_positive("step_size", step_size, shape=())
    return jnp.asarray(step_size, float)


def _checked_momentum(momentum) -> Float[Array, ""]:
    require_each("momentum", momentum, lambda m: (m >= 0) & (m < 1), "lie in [0, 1)", shape=())
    return jnp.asarray(momentum, float)


class AbstractFirstOrder(AbstractSolver):
    """A first-order recipe on the raw parameters.

    The step size has no default: the stable one depends on λ.
    """

    step_size: eqx.AbstractVar[Float[Array, ""]]
    max_steps: eqx.AbstractVar[int]

    def covers(self, domain: AbstractDomain) -> bool:
        return not domain.constrained

    @abstractmethod
    def optimiser(self) -> optax.GradientTransformation:
        """The optax transformation that turns per-sample gradients into updates."""

    def init(self, problem: Problem, flat: Flat) -> State:
        """The state at a starting point, with the recipe's own memory.

        Returns
        -------
        State
            Value and gradient there, evaluated once.
        """
        value, gradient = jax.value_and_grad(flat_objective, argnums=1)(problem, flat)
        free: Any = problem.free_part(to_params(problem, flat))
        return State.fresh(problem, flat, value, gradient, memory=self.optimiser().init(free))

    def step(self, problem: Problem, state: State) -> State:
        """One step of the recipe on the raw parameters.

        Returns
        -------
        State
            Always moved: a recipe refuses no step.
        """
        params = to_params(problem, state.flat)
        # the chart of a real factor is linear, and the transpose of that of a point takes gradients
        # back
        _, pull = jax.vjp(lambda params: to_flat(problem, params), params)
        gradient = problem.free_part(pull(state.gradient)[0])
        gradient = Params(
            gradient.weights, gradient.features / problem.labels.masses[None, :], gradient.bias
        )
        params, memory = self.update(problem, params, gradient, state.memory)
        flat = to_flat(problem, params)
        value, flat_gradient = jax.value_and_grad(flat_objective, argnums=1)(problem, flat)
        return state.moved(problem, True, flat, value, flat_gradient, memory=memory, evaluations=1)

    def update(
        self, problem: Problem, params: Params, gradient: Params, memory
    ) -> tuple[Params, Any]:
        """One step of the recipe from per-sample gradients.

        Parameters
        ----------
        problem
            What is minimised.
        params
            The point at which the step begins.
        gradient
            Its gradient in raw parameters; that of a column of H is per sample (over its mass).
        memory
            What the optax recipe keeps.

        Returns
        -------
        tuple[Params, Any]
            The next point, and the recipe's memory there. Frozen factors stay.
        """
        free: Any = problem.free_part(params)
        tree: Any = gradient
        # numbers of the recipe are as wide as the default, those of the problem may be narrower
        recipe = jax.tree.map(lambda number: number.astype(problem.dtype), self)
        with jax.numpy_dtype_promotion("standard"):
            updates, memory = recipe.optimiser().update(tree, memory, free)
        return problem.filled(jax.tree.map(jnp.add, free, updates)), memory


class GradientDescent(AbstractFirstOrder):
    """Full-batch gradient descent, $x ← x − s ∇f$; `step_size` s > 0."""

    step_size: Float[Array, ""] = eqx.field(converter=_checked_step_size)
    max_steps: int = eqx.field(static=True, default=30_000, kw_only=True)

    def optimiser(self) -> optax.GradientTransformation:
        import optax

        return optax.sgd(self.step_size)


class Momentum(AbstractFirstOrder):
    """Full-batch heavy ball as PyTorch's SGD writes it, $v ← μ v + ∇f$, $x ← x − s v$.

    `step_size` s > 0, `momentum` μ in [0, 1).
    """

    step_size: Float[Array, ""] = eqx.field(converter=_checked_step_size)
    momentum: Float[Array, ""] = eqx.field(converter=_checked_momentum, default=0.9, kw_only=True)
    max_steps: int = eqx.field(static=True, default=30_000, kw_only=True)

    def optimiser(self) -> optax.GradientTransformation:
        import optax

        return optax.sgd(self.step_size, momentum=self.momentum)


class Adam(AbstractFirstOrder):
    """Full-batch Adam with the usual β = (0.9, 0.999), ε = 1e-8; `step_size` s > 0."""

    step_size: Float[Array, ""] = eqx.field(converter=_checked_step_size)
    max_steps: int = eqx.field(static=True, default=30_000, kw_only=True)

    def optimiser(self) -> optax.GradientTransformation:
        import optax

        return optax.adam(self.step_size)
