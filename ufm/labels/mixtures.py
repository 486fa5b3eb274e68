r"""Label matrices of mixup.

Targets $\lambda e_i + (1-\lambda) e_j$ over pairs of classes, $\lambda \sim
\mathrm{Beta}(\alpha,\alpha)$.

Masses sum to one, so that `lambda_H` of a `Problem` is the decay inside the expectation over pairs
and $\lambda$.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from ufm._validate import LONGEST_LIST, float_dtype, require, require_key, require_whole
from ufm.labels.base import MOST_HELD, AbstractLabels, host_counts
from ufm.labels.beta_law import LARGEST_ALPHA, Floats, beta_quadrature, require_alpha, require_nodes
from ufm.labels.constructors import one_hot
from ufm.labels.dense import Labels
from ufm.labels.pairs import PairLabels


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
    elif alpha > LARGEST_ALPHA:
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


def _shares(class_counts) -> Floats:
    """π_k = n_k/N (K,), in float64."""
    counts = host_counts(class_counts)
    return counts / counts.sum()
