r"""The objective of a problem in which classes are alike, at points in which they look alike.

Of a product that no exchange of classes changes little is free. With groups of $s_g$ classes

$$(X Y)_{ij} = A_{gh}/\sqrt{s_g s_h} + \delta_{gh}\,a_g\,(\delta_{ij} - 1/s_g), \qquad i \in g,\;
j \in h,$$

whose singular values are those of $A = X_t Y_t$ once, and each $a_g$ another $s_g - 1$ times.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ufm.model import Problem
from ufm.solvers.coordinates import Flat
from ufm.solvers.merit import DifferentiatedMerit
from ufm.solvers.newton import Newton
from ufm.solvers.newton.bias import units_of
from ufm.solvers.one_layer import OneLayer


class InvariantMerit(DifferentiatedMerit):
    """The objective at invariant points.

    Their coordinates are X_t (G, G), Y_t (G, G), the roots of the s_g - 1 equal singular values of
    each group on both sides (G,), (G,), and a bias (G,), scaled so that the decay is half the
    squared length, as that of `coordinates` is. `problem` has a column of each group, which weighs
    as much as all of them.
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
        sizes, first = jnp.asarray(sizes, problem.dtype), jnp.asarray(first)
        columns = _of_groups(problem, first, sizes)
        return cls(columns, jnp.asarray(groups), first, sizes, Newton())

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the parts of a flat vector."""
        G = len(self.sizes)
        vectors = 2 if self.problem.bias_scale is None else 3
        return [(G, G), (G, G), *[(G,)] * vectors]

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
        """The objective of the problem."""
        X, Y, left, right, *bias = self.parts(flat)
        losses = self.problem.loss(self._logits(flat), self.problem.targets)
        value = losses @ self.problem.column_weights + 0.5 * sum(
            jnp.sum(part**2) for part in (X, Y, left, right)
        )
        if bias and self.problem.lambda_b is not None:
            shift = self._shift(bias[0])
            value = value + 0.5 * self.problem.lambda_b * jnp.sum(self.sizes * shift**2)
        return value

    def _shift(self, bias: Float[Array, " G"]) -> Float[Array, " G"]:
        """The bias (G,) of the classes of each group, from its coordinates."""
        assert self.problem.bias_scale is not None
        return self.problem.bias_scale * bias / jnp.sqrt(self.sizes)

    def product(self, flat: Flat) -> Float[Array, "K G"]:
        """The logits of a column of each group, without the bias."""
        X, Y, left, right, *_ = self.parts(flat)
        roots, columns = jnp.sqrt(self.sizes), jnp.arange(len(self.sizes))
        # a group of one has no direction of its own
        own = jnp.where(self.sizes > 1, left * right / jnp.maximum(self.sizes - 1, 1), 0)
        blocks = X @ Y / (roots[:, None] * roots[None])
        blocks = blocks.at[columns, columns].add(-own / self.sizes)
        product = blocks[self.group].at[self.first, columns].add(own)
        return product * self.problem.logit_scale[None]

    def _logits(self, flat: Flat) -> Float[Array, "K G"]:
        """The logits of a column of each group."""
        product, bias = self.product(flat), self.parts(flat)[4:]
        return product + self._shift(bias[0])[self.group][:, None] if bias else product

    def units(self, flat: Flat) -> Flat | None:
        # (of one group a free bias is the shift of all logits)
        if not self.free_bias or len(self.sizes) == 1:
            return None
        logits, bias = self._logits(flat), self.parts(flat)[4]

        def value(moved):
            logits_there = logits + self._shift(moved)[self.group][:, None]
            losses = self.problem.loss(logits_there, self.problem.targets)
            return losses @ self.problem.column_weights

        unit = units_of(jax.grad(value), jnp.zeros_like(bias))
        return jnp.ones_like(flat).at[-len(bias) :].set(unit)

    def spread(self, flat: Flat) -> Float[Array, " N"]:
        """The point as one of the whole problem.

        Parameters
        ----------
        flat
            (n,), an invariant point.

        Returns
        -------
        Float[Array, " N"]
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


@jax.jit
def _of_groups(problem: Problem, first, sizes) -> OneLayer:
    """With one column of each group in place of all."""
    every = OneLayer.of(problem)
    return OneLayer(
        targets=every.targets[:, first],
        column_weights=sizes * every.column_weights[first],
        logit_scale=every.logit_scale[first],
        bias_scale=every.bias_scale,
        lambda_b=every.lambda_b,
        loss=every.loss.of_columns(first),
    )


def _centred(number: int) -> np.ndarray:
    """(s, s - 1) orthonormal columns that sum to zero."""
    steps = np.arange(1, number)
    columns = np.triu(np.ones((number, number - 1))) - np.diag(steps, -1)[:, : number - 1]
    return columns / np.sqrt(steps * (steps + 1))
