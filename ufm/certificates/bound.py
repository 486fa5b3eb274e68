r"""How far a point can be from the global minimum.

The duality gap of the convex problem in the product W H.

With $\tilde Z = W H\,\mathrm{diag}(\sqrt{m_c})$ and $\mu = \sqrt{\lambda_W\lambda_H}$ the least
decay of any factorisation of $\tilde Z$ is $\mu\|\tilde Z\|_*$, so

$$\min_{W,H,b} \ \ge\ \min_{\tilde Z,b}\ \sum_c \omega_c\,\ell(z_c, q_c)
  + \mu\|\tilde Z\|_* + \tfrac{\lambda_b}{2}\|b\|^2
  \ \ge\ -\sum_c \omega_c\,\ell^*(u_c; q_c)
  - \tfrac{1}{2\lambda_b}\Big\|\sum_c\omega_c u_c\Big\|^2$$

for every u with $\|[\omega_c u_c/\sqrt{m_c}]_c\|_{op} \le \mu$. A free bias needs $\sum_c\omega_c
u_c = 0$ in place of the last term.

Rounding is part of the bound: the u that is stored is the dual point, whatever gradient it was
meant to be, moved by a few eps to where its constraints hold exactly; what that and the rounding of
every sum can amount to is subtracted. `terms_of_sum` says where such an estimate is statistical;
`prove` encloses.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._host.choice import small_on_host
from ufm._validate import require_instance
from ufm.certificates.contradictions import Point
from ufm.certificates.dual_bound import (
    dual_bound,
    hidden_by_rounding,
    judged,
    least_objective,
    lifted_bound,
)
from ufm.certificates.random_norm import Randomised
from ufm.certificates.randomised import RandomisedCertificate, randomised_bound
from ufm.losses import loss_and_dual
from ufm.model import (
    Params,
    Problem,
    check_params,
    objective,
    objective_error,
    require_certifiable,
    with_canonical_loss,
)
from ufm.solution import Certificate


def certify(
    problem: Problem, params: Params, *, randomised: Randomised | None = None
) -> Certificate | RandomisedCertificate:
    r"""Lower bound on the global minimum, from the loss gradients at a point.

    They are scaled to a dual point: $u = t\,\nabla\ell(z)$.

    Parameters
    ----------
    problem
        One linear layer, or frozen weights of any depth, or a tied map; domains and an anchor as
        they may be; λ > 0 on every factor that no domain bounds.
    params
        Any point of it, weights ((K, d),), features (d, C) and bias (K,) or None; it need not be
        stationary.
    randomised
        A `Randomised`, to bound the norm of the gradient by random vectors; so it is, with its
        defaults, where the labels are too large for all logits.

    Returns
    -------
    Certificate | RandomisedCertificate
        The latter holds except with a stated probability. `value`, `lower_bound` <= global minimum
        (what rounding can amount to is subtracted), `gap` = (value − lower_bound) / |value|,
        `spectral_ratio` $\|G\|_{op}/\mu$ with G the gradient in $\tilde Z$ (of domains
        $\|D_a^{-1/2}VD_b^{-1/2}\|$ with their multipliers, see `ufm/certificates/lift.py`; where
        these are rounding it says nothing), and `bias_residual`, $\|\sum_c\omega_c u_c\|$ relative
        to the root mean square of logits and targets. Factors are first put into their domains, and
        a free bias is solved for at fixed W H; `value` is taken there, and what is left of its
        residual is removed from u. A `RandomisedCertificate` takes value and residual at the bias
        that is given, and removes all of the residual.

    Raises
    ------
    ValueError
        For M >= 2 with free weights, a loss that is not convex (focal; a rescaled squared error
        with a weight <= 0), λ = 0 where nothing else holds a factor, nonnegative features of more
        than 5000 columns, params that do not fit the problem, and domains, anchors or frozen
        weights of a bound by random vectors.

    Notes
    -----
    Source: Fenchel duality for the nuclear norm that ridge on both factors amounts to; ours for
    domains and anchors.

    The bound is never below what the losses alone are never below (0, or the entropy of soft
    targets), which is what is left of it far from a solution.

    The gap is first order in the gradient: solve to rounding first. With d below the rank of the
    convex optimum the bound stays true but need not close; an open gap says along how many
    directions a further dimension would lower the value, which is why it is open where any does. At
    the origin it closes exactly in the trivial regime.

    Where the loss and its conjugate contradict each other (Fenchel and Young: $\ell(z) + \ell^*(u)
    \ge u^\top z$ in every column of the dual point, and = at $u = \nabla\ell(z)$, which is asked of
    16 columns at most, of each chunk where they come in chunks), or the bound lies above the value
    by more than rounding, the certificate is not `valid`, closes nothing and says so.
    """
    require_instance("problem", problem, Problem)
    how = Randomised() if randomised is None and problem.chunk is not None else randomised
    if how is not None:
        require_instance("randomised", how, Randomised, "a ufm.certificates.Randomised(key)")
    problem = with_canonical_loss(problem)
    require_certifiable(problem, randomised=how is not None)
    params = check_params(problem, params)
    return _certify(problem, params) if how is None else randomised_bound(problem, params, how)


@small_on_host
def _certify(problem: Problem, params: Params) -> Certificate:
    labels, loss = problem.labels, problem.loss
    weights = labels.column_weights
    params = with_best_bias(problem, _placed(problem, params))
    value, rounding = objective(problem, params), objective_error(problem, params)
    logits = problem.logits(params)
    losses, dual = loss_and_dual(loss, logits, labels.targets)

    gradient, bias_residual = dual, jnp.zeros_like(value)
    moved = None
    if problem.free_bias:
        size = _rms(logits, weights) + _rms(labels.targets, weights)
        mean = dual @ weights
        bias_residual = jnp.sqrt(jnp.sum(mean**2)) / jnp.where(size > 0, size, 1)
        # a bias that is solved for to rounding leaves a mean that the bound hides anyway
        solved = jnp.all(8 * jnp.abs(mean) <= hidden_by_rounding(problem, jnp.abs(dual)))
        dual = jax.lax.cond(
            solved, lambda dual: dual, lambda dual: centred_dual(problem, dual), dual
        )
        left = jnp.abs(dual @ weights) + hidden_by_rounding(problem, jnp.abs(dual))
        moved = loss.centring_moves(dual, labels.targets, weights, left)
    point = Point(logits, losses, gradient, dual, moved)
    bound = dual_bound(problem, point) if problem.plain else lifted_bound(problem, params, point)

    lower_bound, gap = judged(
        value, rounding, bound.lower, least_objective(problem), bound.contradiction
    )
    return Certificate(
        value=value,
        lower_bound=lower_bound,
        gap=gap,
        spectral_ratio=bound.ratio,
        bias_residual=bias_residual,
        rounding=rounding,
        contradiction=bound.contradiction,
        # of multipliers that are not all of them nothing follows
        lowering=jnp.zeros_like(bound.lowering) if problem.loose else bound.lowering,
        dim=problem.feature_dim,
        full_rank=_full_rank(problem),
        loose=problem.loose,
        local_minima=problem.features.nonnegative and not problem.frozen,
        loss=loss.name,
    )


def _full_rank(problem: Problem) -> int | None:
    """A dimension in which the lifted optimum is reached, however large; None where none is known.

    W loses nothing by projection to the columns of H, nor then H by projection to the rows of W,
    which are as many as the rank of W H, and to an anchor. Lengths that are given leave the rest of
    their vectors in one dimension of their own, which the other factor does not see.
    """
    labels, d, spare = problem.labels, problem.feature_dim, problem.features.spare
    if problem.map.gram is not None:
        return None if spare is None else labels.num_columns
    if problem.frozen:
        return None if spare is None else d + spare
    other = problem.classifier.spare
    if spare is None or other is None:
        return None
    rank = min(labels.num_classes, labels.num_columns)
    anchored = 0 if problem.anchor is None else min(d, labels.num_columns)
    return rank + anchored + spare + other


def _placed(problem: Problem, params: Params) -> Params:
    """`params` in their domains, from which what is taken for rounding may be more than that."""
    placed = problem.projected(problem.free_part(params))
    weights = params.weights if problem.frozen else placed.weights
    return Params(weights=weights, features=placed.features, bias=placed.bias)


def with_best_bias(problem: Problem, params: Params) -> Params:
    """`params` with a free bias at its best for W H as they are. Runs inside `jit`."""
    if not problem.free_bias:
        return params
    labels = problem.labels
    bias = problem.loss.best_bias(problem.logits(params), labels.targets, labels.column_weights)
    return Params(
        weights=params.weights, features=params.features, bias=jnp.asarray(params.bias) + bias
    )


def centred_dual(problem: Problem, dual: Float[Array, "K C"]) -> Float[Array, "K C"]:
    """Dual columns changed in the way of the loss so that their weighted sum vanishes, as a free
    bias asks. Runs inside `jit`."""
    labels = problem.labels
    return problem.loss.centred_together(dual, labels.targets, labels.column_weights)


def _rms(columns: Float[Array, "K C"], weights: Float[Array, " C"]) -> Float[Array, ""]:
    return jnp.sqrt(jnp.dot(jnp.sum(columns**2, axis=0), weights))
