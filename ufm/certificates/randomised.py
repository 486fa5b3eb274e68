r"""The duality gap where the K × C gradient G exists only as products, a chunk of columns a time.

The bound needs an upper bound on $\|G\|_{op}$, and iterations alone only give lower ones. It is
made of two parts. The range of W is spanned by singular vectors of G at a stationary point; on its
Ritz vectors Q of $A = GG^\top$ that are nearly invariant everything is known: the Ritz values
$\Theta$ and the residuals $E = AQ - Q\Theta$. On the complement a Chebyshev polynomial of A (power
iteration, accelerated) is applied to random unit vectors x: with $T$ of degree k, at most 1 on
$[0,\theta]$ and growing beyond, $\|T(A)x\| \ge T(\lambda_1)\,|x\cdot v_1|$, and $|x \cdot v_1| >
\tau$ for one of s vectors at least, except with probability $(\tau\sqrt{2K/\pi})^s$. That bounds
the complement by some b, and then (a Schur complement)

$$\|G\|_{op}^2 \ \le\ \min\{\lambda > b:\ \Theta + E^\top E/(\lambda - b) \preceq \lambda\}.$$

So b may be a per cent too large and the gap still closes to rounding wherever the rest of the
spectrum is a per cent below the top.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ufm._progress import Progress
from ufm._roots import turn
from ufm._validate import require_each, require_flag, require_key, require_whole
from ufm.losses import loss_and_dual
from ufm.losses.rounding import unit_roundoff
from ufm.model import (
    Params,
    Problem,
    objective,
    objective_error,
    require_plain,
    terms_of_sum,
)
from ufm.model.chunks import Chunk, over_chunks, product
from ufm.solution import AbstractCertificate, relative_gap

# A Ritz vector is split off when its residual is below this, relative to the largest Ritz value;
# with a larger one it is better known as part of the rest.
_INVARIANT = 1e-2
# The interval of the polynomial ends no lower than this, relative to the largest Ritz value: there
# may be nothing at all in the rest.
_LEAST = 1e-3
# Block power steps that place the interval of the polynomial; a poor guess costs sharpness, never
# truth.
_GUESSES = 10


class Randomised(eqx.Module):
    r"""How the norm of a gradient too large to write down is bounded, by random vectors.

    Parameters
    ----------
    key
        For the random vectors, `jax.random.key(0)` unless given. The point must not have been made
        from the same draws; a start of `minimise` from an equal key is not.
    steps
        Degree of the polynomial, each a pass over all logits; off the range of W the bound on the
        squared norm is too large by a factor of about $1 + (\log(K/\delta^{2/s})/4k)^2$.
    block
        How many random vectors, s.
    failure_probability
        δ: that the bound does not hold.
    progress
        Whether to show progress; on a terminal, once a second has passed, unless given.

    Raises
    ------
    ValueError
        For budgets that are not whole numbers >= 1, and a probability outside (0, 1).
    """

    key: PRNGKeyArray
    steps: int = eqx.field(static=True)
    block: int = eqx.field(static=True)
    failure_probability: float = eqx.field(static=True)
    progress: bool | None = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray | None = None,
        *,
        steps: int = 40,
        block: int = 16,
        failure_probability: float = 1e-12,
        progress: bool | None = None,
    ):
        if key is not None:
            require_key("key", key)
        self.key = jax.random.key(0) if key is None else key
        self.steps, self.block = require_whole("steps", steps), require_whole("block", block)
        inside = "lie between 0 and 1"
        require_each(
            "failure_probability",
            failure_probability,
            lambda p: (p > 0) & (p < 1),
            inside,
            shape=(),
        )
        self.failure_probability = float(failure_probability)
        require_flag("progress", progress, optional=True)
        self.progress = progress


class RandomisedCertificate(AbstractCertificate):
    r"""A lower bound on the global minimum that holds except with a stated probability, hence how
    far a point can be from it.

    `value`: the objective at the point. `lower_bound` $\le$ the global minimum. `gap`: (value −
    lower_bound) / |value|. `spectral_ratio`, `spectral_bound`: $\|G\|_{op}/\mu$ lies between them;
    the first is at most 1 at an optimum. `bias_residual`: $\|\sum_c\omega_c u_c\|$ of a free bias
    before it was removed, 0 without one. `rounding`: how far `value` can be off.
    `failure_probability`: that the second, and with it `lower_bound`, is false.
    """

    value: Float[Array, ""]
    lower_bound: Float[Array, ""]
    gap: Float[Array, ""]
    spectral_ratio: Float[Array, ""]
    spectral_bound: Float[Array, ""]
    bias_residual: Float[Array, ""]
    rounding: Float[Array, ""]
    failure_probability: float = eqx.field(static=True)
    loss: str = eqx.field(static=True)

    def __str__(self) -> str:
        if not self.valid:
            return self._sentence()
        return (
            f"{self._sentence()}\n{float(self.spectral_ratio):.12g} <= spectral ratio <= "
            f"{float(self.spectral_bound):.12g}, "
            f"the latter except with probability {self.failure_probability:.0e}"
        )


def randomised_bound(problem: Problem, params: Params, how: Randomised) -> RandomisedCertificate:
    r"""Lower bound on the global minimum which holds except with a stated probability.

    From the loss gradients at a point, scaled onto the dual ball.

    Parameters
    ----------
    problem
        One linear layer with decay alone.
    params
        Any point of it.
    how
        Key, block, steps, probability and progress.

    Returns
    -------
    RandomisedCertificate
        What rounding can amount to is subtracted.

    Raises
    ------
    ValueError
        For domains, anchors and frozen weights.

    Notes
    -----
    With a free bias the gradients are first changed so that $\sum_c\omega_c u_c = 0$, in the way
    that the loss has (`AbstractLoss.centred`): of cross-entropy by moving probability from classes
    predicted too often to those predicted too rarely, else by subtracting the mean. So the bound
    holds at any point, and costs what the bias is off.

    The probability is that of a coordinate of a random unit vector, whose density is at most
    $\sqrt{K/2\pi}$; of the random vectors and of nothing else.
    """
    require_plain(problem, "a randomised certificate")
    bar = Progress("certify", total=_GUESSES + how.steps + 3, show=how.progress)
    try:
        fix, residual = _fix(problem, params)
        bar.update(1)
        span, values, coupling = _invariant(problem, params, fix)
        values, coupling = np.asarray(values, np.float64), np.asarray(coupling, np.float64)
        bar.update(2)
        first, second = jax.random.split(jax.random.fold_in(how.key, _GUESSES))
        vectors, theta = (
            _random_block(problem, span, first, how.block),
            jnp.zeros((), problem.dtype),
        )
        for i in range(_GUESSES):
            basis = _off(span, jnp.linalg.qr(vectors)[0])
            vectors = jax.block_until_ready(_rest(problem, params, fix, span, basis))
            theta = jnp.linalg.eigvalsh(product(basis.T, vectors))[-1]
            bar.update(3 + i)
        # the interval depends on the first block only: given it, the second is as random as ever
        reached = float(theta)
        theta = max(
            float(theta), _LEAST * float(values.max()), float(jnp.finfo(problem.dtype).tiny) ** 0.5
        )
        here, before = _random_block(problem, span, second, how.block), None
        stretch = jnp.asarray(2 / theta, problem.dtype)
        for i in range(how.steps):
            # the recurrence of the Chebyshev polynomials in 2A/θ − 1, which maps [0, θ] onto [−1,
            # 1]
            mapped = stretch * jax.block_until_ready(_rest(problem, params, fix, span, here)) - here
            here, before = mapped if before is None else 2 * mapped - before, here
            bar.update(3 + _GUESSES + i)
        rest = bound_on_rest(
            np.asarray(here, np.float64),
            theta,
            problem.labels.num_classes,
            how.steps,
            how.failure_probability,
        )
        squared = _largest(values, coupling, rest)
        value, rounding, lower_bound, mu = _bound(
            problem, params, fix, jnp.asarray(np.sqrt(squared), problem.dtype)
        )
    finally:
        bar.close()
    infinity = jnp.asarray(jnp.inf, problem.dtype)
    holds = np.isfinite(value) and np.isfinite(lower_bound) and not lower_bound - value > rounding
    gap = relative_gap(value, lower_bound) if holds else infinity
    return RandomisedCertificate(
        value=value,
        lower_bound=lower_bound if np.isfinite(lower_bound) else -infinity,
        gap=gap,
        spectral_ratio=jnp.asarray(np.sqrt(max(values.max(), reached)), problem.dtype) / mu,
        spectral_bound=jnp.asarray(np.sqrt(squared), problem.dtype) / mu,
        bias_residual=residual,
        rounding=rounding,
        failure_probability=how.failure_probability,
        loss=type(problem.loss).__name__,
    )


class _Fix(NamedTuple):
    """How the loss makes the mean of the dual columns vanish, for a free bias.

    And that mean, for a penalised one.
    """

    centring: Any
    mean: Float[Array, " K"]


def _dual(problem: Problem, fix: _Fix, chunk: Chunk) -> Float[Array, "K S"]:
    """The dual columns u of a chunk.

    Gradients of the loss, changed where a free bias asks for it.
    """
    _, dual = loss_and_dual(problem.loss, chunk.logits, chunk.targets)
    return (
        dual if not problem.free_bias else problem.loss.centred(dual, chunk.targets, fix.centring)
    )


@jax.jit
def _fix(problem: Problem, params: Params) -> tuple[_Fix, Float[Array, ""]]:
    """How to remove the mean of the dual columns, and its norm relative to that of the targets."""
    zero = jnp.zeros(problem.labels.num_classes, problem.dtype)

    def body(chunk: Chunk, carry):
        mean, wanted = carry
        weights = chunk.weights * chunk.new
        _, dual = loss_and_dual(problem.loss, chunk.logits, chunk.targets)
        return mean + dual @ weights, wanted + chunk.targets @ weights

    mean, wanted = over_chunks(problem, params, body, (zero, zero))
    if not problem.free_bias:
        return _Fix(None, mean), jnp.zeros((), problem.dtype)
    labels = problem.labels
    size = jnp.sqrt(jnp.dot(labels.mass_shares, labels.squares))
    residual = jnp.sqrt(jnp.sum(mean**2)) / jnp.where(size > 0, size, 1)
    return _Fix(problem.loss.centring(mean, wanted), zero), residual


def _share(chunk: Chunk) -> Float[Array, " S"]:
    """ω/√m of the new columns, by which a dual column enters G."""
    return chunk.weights / jnp.sqrt(chunk.masses) * chunk.new


def _gram(
    problem: Problem, params: Params, fix: _Fix, vectors: Float[Array, "K S"]
) -> Float[Array, "K S"]:
    """G Gᵀ times vectors, with G = [ω_c u_c / √m_c]: one pass over the columns."""

    def body(chunk: Chunk, total):
        gradient = _dual(problem, fix, chunk) * _share(chunk)[None, :]
        return total + product(gradient, product(gradient.T, vectors))

    return over_chunks(problem, params, body, jnp.zeros_like(vectors))


@jax.jit
def _invariant(problem: Problem, params: Params, fix: _Fix):
    """Ritz vectors in the range of W that are nearly invariant (K, R), their values (R,), products
    of residuals (R, R); 0 for others."""
    (W,) = params.weights
    basis = jnp.linalg.qr(W)[0]
    applied = _gram(problem, params, fix, basis)
    values, rotation = jnp.linalg.eigh(product(basis.T, applied))
    vectors = product(basis, rotation)
    residuals = product(applied, rotation) - vectors * values[None, :]
    kept = (jnp.sqrt(jnp.sum(residuals**2, axis=0)) <= _INVARIANT * values[-1]).astype(W.dtype)
    residuals = residuals * kept[None, :]
    return vectors * kept[None, :], values * kept, product(residuals.T, residuals)


def _off(span: Float[Array, "K R"], vectors: Float[Array, "K S"]) -> Float[Array, "K S"]:
    return vectors - product(span, product(span.T, vectors))


def _random_block(problem: Problem, span, key: PRNGKeyArray, block: int) -> Float[Array, "K S"]:
    """Random unit vectors, less their part in the span."""
    normal = jax.random.normal(key, (problem.labels.num_classes, block), problem.dtype)
    return _off(span, normal / jnp.sqrt(jnp.sum(normal**2, axis=0))[None, :])


@jax.jit
def _rest(
    problem: Problem,
    params: Params,
    fix: _Fix,
    span: Float[Array, "K R"],
    vectors: Float[Array, "K S"],
) -> Float[Array, "K S"]:
    """A off the span, times vectors off the span."""
    return _off(span, _gram(problem, params, fix, vectors))


def bound_on_rest(
    last: np.ndarray, theta: float, K: int, steps: int, failure_probability: float
) -> float:
    """An upper bound on the largest eigenvalue of A off the span, but for a given probability.

    Parameters
    ----------
    last
        (K, b), random unit vectors after the Chebyshev recurrence.
    theta
        The interval [0, θ] which the recurrence maps onto [−1, 1].
    K
        The dimension.
    steps
        Degree of the polynomial.
    failure_probability
        With which the bound may be wrong.

    Returns
    -------
    float
        Infinite where the recurrence overflowed.
    """
    tau = min(1.0, failure_probability ** (1 / last.shape[1]) * np.sqrt(np.pi / (2 * K)))
    grown = float(np.sqrt(np.max(np.sum(last**2, axis=0)))) / tau
    return (
        0.5 * theta * (1 + np.cosh(np.arccosh(max(grown, 1.0)) / steps))
        if np.isfinite(grown)
        else np.inf
    )


def _largest(values: np.ndarray, coupling: np.ndarray, rest: float) -> float:
    """The least λ >= b = `rest` with diag(`values`) + `coupling`/(λ − b) <= λ, from above."""
    low = max(float(values.max()), rest)
    high = low + float(np.sqrt(max(np.linalg.eigvalsh(coupling)[-1], 0.0)))

    def fits(level: float) -> bool:
        if level <= rest:
            return False
        largest = np.linalg.eigvalsh(np.diag(values) + coupling / (level - rest))[-1]
        return bool(largest <= level)

    return turn(fits, low, high)[1] if np.isfinite(high) else high


class _Sums(NamedTuple):
    """What one pass over the columns collects at a dual point.

    Σ ω of the conjugates, of their sizes and errors; Σ ω u and Σ ω |u| (K,).
    """

    conjugates: Float[Array, ""]
    sizes: Float[Array, ""]
    errors: Float[Array, ""]
    mean: Float[Array, " K"]
    spread: Float[Array, " K"]


class _Shape(NamedTuple):
    """What tells how far rounding can reach.

    Of V = [ω_c u_c / √m_c]: squared entries, row sums of |V| (K,), the largest column sum; Σ ω u
    and Σ ω |u| (K,); of the pattern of a centring row sums and squares (K,); the largest logit.
    """

    squares: Float[Array, ""]
    rows: Float[Array, " K"]
    columns: Float[Array, ""]
    mean: Float[Array, " K"]
    spread: Float[Array, " K"]
    pattern: Float[Array, " K"]
    reach: Float[Array, " K"]
    logits: Float[Array, ""]


def _shape(problem: Problem, params: Params, fix: _Fix) -> _Shape:
    """The sizes that tell what rounding can amount to; one pass over the columns."""
    zero = jnp.zeros((), problem.dtype)
    per_class = jnp.zeros(problem.labels.num_classes, problem.dtype)

    def body(chunk: Chunk, total: _Shape) -> _Shape:
        share, weights = _share(chunk), chunk.weights * chunk.new
        dual = _dual(problem, fix, chunk)
        sizes = jnp.abs(dual) * share[None, :]
        pattern = (
            problem.loss.centring_pattern(dual, chunk.targets)
            if problem.free_bias
            else jnp.zeros_like(dual)
        )
        return _Shape(
            total.squares + jnp.sum(sizes**2),
            total.rows + jnp.sum(sizes, axis=1),
            jnp.maximum(total.columns, jnp.max(jnp.sum(sizes, axis=0))),
            total.mean + dual @ weights,
            total.spread + jnp.abs(dual) @ weights,
            total.pattern + pattern @ weights,
            total.reach + jnp.sum((pattern * share[None, :]) ** 2, axis=1),
            jnp.maximum(total.logits, jnp.max(jnp.abs(chunk.logits))),
        )

    start = _Shape(zero, per_class, zero, per_class, per_class, per_class, per_class, zero)
    return over_chunks(problem, params, body, start)


@jax.jit
def _bound(problem: Problem, params: Params, fix: _Fix, norm: Float[Array, ""]):
    """The objective and its rounding, the dual value with u scaled to a spectral norm of at most μ,
    less its rounding, and μ."""
    (lam,), unit = problem.lambda_W, unit_roundoff(problem.dtype)
    K, many = problem.labels.num_classes, terms_of_sum(problem.labels.num_columns) + 4
    mu = jnp.sqrt(lam) * jnp.sqrt(problem.lambda_H)
    shape = _shape(problem, params, fix)
    # as in `spectral_norm`, of the exact certificate: products with |V| |V|ᵀ, and entries moved
    # where columns sum to zero
    of_products = unit * (many + terms_of_sum(K)) * shape.columns * jnp.max(shape.rows)
    of_entries = unit * (terms_of_sum(K) + 8) * jnp.sqrt(shape.squares)
    above = jnp.sqrt(norm**2 + 4 * of_products) + of_entries

    def at(t) -> _Sums:
        def body(chunk: Chunk, total: _Sums) -> _Sums:
            weights, dual = chunk.weights * chunk.new, t * _dual(problem, fix, chunk)
            conjugates, errors = problem.loss.conjugate_and_error(dual, chunk.targets)
            parts = _Sums(
                jnp.dot(conjugates, weights),
                jnp.dot(jnp.abs(conjugates), weights),
                jnp.dot(errors, weights),
                dual @ weights,
                jnp.abs(dual) @ weights,
            )
            return jax.tree.map(jnp.add, total, parts)

        zero, per_class = jnp.zeros((), problem.dtype), jnp.zeros(K, problem.dtype)
        return over_chunks(problem, params, body, _Sums(zero, zero, zero, per_class, per_class))

    # what is left of the mean of a free bias shakes the norm by no more than its share of each row
    left = jnp.abs(shape.mean) + unit * (many + 8) * shape.spread
    left = left if problem.free_bias else jnp.zeros_like(left)
    pattern = jnp.where(shape.pattern > 0, shape.pattern, 1)
    above = above + 2 * jnp.dot(left, jnp.sqrt(shape.reach) / pattern)
    # what is no number goes on to the bound
    t = jnp.minimum(1, mu * (1 - 8 * unit) / jnp.where(above == 0, mu, above))
    sums = at(t)
    hidden = unit * (many + 8) * sums.spread
    slack = sums.errors + unit * (many + 8) * sums.sizes
    lower = -sums.conjugates
    if problem.lambda_b is not None:
        lower = lower - 0.5 * jnp.sum(sums.mean**2) / problem.lambda_b
        slack = slack + jnp.dot(hidden, jnp.abs(sums.mean) + hidden) / problem.lambda_b
    if problem.free_bias:
        # (the logits of shares that t changes are less the offsets)
        shifts = problem.labels.offsets
        added = 0.0 if shifts is None else 2 * jnp.max(jnp.abs(shifts))
        steep = (
            2 * shape.logits
            + added
            + jnp.log(K)
            + 2
            - jnp.log(jnp.clip(t, jnp.finfo(t.dtype).tiny, 1))
        )
        slack = slack + steep * jnp.sum(jnp.abs(sums.mean) + hidden)
    rounding = objective_error(problem, params)
    return objective(problem, params), rounding, lower - slack, mu
