r"""The objective of a problem in which classes are alike, at points in which they look alike.

One vector of a group stands for all: with rows $(x_g, l_g)$ and columns $(y_g, r_g)$ of groups with
$s_g$ classes

$$(W H)_{ij} = x_g\cdot y_h + \delta_{gh}\,l_g r_g\,\frac{s_g\delta_{ij} - 1}{s_g - 1}, \qquad i
\in g,\; j \in h.$$

The vectors of the whole problem are as long as those that stand for them. Their own directions are
orthogonal to those of other groups, and sum to zero over a group; a group of one has none.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ufm.losses import AbstractLoss
from ufm.model import Params, Problem
from ufm.model.blocks import Block, Blocks
from ufm.solvers.coordinates import Flat, joined, merit_size, minimised
from ufm.solvers.merit import DifferentiatedMerit
from ufm.solvers.newton import Newton
from ufm.solvers.newton.bias import units_of

# made once: a module of many fields takes a third of a millisecond to make
_NEWTON = Newton()


class InvariantMerit(DifferentiatedMerit):
    """What is minimised, at invariant points.

    Their coordinates are those of the `blocks`: rows (G, n) and columns (n, G) of which each stands
    for a group, and a bias (G,) times the roots of the `sizes`. Of each group `targets`, `weights`
    and `masses` have one column, which weighs as much as all.
    """

    problem: Problem
    blocks: Blocks
    loss: AbstractLoss
    targets: Float[Array, "K G"]
    weights: Float[Array, " G"]
    masses: Float[Array, " G"]
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
            One linear layer, a column a class, with domains that know `of_groups`.
        groups
            (K,), numbers from 0 on: the group of each class.

        Returns
        -------
        InvariantMerit
            With as many dimensions as are of use for as many vectors.
        """
        _, first, sizes = np.unique(groups, return_index=True, return_counts=True)
        G = len(first)
        # one sees no dimensions but those of the other factor, unless a domain gives lengths: there
        # half as many again are a help, as in `narrowing`
        shared = G + (1 + G // 2 if problem.bounded else 0)
        n = min(shared, problem.feature_dim - len(groups) + G) + 1
        group, first, sizes = jax.device_put((groups, first, sizes.astype(problem.dtype)))
        parts = _parts(problem, first, sizes, n)
        return cls(problem, *parts, group=group, first=first, sizes=sizes, solver=_NEWTON)

    def placed(self, flat: Flat) -> Params:
        """The vectors that stand for groups, and their bias, at coordinates (N,)."""
        params = self.blocks.apply(lambda block, y: block.point(y), self.blocks.split(flat))
        if params.bias is None:
            return params
        return Params(params.weights, params.features, params.bias / jnp.sqrt(self.sizes))

    @property
    def factors(self) -> Blocks:
        """Those of the problem at invariant points."""
        return self.blocks

    def value(self, flat: Flat) -> Float[Array, ""]:
        """The objective of the problem, or its logarithm."""
        params = self.placed(flat)
        losses = self.loss(self.logits(params), self.targets)
        value = losses @ self.weights + self._decay(params)
        return minimised(self.problem, value)

    def _decay(self, params: Params) -> Float[Array, ""]:
        (W,), H, bias, problem = params.weights, params.features, params.bias, self.problem
        total = 0.5 * problem.lambda_W[0] * jnp.dot(self.sizes, jnp.sum(W**2, axis=1))
        total += 0.5 * problem.lambda_H * jnp.dot(self.masses, jnp.sum(H**2, axis=0))
        if bias is not None and problem.lambda_b is not None:
            total += 0.5 * problem.lambda_b * jnp.dot(self.sizes, bias**2)
        return total

    def product(self, params: Params) -> Float[Array, "K G"]:
        """The logits of a column of each group, without the bias."""
        (W,), H, columns = params.weights, params.features, jnp.arange(len(self.sizes))
        own = jnp.where(self.sizes > 1, W[:, -1] * H[-1], 0)
        others = own / jnp.maximum(self.sizes - 1, 1)
        shared = W[:, :-1] @ H[:-1]
        blocks = shared.at[columns, columns].add(-others)
        return blocks[self.group].at[self.first, columns].add(own + others)

    def logits(self, params: Params) -> Float[Array, "K G"]:
        """The logits of a column of each group."""
        product = self.product(params)
        return product if params.bias is None else product + params.bias[self.group][:, None]

    def units(self, flat: Flat, known: tuple[()]) -> Flat | None:
        """Those of a free bias.

        Returns
        -------
        Flat | None
            None without one.
        """
        # (of one group a free bias is the shift of all logits)
        free = self.blocks.bias is not None and self.problem.lambda_b is None
        if self.problem.bounded or not free or len(self.sizes) == 1:
            return None
        place = self.placed(flat)
        assert place.bias is not None
        assert self.blocks.bias is not None
        logits, scale = self.logits(place), 1 / (self.blocks.bias.unit * jnp.sqrt(self.sizes))

        def value(moved):
            there = logits + (scale * moved)[self.group][:, None]
            return self.loss(there, self.targets) @ self.weights

        unit = units_of(jax.grad(value), jnp.zeros_like(place.bias))
        return jnp.ones_like(flat).at[-len(place.bias) :].set(unit)

    def settled(self, flat: Flat) -> Flat:
        if not self.problem.bounded:
            return flat
        return joined(self.blocks.apply(lambda block, y: block.retract(y), self.blocks.split(flat)))

    def size(self, value: Float[Array, ""]) -> Float[Array, ""]:
        return merit_size(self.problem, value)

    def start(self, drawn: Float[Array, " r"]) -> Flat:
        """Coordinates of a point of random numbers, one for each entry of rows and columns.

        Features lie on the side of their own class, as directions of a group cannot turn about.
        What decay alone holds costs a tenth of the value at zero, or less where logits would be
        above 1: of few groups they lie in few directions, and under weak decay would be in the
        hundreds.
        """
        (rows,), columns = self.blocks.weights, self.blocks.features
        own = (self.sizes > 1).astype(drawn.dtype)
        W, H = jnp.split(drawn, [rows.shape[0] * rows.shape[1]])
        # (a group of one has no direction of its own, and never moves there from zero)
        W, H = W.reshape(rows.shape), H.reshape(columns.shape)
        W = W.at[:, -1].set(own * jnp.abs(W[:, -1]))
        H = H.at[-1].set(own * jnp.abs(H[-1]))
        bias = None if self.blocks.bias is None else jnp.zeros_like(self.sizes)
        given = Params((W,), H, bias)
        held = self.blocks.apply(
            lambda block, x: block.start(x) if block.domain.compact else block.point(x), given
        )
        loose = [x for block, x in ((rows, W), (columns, H)) if not block.domain.compact]
        scale = jnp.ones((), drawn.dtype)
        if loose:
            at_zero = self.loss(jnp.zeros_like(self.targets), self.targets) @ self.weights
            cost = sum(jnp.sum(x**2) for x in loose)
            largest = jnp.max(jnp.abs(self.product(held)))
            scale = jnp.minimum(jnp.sqrt(0.2 * at_zero / cost), largest ** (-1 / len(loose)))
        return joined(
            self.blocks.apply(
                lambda block, x: block.departing(
                    block.chart(x if block.domain.compact else scale * x)
                ),
                held,
            )
        )

    def whole(self, flat: Flat) -> Params:
        """The point of the whole problem, without the dimensions that it has at zero.

        Parameters
        ----------
        flat
            (N,), an invariant point.

        Returns
        -------
        Params
            With as many features as directions: those that groups share, and their own.
        """
        placed = _placed(self, flat)
        W, H = np.asarray(placed.weights[0]), np.asarray(placed.features)
        group, sizes = np.asarray(self.group), np.asarray(self.sizes)
        K, shared = len(group), len(H) - 1
        d = shared + K - len(sizes)
        rows, columns = np.zeros((K, d), W.dtype), np.zeros((d, K), W.dtype)
        rows[:, :shared], columns[:shared], taken = W[group, :-1], H[:-1, group], shared
        for g in np.flatnonzero(sizes > 1):
            members = np.flatnonzero(group == g)
            directions = _centred(len(members))
            block = slice(taken, taken + len(members) - 1)
            rows[members, block] = W[g, -1] * directions
            columns[block, members] = H[-1, g] * directions.T
            taken = block.stop
        bias = None if placed.bias is None else np.asarray(placed.bias)[group]
        rows, columns, bias = jax.device_put((rows, columns, bias))
        return Params((rows,), columns, bias)


@functools.partial(jax.jit, static_argnums=3)
def _parts(problem: Problem, first, sizes, n: int):
    """The fields of an `InvariantMerit` from `blocks` to `masses`, for vectors of length n."""
    labels, bias, G = problem.labels, problem.blocks.bias, len(first)
    masses = sizes * labels.masses[first]
    rows = problem.classifier.of_groups(first, sizes)
    columns = problem.features.of_groups(first, sizes)
    assert rows is not None
    assert columns is not None
    of_rows = rows.unit(problem.lambda_W[0] * sizes, sizes / labels.num_classes)
    of_columns = columns.unit(problem.lambda_H * masses, masses / labels.num_samples)
    blocks = Blocks(
        weights=(Block(rows, of_rows, (G, n), by_rows=True),),
        features=Block(columns, of_columns, (n, G)),
        bias=None if bias is None else Block(bias.domain, bias.unit, (G,)),
    )
    loss, targets = problem.loss.of_columns(first), labels.targets[:, first]
    return blocks, loss, targets, sizes * labels.column_weights[first], masses


_placed = jax.jit(InvariantMerit.placed)


def _centred(number: int) -> np.ndarray:
    """(s, s - 1) columns that sum to zero: orthogonal, and as long as makes each row of length
    1."""
    steps = np.arange(1, number)
    columns = np.triu(np.ones((number, number - 1))) - np.diag(steps, -1)[:, : number - 1]
    return columns / np.sqrt(steps * (steps + 1) * (1 - 1 / number))
