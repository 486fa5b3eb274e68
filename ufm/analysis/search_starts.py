"""Where a search starts: at random at several scales and ranks, at logits, and where a random start
is led by lengths that grow.

Vectors of bounded length, more classes than dimensions: of 24 in four dimensions at an inverse
temperature of 20 one random start in 200 ends at the 24-cell, and every one does that is led
there from a temperature of 1. Of 30 in ten dimensions 3 % of random starts end at the best that is
known, and none that is led, at eight times the price. So every fourth start is led.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from ufm._validate import (
    require,
    require_finite,
    require_instance,
    require_key,
    require_nonnegative,
)
from ufm.model import Params, Problem, require_product, require_searchable
from ufm.solution import Result, Solution
from ufm.solvers import minimise, random_start
from ufm.solvers.spreading import spread

# Scales of the random starts in units of the natural one, taken in turn.
_SCALES = (1.0, 0.5, 1.4, 0.35, 2.0, 0.7)
# By at most so much β grows from one solve to the next on the way from 1: with 2 a third of the
# starts lose the way to the 24-cell.
_STEP = 1.6


def start_from_logits(
    problem: Problem, logits, *, key: PRNGKeyArray, noise: float = 1e-3
) -> Params:
    r"""A point near given logits.

    $Z\,\mathrm{diag}(\sqrt m) = U S V^\top$ spread evenly over the factors, plus noise.

    Parameters
    ----------
    problem
        With decay on every factor, nothing frozen, no anchor.
    logits
        (K, C), or (K, K) for one column a class, which then serves every column by its target.
    key
        A `jax.random.key`, for hidden bases and noise.
    noise
        Root mean square singular value of a Gaussian matrix added to each factor, relative to the
        factor's largest.

    Returns
    -------
    Params
        Factor m has the singular values $\sqrt{\Lambda/\lambda_m}\,s^{1/(M+1)}$, the cheapest way
        to have this product. Directions beyond the narrowest width are left out. A bias is 0.

    Raises
    ------
    ValueError
        For logits that do not fit, λ = 0, frozen weights, an anchor.
    """
    require_instance("problem", problem, Problem)
    require_searchable(problem)
    require_product(problem, "a start from logits")
    require_key("key", key)
    require_nonnegative("noise", noise, shape=())
    Z = column_logits(problem, logits, name="logits")
    masses = np.asarray(problem.labels.masses)
    U, s, Vt = np.linalg.svd(Z * np.sqrt(masses)[None, :], full_matrices=False)
    r = min(len(s), *problem.widths)
    # rounding of 1e-16 in a direction that is not there would become 1e-4 in every factor of three
    # layers
    s = np.where(s > max(Z.shape) * float(np.finfo(problem.dtype).eps) * s[0], s, 0.0)
    random = _generator(key)
    hidden = [np.linalg.qr(random.standard_normal((d, r)))[0] for d in reversed(problem.widths)]
    factors = spread(problem, U[:, :r], s[:r], Vt[:r], hidden=hidden)
    largest = s[0] ** (1 / (problem.depth + 1))
    sizes = np.sqrt(float(problem.sizes[0]) / np.asarray(problem.decays))
    for m, (size, exact) in enumerate(zip(sizes, factors, strict=True)):
        blur = random.standard_normal(exact.shape) * (noise * largest / max(exact.shape) ** 0.5)
        factors[m] = exact + size * blur
    factors[-1] = factors[-1] / np.sqrt(masses)[None, :]
    *weights, features = (jnp.asarray(factor, problem.dtype) for factor in factors)
    return problem.projected(Params(tuple(weights), features, problem.zero_bias))


def solved(problem: Problem, start: Params) -> Solution:
    """What a start leads to; `KeyboardInterrupt` where it was interrupted."""
    solution = minimise(problem, start=start, progress=False)
    if solution.result is Result.INTERRUPTED:
        raise KeyboardInterrupt
    return solution


class _Led(NamedTuple):
    """A random start that is led to the lengths of the problem from short ones."""


def random_kind(problem: Problem, i: int) -> tuple[str, tuple[int | None, float] | _Led]:
    """Rank (None: full) and scale of the i-th random start, or that it is led."""
    top = min(problem.labels.num_classes, *problem.widths) - 1
    scale = _SCALES[(i // 2) % len(_SCALES)]
    bounded = problem.depth == 1 and problem.logarithmic
    if bounded and i % 4 == 1:
        return "random, led from short lengths", _Led()
    if bounded or i % 2 == 0 or top < 1 or not problem.map.identity:
        return f"random, scale {scale:g}", (None, scale)
    rank = 1 + (i // 2) % top
    return f"rank {rank}, scale {scale:g}", (rank, scale)


def start_of(problem: Problem, kind, *, key: PRNGKeyArray) -> Params:
    """The start that a line of the plan describes.

    Parameters
    ----------
    problem
        What is searched.
    kind
        Logits; a rank, or None, and a scale; or to be led to bounds.
    key
        A `jax.random.key`.

    Returns
    -------
    Params
        A point of the problem.
    """
    if isinstance(kind, _Led):
        return _led(problem, random_start(problem, key=key))
    if not isinstance(kind, tuple):
        return start_from_logits(problem, kind, key=key)
    rank, scale = kind
    if rank is None:
        start = random_start(problem, key=key)
        return problem.projected(
            Params(tuple(scale * W for W in start.weights), scale * start.features, start.bias)
        )
    # logits between unit vectors: each class is largest at itself whatever the rank
    vectors = _generator(key).standard_normal((rank, problem.labels.num_classes))
    vectors /= np.linalg.norm(vectors, axis=0)
    return start_from_logits(
        problem, 4 * scale * vectors.T @ vectors, key=jax.random.fold_in(key, 0), noise=1e-2
    )


def _led(problem: Problem, start: Params) -> Params:
    """Where a start gets to at lengths that grow to those of the problem.

    Of the features, or of the rows where those alone are bounded.
    """
    by_features = problem.features.compact
    (W,), H = start.weights, start.features
    beta = float(jnp.max(jnp.linalg.norm(W, axis=1)) * jnp.max(jnp.linalg.norm(H, axis=0)))
    steps = int(np.ceil(np.log(max(beta, 1.0)) / np.log(_STEP)))
    before = 1.0
    for share in np.geomspace(1 / max(beta, 1.0), 1, steps + 1)[:-1].tolist():
        domain = (problem.features if by_features else problem.classifier).scaled(share)
        shorter = eqx.tree_at(
            lambda p: p.features if by_features else p.classifier, problem, domain
        )
        start = solved(
            shorter, shorter.projected(_stretched(start, share / before, by_features))
        ).params
        before = share
    return problem.projected(_stretched(start, 1 / before, by_features))


def _stretched(params: Params, factor: float, by_features: bool) -> Params:
    """The point with its features times a factor, or its rows."""
    (W,), H = params.weights, params.features
    if by_features:
        return Params((W,), factor * H, params.bias)
    return Params((factor * W,), H, params.bias)


def _generator(key: PRNGKeyArray) -> np.random.Generator:
    """Random numbers on the host.

    A decomposition of a small matrix takes less time than its compilation would.
    """
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())


def column_logits(problem: Problem, logits, *, name: str) -> np.ndarray:
    """Logits by column.

    Parameters
    ----------
    problem
        Gives K, C and targets.
    logits
        (K, C), or (K, K) by class.
    name
        Of the argument, for messages.

    Returns
    -------
    np.ndarray
        (K, C), in float64.

    Raises
    ------
    ValueError
        For another shape, and for numbers that are not finite.
    """
    targets = np.asarray(problem.labels.targets, dtype=np.float64)
    K, C = targets.shape
    require_finite(name, logits)
    require(
        np.shape(logits) in ((K, C), (K, K)),
        f"`{name}` must have shape {(K, C)} or {(K, K)}",
        np.shape(logits),
    )
    array = np.asarray(logits, dtype=np.float64)
    return array if C in (K, array.shape[1]) else array @ targets
