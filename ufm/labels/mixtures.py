r"""Label matrices of mixup.

Targets $\lambda e_i + (1-\lambda) e_j$ over pairs of classes, $\lambda \sim
\mathrm{Beta}(\alpha,\alpha)$.

Masses sum to one, so that `lambda_H` of a `Problem` is the decay inside the expectation over pairs
and $\lambda$.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray
from numpy.typing import NDArray

from ufm._validate import (
    LONGEST_LIST,
    float_dtype,
    require,
    require_each,
    require_instance,
    require_key,
    require_whole,
)
from ufm.labels.base import MOST_HELD, AbstractLabels, host_counts
from ufm.labels.constructors import one_hot
from ufm.labels.dense import Labels
from ufm.labels.pairs import PairLabels

Floats = NDArray[np.float64]

# Beyond this the law is narrower than rounding of the recurrence can tell from its limit λ = 1/2.
_LARGEST_ALPHA = 1e12
# The rule is an eigenproblem of as many rows.
MOST_NODES = 10_000


def mixup(
    num_classes: int, alpha: float, *, nodes: int = 64, class_counts=None, dtype=None
) -> AbstractLabels:
    r"""Labels of mixup in expectation.

    Every pair of classes, and for distinct ones a Gauss–Jacobi rule of
    $\mathrm{Beta}(\alpha,\alpha)$.

    $$q = \lambda e_i + (1-\lambda) e_j,\qquad (i, j) \sim \pi\otimes\pi,\quad
    \lambda\sim\mathrm{Beta}(\alpha,\alpha):$$ one column $e_i$ of mass $\pi_i^2$ for each class
    (mixing a class with itself does nothing), then for each pair i < j, in lexicographic order, one
    column per node λ (ascending) of mass $2\pi_i\pi_j w_\lambda$: the law is symmetric, so (j, i, 1
    − λ) is the same label.

    Parameters
    ----------
    num_classes
        K >= 2.
    alpha
        > 0 on the host, or one of the limits: 0 (λ is 0 or 1: one-hot labels with masses π) and
        `math.inf` (λ = 1/2).
    nodes
        >= 2, of the rule; optima have boundary layers in λ, see `ufm.laws.mixup_quadrature_error`
        for what that costs. Nodes whose weight is below the square of the rounding are left out.
    class_counts
        (K,) > 0: $\pi_k = n_k/N$; equal without it.
    dtype
        The default float unless given.

    Returns
    -------
    AbstractLabels
        Whose masses sum to one; held as pairs of classes where the matrix would be large.

    Raises
    ------
    ValueError
        For K < 2, a negative alpha, fewer than two nodes and counts that are not K positive
        numbers.

    Notes
    -----
    Source: Zhang et al. 2018 (mixup); the expectation form of the unconstrained features model is
    derived here.
    """
    dtype = float_dtype(dtype)
    K = require_whole("num_classes", num_classes, least=2)
    nodes = require_nodes(nodes)
    require_alpha(alpha)
    shares = _shares(np.ones(K) if class_counts is None else class_counts)
    require(len(shares) == K, f"`class_counts` must hold K = {K} counts", len(shares))
    if alpha == 0:
        return one_hot(shares, collapsed=True, dtype=dtype)
    lam, weights = beta_quadrature(alpha, nodes=nodes)
    kept = weights >= float(np.finfo(dtype).eps) ** 2
    lam, weights = lam[kept], weights[kept]
    first, second = np.triu_indices(K, 1)
    R = len(lam)
    # the rule is symmetric: 1 − λ is the node at the other end, without the rounding of a
    # difference
    pure, own, other = np.arange(K), np.tile(lam, len(first)), np.tile(lam[::-1], len(first))
    index = np.stack([np.repeat(first, R), np.repeat(second, R)])
    masses = np.concatenate(
        [shares**2, np.repeat(2 * shares[first] * shares[second], R) * np.tile(weights, len(first))]
    )
    masses = jnp.asarray(masses / masses.sum(), dtype)
    if K * len(masses) > MOST_HELD:
        both = np.concatenate([np.stack([pure, pure]), index], axis=1).astype(np.int32)
        share = jnp.asarray(np.concatenate([np.ones(K), own]), dtype)
        return PairLabels(jnp.asarray(both[0]), jnp.asarray(both[1]), share, masses, K)
    targets = np.zeros((K, K + index.shape[1]))
    targets[:, :K] = np.eye(K)
    columns = K + np.arange(index.shape[1])
    targets[index[0], columns], targets[index[1], columns] = own, other
    return Labels(targets=jnp.asarray(targets, dtype), masses=masses)


def sampled_mixup(
    class_counts, alpha: float, *, draws: int, key: PRNGKeyArray, dtype=None
) -> AbstractLabels:
    r"""Labels of a finite batch of mixup.

    Independent pairs of classes and $\lambda\sim\mathrm{Beta}(\alpha,\alpha)$.

    Parameters
    ----------
    class_counts
        (K,) > 0: classes are drawn with probability $n_k/N$.
    alpha
        As for `mixup`.
    draws
        >= 1, columns, each of mass 1/draws, in the order drawn and not merged.
    key
        A `jax.random.key`.
    dtype
        The default float unless given.

    Returns
    -------
    AbstractLabels
        Held as pairs of classes where the matrix would be large.

    Raises
    ------
    ValueError
        For K < 2, counts that are not positive, a negative alpha, and fewer than one draw.

    Notes
    -----
    As the number of draws grows the optimum tends to that of `mixup` with error of order
    draws^(-1/2).
    """
    dtype = float_dtype(dtype)
    require_alpha(alpha)
    shares = _shares(class_counts)
    draws = require_whole("draws", draws, most=LONGEST_LIST)
    require_key("key", key)
    key_first, key_second, key_lam = jax.random.split(key, 3)
    logits = jnp.log(jnp.asarray(shares, dtype))
    first = jax.random.categorical(key_first, logits, shape=(draws,))
    second = jax.random.categorical(key_second, logits, shape=(draws,))
    if alpha == 0:
        lam = jax.random.bernoulli(key_lam, 0.5, (draws,)).astype(dtype)
    elif alpha > _LARGEST_ALPHA:
        lam = jnp.full(draws, 0.5, dtype)
    else:
        lam = jax.random.beta(key_lam, alpha, alpha, (draws,), dtype)
    K = len(shares)
    # a class mixed with itself is that class exactly, not to rounding
    lam, masses = jnp.where(first == second, 1, lam), jnp.full(draws, 1 / draws, dtype)
    if K * draws > MOST_HELD:
        return PairLabels(first, second, lam, masses, K)
    one, two = (jax.nn.one_hot(classes, K, axis=0, dtype=dtype) for classes in (first, second))
    lam = lam[None, :]
    return Labels(targets=lam * one + (1 - lam) * two, masses=masses)


def beta_quadrature(alpha: float, *, nodes: int = 64) -> tuple[Floats, Floats]:
    r"""Gauss–Jacobi rule of $\mathrm{Beta}(\alpha,\alpha)$.

    Nodes λ (R,) ascending in (0, 1) and weights (R,) that sum to one.

    Exact for polynomials in λ of degree 2R − 1; nodes and weights are symmetric about 1/2. `alpha`
    > 0 or `math.inf` (one node, 1/2); `nodes`: R >= 2. The nodes are eigenvalues of the three-term
    recurrence (Golub & Welsch 1969), polished by Newton's method; the weights are Christoffel
    numbers, sums of squares, so the smallest ones are positive and as accurate as the rest.

    Raises `ValueError` for `alpha` <= 0 and fewer than two nodes.
    """
    require_alpha(alpha)
    require(alpha > 0, "`alpha` must be > 0 for a quadrature rule", alpha)
    R = require_nodes(nodes)
    if alpha > _LARGEST_ALPHA:
        return np.array([0.5]), np.array([1.0])
    k = np.arange(2, R + 1)
    # β_k of the orthonormal polynomials of (1 − x²)^(α − 1) on [−1, 1]; β_1 apart, where the
    # general formula is 0/0 at α = 1/2
    beta = np.concatenate(
        [
            [1 / (2 * alpha + 1)],
            k * (k + 2 * alpha - 2) / (4 * (k + alpha - 0.5) * (k + alpha - 1.5)),
        ]
    )
    off = np.sqrt(beta)
    x = np.linalg.eigvalsh(np.diag(off[:-1], 1) + np.diag(off[:-1], -1))
    for _ in range(2):
        values, slopes = _orthonormal(x, off)
        x = x - values[R] / slopes[R]
        x = 0.5 * (x - x[::-1])
    values, _ = _orthonormal(x, off)
    weights = 1 / np.sum(values[:R] ** 2, axis=0)
    weights = 0.5 * (weights + weights[::-1])
    return 0.5 + 0.5 * x, weights / weights.sum()


def mixing_moment(alpha: float) -> float:
    r"""$\rho = \mathbb E[\lambda^2 + (1-\lambda)^2] = (\alpha+1)/(2\alpha+1)$.

    1 without mixup, 2/3 for uniform λ, 1/2 for λ = 1/2.
    """
    require_alpha(alpha)
    return 0.5 if alpha == np.inf else (alpha + 1) / (2 * alpha + 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedPairs:
    r"""Which classes each column of a label matrix mixes.

    $q_c = \lambda_c e_{i_c} + (1-\lambda_c) e_{j_c}$.

    `first`, `second` (C,): classes i < j, or i = j for a pure class. `lam` (C,): the target of the
    first class, 1 for a pure class. `other` (C,): that of the second class, 0 for a pure class.
    """

    first: np.ndarray
    second: np.ndarray
    lam: Floats
    other: Floats

    @property
    def same(self) -> np.ndarray:
        """(C,): the columns that are pure classes."""
        return self.first == self.second


def mixed_pairs(labels: AbstractLabels) -> MixedPairs:
    """The two classes that each column mixes, read off the targets. On the host.

    Raises `ValueError` for a column with three or more nonzero targets, a negative one, or a sum
    that is not one.
    """
    require_instance("labels", labels, AbstractLabels, "ufm.Labels")
    return pairs_of(
        np.asarray(labels.targets, dtype=np.float64),
        rounding=8 * float(np.finfo(labels.dtype).eps),
    )


def pairs_of(targets: Floats, *, rounding: float) -> MixedPairs:
    """`mixed_pairs` of targets (K, C), whose sums are one up to `rounding`."""
    number = np.sum(targets != 0, axis=0)
    require(
        number.max() <= 2, "`labels` must mix at most two classes in a column", int(number.max())
    )
    sums = targets.sum(axis=0)
    distributions = targets.min() >= 0 and np.max(np.abs(sums - 1)) <= rounding
    require(
        distributions,
        "`labels` must have targets >= 0 that sum to one in every column",
        sums[np.argmax(np.abs(sums - 1))],
    )
    columns = np.arange(targets.shape[1])
    first = np.argmax(targets > 0, axis=0)
    second = len(targets) - 1 - np.argmax(targets[::-1] > 0, axis=0)
    return MixedPairs(
        first=first,
        second=second,
        lam=targets[first, columns],
        other=np.where(first == second, 0.0, targets[second, columns]),
    )


def _orthonormal(x: Floats, off: Floats) -> tuple[Floats, Floats]:
    """Orthonormal polynomials 0 … R of the recurrence at `x` (R + 1, len(x)), and their
    derivatives."""
    values, slopes = [np.ones_like(x), x / off[0]], [np.zeros_like(x), np.full_like(x, 1 / off[0])]
    for k in range(1, len(off)):
        values.append((x * values[k] - off[k - 1] * values[k - 1]) / off[k])
        slopes.append((values[k] + x * slopes[k] - off[k - 1] * slopes[k - 1]) / off[k])
    return np.stack(values), np.stack(slopes)


def require_nodes(nodes, *, most: int = MOST_NODES) -> int:
    """The number of nodes of a rule."""
    return require_whole("nodes", nodes, least=2, most=most)


def require_alpha(alpha) -> None:
    """The parameter of a symmetric Beta law, from 0 to infinity, is one number on the host."""
    words = "be a number >= 0 (0: no mixup, math.inf: λ = 1/2)"
    values = require_each("alpha", alpha, lambda alpha: alpha >= 0, words, shape=())
    require(values is not None, "`alpha` must be concrete: the rule is made on the host", alpha)


def _shares(class_counts) -> Floats:
    """π_k = n_k/N (K,), in float64."""
    counts = host_counts(class_counts)
    return counts / counts.sum()
