r"""The objective of a problem in which classes are alike, at points in which they look alike.

Of a product that no exchange of classes changes little is free. With groups of $s_g$ classes

$$(X Y)_{ij} = A_{gh}/\sqrt{s_g s_h} + \delta_{gh}\,a_g\,(\delta_{ij} - 1/s_g), \qquad i \in g,\;
j \in h,$$

whose singular values are those of $A = X_t Y_t$ once, and each $a_g$ another $s_g - 1$ times.
"""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ufm.model import Problem
from ufm.solvers.coordinates import Flat
from ufm.solvers.merit import AbstractMerit, Evaluated
from ufm.solvers.newton import Newton
from ufm.solvers.newton.bias import better_bias, far_from, units_of
from ufm.solvers.one_layer import OneLayer


class InvariantMerit(AbstractMerit):
    """The objective at invariant points.

    Their coordinates are X_t (G, G), Y_t (G, G), the roots of the s_g - 1 equal singular values of
    each group on both sides (G,), (G,), and a bias (G,), scaled so that the decay is half the
    squared length, as that of `coordinates` is.
    """

    problem: OneLayer
    group: Int[Array, " K"]
    first: Int[Array, " G"]
    sizes: Float[Array, " G"]
    solver: Newton

    @classmethod
    def of(cls, problem: Problem, groups: np.ndarray) -> InvariantMerit:
        """That of a problem.

        Parameters
        ----------
        problem
            One linear layer with decay alone, a column a class.
        groups
            (K,), numbers from 0 on: the group of each class.

        Returns
        -------
        InvariantMerit
            With one column of each group in place of all.
        """
        _, first, sizes = np.unique(groups, return_index=True, return_counts=True)
        sizes = jnp.asarray(sizes, problem.dtype)
        return cls(OneLayer.of(problem), jnp.asarray(groups), jnp.asarray(first), sizes, Newton())

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the parts of a flat vector."""
        G = len(self.sizes)
        return [
            (G, G),
            (G, G),
            (G,),
            (G,),
            *([(G,)] if self.problem.bias_scale is not None else []),
        ]

    @property
    def free_bias(self) -> bool:
        """Whether there is a bias without decay."""
        return self.problem.bias_scale is not None and self.problem.lambda_b is None

    def parts(self, flat: Flat) -> list[Array]:
        """X_t, Y_t, the roots on both sides, and the bias if there is one.

        Parameters
        ----------
        flat
            (n,), an invariant point.

        Returns
        -------
        list[Array]
            Of the `shapes`.
        """
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])
        pieces = jnp.split(flat, ends[:-1])
        return [piece.reshape(shape) for piece, shape in zip(pieces, self.shapes, strict=True)]

    def value(self, flat: Flat) -> Float[Array, ""]:
        """The objective of the problem.

        Parameters
        ----------
        flat
            (n,), an invariant point.

        Returns
        -------
        Float[Array, ""]
            As at all of the point.
        """
        X, Y, left, right, *bias = self.parts(flat)
        losses = self.problem.loss(self.logits(flat), self.targets)
        value = losses @ self.weights + 0.5 * sum(jnp.sum(part**2) for part in (X, Y, left, right))
        if bias and self.problem.lambda_b is not None:
            shift = self.shift(bias[0])
            value = value + 0.5 * self.problem.lambda_b * jnp.sum(self.sizes * shift**2)
        return value

    @property
    def targets(self) -> Float[Array, "K G"]:
        """Of a column of each group."""
        return self.problem.targets[:, self.first]

    @property
    def weights(self) -> Float[Array, " G"]:
        """What the columns of each group weigh together."""
        return self.sizes * self.problem.column_weights[self.first]

    def shift(self, bias: Float[Array, " G"]) -> Float[Array, " G"]:
        """The bias of the classes of each group.

        Parameters
        ----------
        bias
            (G,), its coordinates.

        Returns
        -------
        Float[Array, " G"]
            What is added to logits.
        """
        assert self.problem.bias_scale is not None
        return self.problem.bias_scale * bias / jnp.sqrt(self.sizes)

    def product(self, flat: Flat) -> Float[Array, "K G"]:
        """The logits without the bias.

        Parameters
        ----------
        flat
            (n,), an invariant point.

        Returns
        -------
        Float[Array, "K G"]
            Of one column of each group.
        """
        X, Y, left, right, *_ = self.parts(flat)
        roots, columns = jnp.sqrt(self.sizes), jnp.arange(len(self.sizes))
        # a group of one has no direction of its own
        own = jnp.where(self.sizes > 1, left * right / jnp.maximum(self.sizes - 1, 1), 0)
        blocks = X @ Y / (roots[:, None] * roots[None])
        blocks = blocks.at[columns, columns].add(-own / self.sizes)
        product = blocks[self.group].at[self.first, columns].add(own)
        return product * self.problem.logit_scale[self.first][None]

    def logits(self, flat: Flat) -> Float[Array, "K G"]:
        """The logits.

        Parameters
        ----------
        flat
            (n,), an invariant point.

        Returns
        -------
        Float[Array, "K G"]
            Of one column of each group.
        """
        product, bias = self.product(flat), self.parts(flat)[4:]
        return product + self.shift(bias[0])[self.group][:, None] if bias else product

    def units(self, flat: Flat) -> Flat | None:
        if not self.free_bias:
            return None
        logits, bias = self.logits(flat), self.parts(flat)[4]

        def value(moved):
            logits_there = logits + self.shift(moved)[self.group][:, None]
            return self.problem.loss(logits_there, self.targets) @ self.weights

        unit = units_of(jax.grad(value), jnp.zeros_like(bias))
        return jnp.ones_like(flat).at[-len(bias) :].set(unit)

    def settled(self, flat: Flat, relative: Float[Array, ""]) -> Flat:
        """The point with a free bias that is no worse.

        Returns
        -------
        Flat
            (n,).
        """
        if not self.free_bias:
            return flat
        columns = eqx.tree_at(
            lambda problem: (problem.targets, problem.column_weights),
            self.problem,
            (self.targets, self.weights),
        )
        bias = self.parts(flat)[4]

        def moved() -> Flat:
            shift = self.shift(bias)[self.group]
            better = better_bias(self.solver, columns, self.product(flat), shift)
            unit = self.shift(jnp.ones_like(bias))
            return flat.at[-len(bias) :].set(better[self.first] / unit)

        return far_from(relative, moved, flat)

    def spread(self, flat: Flat) -> Flat:
        """The point as one of the whole problem.

        Parameters
        ----------
        flat
            (n,), an invariant point.

        Returns
        -------
        Flat
            In the coordinates of the solvers at d = K.
        """
        X, Y, left, right, *bias = (np.asarray(part) for part in self.parts(flat))
        group, sizes = np.asarray(self.group), np.asarray(self.sizes)
        K, G = len(group), len(sizes)
        rows, columns = np.zeros((K, K), X.dtype), np.zeros((K, K), X.dtype)
        rows[:, :G] = (X / np.sqrt(sizes)[:, None])[group]
        columns[:G] = (Y / np.sqrt(sizes))[:, group]
        taken = G
        for g in np.flatnonzero(sizes > 1):
            members = np.flatnonzero(group == g)
            directions = _centred(len(members))
            block = slice(taken, taken + len(members) - 1)
            share = np.sqrt(len(members) - 1)
            rows[members, block] = left[g] / share * directions
            columns[block, members] = right[g] / share * directions.T
            taken = block.stop
        shift = [(part / np.sqrt(sizes))[group] for part in bias]
        return jnp.concatenate([jnp.asarray(part).ravel() for part in (rows, columns, *shift)])

    def unknown(self) -> tuple[()]:
        return ()

    def evaluate(self, flat: Flat) -> Evaluated:
        value, gradient = jax.value_and_grad(self.value)(flat)
        return Evaluated(value, gradient, jnp.sum(flat**2), ())

    def hessian(self, flat: Flat, known: tuple[()]) -> Callable[[Flat], Flat]:
        """The Hessian at a point as a function of a direction; nothing is `known`.

        Returns
        -------
        Callable[[Flat], Flat]
            From a direction (n,) to the Hessian times it.
        """
        return jax.linearize(jax.grad(self.value), flat)[1]


def _centred(number: int) -> np.ndarray:
    """(s, s - 1) orthonormal columns that sum to zero."""
    steps = np.arange(1, number)
    columns = np.triu(np.ones((number, number - 1))) - np.diag(steps, -1)[:, : number - 1]
    return columns / np.sqrt(steps * (steps + 1))
