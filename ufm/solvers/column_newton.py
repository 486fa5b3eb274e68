r"""Many convex problems with one classifier in one batch.

Newton–CG on $\ell(o + Sy, q) + \tfrac\gamma2\|y\|^2$, a row per label.

S = $(WW^\top)^{1/2}$ is symmetric, $y = S^+W h$ has the length of the feature and $z = o + Sy$ are
its logits: all work is matrix products of the batch with one K × K matrix.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ufm.losses.rows import AbstractRows, Here, Rows
from ufm.solvers.newton.backtracking import backtrack, descends

# Conjugate-gradient steps of one Newton step at most, in multiples of K: exact arithmetic needs
# one.
_CG_ROUNDS = 4


class Point(NamedTuple):
    """Where the batch stands.

    The rows y, logits without the offset (B, K), the loss there, whether each row is done, and
    counts.
    """

    y: Rows
    product: Rows
    here: Here
    step_size: Float[Array, " B"]
    done: Bool[Array, " B"]
    steps: Int[Array, ""]
    products: Int[Array, ""]


class _Batch(NamedTuple):
    """The problems: the loss of rows, S, the decay of each row (B, 1), targets and offsets."""

    model: AbstractRows
    root: Float[Array, "K K"]
    gamma: Any
    targets: Rows
    offset: Rows

    def at(self, product: Rows) -> Here:
        """The loss where logits are so much more than the offsets."""
        return self.model.at(self.offset + product, self.targets)

    def _value(self, here: Here, y: Rows) -> Float[Array, " B"]:
        """The objective of each row."""
        return here.value + 0.5 * self.gamma[:, 0] * jnp.sum(y**2, axis=1)

    def gradient(self, point: Point) -> Rows:
        """That of the objective, in y."""
        return self.gamma * point.y - point.here.residual @ self.root

    def begin(self, inverse_root: Float[Array, "K K"]) -> Point:
        """Each row at zero, or where the loss guesses if that is lower."""
        nothing = jnp.zeros_like(self.targets)
        # (a class that is dropped asks for nothing)
        wanted = self.model.start(self.targets, self.gamma) - self.offset
        guess = jnp.where(self.offset > -jnp.inf, wanted, 0) @ inverse_root
        fresh, informed = self.model.at(self.offset, self.targets), self.at(guess @ self.root)
        better = self._value(informed, guess) < self._value(fresh, nothing)
        y = jnp.where(better[:, None], guess, nothing)
        product = y @ self.root
        return Point(
            y=y,
            product=product,
            here=self.at(product),
            step_size=jnp.ones_like(self.targets[:, 0]),
            done=jnp.zeros(len(self.targets), bool),
            steps=jnp.asarray(0),
            products=jnp.asarray(0),
        )

    def step(self, point: Point) -> Point:
        """One Newton step of every row that is not done."""
        y, product, here = point.y, point.product, point.here
        K, eps = y.shape[1], jnp.finfo(y.dtype).eps
        small = float(eps) ** 0.5
        gradient = self.gradient(point)
        forcing = jnp.clip(0.1 * point.step_size, small, 0.1)
        direction, along, products = _conjugate_gradients(
            self.model, self.root, self.gamma, here.memory, gradient, forcing, point.done
        )
        slope = jnp.sum(gradient * direction, axis=1)
        value = self._value(here, y)
        noise = (8 + K) * eps * (1 + jnp.abs(value))

        def at(length: Float[Array, " B"]) -> tuple[Here, Bool[Array, " B"]]:
            trial = self.at(product + length[:, None] * along)
            reached = self._value(trial, y + length[:, None] * direction)
            return trial, descends(value, reached, length, slope, noise=noise) | point.done

        length, there, good = backtrack(at, jnp.where(point.done, 0, jnp.ones_like(value)))
        length = jnp.where(good, length, 0)
        moved = y + length[:, None] * direction
        size = _size(direction, moved, along)
        # a gradient of zero leaves y = 0 where it is the minimiser
        still = jnp.sum(direction**2, axis=1) == 0
        done = point.done | still | ((size <= small) & (length == 1))
        there = jax.tree.map(lambda new, old: jnp.where(_like(good, new), new, old), there, here)
        return Point(
            y=moved,
            product=product + length[:, None] * along,
            here=there,
            step_size=jnp.where(point.done, 0, jnp.minimum(size, 1)),
            done=done,
            steps=point.steps + 1,
            products=point.products + products + 1,
        )


def _size(direction: Rows, moved: Rows, along: Rows) -> Float[Array, " B"]:
    """Of a full step: its length relative to where it leads, or what it changes in a logit."""
    size = jnp.sqrt(
        jnp.sum(direction**2, axis=1)
        / jnp.maximum(jnp.sum(moved**2, axis=1), jnp.finfo(moved.dtype).tiny)
    )
    return jnp.maximum(size, jnp.max(jnp.abs(along), axis=1))


def newton(
    model: AbstractRows,
    root: Float[Array, "K K"],
    inverse_root: Float[Array, "K K"],
    gamma,
    targets: Rows,
    offset: Rows,
    *,
    max_steps: Int[Array, ""] | int,
) -> tuple[Point, Rows]:
    """The minimisers, and the gradients in y there.

    Parameters
    ----------
    model
        The loss for rows of logits.
    root, inverse_root
        S (K, K) and its (pseudo-)inverse: logits are y S plus the offset.
    gamma
        The decay of y of each row (B, 1).
    targets, offset
        One row a column of the problem, (B, K).
    max_steps
        Newton steps at most.

    Returns
    -------
    tuple[Point, Rows]
        Where every row ended, and the gradients (B, K) in y.

    Notes
    -----
    A row is done when a full Newton step is shorter than the square root of rounding: convergence
    is quadratic, so what is left after it is of the order of rounding, also where values and
    gradients can no longer tell.
    """
    batch = _Batch(model, root, gamma, targets, offset)
    point = jax.lax.while_loop(
        lambda point: ~jnp.all(point.done) & (point.steps < max_steps),
        batch.step,
        batch.begin(inverse_root),
    )
    # logits afresh, free of what the recurrence has gathered
    product = point.y @ root
    point = point._replace(product=product, here=batch.at(product))
    return point, batch.gradient(point)


class _CG(NamedTuple):
    step: Rows
    along: Rows
    residual: Rows
    direction: Rows
    energy: Float[Array, " B"]
    products: Int[Array, ""]


def _conjugate_gradients(
    model: AbstractRows, root, gamma, memory, gradient: Rows, forcing, done
) -> tuple[Rows, Rows, Int[Array, ""]]:
    """The step d with (S ∇²ℓ S + γ) d = −gradient up to `forcing`, S d, and the number of products.

    Preconditioned, row by row.
    """

    def energy_of(residual: Rows) -> tuple[Rows, Float[Array, " B"]]:
        conditioned = model.precondition(memory, residual, gamma)
        return conditioned, jnp.sum(conditioned * residual, axis=1)

    def active(cg: _CG) -> Bool[Array, " B"]:
        return ~done & (cg.energy > target) & (cg.energy > 0)

    def body(cg: _CG) -> _CG:
        lifted = cg.direction @ root
        curved = model.curve(memory, lifted) @ root + gamma * cg.direction
        curvature = jnp.sum(cg.direction * curved, axis=1)
        length = jnp.where(
            active(cg) & (curvature > 0), cg.energy / jnp.where(curvature > 0, curvature, 1), 0
        )[:, None]
        residual = cg.residual - length * curved
        conditioned, energy = energy_of(residual)
        turn = (energy / jnp.where(cg.energy > 0, cg.energy, 1))[:, None]
        return _CG(
            step=cg.step + length * cg.direction,
            along=cg.along + length * lifted,
            residual=residual,
            direction=conditioned + turn * cg.direction,
            energy=jnp.where(length[:, 0] > 0, energy, 0),
            products=cg.products + 2,
        )

    conditioned, energy = energy_of(-gradient)
    target = forcing**2 * energy
    nothing = jnp.zeros_like(gradient)
    start = _CG(nothing, nothing, -gradient, conditioned, energy, jnp.asarray(0))
    budget = 2 * _CG_ROUNDS * len(root)
    cg = jax.lax.while_loop(lambda cg: jnp.any(active(cg)) & (cg.products < budget), body, start)
    return cg.step, cg.along, cg.products


def _like(rows: Bool[Array, " B"], array: Array) -> Array:
    """A flag per row, shaped to broadcast over `array`."""
    return rows.reshape(rows.shape + (1,) * (array.ndim - 1))
