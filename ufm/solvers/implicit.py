r"""Derivatives of a minimum: what `minimise` does with a problem that JAX is differentiating.

With x the flat coordinates of the optimum and p the problem (decays, masses, targets, radii, …),

$$\frac{df^*}{dp} = \partial_p f(x, p), \qquad \partial_{xx} f\,\frac{dx}{dp} = -\partial_{xp} f:$$

the envelope theorem for the optimal value, the implicit function theorem for the optimum. The
Hessian is singular along the symmetries (the gauge), to which the right side is orthogonal at a
stationary point: conjugate residuals answer with the solution that is orthogonal to them too,
so that nothing turns. What symmetry leaves alone has the derivative of the optimum on the quotient.
Of a free bias the sum is that of its start, and so it does not change: logits have derivatives too.

Neither goes through the steps of a solver: the solve itself runs on plain numbers, and what is
differentiated twice is differentiated by the same rule twice.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ufm._programs.outside import SWEEP_ALONE, refusal
from ufm._validate import is_traced, require
from ufm.model import Params, Problem, objective, require_whole_logits
from ufm.solution import Solution
from ufm.solvers.coordinates import (
    Flat,
    bounds,
    flat_objective,
    flat_of,
    joined,
    params_of,
    to_params,
)

# A relative gradient norm above which a point is no minimum that a derivative could be taken of
# (scaled with the dtype).
_STATIONARY = 1e-8
# Conjugate residuals end at this part of the right side, in units of the rounding of the dtype, …
_ENOUGH = 100.0
# … and above this part of it, after all their steps, there is no derivative: the right side has a
# part along a zero of the Hessian that no symmetry explains (scaled with the dtype).
_SOLVED = 1e-6
# Nor is there one known where a Newton step along the answer changes the curvature along it by more
# than this part (scaled with the dtype): so near a threshold the solve ends at curvatures of its
# own, 1e-7 of the largest or less. Right ones change by 1e-5 at most, at 1e-5 from a threshold.
_KNOWN = 1e-3
_NO_DERIVATIVE = (
    "what is differentiated must be left alone by the symmetries of an optimum of `minimise`, as "
    "value, logits and Grams are (after centring, where a free bias shifts some classes beside "
    "others, or a loss scales them), and the optimum "
    "must be isolated but for them, as it is away from thresholds; got zeros of the Hessian "
    "along which it changes, or curvatures that rounding of the solve decides"
)


def differentiable(problem: Problem, solve: Callable[[Problem], Solution]) -> Solution:
    """The solution of a problem that JAX is differentiating, with the derivatives of its optimum.

    Parameters
    ----------
    problem
        With leaves that are traced.
    solve
        From a problem of plain numbers to its solution.

    Returns
    -------
    Solution
        `params` and `value` (and `logits`, which follows) carry derivatives; the rest are numbers.

    Raises
    ------
    ValueError
        For a solution whose relative gradient norm is above 1e-8 (scaled with the dtype), and
        for labels that are too large for all logits, of which there are first derivatives only.
    jax.errors.JaxRuntimeError
        From the differentiation, with words of ours in it, for a derivative that does not exist.
    """
    require_whole_logits(problem, "derivatives of a minimum")
    traced, rest = eqx.partition(problem, eqx.is_inexact_array)
    # (asked here, as parameters of a loss are traced further in)
    shifted = problem.free_bias and problem.loss.shift_invariant
    kept: list[Solution] = []

    @jax.custom_jvp
    def optimum(traced) -> tuple[Flat, Float[Array, ""]]:
        # (plain numbers, but for tracers of `jit` and `vmap`)
        plain = eqx.combine(traced, rest)
        if is_traced(plain):
            raise refusal("minimise", SWEEP_ALONE, slopes=True)
        solution = solve(plain)
        _require_stationary(solution)
        kept.append(solution)
        return flat_of(plain, solution.params), solution.value

    @optimum.defjvp
    def _(primals, tangents):
        (traced,), (change,) = primals, tangents
        flat, value = optimum(traced)
        slope, moved = _changes(eqx.combine(traced, rest), flat, change, shifted)
        return (flat, value), (moved, slope)

    flat, value = optimum(traced)
    return dataclasses.replace(
        kept[-1], problem=problem, params=params_of(problem, flat), value=value
    )


def _require_stationary(solution: Solution) -> None:
    grad_norm = float(solution.grad_norm)
    require(
        grad_norm <= _STATIONARY * _ratio(solution.problem.dtype) ** 0.5,
        "`minimise` must end at a stationary point for a derivative of its optimum (raise "
        "`max_steps`, or leave `tolerance` and `gap` as they are)",
        f"a relative gradient norm of {grad_norm:.1e}: {solution.advice}",
    )


def _ratio(dtype) -> float:
    """How much coarser a dtype is than float64."""
    return float(jnp.finfo(dtype).eps / np.finfo(np.float64).eps)


@functools.partial(jax.jit, static_argnums=3)
def _changes(problem: Problem, flat: Flat, change, shifted: bool) -> tuple[Float[Array, ""], Flat]:
    """What a change of the problem makes of the optimal value and of the optimum; `shifted` where a
    free bias may shift all logits for nothing."""
    traced, rest = eqx.partition(problem, eqx.is_inexact_array)

    def gradient(traced, flat):
        return jax.grad(flat_objective, argnums=1)(eqx.combine(traced, rest), flat)

    def value(traced):
        again = eqx.combine(traced, rest)
        return objective(again, to_params(again, flat))

    _, slope = jax.jvp(value, (traced,), (change,))
    _, pull = jax.jvp(lambda traced: gradient(traced, flat), (traced,), (change,))
    slope_here = gradient(traced, flat)
    free = _free(problem, flat, slope_here)

    def kept(direction: Flat) -> Flat:
        direction = direction * free
        return _without_shift(problem, direction) if shifted else direction

    def hessian(direction: Flat, there: Flat = flat) -> Flat:
        _, turned = jax.jvp(lambda flat: gradient(traced, flat), (there,), (kept(direction),))
        return kept(turned)

    def solve(product: Callable[[Flat], Flat], wanted: Flat) -> Flat:
        answer, lost = _conjugate_residuals(product, wanted)
        # a Newton step along the answer: what the solve has left undone of it
        curvature = jnp.dot(answer, wanted)
        left = -jnp.dot(kept(slope_here), answer) / jnp.where(curvature > 0, curvature, 1)
        beyond = jnp.dot(answer, hessian(answer, flat + left * answer))
        unknown = jnp.abs(beyond - curvature) > _KNOWN * _ratio(flat.dtype) ** 0.25 * curvature
        return _required(answer, lost | unknown)

    moved = jax.lax.custom_linear_solve(hessian, -kept(pull), solve, symmetric=True)
    # (in reverse mode this is what the right side is made of)
    return slope, kept(moved)


def _free(problem: Problem, flat: Flat, slope: Flat) -> Flat:
    """1 for the coordinates that may move, 0 for those that a bound holds."""
    held = bounds(problem) & (flat <= 0) & (slope >= 0)
    return jnp.where(held, 0, 1).astype(flat.dtype)


def _without_shift(problem: Problem, direction: Flat) -> Flat:
    """The part of a direction in which a bias keeps its sum."""
    parts = problem.blocks.split(direction)
    bias = jnp.asarray(parts.bias)
    return joined(Params(parts.weights, parts.features, bias - jnp.mean(bias)))


def _conjugate_residuals(
    product: Callable[[Flat], Flat], wanted: Flat
) -> tuple[Flat, Bool[Array, ""]]:
    """x with `product`(x) = `wanted`, orthogonal to the zeros of the product, by conjugate
    residuals from x = 0, and whether there is no such x.

    The residual never grows, so that a part of the right side along a zero, which rounding leaves
    there, does no harm.
    """
    size_sq = jnp.dot(wanted, wanted)
    enough = (_ENOUGH * jnp.finfo(wanted.dtype).eps) ** 2 * size_sq
    most = 10 * wanted.size + 100

    def running(carry):
        _, residual, *_, curvature, steps = carry
        return (jnp.dot(residual, residual) > enough) & (curvature > 0) & (steps < most)

    def step(carry):
        x, residual, direction, turned, curvature, steps = carry
        length = curvature / jnp.dot(turned, turned)
        x, residual = x + length * direction, residual - length * turned
        image = product(residual)
        new = jnp.dot(residual, image)
        turn = new / curvature
        return x, residual, residual + turn * direction, image + turn * turned, new, steps + 1

    image = product(wanted)
    first = (jnp.zeros_like(wanted), wanted, wanted, image, jnp.dot(wanted, image), 0)
    x, residual, *_ = jax.lax.while_loop(running, step, first)
    lost = _SOLVED * _ratio(wanted.dtype) ** 0.25
    return x, jnp.dot(residual, residual) > lost**2 * size_sq


def _required(answer: Flat, lost: Bool[Array, ""]) -> Flat:
    """An answer that is not lost: it fails, while it runs, where there is none."""
    kind = jax.ShapeDtypeStruct((), bool)
    lost = jax.pure_callback(_require_solved, kind, lost, vmap_method="broadcast_all")
    return jnp.where(lost, jnp.nan, answer)


def _require_solved(lost):
    if np.any(lost):
        raise ValueError(_NO_DERIVATIVE)
    return np.asarray(lost)
