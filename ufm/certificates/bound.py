r"""How far a point can be from the global minimum: the duality gap of the convex problem in the product W H.

With $\tilde Z = W H\,\mathrm{diag}(\sqrt{m_c})$ and $\mu = \sqrt{\lambda_W\lambda_H}$ the least decay of any factorisation of $\tilde Z$ is
$\mu\|\tilde Z\|_*$, so

$$\min_{W,H,b} \ \ge\ \min_{\tilde Z,b}\ \sum_c \omega_c\,\ell(z_c, q_c) + \mu\|\tilde Z\|_* + \tfrac{\lambda_b}{2}\|b\|^2
  \ \ge\ -\sum_c \omega_c\,\ell^*(u_c; q_c) - \tfrac{1}{2\lambda_b}\Big\|\sum_c\omega_c u_c\Big\|^2$$

for every u with $\|[\omega_c u_c/\sqrt{m_c}]_c\|_{op} \le \mu$. A free bias needs $\sum_c\omega_c u_c = 0$ in place of the last term.

Rounding is part of the bound: the u that is stored is the dual point, whatever gradient it was meant to be, moved by a few eps to where its
constraints hold exactly; what that and the rounding of every sum can amount to is subtracted. `terms_of_sum` says where such an
estimate is statistical; `prove` encloses.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._validate import require, require_instance
from ufm.losses import loss_and_dual
from ufm.losses.base import unit_roundoff
from ufm.problem import (
    Params,
    Problem,
    check_params,
    objective,
    objective_error,
    require_decay,
    require_free_features,
    terms_of_sum,
    with_canonical_loss,
)
from ufm.solution import Certificate, relative_gap

# A loss and its conjugate contradict each other when Fenchel and Young miss by so many times what rounding explains.
_CONTRADICTION = 16.0


def certify(problem: Problem, params: Params) -> Certificate:
    r"""Lower bound on the global minimum, from the loss gradients at `params` scaled onto the dual ball: $u = t\,\nabla\ell(z)$.

    `problem`: one linear layer, no anchor, no fixed weights, λ > 0. `params`: any point of it, weights ((K, d),), features (d, C) and bias
    (K,) or None; need not be stationary.

    Returns a `Certificate`: `value`, `lower_bound` <= global minimum (what rounding can amount to is subtracted), `gap` = (value −
    lower_bound) / |value|, `spectral_ratio` $\|G\|_{op}/\mu$ with G the gradient in $\tilde Z$, and `bias_residual`,
    $\|\sum_c\omega_c u_c\|$ relative to the root mean square of logits and targets. A free bias is first solved for at fixed W H, and
    `value` is taken there; what is left of its residual is removed from u. Where the loss and its conjugate contradict each other
    (Fenchel and Young: $\ell(z) + \ell^*(u) = u^\top z$ at $u = \nabla\ell(z)$), or the bound lies above the value by more than rounding,
    the certificate is not `valid`, closes nothing and says so.

    Raises `ValueError` for M >= 2, a loss that is not convex (focal; a rescaled squared error with a weight
    <= 0), an anchor, fixed weights, nonnegative features, λ = 0, and params that do not fit the problem.

    Source: Fenchel duality for the nuclear norm that ridge on both factors amounts to.

    The gap is first order in the gradient: solve to rounding first. With d below the rank of the convex optimum the bound stays true
    but need not close, and an open gap says nothing there. At the origin it closes exactly in the trivial regime.
    """
    require_instance("problem", problem, Problem)
    problem = with_canonical_loss(problem)
    require_certifiable(problem)
    return _certify(problem, check_params(problem, params))


def require_certifiable(problem: Problem) -> None:
    """`ValueError` naming what keeps a problem from having a convex lift with a dual bound."""
    only = "a certificate exists only for one linear layer (M = 1)"
    why = "the Schatten quasi-norm of a deeper product is not convex"
    require(problem.depth == 1, f"`problem.widths` must have one entry, as {only}: {why}", f"M={problem.depth}")
    problem.loss.require_bound(free_bias=problem.bias == "free")
    convex = problem.loss.convex_at(problem.labels.targets)
    require(convex, "`problem.loss` must be convex in the logits for a certificate", problem.loss)
    require(problem.anchor is None, "`problem` must have no feature anchor: the duality bound is for plain decay", "an anchor")
    require(problem.fixed_weights is None, "`problem` must have free weights: the duality bound is for free factors", "fixed weights")
    require_free_features(problem, "a certificate: the nuclear norm is the least decay of factors of any sign")
    require_decay(problem, "a certificate")


@jax.jit
def _certify(problem: Problem, params: Params) -> Certificate:
    labels, loss = problem.labels, problem.loss
    weights = labels.column_weights
    params = with_best_bias(problem, params)
    value, rounding = objective(problem, params), objective_error(problem, params)
    logits = params.logits
    losses, dual = loss_and_dual(loss, logits, labels.targets)

    contradiction = _contradiction(problem, logits, losses, dual)
    bias_residual = jnp.zeros_like(value)
    pattern = None
    if problem.bias == "free":
        size = _rms(logits, weights) + _rms(labels.targets, weights)
        bias_residual = jnp.sqrt(jnp.sum((dual @ weights) ** 2)) / jnp.where(size > 0, size, 1)
        dual = centred_dual(problem, dual)
        pattern = loss.centring_pattern(dual, labels.targets)
        total = (pattern @ weights)[:, None]
        pattern = pattern / jnp.where(total > 0, total, 1)
    bound = _dual_bound(problem, logits, dual, pattern)

    holds = jnp.isfinite(bound.lower) & jnp.isfinite(value)
    lower_bound = jnp.where(holds, bound.lower, -jnp.inf)
    above = (lower_bound - value > rounding) | (contradiction > 1)
    return Certificate(
        value=value,
        lower_bound=lower_bound,
        gap=jnp.where(holds & ~above, relative_gap(value, lower_bound), jnp.inf),
        spectral_ratio=bound.ratio,
        bias_residual=bias_residual,
        rounding=rounding,
        contradiction=contradiction,
        loss=loss.name,
    )


def with_best_bias(problem: Problem, params: Params) -> Params:
    """`params` with a free bias at its best for W H as they are. Runs inside `jit`."""
    if problem.bias != "free":
        return params
    labels = problem.labels
    bias = problem.loss.best_bias(params.logits, labels.targets, labels.column_weights)
    return Params(weights=params.weights, features=params.features, bias=jnp.asarray(params.bias) + bias)


def centred_dual(problem: Problem, dual: Float[Array, "K C"]) -> Float[Array, "K C"]:
    """Dual columns changed in the way of the loss so that their weighted sum vanishes, as a free bias asks. Runs inside `jit`."""
    targets, weights = problem.labels.targets, problem.labels.column_weights
    return problem.loss.centred(dual, targets, problem.loss.centring(dual @ weights, targets @ weights))


class _Bound(NamedTuple):
    lower: Float[Array, ""]
    ratio: Float[Array, ""]


def _dual_bound(problem: Problem, logits, dual, pattern) -> _Bound:
    """D(t u) at the best t of which u = `dual` is made feasible, less what rounding can amount to."""
    labels, loss, unit = problem.labels, problem.loss, unit_roundoff(problem.dtype)
    weights, (K, C) = labels.column_weights, labels.targets.shape
    many = terms_of_sum(C) + 4
    mean = dual @ weights
    # what the rounding of the mean over the columns can hide
    hidden = unit * (many + K) * (jnp.abs(dual) @ weights)

    share = weights / jnp.sqrt(labels.masses)
    mu = jnp.sqrt(problem.lambda_W[0]) * jnp.sqrt(problem.lambda_H)
    norm, excess = _spectral_norm(dual * share[None, :], many)
    if pattern is not None:
        left = jnp.abs(mean) + hidden
        reach = jnp.sqrt(jnp.sum((pattern * share[None, :]) ** 2, axis=1))
        excess = excess + 2 * jnp.dot(left, reach)
    limit = mu * (1 - 8 * unit) / jnp.where(norm + excess > 0, norm + excess, 1)
    limit = jnp.where(norm + excess > 0, limit, 1)

    quadratic = jnp.zeros_like(mu)
    if problem.lambda_b is not None:
        quadratic = jnp.sum(mean**2) / problem.lambda_b
    t = loss.dual_scale(dual, labels.targets, weights, limit=limit, quadratic=quadratic)
    scaled = t * dual
    conjugates = loss.conjugate(scaled, labels.targets)
    lower = -jnp.dot(weights, conjugates) - 0.5 * t**2 * quadratic

    slack = jnp.dot(weights, loss.conjugate_error(scaled, labels.targets))
    slack = slack + unit * many * jnp.dot(weights, jnp.abs(conjugates))
    slack = slack + 4 * unit * jnp.abs(lower)
    if problem.lambda_b is not None:
        curved = jnp.dot(hidden, 2 * jnp.abs(mean) + hidden) / problem.lambda_b
        slack = slack + 0.5 * t**2 * (curved + (K + 8) * unit * quadratic)
    if pattern is not None:
        # moving u by r moves its conjugate by r times the logits that belong to t u
        steep = 2 * jnp.max(jnp.abs(logits)) + jnp.max(jnp.abs(labels.targets)) + jnp.log(K) + 1
        steep = steep - jnp.log(jnp.clip(t, jnp.finfo(t.dtype).tiny, 1))
        slack = slack + t * steep * jnp.sum(left)
    return _Bound(lower - slack, norm / mu)


def _contradiction(problem: Problem, logits, losses, dual) -> Float[Array, ""]:
    """How far loss and conjugate miss equality in Fenchel–Young at the gradient, in units of what rounding explains."""
    loss, targets, unit = problem.loss, problem.labels.targets, unit_roundoff(problem.dtype)
    conjugates = loss.conjugate(dual, targets)
    surplus = losses + conjugates - jnp.sum(dual * logits, axis=0)
    explained = loss.value_error(logits, targets) + loss.conjugate_error(dual, targets)
    explained = explained + (len(targets) + 4) * unit * (jnp.abs(losses) + jnp.abs(conjugates) + jnp.sum(jnp.abs(dual * logits), axis=0))
    measure = jnp.abs(surplus) / (_CONTRADICTION * explained + jnp.finfo(problem.dtype).tiny)
    return jnp.max(jnp.where(jnp.isfinite(measure), measure, 0))


def _spectral_norm(matrix: Float[Array, "K C"], many: float) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Largest singular value, and how much larger it can be for rounding; by the smaller Gram, as C can be 10^5.

    Squaring costs the largest value no digits. The Gram is off by `many` roundings of |V| |V|ᵀ at most, whose norm is at
    most the product of the largest row and column sums of |V|; its eigenvalues by a few more per row.
    """
    # scaled, because the squares of small entries would underflow
    largest = jnp.max(jnp.abs(matrix))
    scaled = matrix / jnp.where(largest > 0, largest, 1)
    rows, columns = matrix.shape
    gram = scaled @ scaled.T if rows <= columns else scaled.T @ scaled
    top = jnp.linalg.eigvalsh(gram)[-1]
    unit = unit_roundoff(matrix.dtype)
    sizes = jnp.abs(scaled)
    product = jnp.max(jnp.sum(sizes, axis=0)) * jnp.max(jnp.sum(sizes, axis=1))
    # the terms of a Gram of the other side are rows of this one
    of_gram = unit * (max(many, terms_of_sum(max(rows, columns)) + 4) * product)
    of_eigenvalues = unit * 4 * terms_of_sum(min(rows, columns)) * top
    # entries of u are moved by K roundings where a column must sum to zero
    of_entries = unit * (rows + 8) * jnp.sqrt(jnp.sum(sizes**2))
    norm = jnp.sqrt(jnp.maximum(top, 0))
    above = jnp.sqrt(jnp.maximum(top, 0) + of_gram + of_eigenvalues) - norm + of_entries
    return largest * norm, largest * above


def _rms(columns: Float[Array, "K C"], weights: Float[Array, " C"]) -> Float[Array, ""]:
    return jnp.sqrt(jnp.sum(columns**2 @ weights))
