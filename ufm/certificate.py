r"""How far a point can be from the global minimum: the duality gap of the convex problem in the product W H.

With $\tilde Z = W H\,\mathrm{diag}(\sqrt{m_c})$ and $\mu = \sqrt{\lambda_W\lambda_H}$ the least decay of any factorisation of $\tilde Z$ is
$\mu\|\tilde Z\|_*$, so

$$\min_{W,H,b} \ \ge\ \min_{\tilde Z,b}\ \sum_c \omega_c\,\ell(z_c, q_c) + \mu\|\tilde Z\|_* + \tfrac{\lambda_b}{2}\|b\|^2
  \ \ge\ -\sum_c \omega_c\,\ell^*(u_c; q_c) - \tfrac{1}{2\lambda_b}\Big\|\sum_c\omega_c u_c\Big\|^2$$

for every u with $\|[\omega_c u_c/\sqrt{m_c}]_c\|_{op} \le \mu$. A free bias needs $\sum_c\omega_c u_c = 0$ in place of the last term.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._validate import require
from ufm.losses import loss_and_dual
from ufm.problem import Params, Problem, check_params, objective, require_decay, require_free_features, with_canonical_loss
from ufm.solution import Certificate

# A free bias counts as re-solved below this many rounding errors of the logits; the rounding of a mean over the columns stays below it.
_BIAS_ROUNDING = 64.0


def certify(problem: Problem, params: Params) -> Certificate:
    r"""Lower bound on the global minimum, from the loss gradients at `params` scaled onto the dual ball: $u = t\,\nabla\ell(z)$.

    `problem`: one linear layer, no anchor, no fixed weights, λ > 0. `params`: any point of it, weights ((K, d),), features (d, C) and bias
    (K,) or None; need not be stationary.

    Returns a `Certificate`: `value`, `lower_bound` <= global minimum, `gap` = (value − lower_bound) / |value|, `spectral_ratio`
    $\|G\|_{op}/\mu$ with G the gradient in $\tilde Z$, and `bias_residual`, $\|\sum_c\omega_c u_c\|$ relative to the root mean square of
    logits and targets. A free bias is first solved for at fixed W H, and `value` is taken there; where that does not succeed to
    rounding, the bound is refused: `lower_bound` −inf, `gap` inf. A gap of a few eps may come out negative.

    Raises `ValueError` for M >= 2, a loss that is not convex (focal), an anchor, fixed weights, nonnegative features, λ = 0, and
    params that do not fit the problem.

    Source: Fenchel duality for the nuclear norm that ridge on both factors amounts to.

    The gap is first order in the gradient: solve to rounding first. With d below the rank of the convex optimum the bound stays true
    but need not close, and an open gap says nothing there. At the origin it closes exactly in the trivial regime.
    """
    require(
        problem.depth == 1,
        "a certificate exists only for one linear layer (M = 1): the Schatten quasi-norm of a deeper product is not convex",
        f"M={problem.depth}",
    )
    problem = with_canonical_loss(problem)
    problem.loss.require_bound(free_bias=problem.bias == "free")
    require(problem.anchor is None, "`problem` must have no feature anchor: the duality bound is for plain decay", "an anchor")
    require(problem.fixed_weights is None, "`problem` must have free weights: the duality bound is for free factors", "fixed weights")
    require_free_features(problem, "a certificate: the nuclear norm is the least decay of factors of any sign")
    require_decay(problem, "a certificate")
    return _certify(problem, check_params(problem, params))


@jax.jit
def _certify(problem: Problem, params: Params) -> Certificate:
    labels, loss = problem.labels, problem.loss
    weights = labels.column_weights
    if problem.bias == "free":
        bias = jnp.asarray(params.bias) + loss.best_bias(params.logits, labels.targets, weights)
        params = Params(weights=params.weights, features=params.features, bias=bias)
    value = objective(problem, params)
    logits = params.logits

    _, dual = loss_and_dual(loss, logits, labels.targets)
    in_lift = dual * (weights / jnp.sqrt(labels.masses))[None, :]
    ratio = _spectral_norm(in_lift) / jnp.sqrt(problem.lambda_W[0] * problem.lambda_H)
    limit = 1 / jnp.where(ratio > 0, ratio, jnp.finfo(ratio.dtype).tiny)
    mean_dual = dual @ weights
    quadratic = jnp.zeros_like(value) if problem.lambda_b is None else jnp.sum(mean_dual**2) / problem.lambda_b

    t = loss.dual_scale(dual, labels.targets, weights, limit=limit, quadratic=quadratic)
    conjugates = loss.conjugate(t * dual, labels.targets)
    lower_bound = -jnp.dot(weights, conjugates) - 0.5 * t**2 * quadratic

    bias_residual = jnp.zeros_like(value)
    if problem.bias == "free":
        size = _rms(logits, weights) + _rms(labels.targets, weights)
        bias_residual = jnp.sqrt(jnp.sum(mean_dual**2)) / jnp.where(size > 0, size, 1)
        lower_bound = jnp.where(bias_residual <= _BIAS_ROUNDING * jnp.finfo(value.dtype).eps, lower_bound, -jnp.inf)

    holds = jnp.isfinite(lower_bound) & jnp.isfinite(value)
    lower_bound = jnp.where(holds, lower_bound, -jnp.inf)
    gap = jnp.where(holds, (value - lower_bound) / jnp.maximum(jnp.abs(value), jnp.finfo(value.dtype).tiny), jnp.inf)
    return Certificate(value=value, lower_bound=lower_bound, gap=gap, spectral_ratio=ratio, bias_residual=bias_residual)


def _spectral_norm(matrix: Float[Array, "K C"]) -> Float[Array, ""]:
    """Largest singular value, from the smaller Gram: squaring costs it no digits (only the small ones), and C can be 10^5."""
    # scaled, because the squares of small entries would underflow
    largest = jnp.max(jnp.abs(matrix))
    scaled = matrix / jnp.where(largest > 0, largest, 1)
    gram = scaled @ scaled.T if matrix.shape[0] <= matrix.shape[1] else scaled.T @ scaled
    return largest * jnp.sqrt(jnp.linalg.eigvalsh(gram)[-1])


def _rms(columns: Float[Array, "K C"], weights: Float[Array, " C"]) -> Float[Array, ""]:
    return jnp.sqrt(jnp.sum(columns**2 @ weights))
