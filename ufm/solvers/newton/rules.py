r"""The rules of the trust-region method, written once for every form of it.

All of it is arithmetic of numbers, one a problem: () in the single and the projected form, (B,) in
the form with the lanes last. What a form adds is how it holds its vectors.

The numbers of the rules are static fields: a constant of a loop costs nothing, a traced one is an
operand of every kernel. Another value of one is another compilation.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ufm._validate import Shown, inside, require, require_static, require_whole
from ufm.solvers.solver import AbstractSolver

# A step counts as descent when it gains this share of what a model or slope promises; any share
# above rounding serves (Nocedal & Wright, sections 3.1 and 4.1).
SUFFICIENT = 1e-4


class Trust(NamedTuple):
    """The radius, the smallest relative gradient norm so far, and noisy steps since that fell."""

    radius: Float[Array, "*B"]
    smallest: Float[Array, "*B"]
    since: Int[Array, "*B"]


class Trial(NamedTuple):
    """A step that was tried.

    `values`: before and after it. `size`: that of the value, as far as its rounding goes.
    `predicted`: the decrease by the quadratic model. `by_gradients`: the decrease by the trapezoid
    of the gradients, which tells where values are noise. `length`: of the step. `far`: whether the
    radius held it back. `grad_norm`: relative, where it began.
    """

    values: tuple[Float[Array, "*B"], Float[Array, "*B"]]
    size: Float[Array, "*B"]
    predicted: Float[Array, "*B"]
    by_gradients: Float[Array, "*B"]
    length: Float[Array, "*B"]
    far: Bool[Array, "*B"]
    grad_norm: Float[Array, "*B"]


class Verdict(NamedTuple):
    """Whether a step is accepted, whether only rounding is left to move, and the trust after it."""

    accepted: Bool[Array, "*B"]
    stalled: Bool[Array, "*B"]
    trust: Trust


class CG(NamedTuple):
    """Numbers of a conjugate-gradient solve at the step p with direction d and residual g + H p.

    `along`: pᵀd. `products`: Hessian-vector products so far.
    """

    residual_sq: Float[Array, "*B"]
    target_sq: Float[Array, "*B"]
    step_sq: Float[Array, "*B"]
    along: Float[Array, "*B"]
    direction_sq: Float[Array, "*B"]
    products: Int[Array, "*B"]
    on_boundary: Bool[Array, "*B"]


class AbstractTrustRegion(AbstractSolver):
    """The numbers of a trust-region method, and what follows from them (see `Newton`)."""

    second_order: ClassVar[bool] = True
    max_steps: int = eqx.field(static=True, default=1000)
    max_cg: int = eqx.field(static=True, default=2000)
    first: float = eqx.field(static=True, default=0.1, kw_only=True)
    poor: float = eqx.field(static=True, default=0.25, kw_only=True)
    good: float = eqx.field(static=True, default=0.75, kw_only=True)
    shrink: float = eqx.field(static=True, default=0.25, kw_only=True)
    grow: float = eqx.field(static=True, default=2.0, kw_only=True)
    accept: float = eqx.field(static=True, default=SUFFICIENT, kw_only=True)
    noise: float = eqx.field(static=True, default=100.0, kw_only=True)
    patience: int = eqx.field(static=True, default=20, kw_only=True)
    forcing: tuple[float, float] = eqx.field(static=True, default=(1e-2, 0.5), kw_only=True)

    def __check_init__(self):
        require_whole("max_cg", self.max_cg)
        require_whole("patience", self.patience)
        require_static("first", self.first, inside(0, np.inf), "be > 0")
        require_static("shrink", self.shrink, inside(0, 1), "lie in (0, 1)")
        require_static("grow", self.grow, inside(1, np.inf), "be > 1")
        require_static("noise", self.noise, lambda noise: noise >= 0, "be >= 0")
        for name in ("accept", "poor", "good"):
            require_static(name, getattr(self, name), lambda share: 0 <= share < 1, "lie in [0, 1)")
        numbers = (self.accept, self.poor, self.good)
        ordered = self.accept < self.poor <= self.good
        require(ordered, "`accept`, `poor` and `good` must increase within [0, 1)", numbers)
        pair = isinstance(self.forcing, tuple) and len(self.forcing) == 2
        wanted = "`forcing` must be (tightest, loosest) within (0, 1)"
        require(pair, wanted, Shown(self.forcing))
        for i, share in enumerate(self.forcing):
            require_static(f"forcing[{i}]", share, inside(0, 1), "lie in (0, 1)")
        require(self.forcing[0] <= self.forcing[1], wanted, self.forcing)

    def first_trust(self, size_sq: Array, value: Array) -> Trust:
        """The trust before the first step.

        Parameters
        ----------
        size_sq
            The squared length of the starting point.
        value
            The value there.

        Returns
        -------
        Trust
            Of radius `first` times the sum of both roots.
        """
        radius = self.first * (jnp.sqrt(size_sq) + jnp.sqrt(jnp.abs(value)))
        return Trust(radius, jnp.full_like(radius, jnp.inf), jnp.zeros(radius.shape, int))

    def judge(self, trust: Trust, tried: Trial) -> Verdict:
        """What becomes of a step.

        Parameters
        ----------
        trust
            Before the step.
        tried
            Where it led.

        Returns
        -------
        Verdict
            Whether the step is taken, whether the run has stalled, and the trust for the next.
        """
        (value, trial), predicted = tried.values, tried.predicted
        noisy = predicted < self.noise * float(jnp.finfo(value.dtype).eps) * tried.size
        gained = jnp.where(noisy, tried.by_gradients, value - trial)
        ratio = gained / jnp.where(predicted > 0, predicted, 1)
        # no model goes up, and no value is NaN, at a step to be taken
        ratio = jnp.where(jnp.isfinite(trial) & (predicted > 0), ratio, -1)
        grown = jnp.where((ratio > self.good) & tried.far, self.grow * trust.radius, trust.radius)
        radius = jnp.where(ratio < self.poor, self.shrink * tried.length, grown)
        improved = tried.grad_norm < trust.smallest
        since = jnp.where(improved | ~noisy, 0, trust.since + 1)
        trust = Trust(radius, jnp.minimum(trust.smallest, tried.grad_norm), since)
        return Verdict(ratio > self.accept, since >= self.patience, trust)

    def begin(self, gradient_sq: Array, relative: Array) -> CG:
        """The solve of g + H p = 0 at p = 0, d = −g.

        Parameters
        ----------
        gradient_sq
            ‖g‖².
        relative
            The relative gradient norm, whose root is the forcing term within its bounds.

        Returns
        -------
        CG
            The numbers of conjugate gradients before the first product.
        """
        # the root gives superlinear convergence between the two bounds
        forcing = jnp.clip(jnp.sqrt(relative), *self.forcing)
        zero = jnp.zeros_like(gradient_sq)
        return CG(
            residual_sq=gradient_sq,
            target_sq=forcing**2 * gradient_sq,
            step_sq=zero,
            along=zero,
            direction_sq=gradient_sq,
            products=jnp.zeros(zero.shape, int),
            on_boundary=jnp.zeros(zero.shape, bool),
        )

    def unfinished(self, cg: CG) -> Bool[Array, "*B"]:
        """Whether another product is wanted."""
        return ~cg.on_boundary & (cg.residual_sq > cg.target_sq) & (cg.products < self.max_cg)


def stride(cg: CG, curvature: Array, radius: Array) -> tuple[Array, Bool[Array, "*B"]]:
    """How far to go along d, and whether that is to the boundary.

    Parameters
    ----------
    cg
        The numbers so far.
    curvature
        dᵀHd.
    radius
        Of the trust region.

    Returns
    -------
    tuple[Array, Bool[Array, "*B"]]
        The length, and whether the solve ends on the boundary, as it does also along the first
        direction of negative curvature.

    References
    ----------
    Steihaug 1983.
    """
    length = cg.residual_sq / jnp.where(curvature > 0, curvature, 1)
    leaves = (curvature <= 0) | (_step_sq(cg, length) >= radius**2)
    # the positive root of ‖p + a d‖ = radius, in the form that does not cancel
    room = jnp.maximum(radius**2 - cg.step_sq, 0)
    root = cg.along + jnp.sqrt(cg.along**2 + cg.direction_sq * room)
    return jnp.where(leaves, room / jnp.where(room > 0, root, 1), length), leaves


def follow(cg: CG, length: Array, leaves, residual_sq: Array) -> tuple[Array, CG]:
    """The share of d in the next direction, and the numbers there.

    Parameters
    ----------
    cg
        The numbers so far.
    length, leaves
        From `stride`.
    residual_sq
        ‖g + Hp‖² after that step.

    Returns
    -------
    tuple[Array, CG]
        The share, and the next numbers.

    References
    ----------
    Conn, Gould & Toint 2000, section 7.5.1: ‖p‖², pᵀd and ‖d‖² by recurrence, not by three passes
    over the vectors.
    """
    turn = residual_sq / cg.residual_sq
    return turn, CG(
        residual_sq=residual_sq,
        target_sq=cg.target_sq,
        step_sq=_step_sq(cg, length),
        along=turn * (cg.along + length * cg.direction_sq),
        direction_sq=residual_sq + turn**2 * cg.direction_sq,
        products=cg.products + 1,
        on_boundary=leaves,
    )


def _step_sq(cg: CG, length: Array) -> Array:
    """‖p + length d‖²."""
    return cg.step_sq + 2 * length * cg.along + length**2 * cg.direction_sq
