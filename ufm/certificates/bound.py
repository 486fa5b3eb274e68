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

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ufm._host import small_on_host
from ufm._validate import require, require_instance
from ufm.certificates.gram import lifted, require_gram
from ufm.certificates.lift import beyond
from ufm.certificates.random_norm import Randomised
from ufm.certificates.randomised import RandomisedCertificate, randomised_bound
from ufm.certificates.spectral import spectral_norm
from ufm.losses import loss_and_dual
from ufm.losses.requirements import require_bound
from ufm.losses.rounding import unit_roundoff
from ufm.model import (
    Params,
    Problem,
    check_params,
    objective,
    objective_error,
    require_decay,
    terms_of_sum,
    with_canonical_loss,
)
from ufm.solution import Certificate, relative_gap

# A loss and its conjugate contradict each other when Fenchel and Young miss by so many times what
# rounding explains.
_CONTRADICTION = 16.0
# Equality in Fenchel–Young needs conjugates that the bound does not: it is asked of so many columns
# at most, evenly spread. Of each of 16 columns, and of every seventh of 100; the inequality is
# asked of all.
_ASKED = 16
# Columns whose Gram matrix is held: 200 MB.
_LARGEST_GRAM = 5000


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
        $\|D_a^{-1/2}VD_b^{-1/2}\|$ with their multipliers, see `ufm/certificates/lift.py`), and
        `bias_residual`, $\|\sum_c\omega_c u_c\|$ relative to the root mean square of logits and
        targets. A free bias is first solved for at fixed W H, and `value` is taken there; what is
        left of its residual is removed from u.

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

    The gap is first order in the gradient: solve to rounding first. With d below the rank of the
    convex optimum the bound stays true but need not close; an open gap says along how many
    directions a further dimension would lower the value, which is why it is open where any does. At
    the origin it closes exactly in the trivial regime.

    Where the loss and its conjugate contradict each other (Fenchel and Young: $\ell(z) + \ell^*(u)
    \ge u^\top z$ in every column of the dual point, and = at $u = \nabla\ell(z)$, which is asked of
    16 columns at most), or the bound lies above the value by more than rounding, the certificate is
    not `valid`, closes nothing and says so.
    """
    require_instance("problem", problem, Problem)
    how = Randomised() if randomised is None and problem.chunk is not None else randomised
    if how is not None:
        require_instance("randomised", how, Randomised, "a ufm.certificates.Randomised(key)")
    problem = with_canonical_loss(problem)
    # of a bound by random vectors the dual columns are centred, and the bias is not solved for
    require_certifiable(problem, solved_bias=how is None)
    params = check_params(problem, params)
    return _certify(problem, params) if how is None else randomised_bound(problem, params, how)


def require_certifiable(problem: Problem, *, solved_bias: bool = True) -> None:
    """`ValueError` naming what keeps a problem from having a convex lift with a dual bound."""
    words = "`problem.map` must be linear in the product of the factors, or tied, for a certificate"
    require(problem.map.linear or problem.map.gram is not None, words, problem.map)
    require_gram(problem)
    only = "a certificate exists only for one linear layer (M = 1)"
    why = "the Schatten quasi-norm of a deeper product is not convex"
    require(
        problem.depth == 1 or problem.frozen,
        f"`problem.widths` must have one entry, as {only}: {why}",
        f"M={problem.depth}",
    )
    require_bound(problem.loss, free_bias=solved_bias and problem.free_bias)
    # of the class, see `with_canonical_loss`
    convex = type(problem.loss).convex_at(problem.loss, problem.labels)
    require(convex, "`problem.loss` must be convex in the logits for a certificate", problem.loss)
    number = problem.labels.num_columns
    few = problem.frozen or not problem.features.nonnegative or number <= _LARGEST_GRAM
    words = (
        f"`problem.labels` must have at most {_LARGEST_GRAM} columns for a certificate with "
        f"nonnegative features (collapse them)"
    )
    require(few, words, number)
    # what is left of the mean of the dual columns goes from class to class only by columns that
    # keep both, of which random vectors know nothing
    words = (
        "`problem.labels.offsets` must be finite for a bound by random vectors with a free bias "
        "(-100 for -inf is the same to rounding while logits stay below 50)"
    )
    require(solved_bias or not problem.free_bias or not problem.labels.drops, words, "-inf")
    require_decay(problem, "a certificate")


@small_on_host
def _certify(problem: Problem, params: Params) -> Certificate:
    labels, loss = problem.labels, problem.loss
    weights = labels.column_weights
    params = with_best_bias(problem, params)
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
        solved = jnp.all(8 * jnp.abs(mean) <= _hidden(problem, jnp.abs(dual)))
        dual = jax.lax.cond(
            solved, lambda dual: dual, lambda dual: centred_dual(problem, dual), dual
        )
        left = jnp.abs(dual @ weights) + _hidden(problem, jnp.abs(dual))
        moved = loss.centring_moves(dual, labels.targets, weights, left)
    point = _Point(logits, losses, gradient, dual, moved)
    bound = _dual_bound(problem, point) if problem.plain else _lifted_bound(problem, params, point)

    holds = jnp.isfinite(bound.lower) & jnp.isfinite(value)
    lower_bound = jnp.where(holds, bound.lower, -jnp.inf)
    above = (lower_bound - value > rounding) | (bound.contradiction > 1)
    return Certificate(
        value=value,
        lower_bound=lower_bound,
        gap=jnp.where(holds & ~above, relative_gap(value, lower_bound), jnp.inf),
        spectral_ratio=bound.ratio,
        bias_residual=bias_residual,
        rounding=rounding,
        contradiction=bound.contradiction,
        lowering=bound.lowering,
        dim=problem.feature_dim,
        full_rank=min(labels.num_classes, labels.num_columns),
        loss=loss.name,
    )


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


class _Point(NamedTuple):
    """Logits and losses, the gradient of the loss, the dual columns made of it, and by how much
    what rounding leaves of their mean changes these with a free bias."""

    logits: Float[Array, "K C"]
    losses: Float[Array, " C"]
    gradient: Float[Array, "K C"]
    dual: Float[Array, "K C"]
    moved: Float[Array, "K C"] | None


class _Bound(NamedTuple):
    lower: Float[Array, ""]
    ratio: Float[Array, ""]
    lowering: Int[Array, ""]
    contradiction: Float[Array, ""]


def _dual_bound(problem: Problem, point: _Point) -> _Bound:
    """D(t u) at the best t with which u is feasible, less what rounding can amount to."""
    labels, unit, dual = problem.labels, unit_roundoff(problem.dtype), point.dual
    weights, C = labels.column_weights, labels.num_columns
    mean, sizes = dual @ weights, jnp.abs(dual)
    hidden = _hidden(problem, sizes)

    share = weights / jnp.sqrt(labels.masses)
    mu = jnp.sqrt(problem.lambda_W[0]) * jnp.sqrt(problem.lambda_H)
    # entries of u are moved by K roundings where a column must sum to zero
    norm, excess, values = spectral_norm(
        dual, sizes, share, terms_of_sum(C) + 4, roundings=len(dual) + 8
    )
    if point.moved is not None:
        # the rows that give, and those that get as much
        given = jnp.sqrt(jnp.sum((point.moved * share[None, :]) ** 2, axis=1))
        excess = excess + 2 * jnp.sum(given)
    reached = norm + excess
    # u = 0 may be scaled by anything; what is no number goes on to the bound
    limit = mu * (1 - 8 * unit) / jnp.where(reached == 0, 1, reached)
    quadratic = _quadratic(problem, mean)
    t = problem.loss.dual_scale(dual, labels.targets, weights, limit=limit, quadratic=quadratic)
    return _at(problem, point, t, mean, hidden, norm / mu, beyond(values / mu))


def _lifted_bound(problem: Problem, params: Params, point: _Point) -> _Bound:
    """The same for domains, anchors and frozen weights."""
    weights = problem.labels.column_weights
    mean, hidden = point.dual @ weights, _hidden(problem, jnp.abs(point.dual))
    moved = jnp.zeros_like(point.dual) if point.moved is None else point.moved
    found = lifted(problem, params, point.dual, moved)
    bound = _at(problem, point, found.share, mean, hidden, found.ratio, found.lowering)
    rounded = found.slack + 4 * unit_roundoff(problem.dtype) * jnp.abs(found.rest)
    contradiction = bound.contradiction
    if problem.map.linear and not problem.map.identity:
        contradiction = jnp.maximum(contradiction, _not_adjoint(problem, params, point.dual))
    return bound._replace(lower=bound.lower + found.rest - rounded, contradiction=contradiction)


def _not_adjoint(problem: Problem, params: Params, dual: Float[Array, "K C"]) -> Float[Array, ""]:
    """By how much a map contradicts what it says of its adjoint, in units of what rounding can
    explain.

    At the point, and at a product that has nothing to do with it.
    """
    the_map, V = problem.map, dual * problem.labels.column_weights[None, :]
    X = params.classifier @ params.features
    other = jnp.cos(jnp.arange(X.size, dtype=X.dtype)).reshape(X.shape)
    unity = (jnp.eye(len(X), dtype=X.dtype),)
    back, sizes = the_map.pulled_back(V), the_map.pulled_sizes(jnp.abs(V))
    many = 8 * (terms_of_sum(X.size) + terms_of_sum(sum(problem.widths)) + 64)
    worst = jnp.zeros((), X.dtype)
    for product, logits in (
        (X, the_map.logits(params.weights, params.features)),
        (other, the_map.logits(unity, other)),
    ):
        off = jnp.abs(jnp.sum(V * logits) - jnp.sum(back * product))
        known = jnp.sum(jnp.abs(V) * the_map.of_sizes(jnp.abs(product)))
        known = known + jnp.sum(sizes * jnp.abs(product)) + jnp.finfo(X.dtype).tiny
        worst = jnp.maximum(worst, off / (unit_roundoff(X.dtype) * many * known))
    return worst


def _quadratic(problem: Problem, mean: Float[Array, " K"]) -> Float[Array, ""]:
    """What a penalised bias takes from the bound, twice."""
    return (
        jnp.zeros((), problem.dtype)
        if problem.lambda_b is None
        else jnp.sum(mean**2) / problem.lambda_b
    )


def _at(problem: Problem, point: _Point, t, mean, hidden, ratio, lowering) -> _Bound:
    """The conjugates at t u, and what a bias takes, less what rounding can amount to."""
    labels, unit = problem.labels, unit_roundoff(problem.dtype)
    weights, K, C = labels.column_weights, labels.num_classes, labels.num_columns
    many, quadratic = terms_of_sum(C) + 4, _quadratic(problem, mean)
    conjugates, errors, contradiction = _conjugates(problem, point, t)
    lower = -jnp.dot(weights, conjugates) - 0.5 * t**2 * quadratic

    slack = jnp.dot(weights, errors)
    slack = slack + unit * many * jnp.dot(weights, jnp.abs(conjugates))
    slack = slack + 4 * unit * jnp.abs(lower)
    if problem.lambda_b is not None:
        curved = jnp.dot(hidden, 2 * jnp.abs(mean) + hidden) / problem.lambda_b
        slack = slack + 0.5 * t**2 * (curved + (K + 8) * unit * quadratic)
    if point.moved is not None:
        # moving u by r moves its conjugate by r times the logits that belong to t u
        steep = (
            2 * jnp.max(jnp.max(jnp.abs(point.logits), axis=0))
            + jnp.max(jnp.abs(labels.targets))
            + jnp.log(K)
            + 1
        )
        if labels.offsets is not None:
            # those are the logits of shares that t changes, less the offsets
            kept = jnp.abs(labels.offsets) < jnp.inf
            steep = steep + 2 * jnp.max(jnp.abs(labels.offsets), initial=0, where=kept)
        # farther by t beyond the gradient itself, and by −log t short of it
        steep = jnp.maximum(t, 1) * steep - jnp.log(jnp.clip(t, jnp.finfo(t.dtype).tiny, 1))
        slack = slack + t * steep * jnp.sum(point.moved @ weights)
    return _Bound(lower - slack, ratio, lowering, contradiction)


def _hidden(problem: Problem, sizes: Float[Array, "K C"]) -> Float[Array, " K"]:
    """What the rounding of the mean of dual columns of these sizes can hide."""
    K, C = sizes.shape
    many = terms_of_sum(C) + 4 + K
    return unit_roundoff(problem.dtype) * many * (sizes @ problem.labels.column_weights)


def _conjugates(problem: Problem, point: _Point, t):
    """ℓ* at the dual columns t u, its rounding, and by how much ℓ and ℓ* contradict each other
    there and at the gradient.

    Fenchel–Young: ℓ + ℓ* >= uᵀz in every column of the dual point, = at the gradient, which is
    asked of some columns (>= where a search for ℓ* may end above it, and the bound is loose).
    """
    logits, losses, gradient, dual, _ = point
    loss, targets, C = problem.loss, problem.labels.targets, len(losses)
    some = slice(None, None, -(-C // _ASKED))
    # side by side, as every pass over an array costs
    points = jnp.concatenate([t * dual, gradient[:, some]], axis=1)
    wanted = jnp.concatenate([targets, targets[:, some]], axis=1)
    if loss.by_column:
        both = loss.of_columns(jnp.concatenate([jnp.arange(C), jnp.arange(C)[some]]))
    else:
        both = loss
    conjugates, errors = both.conjugate_and_error(points, wanted)
    known = loss.value_error(logits, targets)
    above = _surplus(logits, losses, t, dual, conjugates[:C], known + errors[:C])
    there = logits[:, some], losses[some], 1, gradient[:, some]
    equal = _surplus(*there, conjugates[C:], known[some] + errors[C:])
    apart = -equal if loss.searches_conjugate else jnp.abs(equal)
    contradiction = jnp.maximum(jnp.max(-above), jnp.max(apart))
    return conjugates[:C], errors[:C], contradiction


def _surplus(logits, losses, t, dual, conjugates, errors) -> Float[Array, " C"]:
    """ℓ + ℓ* − t uᵀz of every column, >= 0 by Fenchel–Young, in units of what rounding explains."""
    surplus = losses + conjugates - t * jnp.sum(dual * logits, axis=0)
    products = t * jnp.sum(jnp.abs(dual), axis=0) * jnp.max(jnp.abs(logits), axis=0)
    terms = jnp.abs(losses) + jnp.abs(conjugates) + products
    explained = errors + (len(dual) + 4) * unit_roundoff(dual.dtype) * terms
    measure = surplus / (_CONTRADICTION * explained + jnp.finfo(dual.dtype).tiny)
    return jnp.where(jnp.isfinite(measure), measure, 0)


def _rms(columns: Float[Array, "K C"], weights: Float[Array, " C"]) -> Float[Array, ""]:
    return jnp.sqrt(jnp.dot(jnp.sum(columns**2, axis=0), weights))
