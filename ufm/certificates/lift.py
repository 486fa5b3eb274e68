r"""The same bound for every mixture of decay, domains, anchors and frozen weights.

With multipliers $a_k$ of the rows of W, $b_c$ of the columns of H and $V = [\omega_c u_c]_c$, every
point of every dimension has

$$f \ \ge\ -\sum_c \omega_c\,\ell^*(u_c; q_c) - c_W(a) - c_H(b) + \min_{W,H}\Big[\tfrac12\sum_k
a_k\|w_k\|^2 + \tfrac12\sum_c b_c\|h_c\|^2
  + \langle V, WH\rangle + \langle L, H\rangle + \langle M, W\rangle\Big],$$

where a domain says which multipliers it allows and what they cost (`AbstractDomain.curvature`,
`allowance`): without one they are the decay and cost nothing, on a sphere they are any. L is what
pulls the features, an anchor or a linear constraint, and M what pulls the rows, whose best w_k =
−(H v_k + m_k)/a_k turn it into $L - M D_a^{-1}V$ and $-\tfrac12\sum_k\|m_k\|^2/a_k$. Without
either the minimum is 0 as soon as
$\|D_a^{-1/2} V D_b^{-1/2}\| \le 1$. With one, and $S = D_b - V^\top D_a^{-1} V \succeq (1-\sigma^2)
D_b$, it is at least $\tfrac12\langle HS, H\rangle + \langle L, H\rangle -
\tfrac12\sum_c\|R_c\|^2/((1-\sigma^2) b_c)$ for any H, with R = HS + L, which vanishes at a
stationary point. For nonnegative features negative entries of $V^\top D_a^{-1}V$ off the diagonal
may be dropped, here and in S. All are, or without L none where that leaves the smaller norm; with
it R only counts where it points into the domain: $\langle R, H'-H\rangle \ge \langle R^-,
H'-H\rangle - \langle R^+, H\rangle$.

A map that is linear in the product W H takes its adjoint of V in place of V.

Frozen weights leave a sum over the columns, $\min_h \tfrac12 b_c\|h\|^2 + \langle g_c, h\rangle =
-\|g_c\|^2/(2b_c)$ with $g = W^\top V + L$.

Source: the dual of the semidefinite program in the Gram matrix of all rows and columns (ours;
`docs/proofs.md`).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ufm.certificates.lowering import (
    BEYOND,
    beyond,
    beyond_what_is_left,
    clearly,
    target_sizes,
)
from ufm.certificates.multipliers import (
    Multipliers,
    allowed,
    at_minimum,
    complementary,
    cost,
    decay_of_columns,
    first_order,
    rounding_of_cost,
)
from ufm.certificates.pull import Pull, decay_of_weights, least, pull_of
from ufm.certificates.spectral import spectral_norm
from ufm.domains.base import lengths_sq
from ufm.losses.rounding import unit_roundoff
from ufm.model import Params, Problem, terms_of_sum

# Shares of the gradient that are tried as the dual point; 1 is best at a stationary point, 0 where
# nothing is lost.
_SHARES = (1.0, 0.99, 0.9, 0.75, 0.5, 0.25, 0.1, 0.03, 0.0)
# How far from singular S is kept where something pulls the features, relative to D_b.
_APART = 1e-12


class Lifted(NamedTuple):
    """The share of the gradient that is the dual point, the ratio of the whole to the multipliers
    of the point, along how many directions it exceeds them, what is added to the conjugates, the
    multipliers of the dual point, of which the share `left` is not used up, and whether what signs
    of the features allow is dropped for that."""

    share: Float[Array, ""]
    ratio: Float[Array, ""]
    lowering: Int[Array, ""]
    rest: Float[Array, ""]
    slack: Float[Array, ""]
    multipliers: Multipliers
    left: Float[Array, ""]
    dropped: Bool[Array, ""]


def lifted(
    problem: Problem, params: Params, dual: Float[Array, "K C"], hidden: Float[Array, "K C"]
) -> Lifted:
    """The dual point from the gradients of the loss, and its bound less the conjugates.

    Runs inside `jit`.

    Parameters
    ----------
    problem, params
        Where the gradients were taken.
    dual
        (K, C), the gradients of the loss of every column.
    hidden
        (K, C), by how much entries of the dual point are moved to where it is feasible for a free
        bias.

    Returns
    -------
    Lifted
        The share of the gradients that is the dual point, and what it gives.
    """
    weights = problem.labels.column_weights[None, :]
    V, hidden = dual * weights, hidden * weights
    if not problem.map.identity:
        # the slopes in the product of the factors, whose entries are sums over columns
        sizes = problem.map.pulled_sizes(jnp.abs(V))
        many = len(V) + terms_of_sum(V.shape[1]) + 16
        hidden = problem.map.pulled_sizes(hidden) + unit_roundoff(problem.dtype) * many * sizes
        V = problem.map.pulled_back(V)
    of_factors = _frozen if problem.frozen else _free
    return of_factors(problem, params, dual, V, hidden)


def _free(problem: Problem, params: Params, dual, V, hidden) -> Lifted:
    W, H = params.weights[0].T, params.features
    pull, slopes = pull_of(problem, params, V), Multipliers(H @ V.T, W @ V)
    if pull is not None:
        slopes = Multipliers(slopes.rows + pull.rows, slopes.columns + pull.slope)
    lengths = Multipliers(at_minimum(W, slopes.rows), at_minimum(H, slopes.columns))
    if pull is None:
        along = Multipliers(first_order(W, slopes.rows), first_order(H, slopes.columns))
        # b x is not what the slope is where that is noise, as of a vector inside a ball
        wanted = jax.tree.map(lambda b, size: jnp.where(b > BEYOND * size, b, size), along, lengths)
    else:
        along = wanted = lengths
    first = allowed(problem, complementary(problem, params, wanted))
    sigma, _, values, _ = _ratio(problem, V, first, hidden, pull)
    if pull is None:
        share, multipliers = _raised(problem, dual, first, sigma)
    else:
        # R vanishes at a stationary point with its own multipliers, where σ may be below 1
        share, multipliers = jnp.asarray(_SHARES, problem.dtype) / jnp.maximum(sigma, 1), first
    norm, excess, _, dropped = _ratio(problem, V, multipliers, hidden, pull)
    limit = (1 - 8 * unit_roundoff(problem.dtype)) * (1.0 if pull is None else 1 - _APART)

    def reached(share):
        return jnp.where(share == 0, 0, share * (norm + excess))

    above = reached(share)
    # a norm that is no number goes on to the bound
    share = share * jnp.where(above <= limit, 1, limit / jnp.where(above <= limit, 1, above))
    rest, slack = -cost(problem, multipliers), rounding_of_cost(problem, multipliers)
    left = 1 - reached(share) ** 2
    if pull is not None:
        more, lost = jax.vmap(lambda t, room: least(problem, H, t * V, multipliers, pull, room))(
            share, left
        )
        bounds = jax.vmap(lambda t: held(problem, t * dual, multipliers))(share) + more - lost
        best = jnp.argmax(jnp.where(jnp.isnan(bounds), -jnp.inf, bounds))
        share, left, rest, slack = share[best], left[best], rest + more[best], slack + lost[best]
    # a further dimension of nonnegative features is nonnegative, which singular vectors are not; a
    # multiplier that is rounding says nothing of the others
    sizes = allowed(problem, along)
    known = jnp.all(jnp.stack([jnp.min(x) > BEYOND * jnp.max(x) for x in sizes]))
    known = known & beyond_what_is_left(problem, W, H, sizes)
    lowering = jnp.where(known & (not problem.features.nonnegative), beyond(values), 0)
    return Lifted(share, sigma, lowering, rest, slack, multipliers, left, dropped)


def _raised(
    problem: Problem, dual: Float[Array, "K C"], first: Multipliers, sigma: Float[Array, ""]
) -> tuple[Float[Array, ""], Multipliers]:
    """A share of the gradient, and multipliers for it.

    Larger than those of the point by σ each, or by σ² where those of the other factor are fixed.
    """
    rows, columns = problem.classifier.movable, problem.features.movable

    def raised(share) -> Multipliers:
        # (where the share is 0 any would do)
        least = jnp.finfo(sigma.dtype).eps ** 2
        larger = jnp.maximum(share * sigma, least) ** (1 if rows and columns else 2)
        wanted = Multipliers(
            first.rows * (larger if rows else 1), first.columns * (larger if columns else 1)
        )
        return allowed(problem, wanted)

    if rows or columns:
        shares = jnp.asarray(_SHARES, problem.dtype)
        values = [held(problem, share * dual, raised(share)) for share in shares]
        share = shares[jnp.argmax(jnp.stack(values))]
    else:
        share = jnp.minimum(1, 1 / jnp.where(sigma > 0, sigma, 1))
    return share, raised(share)


def held(problem: Problem, dual: Float[Array, "K C"], multipliers: Multipliers) -> Float[Array, ""]:
    """The bound of a dual point that is small enough for multipliers, without what pulls.

    Parameters
    ----------
    problem
        Whose loss and domains count.
    dual
        (K, C).
    multipliers
        Of rows and columns.

    Returns
    -------
    Float[Array, ""]
        −Σ ω ℓ*(u; q) less what the multipliers cost.
    """
    conjugates = problem.loss.conjugate(dual, problem.labels.targets)
    return -jnp.dot(problem.labels.column_weights, conjugates) - cost(problem, multipliers)


def _frozen(problem: Problem, params: Params, dual, V, hidden) -> Lifted:
    H, W, one = params.features, params.classifier, jnp.ones((), problem.dtype)
    pull = pull_of(problem, params, V)
    if pull is None:
        pull = Pull(jnp.zeros_like(H), jnp.zeros_like(W.T), *[jnp.zeros_like(one)] * 2)
    decay, coupled = decay_of_columns(problem), W.T @ V

    def at(share) -> tuple[Float[Array, ""], Float[Array, "d C"], Float[Array, " C"]]:
        """The bound less what weights and constants add, the slopes and the multipliers."""
        slope = problem.features.facing(share * coupled + pull.slope)
        columns = problem.features.curvature(at_minimum(H, slope), decay)
        multipliers = Multipliers(jnp.zeros(len(V), problem.dtype), columns)
        bound = held(problem, share * dual, multipliers)
        return bound - 0.5 * jnp.sum(lengths_sq(slope) / columns), slope, columns

    # at a minimum 1 is best, but for a length that is given and larger than the loss would have it
    shares = jnp.asarray(_SHARES, problem.dtype)
    bounds, slopes, curved = jax.vmap(at)(shares)
    best = jnp.argmax(jnp.where(jnp.isnan(bounds), -jnp.inf, bounds))
    share, slope, columns = shares[best], slopes[best], curved[best]

    unit = unit_roundoff(problem.dtype)
    terms = lengths_sq(slope) / columns
    kept = decay_of_weights(problem, params)
    rest = kept + pull.constant - 0.5 * jnp.sum(terms) - problem.features.allowance(columns, decay)
    # the slope is a sum over classes, off by so many roundings of the sum of their sizes
    off = unit * (terms_of_sum(len(W)) + 8) * (
        share * (jnp.abs(W.T) @ jnp.abs(V)) + jnp.abs(pull.slope)
    ) + share * (jnp.abs(W.T) @ hidden)
    moved = jnp.sum((2 * jnp.abs(slope) + off) * off, axis=0) / columns
    slack = 0.5 * jnp.sum(moved) + unit * terms_of_sum(H.size + len(terms)) * (
        jnp.sum(terms) + jnp.abs(kept) + pull.size
    )
    multipliers = Multipliers(jnp.zeros(len(V), problem.dtype), columns)
    slack = slack + rounding_of_cost(problem, multipliers)
    lowering = jnp.zeros((), int)
    if problem.features.spare:
        # into a further dimension, where frozen weights vanish, a vector that is pushed inwards
        # goes on at its length; where the loss is at its least there is rounding to push it
        slope, left = coupled + pull.slope, jnp.abs(W.T) @ target_sizes(problem)
        inwards = jnp.sum(H * slope, axis=0) / jnp.sqrt(lengths_sq(H))
        sizes = jnp.sqrt(lengths_sq(slope)) + jnp.sqrt(lengths_sq(left))
        lowering = jnp.sum(inwards > clearly(problem.dtype) * sizes)
    signs = jnp.asarray(problem.features.nonnegative)
    return Lifted(share, one, lowering, rest, slack, multipliers, one, signs)


def _ratio(
    problem: Problem,
    V: Float[Array, "K C"],
    multipliers: Multipliers,
    hidden: Float[Array, "K C"],
    pull: Pull | None,
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, " n"], Bool[Array, ""]]:
    """‖D_a^{-1/2} V D_b^{-1/2}‖, how much larger it can be for rounding, singular values, and
    whether entries are dropped for it: all that may be or none, whichever leaves less."""
    rows, columns = 1 / jnp.sqrt(multipliers.rows)[:, None], 1 / jnp.sqrt(multipliers.columns)
    norm_of = functools.partial(
        spectral_norm,
        V * rows,
        jnp.abs(V) * rows,
        columns,
        terms_of_sum(max(V.shape)) + 4,
        # K where a column must sum to zero, and two divisions by roots
        roundings=len(V) + 16,
        # the rows that give, and those that get as much
        moved=2 * jnp.sum(jnp.sqrt(jnp.sum((hidden * rows * columns[None, :]) ** 2, axis=1))),
    )
    if not problem.features.nonnegative:
        return *norm_of(), jnp.asarray(False)
    *signed, values = norm_of(allowed=problem.features.gram)
    # (what pulls the features is told of S with all dropped)
    whole = signed if pull is not None else norm_of()[:2]
    dropped = jnp.logical_not(sum(whole) < sum(signed))
    norm, excess = (jnp.where(dropped, a, b) for a, b in zip(signed, whole, strict=True))
    return norm, excess, values, dropped
